"""Who says what in the synthetic corpora, and how it is recorded.

Fixed: results were measured on these recordings, and hold for no others.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.datasets import espeak, espeak_phones, sentences, voices
from experiments.datasets.espeak_phones import SILENCE
from experiments.datasets.utterances import Interval
from experiments.datasets.voices import Voice

_FORMAT = 1  # changes with what is written for the same utterances
_PAUSE = 960, 1920  # samples of silence before and behind
_NOISE = 10 ** (-30 / 20)  # 30 dB below speech


@dataclasses.dataclass(frozen=True)
class Settings:
  """Size of a synthetic corpus.

  Attributes:
    train: speakers.
    validation: speakers.
    test: speakers.
    sentences: that each of them says; nobody else says the same.
    seed: of all that is drawn.
  """

  train: int = 60
  validation: int = 8
  test: int = 12
  sentences: int = 8
  seed: int = 0


class Part(NamedTuple):
  """What one speaker says."""

  voice: Voice
  texts: Sequence[str]


Script = Mapping[str, Sequence[Part]]  # by split


@dataclasses.dataclass(frozen=True)
class Recording:
  """One utterance.

  Attributes:
    text: what is said.
    samples: ``[n]`` int16, 16,000 a second.
    phones: TIMIT's, from the first sample to the last.
    words: of the text.
  """

  text: str
  samples: np.ndarray
  phones: Sequence[Interval]
  words: Sequence[Interval]


def script(settings: Settings) -> Script:
  """The parts; validation and test do not depend on the size of training.

  Raises:
    InputError: there are not so many sentences.
  """
  sizes = {split: getattr(settings, split) for split in ('test', 'validation', 'train')}
  total = settings.sentences * sum(sizes.values())
  texts = iter(sentences.drawn(total, settings.seed))
  return {
    split: [
      Part(voice, [next(texts) for _ in range(settings.sentences)])
      for voice in voices.cast(split, size, settings.seed)
    ]
    for split, size in sizes.items()
  }


def digest(parts: Script) -> str:
  """Of all that decides the recordings."""
  everything = _FORMAT, espeak.version(), sorted(parts.items())
  return hashlib.sha256(repr(everything).encode()).hexdigest()


def record(parts: Sequence[Part]) -> list[list[Recording]]:
  """The utterances of each speaker. Some 25 ms for one.

  Raises:
    InputError: eSpeak NG is not installed or does not work.
  """
  requests = [voice.request(text) for voice, texts in parts for text in texts]
  spoken = iter(espeak.speak(requests))
  return [
    [_recorded(text, next(spoken), voice) for text in texts] for voice, texts in parts
  ]


def _recorded(text: str, spoken: espeak.Spoken, voice: Voice) -> Recording:
  """With silence around it, and the noise of a room."""
  content = hashlib.sha256(repr((text, voice)).encode()).digest()
  draw = np.random.RandomState(np.frombuffer(content, np.uint32))
  before, behind = (int(draw.randint(*_PAUSE)) for _ in range(2))
  speech = np.pad(spoken.samples.astype(np.float64), (before, behind))
  level = np.sqrt((speech**2).mean())
  noisy = speech + _NOISE * level * draw.standard_normal(len(speech))
  phones = espeak_phones.phones(spoken, voice.accent)
  words = espeak_phones.words(spoken, phones)
  return Recording(
    text,
    np.clip(np.rint(noisy), -(1 << 15), (1 << 15) - 1).astype(np.int16),
    _between(_moved(phones, before), len(speech)),
    _moved(words, before),
  )


def _moved(intervals: Sequence[Interval], by: int) -> list[Interval]:
  return [Interval(start + by, end + by, label) for start, end, label in intervals]


def _between(phones: Sequence[Interval], total: int) -> list[Interval]:
  """With the silence before and behind them."""
  inner = [phone for phone in phones if phone.label != SILENCE]
  return [
    Interval(0, inner[0].start, SILENCE),
    *inner,
    Interval(inner[-1].end, total, SILENCE),
  ]
