"""What mkdocs takes from the code and the records when it builds: nothing is copied.

Pages of docs/ link to files of the repository as ``../results/...``, which also works
where docs/ is read as it is; in the site these files lie beside the pages.
"""

import dataclasses
import html.parser
import importlib
import inspect
import logging
import pathlib
import re
import sys
import urllib.parse

from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parent.parent
INCLUDED = (
  *('results/**/*.md', 'results/**/*.png'),
  *('benchmarks/results/*', 'examples/README.md', 'examples/*.py'),
  'CONTRIBUTING.md',
)
PROGRAMS = (
  *('mnist', 'cifar10', 'ptb', 'ptb_batch_norm', 'wmt', 'timit', 'wsj'),
  *('codistillation', 'codistillation_batches', 'instructions'),
  'instruction_ablations',
)
# What signatures name and no function or class is.
TYPES = {
  'regularizers.base': ('Penalty', 'Transform', 'AddPenalty'),
  'regularizers.values': ('Schedule', 'ScalarOrSchedule'),
  'regularizers.metrics': ('Average', 'Mask'),
  'regularizers.collectives': ('AxisName',),
  'regularizers.exchange.peers': ('PyTree',),
  'regularizers.nn.recurrent': ('Carry',),
  'regularizers.nn.initial': ('Initializer',),
}
_CODE = 'code', 'pre', 'script', 'style'  # tags whose text is no prose
LOG = logging.getLogger('mkdocs.hooks')  # --strict counts its warnings


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


def on_page_markdown(markdown: str, page, files, **_) -> str:
  """Links out of docs/, or into it, lead into the site; those to records are named."""
  own = pathlib.PurePosixPath(page.file.src_uri)
  if len(own.parts) == 1 and page.file.abs_src_path is not None:
    markdown = markdown.replace('](../', '](').replace('](docs/', '](')

  def known(match: re.Match) -> str:
    text, target = match.groups()
    path = (ROOT / own.parent / target.split('#')[0]).resolve()
    if not path.exists() or path == ROOT:
      return match[0]
    name = path.relative_to(ROOT).as_posix()
    return match[0] if files.get_file_from_path(name) else f'{text} (`{name}`)'

  return re.sub(r'(?<!!)\[([^\]]+)\]\(([^)\s:]+)\)', known, markdown)


def on_post_build(config) -> None:
  """Warns of links that lead nowhere, and of marks of code that were torn."""
  site = pathlib.Path(config.site_dir)
  pages = {path: _Page(path) for path in sorted(site.rglob('*.html'))}
  for path, page in pages.items():
    if '``' in page.prose:
      LOG.warning(f'{path.relative_to(site)}: torn: {page.around("``")}')
    for link in sorted(page.links):
      parts = urllib.parse.urlsplit(link)
      if parts.scheme or parts.netloc:
        continue
      name = urllib.parse.unquote(parts.path)
      base = site if name.startswith('/') else path.parent
      target = (base / name.lstrip('/')).resolve() if name else path
      target = target / 'index.html' if target.is_dir() else target
      ids = pages[target].ids if target in pages else {parts.fragment}
      if not target.exists() or (parts.fragment and parts.fragment not in ids):
        LOG.warning(f'{path.relative_to(site)}: {link} leads nowhere')


class _Page(html.parser.HTMLParser):
  """The links, the places that links may lead to, and the text that is no code."""

  def __init__(self, path: pathlib.Path):
    super().__init__()
    self.links: set[str] = set()
    self.ids: set[str] = set()
    self.prose, self._code = '', 0
    self.feed(path.read_text())

  def around(self, mark: str) -> str:
    """The line of the text that has it."""
    return next(line for line in self.prose.splitlines() if mark in line)

  def handle_starttag(self, tag: str, attrs) -> None:
    given = {key: value for key, value in attrs if value}
    self.links |= {given[key] for key in ('href', 'src') if key in given}
    self.ids |= {given[key] for key in ('id', 'name') if key in given}
    self._code += tag in _CODE

  def handle_endtag(self, tag: str) -> None:
    self._code -= tag in _CODE

  def handle_data(self, data: str) -> None:
    if not self._code:
      self.prose += data


def flags() -> str:
  """Every experiment's first words, and its flags: the fields of its configuration."""
  parts = ['# Experiments and their flags', _FLAGS]
  for name in PROGRAMS:
    module = importlib.import_module(f'experiments.{name}')
    parts += [f'## {name}', f'```text\n{inspect.getdoc(module)}\n```']
    head = ['| flag | takes | what it is |', '|---|---|---|']
    parts.append('\n'.join([*head, *_rows(module)]))
  return '\n\n'.join(parts) + '\n'


_FLAGS = """Generated from the programs' configurations. The default of a flag that
has none here depends on the data set: `python -m experiments.NAME --helpfull` says
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
  """All public names as one types them, by the file that they stand in."""
  import regularizers as reg

  by_file: dict[str, list[str]] = {}
  for name in reg.__all__:
    value = getattr(reg, name)
    if inspect.ismodule(value):
      by_file[value.__name__] = [f'{name}.{own}' for own in _public(value)]
    else:
      by_file.setdefault(value.__module__, []).append(name)
  nn = importlib.import_module('regularizers.nn')
  by_file['regularizers.nn'] = [f'nn.{own}' for own in _public(nn)]
  parts = ['# Reference']
  for home, names in sorted(by_file.items()):
    first = (inspect.getdoc(importlib.import_module(home)) or '').split('\n\n')[0]
    parts += [f'## {home.removeprefix("regularizers.")}', first]
    parts += [_entry(f'regularizers.{name}') for name in names]
  parts += ['## Types in signatures']
  for home, names in TYPES.items():
    parts += [_directive(f'{home}.{name}', name) for name in names]
  return '\n\n'.join(parts) + '\n'


def _entry(path: str) -> str:
  """The directive for a public name, whose heading is what one types."""
  from regularizers.loss import Loss

  module, _, name = path.rpartition('.')
  value = getattr(importlib.import_module(module), name)
  if inspect.ismodule(sys.modules.get(path)):  # a file of this name, which griffe reads
    home = f'{value.__module__}.{name}'
    return _directive(home, path, 'separate_signature: true')
  if isinstance(value, Loss):  # what it is stands at its class
    parser = 'warn_unknown_params: false, warn_missing_types: false'
    home = f'{type(value).__module__}.{type(value).__name__}'
    return _directive(
      home, path, f'docstring_options: {{{parser}, returns_multiple_items: false}}'
    )
  return _directive(path)


def _directive(path: str, heading: str = '', *options: str) -> str:
  lines = [f'::: {path}', '    options:', '      heading_level: 3']
  if heading:
    lines += [f'      heading: {heading}']
    lines += [f'      toc_label: {heading.rpartition(".")[2]}']
  return '\n'.join([*lines, *(f'      {option}' for option in options)])
