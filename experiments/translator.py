"""A network of sequences to sequences that answers: texts for texts."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from experiments.datasets.buckets import padded
from experiments.datasets.translations import Translations
from experiments.datasets.units import END, START, UNKNOWN, Units
from experiments.decoding import Decoding, Weights, attention, best, decoder, limit
from experiments.task import Model

ROWS, BLOCK = 16, 256  # lines that are translated side by side, and that are sorted
WIDTHS = 8  # a program for every so many lengths


@dataclasses.dataclass(frozen=True)
class Translator:
  """Networks of one form, with any weights.

  Attributes:
    module: makes the network.
    source: units of the sources.
    target: units of the targets.
    stretch: most symbols of a target for one of its source, in training.
    longest: symbols of a target, in training.
    options: of the search.
  """

  module: Model
  source: Units
  target: Units
  stretch: float
  longest: int
  options: Decoding

  @functools.cached_property
  def _decode(self) -> Callable[..., Any]:
    return decoder(self.module, self.options)

  def texts(self, weights: Weights, ids: np.ndarray) -> list[str]:
    """Of sources ``[batch, source]``, padded."""
    length = limit(ids.shape[1], self.stretch, self.longest)
    found = self._decode(*weights, ids, length)
    return [self.target.decode(own) for own in best(found)]

  def split(self, weights: Weights, corpus: Translations, split: str) -> list[str]:
    """Of all sources of a split, in their order."""
    source, _ = corpus.sides[split]
    result = [''] * len(source.lengths)
    for batch in corpus.plans[split].evaluation():
      ids = padded([source.ids(row) for row in batch.rows], batch.source_width)
      texts = self.texts(weights, ids)
      for row, there, text in zip(batch.rows, batch.mask, texts, strict=True):
        if there:
          result[row] = text
    return result

  def lines(self, weights: Weights, lines: Sequence[str]) -> Iterator[str]:
    """Of any lines; of an empty one, nothing."""
    for start in range(0, len(lines), BLOCK):
      block = [self.source.encode(line.strip()) for line in lines[start:][:BLOCK]]
      result = [''] * len(block)
      full = sorted((row for row, ids in enumerate(block) if ids), key=_length(block))
      for place in range(0, len(full), ROWS):
        rows = full[place : place + ROWS]
        # One shape of batches, unless there is less to do than fills one.
        filled = rows + rows[-1:] * (min(ROWS, len(lines)) - len(rows))
        width = -(-len(block[rows[-1]]) // WIDTHS) * WIDTHS
        texts = self.texts(weights, padded([block[row] for row in filled], width))
        for row, text in zip(rows, texts, strict=False):
          result[row] = text
      yield from result

  def unknown(self, lines: Sequence[str]) -> int:
    """Units of the lines that training did not have."""
    return sum(ids.count(UNKNOWN) for ids in self.source.encode_all(list(lines)))

  def looks(self, weights: Weights, source: str, target: str) -> dict[str, np.ndarray]:
    """Where it looks while it writes a target, with what stands there."""
    ours = np.array(self.source.encode(source), np.int32)
    theirs = np.array([*self.target.encode(target), END], np.int32)
    inputs = np.insert(theirs[:-1], 0, START)
    looks = attention(self.module)(*weights, ours[None], inputs[None])
    return {
      'weights': np.asarray(looks[0]),
      'source': np.array(self.source.show(ours)),
      'target': np.array(self.target.show(theirs)),
    }


def _length(block: Sequence[Sequence[int]]) -> Callable[[int], int]:
  return lambda row: len(block[row])
