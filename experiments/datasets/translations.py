"""Pairs of texts as ids, in batches."""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets.buckets import Batch, Plan, padded, plans
from experiments.datasets.parallel import Corpus, Pairs
from experiments.datasets.units import END, START, Units

BLOCK = 10_000  # texts that are encoded at once


@dataclasses.dataclass(frozen=True)
class Side:
  """One side of a split.

  Attributes:
    flat: ids of all texts in a row, without start and end; int32.
    lengths: ``[n]``, of the texts.
  """

  flat: np.ndarray
  lengths: np.ndarray

  @functools.cached_property
  def ends(self) -> np.ndarray:
    """``[n]``, where in ``flat`` each text ends."""
    return np.cumsum(self.lengths)

  def ids(self, row: int) -> np.ndarray:
    """Of one text."""
    return self.flat[self.ends[row] - self.lengths[row] : self.ends[row]]


@dataclasses.dataclass(frozen=True)
class Translations:
  """All splits of a corpus.

  Attributes:
    corpus: the texts.
    source: units of the sources.
    target: units of the targets.
    batch_tokens: symbols of the longer side of a batch, with the padding.
    num_shapes: most shapes of batches.
    about: what else the records say.
  """

  corpus: Corpus
  source: Units
  target: Units
  batch_tokens: int
  num_shapes: int
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def name(self) -> str:
    """Of the corpus."""
    return self.corpus.name

  @property
  def pairs(self) -> Mapping[str, Pairs]:
    """The texts, by split."""
    return self.corpus.splits

  @property
  def num_classes(self) -> int:
    """Ids of the target."""
    return self.target.size

  @functools.cached_property
  def fingerprint(self) -> str:
    """Of texts and units."""
    parts = self.corpus.fingerprint, self.source.sha256, self.target.sha256
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()

  @functools.cached_property
  def splits(self) -> Mapping[str, Mapping[str, np.ndarray]]:
    """``label``: all that is predicted, one sequence after the other."""
    return {
      split: {'label': np.insert(target.flat, target.ends, END)}
      for split, (_, target) in self.sides.items()
    }

  @functools.cached_property
  def sides(self) -> Mapping[str, tuple[Side, Side]]:
    """Source and target of each split."""
    return {
      split: (
        _side(self.source, pairs.sources),
        _side(self.target, pairs.targets),
      )
      for split, pairs in self.pairs.items()
    }

  @functools.cached_property
  def plans(self) -> Mapping[str, Plan]:
    """Batches of each split: of the shapes of training, but for what is longer."""
    lengths = {
      split: (source.lengths, target.lengths + 1)
      for split, (source, target) in self.sides.items()
    }
    return plans(lengths, self.batch_tokens, self.num_shapes)

  @property
  def stretch(self) -> float:
    """Most symbols of a target for one of its source, in training."""
    source, target = self.sides['train']
    return float(np.max(target.lengths / np.maximum(source.lengths, 1)))

  @property
  def longest(self) -> int:
    """Symbols of a target, in training."""
    return int(self.sides['train'][1].lengths.max())

  def batch(self, split: str) -> Callable[[Batch], dict[str, np.ndarray]]:
    """What makes the arrays of a batch: ids and, of what is predicted, a mask."""
    source, target = self.sides[split]

    def made(batch: Batch) -> dict[str, np.ndarray]:
      rows, width = batch.rows, batch.target_width
      targets = [target.ids(row) for row in rows]
      label = padded([np.append(ids, END) for ids in targets], width)
      there = np.arange(width)[None] <= target.lengths[rows][:, None]
      return {
        'source': padded([source.ids(row) for row in rows], batch.source_width),
        'inputs': padded([np.insert(ids, 0, START) for ids in targets], width),
        'label': label,
        'mask': there & batch.mask[:, None],
      }

    return made


def _side(units: Units, texts: Sequence[str]) -> Side:
  """Block by block: lists of millions of numbers would take gigabytes."""
  flat, lengths = [np.empty(0, np.int32)], list[int]()
  for start in range(0, len(texts), BLOCK):
    block = units.encode_all(texts[start : start + BLOCK])
    lengths += map(len, block)
    flat.append(np.fromiter(itertools.chain.from_iterable(block), np.int32))
  return Side(np.concatenate(flat), np.array(lengths))
