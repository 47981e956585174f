"""TIMIT's phones for what eSpeak NG says, with their times.

eSpeak knows no closures: it is silent before the mark of a voiceless stop, and hums at
the beginning of a voiced one. Of TIMIT's 61 phones, epi, nx, hv, ux, em and eng never
occur.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.datasets.espeak import Mark, Spoken
from experiments.datasets.utterances import Interval
from experiments.errors import InputError

SILENCE, PAUSE = 'h#', 'pau'
CLOSURES = {
  **{stop: f'{stop}cl' for stop in 'bdgptk'},
  'ch': 'tcl',
  'jh': 'dcl',
}
_VOICED = {'b', 'd', 'g', 'jh'}
_FRAME = 80  # samples: 5 ms
_QUIET = 0.02  # of the loud parts
_SHORTEST = 160  # samples of a closure, and of what it leaves of the phone before
_HUM = 0.6  # of a voiced stop
_STRESS = "',%="
_PAUSES = {'_', '_:', '_!', '_|', '|'}

_PHONES = {
  **{name: name for name in 'bdfgklmnprstvwz'},
  **{'a': 'ae', 'aa': 'ae', 'A:': 'aa', 'A@': 'aa r', '0': 'aa', '0#': 'aa'},
  **{'O:': 'ao', 'O2': 'ao', 'O': 'ao', 'O@': 'ao r', 'o@': 'ao r'},
  **{
    'e@': 'eh r',
    'i@3': 'ih r',
    'IR': 'er',
    'VR': 'er',
    'U@': 'uh r',
    'u:': 'uw',
    'u': 'uw',
  },
  **{'i:': 'iy', 'i': 'iy', 'I': 'ih', 'I#': 'ix', 'I2': 'ix', 'E': 'eh', 'e': 'eh'},
  **{'V': 'ah', 'U': 'uh', 'eI': 'ey', 'aI': 'ay', 'OI': 'oy', 'aU': 'aw', 'oU': 'ow'},
  **{
    '3:': 'er',
    '3': 'axr',
    '@': 'ax',
    'a#': 'ax',
    '@2': 'ax',
    '@5': 'ax',
    '@-': 'ax-h',
  },
  **{'@L': 'el', 'n-': 'en', 't#': 'dx', 't2': 't', 't[': 't', 'r-': 'r', '?': 'q'},
  **{'aI3': 'ay axr', 'aI2': 'ay', 'i@': 'iy ax', 'tS': 'ch', 'dZ': 'jh', 'S': 'sh'},
  **{'Z': 'zh', 'T': 'th', 'D': 'dh', 'N': 'ng', 'j': 'y', ';': 'y', 'h': 'hh'},
}
# Where an r is said before vowels alone, and there it is a phoneme of its own.
_WITHOUT_R = {'A@': 'aa', 'O@': 'ao', 'o@': 'ao', 'e@': 'eh ax', 'U@': 'uh ax'}
_WITHOUT_R |= {'i@3': 'ih ax', '3': 'ax'}
NON_RHOTIC = frozenset({'en-gb-x-rp'})


def phones(spoken: Spoken, accent: str) -> list[Interval]:
  """The phones of an utterance, one after the other from sample 0 to the last.

  Raises:
    InputError: eSpeak has said a phoneme that is not known here.
  """
  levels = _levels(spoken.samples)
  result: list[Interval] = []
  for start, end, label in _mapped(spoken, accent):
    closure = CLOSURES.get(label)
    silent = _silence_before(levels, start) if result and closure else 0
    # What is silent at the very beginning is no closure.
    if silent >= _SHORTEST and result[-1].label != SILENCE:
      before = result.pop()
      begin = max(start - silent, min(before.start + _SHORTEST, start))
      result.append(before._replace(end=begin))
      result.append(Interval(begin, start, closure or ''))
      result.append(Interval(start, end, label))
    elif label in _VOICED and closure:
      middle = start + round(_HUM * (end - start))
      result += [Interval(start, middle, closure), Interval(middle, end, label)]
    else:
      result.append(Interval(start, end, label))
  return [interval for interval in result if interval.end > interval.start]


def words(spoken: Spoken, intervals: Sequence[Interval]) -> list[Interval]:
  """The words of an utterance, which begin and end where phones do."""
  said = [one for one in intervals if one.label != SILENCE]
  starts = np.array([one.start for one in said])
  begins = [int(starts[np.abs(starts - word.start).argmin()]) for word in spoken.words]
  return [
    Interval(begin, end, word.text)
    for word, begin, end in zip(
      spoken.words, begins, [*begins[1:], said[-1].end], strict=True
    )
  ]


def _mapped(spoken: Spoken, accent: str) -> Iterator[Interval]:
  """Intervals with TIMIT's names, without closures; none is empty."""
  names = _PHONES | _WITHOUT_R if accent in NON_RHOTIC else _PHONES
  marks, total = spoken.phonemes, len(spoken.samples)
  while marks and _stripped(marks[-1]) in _PAUSES:
    total, marks = min(total, marks[-1].start), marks[:-1]
  if not marks:
    raise InputError('eSpeak NG: nothing was said')
  if marks[0].start:
    yield Interval(0, marks[0].start, SILENCE)
  ends = [*(mark.start for mark in marks[1:]), total]
  for mark, end in zip(marks, ends, strict=True):
    name = _stripped(mark)
    if name not in names and name not in _PAUSES:
      raise InputError(f'eSpeak NG: no phone for its phoneme {name!r} in {accent}')
    labels = [PAUSE] if name in _PAUSES else names[name].split()
    edges = np.linspace(mark.start, end, len(labels) + 1).round().astype(int).tolist()
    for label, begin, stop in zip(labels, edges, edges[1:], strict=False):
      if stop > begin:
        yield Interval(begin, stop, label)
  if total < len(spoken.samples):
    yield Interval(total, len(spoken.samples), SILENCE)


def _stripped(mark: Mark) -> str:
  return mark.text.strip(_STRESS)


def _levels(samples: np.ndarray) -> np.ndarray:
  """Running root mean square of 5 ms, relative to the loud parts."""
  power = np.convolve(samples.astype(np.float64) ** 2, np.ones(_FRAME) / _FRAME, 'same')
  level = np.sqrt(np.maximum(power, 0))
  return level / max(1.0, float(np.percentile(level, 95)))


def _silence_before(levels: np.ndarray, start: int) -> int:
  """Samples of silence that end where a stop begins.

  The mark comes up to 5 ms after the burst.
  """
  end = start
  while end > max(0, start - 2 * _FRAME) and levels[end - 1] >= _QUIET:
    end -= 1
  begin = end
  while begin > 0 and levels[begin - 1] < _QUIET:
    begin -= 1
  return start - begin if begin < end else 0
