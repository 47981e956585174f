"""What mkdocs takes from the code and the records when it builds: nothing is copied.

Pages of docs/ link to files of the repository as ``../results/...``, which also works
where docs/ is read as it is; in the site these files lie beside the pages.
"""

import dataclasses
import importlib
import inspect
import pathlib
import sys

from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parent.parent
INCLUDED = (
  *('results/**/*.md', 'results/**/*.png', 'results/index.html'),
  *('benchmarks/results/*', 'examples/README.md', 'examples/*.py'),
  'CONTRIBUTING.md',
)
PROGRAMS = (
  *('mnist', 'cifar10', 'ptb', 'ptb_batch_norm', 'wmt', 'timit', 'wsj'),
  *('codistillation', 'codistillation_batches', 'instructions'),
  'instruction_ablations',
)


def on_files(files: Files, config) -> Files:
  """Adds the records' pages and pictures, the flags, and the reference."""
  sys.path.insert(0, str(ROOT))  # mkdocs takes back what a hook does while it is loaded
  for pattern in INCLUDED:
    for path in sorted(ROOT.glob(pattern)):
      uri = path.relative_to(ROOT).as_posix()
      files.append(File.generated(config, uri, abs_src_path=str(path)))
  files.append(File.generated(config, 'flags.md', content=flags()))
  files.append(File.generated(config, 'reference.md', content=reference()))
  return files


def on_page_markdown(markdown: str, page, **_) -> str:
  """Links out of docs/, or into it, lead into the site."""
  if '/' in page.file.src_uri or page.file.abs_src_path is None:
    return markdown
  return markdown.replace('](../', '](').replace('](docs/', '](')


def flags() -> str:
  """Every experiment's first words, and its flags: the fields of its configuration."""
  parts = ['# Experiments and their flags', _FLAGS]
  for name in PROGRAMS:
    module = importlib.import_module(f'experiments.{name}')
    parts += [f'## {name}', f'```text\n{inspect.getdoc(module)}\n```']
    head = ['| flag | takes | what it is |', '|---|---|---|']
    parts.append('\n'.join([*head, *_rows(module)]))
  return '\n\n'.join(parts) + '\n'


_FLAGS = """Made from the programs' own configurations. A flag without a default here
takes one that depends on the data set: `python -m experiments.NAME --helpfull` says
which."""


def _rows(module) -> list[str]:
  from experiments import config

  rows, takes = [], config.takes(module.Config)
  for field in dataclasses.fields(module.Config):
    default = field.default
    tail = '' if default in (None, '', ()) else f'; default: `{default}`'
    text = field.metadata['help'].replace('|', '\\|')
    rows.append(f'| `--{field.name}` | {takes[field.name]} | {text}{tail} |')
  return rows


def _public(module) -> list[str]:
  """Functions and classes of a module, or of the files that it gathers."""
  return [
    name
    for name, value in inspect.getmembers(module)
    if not name.startswith('_')
    and (inspect.isfunction(value) or inspect.isclass(value))
    and value.__module__.startswith(module.__name__)
  ]


def reference() -> str:
  """All public names, by the file that they stand in."""
  import regularizers as reg

  by_file: dict[str, list[str]] = {}
  for name in reg.__all__:
    value = getattr(reg, name)
    home = value.__name__ if inspect.ismodule(value) else value.__module__
    by_file.setdefault(home, []).append(name)
  by_file.setdefault('regularizers.nn', []).append('nn')
  parts = ['# Reference']
  for home, own in sorted(by_file.items()):
    module = importlib.import_module(home)
    whole = own == [home.rpartition('.')[2]] and inspect.ismodule(
      getattr(reg, own[0], module)
    )
    names = _public(module) if whole else own
    first = (inspect.getdoc(module) or '').split('\n\n')[0]
    parts += [f'## {home.removeprefix("regularizers.")}', first]
    parts += [f'::: {home}.{n}\n    options:\n      heading_level: 3' for n in names]
  return '\n\n'.join(parts) + '\n'
