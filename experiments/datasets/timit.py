"""TIMIT, LDC93S1: read speech of 630 American speakers, with the times of its phones.

As usual the two sentences that everybody says, SA, are left out: 462 speakers are for
training, and of those in ``TEST`` 50 for validation and 24, the core test set, for
testing. Files that are made in the same way may have other speakers, see ``read``.

References:
  Garofolo et al., "TIMIT Acoustic-Phonetic Continuous Speech Corpus", 1993.
  Halberstadt, "Heterogeneous Acoustic Measurements and Multiple Classifiers for Speech
    Recognition", 1998 (the speakers for validation).
"""

import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.datasets import files, trees
from experiments.datasets.phones import PHONES
from experiments.datasets.utterances import Corpus, Interval, Utterance, synthetic
from experiments.errors import InputError

NAME = 'timit'
VALIDATION = """
faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0
fdms0 fedw0 mgjf0 mglb0 mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0
mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4 fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0
fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0 fmml0 mrws1
"""
TEST = """
mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0
fnlp0 mcmj0 mjdh0 fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0
"""
# Speakers and utterances.
SIZES = {'train': (462, 3696), 'validation': (50, 400), 'test': (24, 192)}
LISTS = {'validation': 'dev_spk.list', 'test': 'test_spk.list'}

_SUFFIXES = ('wav', 'phn', 'wrd', 'txt')
_FILE = re.compile(r'(?:.*/)?(train|test)/dr\d+/([^/]+)/(s[aix]\d+)\.(wav|phn|wrd|txt)')
_WANTED = re.compile(rf'{_FILE.pattern}|(?:.*/)?(?:dev|test)_spk\.list')
_KNOWN = frozenset(PHONES)


class _Place(NamedTuple):
  """Where an utterance comes from."""

  folder: str
  speaker: str
  sentence: str


_Files = Mapping[_Place, Mapping[str, pathlib.Path]]  # by suffix


def read(root: pathlib.Path, *, skip_bad: bool = False) -> Corpus:
  """The corpus in a directory, with names in upper or lower case.

  If ``dev_spk.list`` and ``test_spk.list`` lie in it, they name the speakers of
  ``TEST`` that are for validation and testing, one a line, and there may be any number
  of speakers.

  Args:
    root: the directory ``TIMIT``, or one above it.
    skip_bad: leave out what cannot be read, and accept that speakers are missing.

  Raises:
    InputError: a file is missing or damaged, or the numbers of speakers and utterances
      are not TIMIT's.
  """
  found = trees.files(root, _WANTED)
  places = _places(found)
  if not places:
    raise InputError(
      f'--manual_dir: {root}: no files as TRAIN/DR1/FCJF0/SX37.WAV: not TIMIT'
    )
  lists = _lists(found)
  speakers = _speakers(root, lists)
  bad: dict[str, str] = {}
  splits: dict[str, list[Utterance]] = {'train': [], 'validation': [], 'test': []}
  for place, own in sorted(places.items()):
    split = 'train' if place.folder == 'train' else speakers.get(place.speaker)
    if split is None or place.sentence.startswith('sa'):
      continue
    try:
      splits[split].append(_utterance(place, own))
    except InputError as error:
      if not skip_bad:
        raise
      bad[f'{place.speaker}_{place.sentence}'] = str(error)
  faults = _missing(root, splits, speakers, listed=bool(lists))
  if faults and not skip_bad:
    raise InputError('; '.join(faults.values()))
  if not all(splits.values()):
    raise InputError('; '.join(faults.values()) or f'{root}: a split has no utterance')
  above = {root, *(path.parent for path in lists.values())}
  return Corpus(NAME, splits, bad | faults, any(map(synthetic, above)))


def _places(found: Mapping[str, pathlib.Path]) -> _Files:
  places: dict[_Place, dict[str, pathlib.Path]] = {}
  for key, path in found.items():
    if match := _FILE.fullmatch(key):
      *place, suffix = match.groups()
      own = places.setdefault(_Place(*place), {})
      if suffix in own:
        raise InputError(f'{path}: the same utterance as {own[suffix]}')
      own[suffix] = path
  return places


