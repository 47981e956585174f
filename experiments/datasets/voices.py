"""Who speaks the synthetic corpora: voices of eSpeak NG.

Left out are voices with breath, whose noise follows the clock, and those that croak,
whisper or are meant as robots. Voices that sound nearly alike are on the same side of
training and test.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.datasets.espeak import Request
from experiments.errors import InputError

# Five speakers of eight have the first one. A region of TIMIT each.
ACCENTS = ('en-us', 'en-us-nyc', 'en-gb-scotland', 'en-gb-x-rp')
_USUAL = 5
_RATES = (150, 220)  # words a minute
_PITCHES = (30, 70)

FEMALE: Mapping[str, Sequence[str]] = {
  'train': ('anika', 'f1', 'grandma', 'linda', 'steph', 'steph3', 'zac'),
  'validation': ('Annie', 'belinda'),
  'test': ('Andrea', 'aunty', 'f4'),
}
MALE: Mapping[str, Sequence[str]] = {
  'train': (
    *('Alex', 'Andy', 'AnxiousAndy', 'Diogo', 'Gene', 'Henrique', 'Hugo', 'Lee'),
    *('Mario', 'Mike', 'RicishayMax', 'RicishayMax2', 'Storm', 'Tweaky', 'adam'),
    *('antonio', 'benjamin', 'boris', 'david', 'ed', 'edward', 'grandpa', 'ian'),
    *('iven', 'iven2', 'klatt', 'klatt3', 'klatt4', 'klatt6', 'm1', 'm2', 'm3', 'm4'),
    *('m5', 'm6', 'm8', 'marcelo', 'max', 'michel', 'mike2', 'pablo', 'paul', 'travis'),
  ),
  'validation': ('Marco', 'm7', 'Nguyen', 'norbert', 'quincy', 'shelby'),
  'test': ('Denis', 'Jacky', 'gustave', 'Michael', 'john', 'pedro', 'rob', 'robert'),
}


class Voice(NamedTuple):
  """One speaker.

  Attributes:
    variant: of eSpeak.
    sex: ``'f'`` or ``'m'``.
    accent: one of ``ACCENTS``.
    rate: words a minute.
    pitch: see ``Request``.
  """

  variant: str
  sex: str
  accent: str
  rate: int
  pitch: int

  def request(self, text: str) -> Request:
    """That this speaker says a text."""
    return Request(text, f'{self.accent}+{self.variant}', self.rate, self.pitch)


def cast(split: str, count: int, seed: int) -> list[Voice]:
  """The speakers of a split, about a third of them women.

  Variants come back, with another accent, rate and pitch, when there are more speakers
  than these. A smaller ``count`` gives the beginning of a larger one's.
  """
  if count < 1:
    raise InputError(f'synthetic speech: expected a speaker at least, got {count}')
  stream = list(FEMALE).index(split)
  # RandomState's streams are frozen: the same voices under every numpy.
  bits = np.random.MT19937(np.random.SeedSequence([seed, stream]))
  draw = np.random.RandomState(bits)

  def turns(variants: Sequence[str]) -> Iterator[str]:
    return itertools.cycle([variants[i] for i in draw.permutation(len(variants))])

  men, women = turns(MALE[split]), turns(FEMALE[split])
  result = []
  for index in range(count):
    sex = 'f' if index % 3 == 2 else 'm'
    accent = ACCENTS[max(0, index % 8 - _USUAL + 1)]
    rate, pitch = draw.randint(*_RATES), draw.randint(*_PITCHES)
    variant = next(women if sex == 'f' else men)
    result.append(Voice(variant, sex, accent, int(rate), int(pitch)))
  return result
