"""A generated click log in Criteo's format, whose true probabilities are known.

Synthetic. The logit of a click is a sum of effects of single columns and of products of
effects of two columns; categories follow Zipf's law, so that many are rare. A network
learns a part of it: what is left above the log-loss of the true probabilities is its
excess.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.datasets import criteo
from experiments.datasets.click_arrays import prepared
from experiments.datasets.click_lines import CATEGORIES, NUMBERS, Log
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError

SIZES = (100_000, 5_000, 20_000)  # training, validation, test
_SEED = 1804
_VALUES = (2000, 500, 100, 20)  # categories of a column, in turn
_ADDITIVE, _PAIRS = 12, 8  # columns with an effect of their own, and pairs
_SPREAD = {'additive': 0.9, 'number': 0.6, 'pair': 0.8}  # of the parts of the logit
_INTERCEPT = -1.5
_MISSING, _NEGATIVE = 0.1, 0.05


def load(
  cache_dir: str | os.PathLike[str],
  *,
  num_train: int | None = None,
  buckets: int = 1000,
) -> Dataset:
  """Writes the log, unless it is there, and reads it.

  Args:
    cache_dir: where it is kept.
    num_train: how many of the first lines to train on; None: all 100,000.
    buckets: of every column of categories.

  Returns:
    As ``criteo.load``; ``about`` has the log-loss of the true probabilities and that of
    the click rate of training, by split.

  Raises:
    InputError: ``num_train`` is out of range, or the directory cannot be written.
  """
  cache = pathlib.Path(cache_dir)
  path, log = cache / 'train.txt', generated()
  if not path.exists():
    try:
      cache.mkdir(parents=True, exist_ok=True)
      temporary = cache / f'.train.{os.getpid()}.tmp'  # replicas may start at once
      temporary.write_bytes(text(log))
      temporary.replace(path)
    except OSError as error:
      raise InputError(f'cannot write {path}: {error.strerror}') from error
  arrays, _ = prepared([path], cache, buckets)
  if not np.array_equal(arrays['label'], log.label):
    raise InputError(f'{path} is not what was generated; remove {cache}')
  return criteo.split('clicks', arrays, SIZES, num_train, _about(log))


@dataclasses.dataclass(frozen=True)
class Generated(Log):
  """A log with its true probabilities ``[n]``."""

  probability: np.ndarray


def generated() -> Generated:
  """All lines."""
  random = _random()
  total = sum(SIZES)
  integer = _integers(random, total)
  ranks, values = _categories(random, total)
  logit = _INTERCEPT + _spread(_additive(random, ranks), 'additive')
  logit = logit + _spread(_of_numbers(random, integer), 'number')
  logit = logit + _spread(_of_pairs(random, ranks, integer), 'pair')
  probability = 1 / (1 + np.exp(-logit))
  label = (random.random_sample(total) < probability).astype(np.int32)
  return Generated(label, integer, values, probability)


def text(log: Log) -> bytes:
  """The lines of Criteo's file."""
  parts = [
    _written(log.label[:, None], str),
    _written(log.integer, lambda x: '\t' if math.isnan(x) else f'\t{int(x)}'),
    _written(log.category, lambda x: '\t' if x < 0 else f'\t{x:08x}'),
    np.full((len(log.label), 1), ord('\n'), np.uint8),
  ]
  symbols = np.concatenate(parts, axis=1)
  return symbols[symbols != 0].tobytes()


def _written(values: np.ndarray, form: Callable[[Any], str]) -> np.ndarray:
  """Symbols ``[n, m]`` of the values of each line, with zeros to leave out."""
  distinct, place = np.unique(values, return_inverse=True)
  names = np.array([form(value) for value in distinct.tolist()], 'S')
  return names[place.reshape(values.shape)].view(np.uint8)


