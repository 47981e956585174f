"""FLAN's chains of thought: question, answer and explanation between tabs.

Each example is put into one of the task's templates, pairs of an input and a target
with ``{question}``, ``{answer}`` and ``{chain_of_thought}`` in them, as Chung et al.,
2022, have them. They stand beside the files: in FLAN's own templates.py, whose
``PATTERNS`` are read and never run, or in templates.json: ``{"gsm8k": [["...", "..."],
...]}``; ``*`` is for tasks that are not named.
"""

import ast
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets import files
from experiments.datasets.instructions import lines
from experiments.datasets.instructions.collection import InstructionTask
from experiments.errors import InputError

FIELDS = 'question', 'answer', 'chain_of_thought'
# What Python says of a program that it cannot read, or whose value is no literal.
_NO_LITERAL = ValueError, SyntaxError, TypeError, RecursionError, MemoryError
Patterns = Sequence[tuple[str, str]]
PLAIN: Patterns = (
  ('{question}\nSay why, then answer:', '{chain_of_thought}\nThe answer is {answer}.'),
)


def read(
  paths: Sequence[pathlib.Path], named: lines.Named, skipped: list[str] | None = None
) -> InstructionTask:
  """The task of its files; see ``lines.task``.

  Raises:
    InputError: a template is at fault, too.
  """
  patterns = _patterns(paths[0].parent, named.name)
  random = np.random.default_rng(tuple(named.name.encode()))

  def made(line: str) -> lines.Made:
    texts = [text.strip() for text in line.split('\t')]
    if len(texts) != len(FIELDS) or not all(texts):
      raise InputError('expected question, answer and explanation between tabs')
    asked, answer = patterns[int(random.integers(len(patterns)))]
    content = dict(zip(FIELDS, texts, strict=True))
    return lines.Made(_filled(asked, content), _filled(answer, content))

  return lines.task(named, paths, made, skipped)


def _filled(pattern: str, content: Mapping[str, str]) -> str:
  return re.sub(r'\{(\w+)\}', lambda found: content[found[1]], pattern)


def _patterns(directory: pathlib.Path, name: str) -> Patterns:
  for file in ('templates.json', 'templates.py'):
    path = directory / file
    if path.exists():
      found = _read(path)
      for key in (name, f'cot_{name}', '*'):
        if key in found:
          return _checked(found[key], f'{path}: {key}')
  return PLAIN


def _read(path: pathlib.Path) -> Mapping[str, Any]:
  text = files.decode(files.read(path), path)
  try:
    found = _assigned(text) if path.suffix == '.py' else files.parsed(text)
  except _NO_LITERAL as error:
    raise InputError(f'{path}: no templates can be read ({error})') from error
  if not isinstance(found, dict):
    raise InputError(f'{path}: expected templates by task')
  return found


def _assigned(text: str) -> Any:
  """What ``PATTERNS`` is in a program, if it is a literal."""
  for node in ast.parse(text).body:
    if isinstance(node, ast.Assign) and any(
      isinstance(target, ast.Name) and target.id == 'PATTERNS'
      for target in node.targets
    ):
      return ast.literal_eval(node.value)
  raise ValueError('no PATTERNS')


def _checked(patterns: Any, where: str) -> Patterns:
  found = []
  for pattern in patterns if isinstance(patterns, list | tuple) else [patterns]:
    match pattern:
      case [str(asked), str(answer)]:
        found.append((asked, answer))
      case _:
        raise InputError(f'{where}: expected pairs of input and target')
    for field in re.findall(r'\{(\w+)\}', asked + answer):
      if field not in FIELDS:
        raise InputError(f'{where}: no field {field}; there are {", ".join(FIELDS)}')
  if not found:
    raise InputError(f'{where}: no template')
  return found
