"""Small trees of files as the corpora of speech have them."""

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.datasets import sphere

RATE = 16_000


def sound(path: pathlib.Path, seed: int, count: int = 1600) -> None:
  """Some noise."""
  draw = np.random.default_rng(seed)
  path.parent.mkdir(parents=True, exist_ok=True)
  sphere.write(path, draw.integers(-500, 500, count).astype(np.int16), RATE)


def timit_utterance(stem: pathlib.Path, seed: int = 0) -> None:
  """The four files of one utterance."""
  sound(stem.with_suffix('.WAV'), seed)
  stem.with_suffix('.PHN').write_text(
    '0 400 h#\n400 900 dcl\n900 1000 d\n1000 1300 uw\n1300 1600 h#\n'
  )
  stem.with_suffix('.WRD').write_text('400 1300 do\n')
  stem.with_suffix('.TXT').write_text('0 1600 Do. \n')


def timit(
  root: pathlib.Path, speakers: Sequence[str], sentences: Sequence[str]
) -> None:
  """A tree; speakers are as ``TRAIN/DR1/FABC0``."""
  for seed, speaker in enumerate(speakers):
    for sentence in sentences:
      timit_utterance(root / speaker / sentence, seed)
