"""Files of MetaICL and CrossFit: ``{"task", "input", "output", "options"}`` a line.

TASK_K_SEED_SPLIT.jsonl; draws by other seeds hold the same examples, which count once.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from experiments.datasets.instructions import lines
from experiments.datasets.instructions.collection import Example, InstructionTask
from experiments.errors import InputError

FIELDS = frozenset({'input', 'output'})


def read(
  paths: Sequence[pathlib.Path], named: lines.Named, skipped: list[str] | None = None
) -> InstructionTask:
  """The task of its files; see ``lines.task``."""

  def made(line: str) -> lines.Made:
    content = lines.fields(line)
    # Demonstrations would be those of another task.
    if (own := content.get('task', named.name)) != named.name:
      raise InputError(f'an example of another task, {own!r}')
    answer, options = lines.text(content, 'output'), content.get('options') or []
    if not isinstance(options, list) or not all(isinstance(o, str) for o in options):
      raise InputError('options: expected a list of texts')
    if options and answer not in options:
      raise InputError(f'output: {answer!r} is none of the options')
    return lines.Made(
      lines.text(content, 'input'), answer, tuple(dict.fromkeys(options))
    )

  task = lines.task(named, paths, made, skipped)
  distinct: dict[object, Example] = {}
  for example in task.examples:
    distinct.setdefault((example.input, example.outputs, example.options), example)
  return dataclasses.replace(task, examples=tuple(distinct.values()))
