"""Examples one a line; what is wrong with one is said with file, line and task."""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.datasets import files
from experiments.datasets.instructions.collection import Example, InstructionTask
from experiments.errors import InputError


class Named(NamedTuple):
  """What the place of a file says of its task."""

  name: str
  benchmark: str
  category: str


class Made(NamedTuple):
  """What a line says."""

  asked: str
  answer: str
  options: tuple[str, ...] = ()


def task(
  named: Named,
  paths: Sequence[pathlib.Path],
  made: Callable[[str], Made],
  skipped: list[str] | None = None,
) -> InstructionTask:
  """Of all lines of the files, in their order.

  Args:
    named: the task.
    paths: of its files.
    made: what a line says, or an ``InputError``.
    skipped: gets a line for each one that is left out; None: it is an error.

  Raises:
    InputError: a line is at fault, or there is none.
  """
  found: list[Example] = []
  for path in paths:
    for where, line in numbered(path, named.name):
      try:
        own = made(line)
      except InputError as error:
        if skipped is None:
          raise InputError(f'{where}: {error}') from error
        skipped.append(f'{where}: {error}')
        continue
      name = f'{named.name}-{len(found)}'
      found.append(Example(name, own.asked, (own.answer,), own.options))
  if not found:
    raise InputError(f'{paths[0]}: task {named.name}: no examples')
  return InstructionTask(named.name, named.benchmark, named.category, (), tuple(found))


def numbered(path: pathlib.Path, task: str) -> Iterator[tuple[str, str]]:
  """Lines that are not empty, each behind where it is."""
  for number, line in enumerate(files.lines(files.decode(files.read(path), path)), 1):
    if line.strip():
      yield f'{path}:{number}: task {task}', line


def fields(line: str) -> Mapping[str, Any]:
  """Of a JSON object.

  Raises:
    InputError: it is none.
  """
  try:
    content = files.parsed(line)
  except ValueError as error:
    raise InputError(f'not JSON ({error})') from error
  if not isinstance(content, dict):
    raise InputError(f'expected a JSON object, got {line[:60]!r}')
  return content


def text(content: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
  """A field that holds a text.

  Raises:
    InputError: it holds none, or one that is empty.
  """
  found = content.get(name)
  if not isinstance(found, str):
    given = 'nothing' if found is None else repr(found)[:60]
    raise InputError(f'{name}: expected a text, got {given}')
  if not empty and not found.strip():
    raise InputError(f'{name}: expected a text that is not empty')
  return found
