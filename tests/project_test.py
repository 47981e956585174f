"""Rules of the project that no linter knows: who may import whom, and how long."""

import ast
import configparser
import contextlib
import importlib.metadata
import importlib.util
import inspect
import io
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

import regularizers

ROOT = pathlib.Path(__file__).parent.parent
MAX_FILE, MAX_FUNCTION = 400, 60

# Each layer of the library may import the layers before it, never itself or later ones.
LAYERS = (
  {'collectives', 'dtypes'},
  {'checks', 'kernels', 'values', 'reductions'},
  {'categorical', 'linear_checks'},
  {'divergence', 'loss'},
  {'plain'},
  {'base'},
  {'linear'},
  {'chunks'},
)


def sources(*folders: str) -> list[pathlib.Path]:
  return sorted(path for folder in folders for path in (ROOT / folder).rglob('*.py'))


def dotted(path: pathlib.Path) -> str:
  name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
  return name.removesuffix('.__init__')


def exists(module: str) -> bool:
  path = ROOT.joinpath(*module.split('.'))
  return path.with_suffix('.py').exists() or (path / '__init__.py').exists()


def imports(path: pathlib.Path) -> Iterator[str]:
  """Every module that `path` imports, at the top or inside a function."""
  package = dotted(path).split('.')
  if path.name != '__init__.py':
    package = package[:-1]
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      parent = package[: len(package) - node.level + 1] if node.level else []
      module = '.'.join(parent + ([node.module] if node.module else []))
      for alias in node.names:
        submodule = f'{module}.{alias.name}'
        yield submodule if exists(submodule) else module


def edges(*folders: str) -> list[tuple[str, str]]:
  return [(dotted(p), module) for p in sources(*folders) for module in imports(p)]


def within(module: str, *packages: str) -> bool:
  return any(module == p or module.startswith(p + '.') for p in packages)


def test_library_imports_jax_alone():
  stdlib = sys.stdlib_module_names
  for module, imported in edges('regularizers'):
    # numpy comes with jax, and `import jax` has imported it already.
    allowed = {'jax', 'numpy', 'regularizers'}
    if within(module, 'regularizers.nn'):
      allowed.add('flax')
    top = imported.split('.')[0]
    assert top in allowed | stdlib, f'{module} imports {imported}'


def test_library_layers_point_one_way():
  def layer(module: str) -> int | None:
    name = module.split('.')[1]
    return next((i for i, names in enumerate(LAYERS) if name in names), None)

  for module, imported in edges('regularizers'):
    if not within(imported, 'regularizers') or module == 'regularizers':
      continue
    assert imported != 'regularizers', f'{module} imports the package that imports it'
    if module.split('.')[1] == imported.split('.')[1]:
      continue
    below = layer(imported)
    above = layer(module)
    assert below is not None, f'{module} imports {imported}, which is no lower layer'
    assert above is None or below < above, f'{module} imports {imported}'


def test_experiments_import_direction():
  parts = {
    'experiments.models': 'regularizers.nn',
    'experiments.scores': 'regularizers.metrics',
    'experiments.datasets': None,
  }
  programs = {dotted(p) for p in sources('experiments') if 'def main(' in p.read_text()}
  for module, imported in edges('experiments'):
    for part, library in parts.items():
      if within(module, part) and within(imported, 'experiments', 'regularizers'):
        allowed = [part, 'experiments.errors'] + ([library] if library else [])
        assert within(imported, *allowed), f'{module} imports {imported}'
    if within(module, 'experiments.train', 'experiments.task'):
      assert imported not in programs, f'{module} knows the experiment {imported}'


def test_the_site_has_the_flags_of_every_experiment():
  tree = ast.parse((ROOT / 'docs' / 'hooks.py').read_text())
  named = [
    constant.value
    for node in tree.body
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'PROGRAMS'
    for constant in ast.walk(node.value)
    if isinstance(constant, ast.Constant)
  ]
  found = [
    p for p in (ROOT / 'experiments').glob('*.py') if 'def main(' in p.read_text()
  ]
  # The report has no configuration of an experiment.
  assert sorted(named) == sorted({path.stem for path in found} - {'report'})


def test_the_site_names_the_figures_of_every_benchmark():
  named = re.findall(r'benchmarks/results/(\w+)\.md', (ROOT / 'mkdocs.yml').read_text())
  found = (ROOT / 'benchmarks' / 'results').glob('*.md')
  assert sorted(named) == sorted(path.stem for path in found)


