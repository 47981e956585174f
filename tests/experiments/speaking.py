"""A corpus of made-up utterances, for the tests of recognisers."""

import numpy as np

from experiments.datasets.speech import Speech, Split
from experiments.datasets.speech_features import Features
from experiments.datasets.speech_units import Symbols
from experiments.datasets.units import Characters, Units
from experiments.datasets.utterances import Interval

RATE = 16_000
_SHIFT = 160  # samples from frame to frame


def corpus(phones: bool, name: str = 'synthetic', dims: int = 4, **options) -> Speech:
  """Each symbol is three frames of its own vector, with noise."""
  random = np.random.default_rng(0)
  symbols = ('h#', 'aa', 'b', 'ix') if phones else ('A', 'B', 'C', 'D')
  vectors = random.normal(size=(len(symbols), dims))
  utterances = {
    split: _split(random, count, symbols, vectors, ' ' if phones else '')
    for split, count in (('train', 12), ('validation', 4), ('test', 5))
  }
  texts = utterances['train'].texts
  target: Units = Symbols.of(texts) if phones else Characters.of(texts)
  sizes = {'batch_frames': 60, 'num_shapes': 1, 'multiple': 4, **options}
  about = {
    'utterances': {split: len(own.texts) for split, own in utterances.items()},
    'bad': {'one': 'one.wav: cut off'},
    'padding': {'train': 0.25},
  }
  return Speech(name, utterances, target, about=about, **sizes)


def _split(random, count, symbols, vectors, between) -> Split:
  texts, phones, values, lengths = [], [], [], []
  for _ in range(count):
    said = random.integers(0, len(symbols), random.integers(2, 5))
    texts.append(between.join(symbols[place] for place in said))
    ends = 3 * _SHIFT * np.arange(1, len(said) + 1)
    phones.append(
      [
        Interval(int(end) - 3 * _SHIFT, int(end), symbols[place])
        for end, place in zip(ends, said, strict=True)
      ]
    )
    clean = np.repeat(vectors[said], 3, axis=0)
    values.append(clean + 0.1 * random.normal(size=clean.shape))
    lengths.append(len(clean))
  starts = np.cumsum([0, *lengths[:-1]])
  features = Features(
    np.concatenate(values).astype(np.float32),
    [f'utterance_{place}' for place in range(count)],
    starts,
    np.array(lengths),
    RATE,
    'made up',
    {},
  )
  return Split(features, texts, phones)
