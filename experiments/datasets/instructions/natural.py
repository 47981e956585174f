"""Tasks of Super-NaturalInstructions: one JSON file each (Wang et al., 2022).

What its history holds is read: a definition that is a string or a list of them, outputs
that are a string or a list, instances without ids, and files without domains, negative
examples or licence. "Alternative Definitions" are further instructions.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.datasets import files
from experiments.datasets.instructions.collection import (
  Demonstration,
  Example,
  InstructionTask,
)
from experiments.errors import InputError

BENCHMARK = 'super_natural_instructions'


def read(
  path: pathlib.Path, benchmark: str = BENCHMARK, skipped: list[str] | None = None
) -> InstructionTask:
  """The task of a file.

  Args:
    path: of the file.
    benchmark: that the task is of.
    skipped: gets a line for each instance that is left out; None: it is an error.

  Raises:
    InputError: it is not JSON or not of this schema; it has no instances, or one
      without an answer.
  """
  content = _json(path)
  name = path.stem
  definitions = [*_texts(content, 'Definition', path)]
  definitions += _texts(content, 'Alternative Definitions', path, required=False)
  if not any(text.strip() for text in definitions):
    raise InputError(f'{path}: task {name}: an empty Definition')
  categories = _texts(content, 'Categories', path)
  if not categories:
    raise InputError(f'{path}: task {name}: no Categories')
  return InstructionTask(
    name=name,
    benchmark=benchmark,
    category=categories[0],
    instructions=tuple(text for text in definitions if text.strip()),
    examples=_examples(content, name, path, skipped),
    positive=_demonstrations(content, 'Positive Examples', path),
    negative=_demonstrations(content, 'Negative Examples', path),
    sources=tuple(_texts(content, 'Source', path, required=False)),
    urls=tuple(_texts(content, 'URL', path, required=False)),
  )


def is_task(content: Any) -> bool:
  """Whether a JSON value looks like such a file."""
  return isinstance(content, Mapping) and {'Definition', 'Instances'} <= {*content}


def _json(path: pathlib.Path) -> Mapping[str, Any]:
  text = files.decode(files.read(path), path)
  if not text.strip():
    raise InputError(f'{path}: an empty file')
  try:
    content = files.parsed(text)
  except ValueError as error:
    raise InputError(f'{path}: not JSON ({error})') from error
  if not is_task(content):
    raise InputError(f'{path}: expected an object with Definition and Instances')
  found: Mapping[str, Any] = content
  return found


def _examples(
  content: Mapping[str, Any],
  task: str,
  path: pathlib.Path,
  skipped: list[str] | None,
) -> tuple[Example, ...]:
  instances = content['Instances']
  if not isinstance(instances, list) or not instances:
    raise InputError(f'{path}: task {task}: no Instances')
  found: dict[str, Example] = {}
  for place, instance in enumerate(instances):
    try:
      example = _example(instance, f'{task}-{place}')
      if example.name in found:
        raise InputError(f'id {example.name} is that of an earlier one')
    except InputError as error:
      fault = f'{path}: task {task}: instance {place}: {error}'
      if skipped is None:
        raise InputError(fault) from error
      skipped.append(fault)
      continue
    found[example.name] = example
  if not found:
    raise InputError(f'{path}: task {task}: no Instances that can be used')
  return tuple(found.values())


def _example(instance: Any, name: str) -> Example:
  if not isinstance(instance, Mapping) or not isinstance(instance.get('input'), str):
    raise InputError('expected an object with input and output')
  outputs = _strings(instance.get('output'))
  if not outputs or not all(text.strip() for text in outputs):
    raise InputError('expected an output that is not empty')
  return Example(str(instance.get('id') or name), instance['input'], tuple(outputs))


def _demonstrations(
  content: Mapping[str, Any], key: str, path: pathlib.Path
) -> tuple[Demonstration, ...]:
  result = []
  given = content.get(key) or []
  if not isinstance(given, list):
    raise InputError(f'{path}: {key}: expected a list')
  for place, shown in enumerate(given):
    texts = shown if isinstance(shown, Mapping) else {}
    outputs = _strings(texts.get('output'))
    if not isinstance(texts.get('input'), str) or not outputs:
      raise InputError(f'{path}: {key}: {place}: expected input and output')
    why = str(texts.get('explanation') or '')
    result.append(Demonstration(texts['input'], outputs[0], why))
  return tuple(result)


def _texts(
  content: Mapping[str, Any], key: str, path: pathlib.Path, required: bool = True
) -> Sequence[str]:
  value = content.get(key)
  if value is None and not required:
    return []
  found = _strings(value)
  if found is None:
    raise InputError(f'{path}: {key}: expected a text or a list of texts')
  return found


def _strings(value: Any) -> list[str] | None:
  if isinstance(value, str):
    return [value]
  if isinstance(value, list) and all(isinstance(text, str) for text in value):
    return value
  return None