def test_links_lead_somewhere():
  """Of the pages that are read in the repository; mkdocs looks after docs/."""
  pages = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'examples/README.md']
  for page in pages + sorted((ROOT / 'results').glob('*/README.md')):
    for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
      if not link.startswith(('http', '#')):
        assert (page.parent / link.split('#')[0]).exists(), f'{page}: {link}'


def hooks() -> ModuleType:
  pytest.importorskip('mkdocs')
  spec = importlib.util.spec_from_file_location('hooks', ROOT / 'docs' / 'hooks.py')
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize(
  ('body', 'told'),
  [
    ('<a href="b.html#there">b</a> <a href="https://x.org">x</a> <img src="d/">', ''),
    ('<a href="c.html">c</a>', 'c.html leads nowhere'),
    ('<a href="b.html#gone">b</a>', 'b.html#gone leads nowhere'),
    ('<a href="#gone">a</a>', '#gone leads nowhere'),
    ('<img src="d.png">', 'd.png leads nowhere'),
    ('<p>((value,</p> <p>aux)`` is</p>', 'torn: ((value, aux)`` is'),
    ('<pre>x = [``]</pre>', ''),
  ],
)
def test_the_site_warns_of_what_is_broken(
  body: str, told: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
):
  (tmp_path / 'd').mkdir()
  pages = {'a.html': body, 'b.html': '<p id="there">', 'd/index.html': '<p>'}
  for name, text in pages.items():
    (tmp_path / name).write_text(text)
  hooks().on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
  assert caplog.messages == ([f'a.html: {told}'] if told else [])


def test_the_reference_names_what_one_types():
  """Every public name once, and no file of the library in front of it."""
  headings = re.findall(r'(?m)^(?:::: |      heading: )(.+)$', hooks().reference())
  for name in regularizers.__all__:
    if not inspect.ismodule(getattr(regularizers, name)):
      assert headings.count(f'regularizers.{name}') == 1, name
  assert 'regularizers.nn.LSTM' in headings
  assert 'regularizers.exchange.Local' in headings


def test_every_public_function_has_an_example():
  for name in regularizers.__all__:
    value = getattr(regularizers, name)
    documented = value if inspect.isroutine(value) else type(value)
    if not inspect.isclass(value) and not inspect.ismodule(value):
      assert 'Example:' in (inspect.getdoc(documented) or ''), name


def requirements(*extras: str) -> set[str]:
  config = configparser.ConfigParser()
  config.read(ROOT / 'setup.cfg')
  lines = config['options']['install_requires']
  for extra in extras:
    lines += config['options.extras_require'][extra]
  names = re.findall(r'^([A-Za-z0-9_.-]+)', lines, re.MULTILINE)
  return {name.lower().replace('_', '-') for name in names}


@pytest.mark.parametrize(
  ('folder', 'extras'),
  [
    ('experiments', ['experiments', 'speech']),
    ('benchmarks', ['experiments', 'benchmarks']),
    ('examples', ['examples']),
    ('tests', ['experiments', 'speech', 'examples', 'notebooks', 'test', 'oracles']),
  ],
)
def test_imports_are_declared(folder: str, extras: list[str]):
  declared = requirements(*extras)
  distributions = importlib.metadata.packages_distributions()
  ours = {'regularizers', 'experiments', 'examples', 'benchmarks'}
  ours |= {path.stem for path in sources(folder)}
  for module, imported in edges(folder):
    top = imported.split('.')[0]
    if top in ours or top in sys.stdlib_module_names:
      continue
    providers = {n.lower().replace('_', '-') for n in distributions.get(top, [top])}
    assert providers & declared, f'{module} imports {imported}: not in setup.cfg'


FOLDERS = 'regularizers', 'experiments', 'examples', 'benchmarks'
# What runs whatever is in a file that it is given.
RUNS_FILES = {'pickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal'}
NETWORK = {'socket', 'http', 'urllib.request', 'requests', 'httpx', 'aiohttp', 'ftplib'}
FORBIDDEN_CALLS = {
  *('eval', 'exec', 'os.system', 'os.popen', 'torch.load', 'pandas.read_pickle'),
  *('yaml.full_load', 'yaml.unsafe_load', 'yaml.load_all', 'jinja2.Environment'),
  *('jinja2.Template', 'jinja2.sandbox.ImmutableSandboxedEnvironment'),
}


def calls(path: pathlib.Path) -> Iterator[tuple[str, ast.Call]]:
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call):
      yield ast.unparse(node.func), node