def _lists(found: Mapping[str, pathlib.Path]) -> dict[str, pathlib.Path]:
  """Those of speakers, by split."""
  lists: dict[str, pathlib.Path] = {}
  splits = {name: split for split, name in LISTS.items()}
  for key, path in found.items():
    if split := splits.get(key.rpartition('/')[2]):
      if split in lists:
        raise InputError(f'{path}: there is {lists[split]}, too')
      lists[split] = path
  return lists


def _speakers(root: pathlib.Path, lists: Mapping[str, pathlib.Path]) -> dict[str, str]:
  """The split of each speaker who is not for training."""
  texts = {'validation': VALIDATION, 'test': TEST}
  if lists and len(lists) < len(LISTS):
    raise InputError(f'{root}: expected both {" and ".join(LISTS.values())}')
  for split, path in lists.items():
    texts[split] = files.decode(files.read(path), path).lower()
  speakers: dict[str, str] = {}
  for split, text in texts.items():
    for name in text.split():
      if speakers.setdefault(name, split) != split:
        raise InputError(f'{root}: speaker {name} is in both lists')
  return speakers


def _missing(
  root: pathlib.Path,
  splits: Mapping[str, Sequence[Utterance]],
  speakers: Mapping[str, str],
  listed: bool,
) -> dict[str, str]:
  """What is wrong with the numbers of utterances and speakers, by split."""
  faults = {}
  for split, own in splits.items():
    there = {utterance.speaker for utterance in own}
    if listed:
      absent = {name for name, its in speakers.items() if its == split} - there
      if absent:
        faults[split] = f'{root}: {LISTS[split]}: no utterances of {min(absent)}'
    elif (len(there), len(own)) != SIZES[split]:
      expected = '{} speakers with {} utterances'.format(*SIZES[split])
      faults[split] = (
        f'{root}: {split}: expected {expected}, found {len(there)} with {len(own)}'
      )
  return faults


def _utterance(place: _Place, own: Mapping[str, pathlib.Path]) -> Utterance:
  for suffix in _SUFFIXES:
    if suffix not in own:
      there = next(iter(own.values()))
      raise InputError(f'{there}: no .{suffix.upper()} beside it')
  return Utterance(
    f'{place.speaker}_{place.sentence}',
    place.speaker,
    own['wav'],
    _text(own['txt']),
    _intervals(own['wrd']),
    _phones(own['phn']),
  )


def _text(path: pathlib.Path) -> str:
  """What stands behind the first and last sample."""
  content = files.decode(files.read(path), path)
  parts = content.strip().split(maxsplit=2)
  if len(parts) < 3 or '\n' in parts[2] or not ''.join(parts[:2]).isdecimal():
    raise InputError(f'{path}: expected one line: start end text')
  return parts[2]


def _phones(path: pathlib.Path) -> tuple[Interval, ...]:
  phones = _intervals(path)
  for before, phone in itertools.pairwise((Interval(0, 0, ''), *phones)):
    if phone.label not in _KNOWN:
      raise InputError(f"{path}: {phone.label} is not one of TIMIT's phones")
    if phone.start < before.start:
      raise InputError(f'{path}: the times go back: {" ".join(map(str, phone))}')
  return phones


def _intervals(path: pathlib.Path) -> tuple[Interval, ...]:
  intervals = []
  for number, line in enumerate(files.lines(files.decode(files.read(path), path)), 1):
    if not line.strip():
      continue
    match = re.fullmatch(r'\s*(\d{1,9})\s+(\d{1,9})\s+(\S+)\s*', line)
    if match is None or int(match[2]) < int(match[1]):
      raise InputError(
        f'{path}: line {number}: expected start end label, found {line.strip()}'
      )
    intervals.append(Interval(int(match[1]), int(match[2]), match[3]))
  if not intervals:
    raise InputError(f'{path}: it is empty')
  return tuple(intervals)
