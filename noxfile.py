"""Other Pythons, and the oldest versions that setup.cfg allows.

  pip install nox
  nox                                       # what is at hand of the sessions below
  nox -s newest-3.13 -- tests/experiments   # other tests in one of the sessions

.ci/run runs everything on one Python with the newest versions.
"""

import configparser
import pathlib
import re

import nox

PYTHONS = ('3.11', '3.12', '3.13')
EXTRAS = 'experiments,speech,test'
# jax alone, no flax.
LIBRARY = (
  'tests/library',
  'tests/exchange',
  'regularizers',
  '--ignore=regularizers/nn',
)
QUICK = ('tests/nn', 'regularizers/nn', 'tests/experiments', '-m', 'not slow')

nox.options.sessions = ('newest', 'lowest', 'lowest_experiments', 'wheel')
nox.options.default_venv_backend = 'venv'


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
  """With whatever pip resolves to."""
  session.install('-e', f'.[{EXTRAS}]')
  _test(session, *LIBRARY, 'tests/nn')


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
  """The library at the lower bounds of what it and its tests require."""
  _install_lowest(session, 'test')
  _test(session, *LIBRARY)


@nox.session(python=PYTHONS[0])
def lowest_experiments(session: nox.Session) -> None:
  """The same for layers and experiments; flax asks for a later jax than we do."""
  _install_lowest(session, EXTRAS, jax='0.10.0')
  _test(session, *QUICK)


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
  """The library as others install it: its wheel, with jax and nothing else."""
  directory = session.create_tmp()
  session.run('pip', 'wheel', '-qq', '--no-deps', '--wheel-dir', directory, '.')
  (built,) = pathlib.Path(directory).glob('*.whl')
  session.install(str(built))
  built.unlink()
  session.chdir(directory)  # not the checkout's package
  session.run('python', '-c', _USE)


_USE = """
import jax.numpy as jnp, pathlib, regularizers as reg
assert 'site-packages' in reg.__file__, reg.__file__
assert (pathlib.Path(reg.__file__).parent / 'py.typed').exists()
loss = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))
print(loss(reg.cross_entropy)(jnp.zeros((1, 4)), jnp.array([0])))
"""


def _install_lowest(session: nox.Session, extras: str, **instead: str) -> None:
  lines = [f'{n}=={v}\n' for n, v in {**lower_bounds(extras), **instead}.items()]
  path = pathlib.Path(session.create_tmp()) / 'lowest.txt'
  path.write_text(''.join(lines), encoding='utf-8')
  session.install('-e', f'.[{extras}]', '-c', str(path))


def _test(session: nox.Session, *default: str) -> None:
  session.run('python', '-c', 'import jax, sys; print(sys.version, jax.__version__)')
  session.run('pytest', '-q', '-n', '2', *(session.posargs or default))


def lower_bounds(extras: str) -> dict[str, str]:
  """The version of every ``name>=version`` of these extras of setup.cfg."""
  parser = configparser.ConfigParser()
  parser.read('setup.cfg', encoding='utf-8')
  by_extra = parser['options.extras_require']
  wanted = [parser['options']['install_requires']]
  wanted += [by_extra[name] for name in extras.split(',')]
  lines = [line.strip() for text in wanted for line in text.splitlines()]
  bounds = [re.fullmatch(r'([\w.-]+)>=([\w.]+)', line) for line in lines]
  return {found[1]: found[2] for found in bounds if found}
