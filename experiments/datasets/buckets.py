"""Which sentences make up a batch: sentences of about the same length.

Compiled programs have fixed shapes, so sentences are put into a few buckets, each with
one shape. Everything follows from the lengths, the seed and the step; nothing is
stateful. The shape at a step does not depend on the seed, so that runs of several seeds
can go side by side.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.datasets.batching import epoch_permutation
from experiments.datasets.widths import best_widths
from experiments.errors import InputError

SHAPES = 12  # unless it is said otherwise
_ORDER_SEED = 0  # of the shapes, which all runs share


class Shape(NamedTuple):
  """Of every batch of a bucket."""

  rows: int
  source: int
  target: int


class Batch(NamedTuple):
  """Rows ``[n]`` int32 of the examples; those under a False ``mask`` fill it up."""

  rows: np.ndarray
  mask: np.ndarray
  source_width: int
  target_width: int


class Plan:
  """The batches of all epochs, in which every example occurs once an epoch.

  Attributes:
    shapes: of the buckets, the smallest first.
    steps_per_epoch: number of batches in an epoch.
    waste: share of padding among the tokens of an epoch, rows that fill up included.
  """

  def __init__(
    self,
    source_lengths: np.ndarray,
    target_lengths: np.ndarray,
    tokens: int,
    shapes: Sequence[Shape] | None = None,
    most: int = SHAPES,
  ):
    """Puts the examples into buckets.

    A bucket has as many rows as fill ``tokens`` on its wider side, but one at least,
    and fewer where that shares its examples out evenly among as many batches.

    Args:
      source_lengths: ``[n]``, of the sequences with all their special tokens.
      target_lengths: ``[n]``.
      tokens: of a batch on either side, padding included.
      shapes: those of another plan; default: a few that waste little.
      most: of the shapes that are made; each costs a compilation.

    Raises:
      InputError: ``tokens`` is less than 1, or a sequence is longer than the widest of
        ``shapes``.
      ValueError: the lengths are not ``[n]`` each, or less than 1.
    """
    source, target = np.asarray(source_lengths), np.asarray(target_lengths)
    if source.ndim != 1 or source.shape != target.shape or not source.size:
      raise ValueError(f'expected lengths [n], got {source.shape} and {target.shape}')
    if min(source.min(), target.min()) < 1:
      raise ValueError('expected lengths of at least 1: the end counts')
    if tokens < 1:
      raise InputError(f'--batch_tokens: expected at least 1, got {tokens}')
    if shapes is None:
      shapes = _shapes(source, target, tokens, most)
    self.shapes = tuple(shapes)
    self._buckets = _assigned(source, target, [shape[1:] for shape in self.shapes])
    self._sizes = np.bincount(self._buckets, minlength=len(self.shapes))
    self._by_length = np.lexsort((source + target, self._buckets)).astype(np.int32)
    self._slots = [
      (bucket, start)
      for bucket, (size, shape) in enumerate(zip(self._sizes, self.shapes, strict=True))
      for start in range(0, size, shape.rows)
    ]
    self.steps_per_epoch = len(self._slots)
    padded_to = sum(
      shape.rows * (shape.source + shape.target)
      for shape in (self.shapes[bucket] for bucket, _ in self._slots)
    )
    self.waste = 1 - int(source.sum() + target.sum()) / padded_to
    # More than the seeds that run side by side.
    self._arranged = functools.lru_cache(maxsize=64)(self._arrange)

  def shape(self, step: int) -> Shape:
    """The shape of the batch of training step ``step``, whatever the seed."""
    return self.shapes[self._slot(step)[1][0]]

  def batch(self, seed: int, step: int) -> Batch:
    """The batch of training step ``step``, from 0 on."""
    epoch, slot = self._slot(step)
    return self._cut(self._arranged(seed, epoch), *slot)

  def training(self, seed: int, step: int) -> Iterator[Batch]:
    """The batches from training step ``step`` on, without end."""
    return (self.batch(seed, at) for at in itertools.count(step))

  def evaluation(self) -> Iterator[Batch]:
    """Every example once, the shorter ones first."""
    for slot in self._slots:
      yield self._cut(self._by_length, *slot)

  def _slot(self, step: int) -> tuple[int, tuple[int, int]]:
    """The epoch, and the bucket with the place in it where the batch begins."""
    epoch, position = divmod(step, self.steps_per_epoch)
    order = epoch_permutation(self.steps_per_epoch, _ORDER_SEED, epoch)
    return epoch, self._slots[order[position]]

  def _arrange(self, seed: int, epoch: int) -> np.ndarray:
    """All examples in the epoch's order, bucket by bucket."""
    order = epoch_permutation(len(self._buckets), seed, epoch)
    arranged = order[np.argsort(self._buckets[order], kind='stable')].astype(np.int32)
    arranged.setflags(write=False)
    return arranged

  def _cut(self, arranged: np.ndarray, bucket: int, start: int) -> Batch:
    shape = self.shapes[bucket]
    begin = int(self._sizes[:bucket].sum())
    places = np.arange(start, start + shape.rows)
    mask = places < self._sizes[bucket]
    # What fills up is the batch's first example, which fits.
    rows = arranged[begin + np.where(mask, places, start)]
    return Batch(rows, mask, shape.source, shape.target)


