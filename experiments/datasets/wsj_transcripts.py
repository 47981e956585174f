"""What was said in the Wall Street Journal corpora, and how it is scored.

A ``.dot`` file has the sentences of a session, one a line: ``words (utterance)``.
"""

import pathlib
import re

from experiments.datasets import files
from experiments.errors import InputError

NOISE = '<NOISE>'

_LINE = re.compile(r'(.*)\(\s*([a-z0-9]{8})\s*\)\s*', re.IGNORECASE)
_WHOLE = {'%PERCENT': 'PERCENT', '.POINT': 'POINT', '--DASH': '-DASH', '~': '', '.': ''}
# Where a noise begins and ends that lasts for several words.
_SPAN = re.compile(r'\[<\w+\]|\[\w+>\]|\[\w+/\]|\[/\w+\]')
_NOISE = re.compile(r'\[\w+\]')
_LEFT_OUT = re.compile(r'<([^<>]+)>')  # of the prompt, but said


def read(path: pathlib.Path) -> dict[str, str]:
  """The normalised sentences of a ``.dot`` file by utterance.

  Raises:
    InputError: it cannot be read, a line is broken, or an utterance comes twice.
  """
  texts: dict[str, str] = {}
  for number, line in enumerate(files.lines(files.decode(files.read(path), path)), 1):
    if not line.strip():
      continue
    match = _LINE.fullmatch(line)
    if match is None:
      raise InputError(
        f'{path}: line {number}: expected words (utterance), found {line:.60}'
      )
    name = match[2].lower()
    if name in texts:
      raise InputError(f'{path}: line {number}: utterance {name} a second time')
    texts[name] = normalised(match[1])
  return texts


def normalised(text: str) -> str:
  r"""A sentence as it is usually scored.

  Upper case, no backslashes; noises of one moment become ``<NOISE>``, the marks of
  longer ones, of pauses and of ends of sentences are left out.

  >>> normalised(r'five %percent [door_slam] of <the> sum\, [<cough] . ~')
  'FIVE PERCENT <NOISE> OF THE SUM,'
  """
  words = []
  for word in text.upper().replace('\\', '').split():
    if word in _WHOLE:
      words.append(_WHOLE[word])
    elif _NOISE.search(word):
      words.append(NOISE)
    elif not _SPAN.fullmatch(word):
      match = _LEFT_OUT.fullmatch(word)
      words.append(match[1] if match else word)
  return ' '.join(word for word in words if word)
