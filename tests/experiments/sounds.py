"""Recordings that are made up."""

import dataclasses
import pathlib

import numpy as np

from experiments.errors import InputError


@dataclasses.dataclass(frozen=True)
class Noise:
  """Some noise under the name of an utterance; ``fault``: why it cannot be read."""

  name: str
  speaker: str
  path: pathlib.Path
  count: int = 4000
  fault: str = ''
  rate: int = 16_000

  def samples(self) -> tuple[np.ndarray, int]:
    if self.fault:
      raise InputError(f'{self.path}: {self.fault}')
    draw = np.random.default_rng(self.count)
    return draw.normal(0, 500, self.count).astype(np.int16), self.rate
