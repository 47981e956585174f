"""CPython's own language reference, ``pydoc_data.topics``: text with no download.

79 topics, of which many repeat parts of others: a paragraph counts once, and every
topic belongs to one split, so that validation and test do not occur in training. The
text differs between versions of Python: records hold its sha256.
"""

import hashlib
import re

import numpy as np

from experiments.datasets.corpus import Corpus, Lines, encode, tokenized

NUM_TRAIN = {'word': 15_000, 'char': 100_000}  # so few that over-fitting shows
_HELD_OUT = 32_000  # characters of validation, and of test, to the end of a line
_SPLIT_SEED = 79  # fixed: every run sees the same splits
_WORDS = re.compile(r'\w+|[^\w\s]')


def load(
  unit: str = 'word', num_train: int | None = None, min_count: int = 2
) -> Corpus:
  """Reads the topics.

  Args:
    unit: of prediction, ``'word'`` (or sign) or ``'char'``.
    num_train: how many tokens of training to keep; 0: all; default: ``NUM_TRAIN``.
    min_count: a token that training has less often becomes ``<unk>``.

  Raises:
    InputError: ``num_train`` is more than there are.
  """
  texts = {split: _lines(split, lines, unit) for split, lines in splits().items()}
  kept = NUM_TRAIN[unit] if num_train is None else num_train
  return encode('pydoc', texts, kept, min_count)


def splits() -> dict[str, list[str]]:
  """Lines of words, with a blank between any two, by split."""
  from pydoc_data.topics import topics

  names = sorted(topics)
  order = np.random.RandomState(_SPLIT_SEED).permutation(len(names))
  result: dict[str, list[str]] = {'validation': [], 'test': [], 'train': []}
  waiting = list(result)
  seen: set[str] = set()
  for index in order:
    lines = result[waiting[0]]
    for paragraph in re.split(r'\n\s*\n', topics[names[index]]):
      if (key := ' '.join(paragraph.split())) not in seen:
        seen.add(key)
        lines += _worded(paragraph)
    sizes = np.cumsum([len(line) for line in lines])
    if waiting[0] != 'train' and sizes[-1] >= _HELD_OUT:
      del lines[int(np.searchsorted(sizes, _HELD_OUT)) + 1 :]  # nobody's
      del waiting[0]
  return result


def _worded(paragraph: str) -> list[str]:
  """Its lines, but for rules and the like, which hold no letter."""
  lines = [' '.join(_WORDS.findall(line)) for line in paragraph.splitlines()]
  return [line for line in lines if re.search(r'\w', line)]


def _lines(split: str, lines: list[str], unit: str) -> Lines:
  digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
  tokens = [tokenized(line, unit) for line in lines]
  return Lines(f'{split} of pydoc', tokens, digest)
