"""English and German names of numbers: translation with no download.

Both sides are fully regular but for their order (``twenty-one`` is
``einundzwanzig``), and German joins everything below a million into one word, so
German is best cut into characters. Names are num2words'. Which numbers belong to which
split is fixed.
"""

import functools
import importlib.metadata
import pathlib

import numpy as np

from experiments.datasets.catalogue import kept
from experiments.datasets.parallel import Corpus, Pairs
from experiments.errors import InputError

SHORT, LONG = 100_000, 1_000_000  # training is below the first
HELD_OUT = 500  # validation, and test
MOST = SHORT - 2 * HELD_OUT  # of training
LONGER = 200
NUM_TRAIN = 1000
_SEED = 1979  # fixed: every run sees the same splits


def load(num_train: int = NUM_TRAIN, cache_dir: str | None = None) -> Corpus:
  """Pairs of names.

  Training, validation and test are drawn from 0 to 99,999 without replacement;
  ``'longer'`` are 200 numbers of six digits. Only training depends on ``num_train``,
  and a smaller one is the beginning of a larger one.

  Args:
    num_train: numbers of training, of at most 99,000. 0.3 ms each.
    cache_dir: where names are kept; None: they are made anew in every process.

  Raises:
    InputError: there are not so many numbers, or the cache is not usable.
  """
  if not 1 <= num_train <= MOST:
    raise InputError(f'--num_train: expected 1 to {MOST:,} numbers, got {num_train}')
  splits = {split: drawn[:] for split, drawn in _drawn().items()}
  splits['train'] = splits['train'][:num_train]
  wanted = [number for drawn in splits.values() for number in drawn]
  names = dict(zip(wanted, _names(wanted, cache_dir), strict=True))
  pairs = {
    split: Pairs(*zip(*(names[number] for number in drawn), strict=True))
    for split, drawn in splits.items()
  }
  return Corpus('numbers', pairs)


@functools.cache
def _drawn() -> dict[str, list[int]]:
  """The numbers of all splits, training as large as it can be."""
  short = _permutation(SHORT, 0).tolist()
  longer = SHORT + _permutation(LONG - SHORT, 1)[:LONGER]
  return {
    'train': short[2 * HELD_OUT :],
    'validation': short[:HELD_OUT],
    'test': short[HELD_OUT : 2 * HELD_OUT],
    'longer': longer.tolist(),
  }


def _permutation(size: int, stream: int) -> np.ndarray:
  # RandomState's streams are frozen: the same order under every numpy.
  bits = np.random.MT19937(np.random.SeedSequence([_SEED, stream]))
  return np.random.RandomState(bits).permutation(size)


@functools.cache
def name(number: int) -> tuple[str, str]:
  """A number in English and in German."""
  from num2words import num2words

  return num2words(number, lang='en'), num2words(number, lang='de')


def _names(numbers: list[int], cache_dir: str | None) -> list[tuple[str, str]]:
  if cache_dir is None:
    return [name(number) for number in numbers]

  def make() -> bytes:
    return ''.join('\t'.join((str(n), *name(n))) + '\n' for n in numbers).encode()

  version = importlib.metadata.version('num2words')
  path = pathlib.Path(cache_dir) / f'num2words-{version}-{len(numbers)}.tsv'
  try:
    lines = kept(path, make).decode().splitlines()
    rows = [(int(n), en, de) for n, en, de in (line.split('\t') for line in lines)]
  except ValueError as error:
    raise InputError(f'{path}: not names of numbers: delete it') from error
  if [n for n, _, _ in rows] != numbers:
    raise InputError(f'{path}: names of other numbers: delete it')
  return [(en, de) for _, en, de in rows]
