"""Other Pythons, and the oldest versions that setup.cfg allows.

  pip install nox
  nox                                       # library, layers, exchange
  nox -s newest-3.13 -- tests/experiments   # other tests in one of the sessions

.ci/run runs everything on one Python with the newest versions.
"""

import configparser
import pathlib
import re

import nox

PYTHONS = ('3.11', '3.12', '3.13')
EXTRAS = 'experiments,speech,test'
# Library, layers, exchange, examples: what does not train whole experiments.
DEFAULT = (
  *('tests', 'regularizers'),
  *(f'--ignore=tests/{name}' for name in ('experiments', 'faults', 'benchmarks')),
)

nox.options.sessions = ('newest', 'lowest', 'wheel')
nox.options.default_venv_backend = 'venv'


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
  """With whatever pip resolves to."""
  session.install('-e', f'.[{EXTRAS}]')
  _test(session)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
  """Every requirement at its lower bound."""
  lines = [f'{name}=={version}\n' for name, version in lower_bounds(EXTRAS).items()]
  path = pathlib.Path(session.create_tmp()) / 'lowest.txt'
  path.write_text(''.join(lines), encoding='utf-8')
  session.install('-e', f'.[{EXTRAS}]', '-c', str(path))
  _test(session)


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


def _test(session: nox.Session) -> None:
  session.run('python', '-c', 'import jax, sys; print(sys.version, jax.__version__)')
  session.run('pytest', '-q', '-n', '2', *(session.posargs or DEFAULT))


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
