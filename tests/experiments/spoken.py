"""Small synthetic corpora, which are spoken once a session."""

import os
import pathlib

from experiments.datasets import synthetic_speech
from experiments.datasets.recordings import Settings

SETTINGS = Settings(train=6, validation=2, test=2, sentences=2)


def cache() -> pathlib.Path:
  """Where they are kept."""
  return pathlib.Path(os.environ['REGULARIZERS_TEST_CACHE']) / 'speech'


def timit() -> pathlib.Path:
  return synthetic_speech.timit(cache(), SETTINGS)


def wsj() -> pathlib.Path:
  return synthetic_speech.wsj(cache(), SETTINGS)