def plans(
  lengths: Mapping[str, tuple[np.ndarray, np.ndarray]], tokens: int, most: int
) -> dict[str, Plan]:
  """A plan for each split, in the shapes of training if they are wide enough.

  No program is made anew for what fits into them.

  Args:
    lengths: of sources and targets, by split; ``'train'`` among them.
    tokens: see ``Plan``.
    most: see ``Plan``.
  """
  train = Plan(*lengths['train'], tokens, most=most)
  widest = train.shapes[-1]

  def plan(sources: np.ndarray, targets: np.ndarray) -> Plan:
    fits = sources.max() <= widest.source and targets.max() <= widest.target
    return Plan(sources, targets, tokens, train.shapes if fits else None, most)

  return {
    split: train if split == 'train' else plan(*own) for split, own in lengths.items()
  }


def padded(sequences: Sequence[Any], width: int) -> np.ndarray:
  """Sequences as int32 ``[n, width]``, with zeros behind their ends.

  Raises:
    InputError: one is longer than ``width``.
  """
  result = np.zeros((len(sequences), width), np.int32)
  for row, sequence in zip(result, sequences, strict=True):
    if len(sequence) > width:
      raise InputError(f'a sequence of {len(sequence)} tokens, expected up to {width}')
    row[: len(sequence)] = sequence
  return result


def _shapes(
  source: np.ndarray, target: np.ndarray, tokens: int, most: int
) -> list[Shape]:
  widths = best_widths(source, target, tokens, most)
  counts = np.bincount(_assigned(source, target, widths), minlength=len(widths))
  return [
    Shape(_even(int(count), max(1, tokens // max(pair))), *pair)
    for count, pair in zip(counts, widths, strict=True)
  ]


def _even(size: int, most: int) -> int:
  """Rows of a batch, such that ``size`` examples nearly fill the batches they need."""
  return -(-size // max(1, -(-size // most))) or 1


def _assigned(
  source: np.ndarray, target: np.ndarray, widths: Sequence[Sequence[int]]
) -> np.ndarray:
  """The first bucket that each example fits into.

  Raises:
    InputError: an example fits into none.
  """
  buckets = np.full(source.shape, -1)
  for bucket, (wide, other) in reversed(list(enumerate(widths))):
    buckets[(source <= wide) & (target <= other)] = bucket
  if (buckets < 0).any():
    row = int(np.argmax(buckets < 0))
    raise InputError(
      f'example {row}: {source[row]} and {target[row]} tokens fit into none of the '
      f'batches, of which the widest has {widths[-1][0]} and {widths[-1][1]}'
    )
  return buckets