def test_no_file_is_run():
  """No pickles, no templates outside of the sandbox, no YAML that makes objects."""
  for module, imported in edges(*FOLDERS):
    assert not within(imported, *RUNS_FILES), f'{module} imports {imported}'
  for path in sources(*FOLDERS):
    for name, call in calls(path):
      assert name not in FORBIDDEN_CALLS, f'{path}: {name}'
      given = {own.arg: own.value for own in call.keywords}
      for option in given.keys() & {'allow_pickle', 'shell'}:
        assert ast.unparse(given[option]) == 'False', f'{path}: {name}'
      if name in {'np.load', 'numpy.load'}:
        assert 'allow_pickle' in given, f'{path}: {name}'
      if name == 'yaml.load':
        loader = ast.unparse(call.args[1])
        assert f'class {loader}(yaml.SafeLoader):' in path.read_text(), path


def test_one_module_alone_asks_the_network():
  """Of a data set that was asked for, and the catalogue that has it."""
  asking = {module for module, own in edges(*FOLDERS) if within(own, *NETWORK)}
  assert asking == {'experiments.datasets.mnist'}


def test_import_adds_nothing_heavy_to_jax():
  code = (
    'import sys, jax; before = set(sys.modules); import regularizers; '
    'print(*sorted(set(sys.modules) - before))'
  )
  command = [sys.executable, '-c', code]
  added = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
  for module in added.stdout.split():
    top = module.split('.')[0]
    assert top in {'regularizers', 'jax', 'jaxlib'} | sys.stdlib_module_names, module
    assert not within(module, 'jax.experimental.pallas', 'jax.experimental.sparse')
    assert not within(module, 'regularizers.exchange', 'regularizers.nn'), 'too early'


@pytest.mark.parametrize(
  'use', ['reg.nn', 'import regularizers.nn', 'from regularizers import nn']
)
def test_without_flax_only_nn_is_missing(use: str):
  code = (
    "import sys; sys.modules['flax'] = None; import regularizers as reg; "
    f'from regularizers import *; cross_entropy; exchange.Local; {use}'
  )
  command = [sys.executable, '-c', code]
  run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  said = run.stderr.splitlines()[-1]
  assert said == 'ModuleNotFoundError: regularizers.nn needs flax: pip install flax'


@pytest.mark.parametrize(
  'path',
  sources('regularizers', 'experiments', 'examples', 'benchmarks', 'tests'),
  ids=dotted,
)
def test_lengths(path: pathlib.Path):
  text = path.read_text()
  assert len(text.splitlines()) <= MAX_FILE
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
      docstring = ast.get_docstring(node, clean=False) or ''
      length = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
      assert length <= MAX_FUNCTION, f'{node.name} has {length} lines'


def test_version_and_typing_marker():
  changelog = (ROOT / 'CHANGELOG.md').read_text()
  newest = re.search(r'^## (\d+\.\d+\.\d+)', changelog, re.MULTILINE)
  assert newest is not None
  assert newest[1] == regularizers.__version__
  assert (ROOT / 'regularizers' / 'py.typed').exists()


def test_public_names_exist_once():
  names = regularizers.__all__
  assert len(names) == len(set(names))
  for name in names:
    assert hasattr(regularizers, name), name
  assert {*dir(regularizers)} == {*names, 'nn'}
  assert regularizers.nn.LSTM


@pytest.mark.parametrize(
  'page',
  [
    *('README.md', 'docs/index.md', 'docs/extending.md', 'docs/scaling.md'),
  ],
)
def test_documented_code_runs(page: str):
  """A page's python blocks run in order; a text block is what the one before prints."""
  text = (ROOT / page).read_text()
  blocks = list(re.finditer(r'(?ms)^```(python|text)\n(.*?)^```$', text))
  assert blocks
  namespace: dict[str, object] = {'__name__': page}
  printed = ''
  for block in blocks:
    language, code = block.groups()
    if language == 'text':
      assert printed == code
      printed = ''
      continue
    assert not printed, f'{page}: what is printed does not follow: {printed}'
    output = io.StringIO()
    # Blank lines before it, so that an error names the page's own line.
    above = '\n' * text[: block.start(2)].count('\n')
    with contextlib.redirect_stdout(output):
      exec(compile(above + code, page, 'exec'), namespace)
    printed = output.getvalue()
  assert not printed, f'{page}: what is printed does not follow: {printed}'