def _integers(random: np.random.RandomState, total: int) -> np.ndarray:
  """Heavy-tailed counts; some are negative, some missing."""
  scale = np.linspace(0.5, 5.0, NUMBERS)
  counts = np.floor(np.exp(scale + random.standard_normal((total, NUMBERS))))
  negative = random.random_sample(counts.shape) < _NEGATIVE
  counts = np.where(negative, -1.0 - np.floor(counts / 10), counts)
  missing = random.random_sample(counts.shape) < _MISSING
  return np.where(missing, np.nan, counts)


def _categories(
  random: np.random.RandomState, total: int
) -> tuple[np.ndarray, np.ndarray]:
  """Ranks ``[n, 26]`` by frequency, and what stands for them; -1: missing."""
  ranks = np.empty((total, CATEGORIES), np.int64)
  values = np.empty_like(ranks)
  for column in range(CATEGORIES):
    count = _VALUES[column % len(_VALUES)]
    weights = 1 / (np.arange(count) + 3.0)
    ranks[:, column] = np.searchsorted(
      np.cumsum(weights) / weights.sum(), random.random_sample(total)
    )
    names = random.randint(0, 1 << 31, size=count + 1)
    values[:, column] = names[ranks[:, column]]
  missing = random.random_sample(ranks.shape) < _MISSING
  return np.where(missing, -1, ranks), np.where(missing, -1, values)


def _effects(random: np.random.RandomState, ranks: np.ndarray) -> np.ndarray:
  """An effect of each value of a column, 0 where it is missing."""
  table = random.standard_normal(int(ranks.max()) + 1)
  return np.where(ranks < 0, 0.0, table[ranks])


def _additive(random: np.random.RandomState, ranks: np.ndarray) -> np.ndarray:
  effects = [_effects(random, ranks[:, column]) for column in range(_ADDITIVE)]
  return np.sum(effects, axis=0)


def _of_numbers(random: np.random.RandomState, integer: np.ndarray) -> np.ndarray:
  """Bumps and steps of the logarithms."""
  size = _size(integer)
  centre = random.uniform(0.5, 4.0, NUMBERS)
  slope = random.standard_normal(NUMBERS)
  return (np.tanh(size - centre) * slope).sum(axis=1)


def _of_pairs(
  random: np.random.RandomState, ranks: np.ndarray, integer: np.ndarray
) -> np.ndarray:
  """Products of effects of two columns, half of them with an integer."""
  size, total = _size(integer), np.zeros(len(ranks))
  for pair in range(_PAIRS):
    first = _effects(random, ranks[:, random.randint(CATEGORIES)])
    if pair % 2:
      second = np.tanh(size[:, random.randint(NUMBERS)] - 2.0)
    else:
      second = _effects(random, ranks[:, random.randint(CATEGORIES)])
    total = total + first * second
  return total


def _size(integer: np.ndarray) -> np.ndarray:
  known = np.nan_to_num(integer)
  return np.sign(known) * np.log1p(np.abs(known))


def _spread(logit: np.ndarray, part: str) -> np.ndarray:
  """With mean 0 and the standard deviation of this part."""
  return (logit - logit.mean()) / logit.std() * _SPREAD[part]


def _about(log: Generated) -> dict[str, object]:
  ends = np.cumsum(SIZES)
  rate = log.label[: SIZES[0]].mean()
  parts = {
    name: slice(end - size, end)
    for name, size, end in zip(
      ('train', 'validation', 'test'), SIZES, ends, strict=True
    )
  }
  of = {name: (log.label[rows], log.probability[rows]) for name, rows in parts.items()}
  return {
    'data': 'synthetic',
    'bayes_nll': {name: _nll(label, p) for name, (label, p) in of.items()},
    'constant_nll': {
      name: _nll(label, np.full(len(p), rate)) for name, (label, p) in of.items()
    },
  }


def _nll(label: np.ndarray, probability: np.ndarray) -> float:
  return float(-np.log(np.where(label == 1, probability, 1 - probability)).mean())


def _random() -> np.random.RandomState:
  # RandomState's streams are frozen: the same data under every numpy.
  return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(_SEED)))
