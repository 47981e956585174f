"""Examples one a line, each with where it stands: file, line and task."""

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.datasets import files
from experiments.datasets.instructions.collection import Example, InstructionTask
from experiments.errors import InputError


class Named(NamedTuple):
  """What the place of a file says of its task."""

  name: str
  benchmark: str
  category: str


def numbered(path: pathlib.Path, task: str) -> Iterator[tuple[str, str]]:
  """Lines that are not empty, each behind where it is."""
  for number, line in enumerate(files.lines(files.decode(files.read(path), path)), 1):
    if line.strip():
      yield f'{path}:{number}: task {task}', line


def objects(path: pathlib.Path, task: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """JSON objects, one a line.

  Raises:
    InputError: a line is no JSON object.
  """
  for where, line in numbered(path, task):
    try:
      content = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise InputError(f'{where}: not JSON ({error})') from error
    if not isinstance(content, dict):
      raise InputError(f'{where}: expected a JSON object, got {line[:60]!r}')
    yield where, content


def text(
  content: Mapping[str, Any], name: str, where: str, *, empty: bool = False
) -> str:
  """A field that holds a text.

  Raises:
    InputError: it holds none, or one that is empty.
  """
  found = content.get(name)
  if not isinstance(found, str):
    given = 'nothing' if found is None else repr(found)[:60]
    raise InputError(f'{where}: {name}: expected a text, got {given}')
  if not empty and not found.strip():
    raise InputError(f'{where}: {name}: expected a text that is not empty')
  return found


def task(
  named: Named,
  examples: Iterable[Example],
  paths: Sequence[pathlib.Path],
  **more: Any,
) -> InstructionTask:
  """Of examples that are there.

  Raises:
    InputError: there are none.
  """
  found = tuple(examples)
  if not found:
    raise InputError(f'{paths[0]}: task {named.name}: no examples')
  return InstructionTask(named.name, named.benchmark, named.category, (), found, **more)
