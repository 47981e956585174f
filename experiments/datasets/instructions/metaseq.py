"""Metaseq's files of prompts: ``{"src": ..., "tgt": ...}``, one file a task.

An empty ``src`` is text that is all learned, a dialogue, say (Iyer et al., 2022, table
6).
"""

import pathlib
from collections.abc import Sequence

from experiments.datasets.instructions import lines
from experiments.datasets.instructions.collection import InstructionTask

FIELDS = frozenset({'src', 'tgt'})


def read(
  paths: Sequence[pathlib.Path], named: lines.Named, skipped: list[str] | None = None
) -> InstructionTask:
  """The task of its shards; see ``lines.task``."""
  return lines.task(named, paths, _made, skipped)


def _made(line: str) -> lines.Made:
  content = lines.fields(line)
  return lines.Made(lines.text(content, 'src', empty=True), lines.text(content, 'tgt'))
