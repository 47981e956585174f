"""Metaseq's files of prompts: ``{"src": ..., "tgt": ...}``, one file a task.

An empty ``src`` is text that is all learned, a dialogue, say (Iyer et al., 2022, table
6).
"""

import pathlib
from collections.abc import Iterator, Sequence

from experiments.datasets.instructions import lines
from experiments.datasets.instructions.collection import Example, InstructionTask
from experiments.datasets.instructions.lines import Named

FIELDS = frozenset({'src', 'tgt'})


def read(paths: Sequence[pathlib.Path], named: Named) -> InstructionTask:
  """The task of its shards, in their order.

  Raises:
    InputError: a line is no such object, or its target is empty.
  """
  return lines.task(named, _examples(paths, named.name), paths)


def _examples(paths: Sequence[pathlib.Path], name: str) -> Iterator[Example]:
  count = 0
  for path in paths:
    for where, content in lines.objects(path, name):
      source = lines.text(content, 'src', where, empty=True)
      yield Example(f'{name}-{count}', source, (lines.text(content, 'tgt', where),))
      count += 1
