"""A collection in a directory: what benchmarks hold, whatever wrote it.

DIRECTORY/BENCHMARK/...json            tasks of Super-NaturalInstructions
DIRECTORY/BENCHMARK/...jsonl           metaseq, MetaICL or UnifiedSKG, by its fields
DIRECTORY/BENCHMARK/...tsv             FLAN's chains of thought
DIRECTORY/BENCHMARK/...templates.yaml  PromptSource, with its data beside it: *.jsonl
DIRECTORY/BENCHMARK/categories.json    categories of tasks: {"task": "category", ...}
DIRECTORY/...                          the same, of a benchmark named by the directory

Where nothing says a task's category, it is the benchmark's name.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from experiments.datasets import files
from experiments.datasets.instructions import (
  flan,
  lines,
  metaicl,
  metaseq,
  natural,
  promptsource,
  unifiedskg,
)
from experiments.datasets.instructions.collection import Collection, InstructionTask
from experiments.datasets.instructions.lines import Named
from experiments.errors import InputError

_CATEGORIES = 'categories.json'
_BESIDE = {_CATEGORIES, 'templates.json'}
_SPLIT = r'train|dev|valid|validation|test'
_LINES = (metaseq, unifiedskg, metaicl)
_SUFFIXES = {'.json', '.jsonl', '.tsv', '.yaml'}


@dataclasses.dataclass(frozen=True)
class _Source:
  """What one task is made of."""

  benchmark: str
  name: str
  paths: tuple[pathlib.Path, ...]


def read(directory: pathlib.Path, *, strict: bool = True) -> Collection:
  """All tasks below a directory.

  Args:
    directory: each directory in it is a benchmark; without one, it is one itself.
    strict: what cannot be read is an error, not left out and listed.

  Raises:
    InputError: there is no task, two have one name, or a file is at fault.
  """
  if not directory.is_dir():
    fault = 'is a file' if directory.exists() else 'is not there'
    raise InputError(f'{directory}: expected a directory of tasks: it {fault}')
  tasks: dict[str, InstructionTask] = {}
  skipped: list[str] = []
  categories = functools.cache(_categories)  # one file for all tasks of a benchmark
  for source in _sources(directory):
    inner = source.paths[0].relative_to(directory).parts
    root = directory / inner[0] if len(inner) > 1 else directory
    try:
      _check_name(source)
      task = _task(source, categories(root), strict, skipped)
      if task.id in tasks:
        raise InputError(f'{source.paths[0]}: a second task {task.id}')
    except InputError as error:
      if strict:
        raise
      skipped.append(str(error))
      continue
    tasks[task.id] = task
  if not tasks:
    more = f'; {len(skipped)} left out, the first: {skipped[0]}' if skipped else ''
    raise InputError(
      f'{directory}: no task in any .json, .jsonl, .tsv or templates.yaml in it{more}'
    )
  return Collection(tuple(tasks[name] for name in sorted(tasks)), tuple(skipped))


def counts(collection: Collection, most: int | None = None) -> str:
  """A line a category: tasks and examples; then what was left out, ``most`` of it."""
  found = []
  for benchmark, categories in collection.counts.items():
    tasks, examples = (sum(row[i] for row in categories.values()) for i in (0, 1))
    found.append(f'{benchmark}: {tasks} tasks, {examples} examples')
    found += [
      f'  {category}: {row[0]} tasks, {row[1]} examples'
      for category, row in sorted(categories.items())
    ]
  skipped = collection.skipped
  found += [f'left out: {line}' for line in skipped[:most]]
  if most is not None and len(skipped) > most:
    found.append(f'left out: {len(skipped) - most} more')
  return '\n'.join(found)


def _sources(directory: pathlib.Path) -> list[_Source]:
  paths = sorted(
    path
    for path in directory.rglob('*')
    if path.suffix in _SUFFIXES and path.name not in _BESIDE and path.is_file()
  )
  templates = [path for path in paths if path.name == promptsource.FILE]
  filled = {path.parent for path in templates}
  found: dict[tuple[str, str, pathlib.Path | None], list[pathlib.Path]] = {}
  for path in paths:
    key: tuple[str, str, pathlib.Path | None]
    inner = path.relative_to(directory).parts
    benchmark = inner[0] if len(inner) > 1 else directory.name
    if path.suffix == '.yaml':
      if path not in templates:
        continue
      key = benchmark, '', path.parent
    elif path.suffix == '.json':
      key = benchmark, path.stem, path
    elif path.suffix == '.jsonl' and path.parent in filled:
      key = benchmark, '', path.parent
    else:
      key = benchmark, _name(path), None
    found.setdefault(key, []).append(path)
  return [_Source(key[0], key[1], tuple(own)) for key, own in found.items()]


def _name(path: pathlib.Path) -> str:
  """Of a task, without a split, a number of examples and a seed."""
  if re.fullmatch(_SPLIT, path.stem):
    return path.parent.name
  return re.sub(rf'(_\d+_\d+)?_({_SPLIT})$', '', path.stem) or path.stem


def _check_name(source: _Source) -> None:
  """Tasks are drawn and told apart by the bytes of their names."""
  try:
    f'{source.benchmark}/{source.name}'.encode()
  except UnicodeEncodeError as error:
    place = str(source.paths[0])
    raise InputError(f'expected a name in UTF-8, found {place!r}') from error


def _task(
  source: _Source,
  categories: Mapping[str, str] | None,
  strict: bool,
  skipped: list[str],
) -> InstructionTask:
  first = source.paths[0]
  if first.suffix == '.json':
    task = natural.read(first, source.benchmark, None if strict else skipped)
  elif not source.name:
    own = [path for path in source.paths if path.suffix == '.yaml'][0]
    data = [path for path in source.paths if path.suffix != '.yaml']
    task, notes = promptsource.read(own, data, source.benchmark, strict=strict)
    skipped += notes
  else:
    named = Named(source.name, source.benchmark, source.benchmark)
    task = _reader(source)(source.paths, named, None if strict else skipped)
  if categories is None:
    return task
  if task.name not in categories:
    raise InputError(f'{first}: task {task.name}: not in {_CATEGORIES}')
  return dataclasses.replace(task, category=categories[task.name])


def _reader(
  source: _Source,
) -> Callable[[Sequence[pathlib.Path], Named, list[str] | None], InstructionTask]:
  """By the end of the name, or the fields of the first line."""
  first = source.paths[0]
  if first.suffix == '.tsv':
    return flan.read
  faults = [f'{first}: task {source.name}: no examples']
  for where, line in _numbered(source):
    try:
      content = lines.fields(line)
    except InputError as error:
      faults.insert(-1, f'{where}: {error}')
      continue
    for module in _LINES:
      if module.FIELDS.issubset(content):
        return module.read
    raise InputError(
      f'{where}: expected src and tgt (metaseq), input and output (MetaICL) or seq_in '
      f'and seq_out (UnifiedSKG), got {", ".join(content) or "none"}'
    )
  raise InputError(faults[0])


def _numbered(source: _Source) -> Iterator[tuple[str, str]]:
  for path in source.paths:
    yield from lines.numbered(path, source.name)


def _categories(root: pathlib.Path) -> Mapping[str, str] | None:
  path = root / _CATEGORIES
  if not path.exists():
    return None
  found = files.json_value(path)
  if not isinstance(found, dict) or not all(isinstance(c, str) for c in found.values()):
    raise InputError(f'{path}: expected {{"task": "category", ...}}')
  return found
