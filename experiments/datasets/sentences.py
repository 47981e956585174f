"""Short sentences of a small grammar, for synthetic speech.

About fifty common words, which have all of TIMIT's 39 phones between them.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from experiments.errors import InputError

_ONE = ('the', 'my', 'this')
_OF_ONE = ('red', 'big', 'young', 'little', 'cheap', 'good', 'thin', 'old')
_THING = ('dog', 'fish', 'bird', 'boy', 'cow', 'judge', 'church', 'thing')
_MANY = ('three', 'five', 'seven', 'those')
_THINGS = ('kings', 'sheep', 'girls', 'horses', 'apples', 'cats')
_DO = ('watch', 'find', 'move', 'leave')
_DID = ('took', 'heard')
_HOW = ('now', 'there', 'again', 'today', 'outside')
_PATTERNS: tuple[tuple[Sequence[str], ...], ...] = (
  (_ONE, _OF_ONE, _THING, _DID, _THINGS),
  (_ONE, _OF_ONE, _THING, _HOW),
  (_MANY, _OF_ONE, _THINGS, _HOW),
  (_DO, _MANY, _THINGS, _HOW),
  (_DO, _ONE, _THING, _HOW),
  (_MANY, _THINGS, _DO, ('treasure',)),
)


def drawn(count: int, seed: int) -> list[str]:
  """Different sentences, in an order that follows from the seed alone.

  A smaller ``count`` gives the beginning of a larger one's.

  Raises:
    InputError: there are not so many.
  """
  # RandomState's streams are frozen: the same order under every numpy.
  bits = np.random.MT19937(np.random.SeedSequence([seed]))
  draw = np.random.RandomState(bits)
  every = [list(itertools.product(*pattern)) for pattern in _PATTERNS]
  total = sum(map(len, every))
  if count > total:
    raise InputError(f'expected up to {total:,} sentences, got {count:,}')
  # The patterns in turn, for some have many more sentences than others.
  shuffled = [[own[index] for index in draw.permutation(len(own))] for own in every]
  turns = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
  taken = itertools.islice((words for words in turns if words), count)
  return [' '.join(words) for words in taken]
