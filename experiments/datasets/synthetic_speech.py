"""Synthetic speech in the directories and files of TIMIT and WSJ.

It is made up from beginning to end, as README in each directory says; what it has of
the corpora is their form, so that the readers of these read it.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.datasets import recordings, sphere
from experiments.datasets.directories import made
from experiments.datasets.espeak import RATE
from experiments.datasets.recordings import Part, Recording, Script, Settings
from experiments.datasets.timit import LISTS
from experiments.datasets.utterances import Interval
from experiments.datasets.voices import ACCENTS

_README = """\
This is not {corpus}. It is synthetic speech, made by eSpeak NG of sentences that a
program has put together, in the form of {corpus}; nobody has said any of it.
"""


class _Set(NamedTuple):
  """A set of WSJ: its list, disc, folder there and transcripts; and its speakers."""

  listing: str
  disc: str
  folder: str
  transcripts: str
  first: str  # character of the names
  parts: Sequence[Part]


def timit(cache_dir: pathlib.Path, settings: Settings) -> pathlib.Path:
  """A directory in the form of TIMIT, made if it is not there.

  Speakers of all splits differ, and so do their sentences. Lists in the directory say
  which speakers of ``TEST`` are for validation and which for testing.

  Raises:
    InputError: eSpeak NG is not installed or does not work, the settings ask for more
      sentences than there are, or the cache is not usable.
  """
  script = recordings.script(settings)

  def write(root: pathlib.Path) -> None:
    (root / 'README').write_text(_README.format(corpus='TIMIT'))
    speakers = _names(script)
    number = 0
    for split, parts in script.items():
      if split in LISTS:
        lines = ''.join(f'{name}\n' for name in speakers[split])
        (root / LISTS[split]).write_text(lines)
      own = zip(speakers[split], parts, recordings.record(parts), strict=True)
      for name, part, recorded in own:
        region = 1 + ACCENTS.index(part.voice.accent)
        place = 'TRAIN' if split == 'train' else 'TEST'
        folder = root / place / f'DR{region}' / name.upper()
        folder.mkdir(parents=True)
        for recording in recorded:
          number += 1
          _write_timit(folder / f'SX{number}', recording)

  return made(_place(cache_dir, 'timit', script), write)


def _place(cache_dir: pathlib.Path, name: str, script: Script) -> pathlib.Path:
  digest = recordings.digest(script)
  return cache_dir / f'synthetic-{name}-{digest[:16]}'


def _names(script: Script) -> Mapping[str, Sequence[str]]:
  """As TIMIT's: the sex, three letters and a number."""
  used: dict[str, int] = {}
  result: dict[str, list[str]] = {split: [] for split in script}
  for split, parts in script.items():
    for voice, _ in parts:
      stem = f'{voice.sex}{voice.variant[:3]:x<3}'.lower()
      result[split].append(f'{stem}{used.setdefault(stem, 0)}')
      used[stem] += 1
  return result


def _write_timit(path: pathlib.Path, recording: Recording) -> None:
  sphere.write(path.with_suffix('.WAV'), recording.samples, RATE)
  path.with_suffix('.TXT').write_text(f'0 {len(recording.samples)} {recording.text}\n')
  path.with_suffix('.PHN').write_text(_lines(recording.phones))
  path.with_suffix('.WRD').write_text(_lines(recording.words))


def _lines(intervals: Sequence[Interval]) -> str:
  return ''.join(f'{start} {end} {label}\n' for start, end, label in intervals)


def wsj(cache_dir: pathlib.Path, settings: Settings) -> pathlib.Path:
  """The same in the form of WSJ's discs; half the training speakers are of si84.

  Raises:
    InputError: as ``timit``.
  """
  script = recordings.script(settings)

  def write(root: pathlib.Path) -> None:
    (root / 'README').write_text(_README.format(corpus='WSJ'))
    for own in _sets(script):
      listed = [f';; {line}' for line in _README.format(corpus='WSJ').splitlines()]
      for number, recorded in enumerate(recordings.record(own.parts)):
        speaker = f'{own.first}{np.base_repr(number, 36).lower():0>2}'
        listed += _write_wsj(root, own, speaker, recorded)
      (root / own.listing).parent.mkdir(parents=True, exist_ok=True)
      (root / own.listing).write_text('\n'.join([*listed, '']))

  return made(_place(cache_dir, 'wsj', script), write)


def _sets(script: Script) -> Sequence[_Set]:
  train = script['train']
  half = -(-len(train) // 2)
  disc0, disc1 = '11-13.1/wsj0', '13-34.1/wsj1'
  index0, index1 = f'{disc0}/doc/indices', f'{disc1}/doc/indices'
  dots0, dots1 = f'{disc0}/transcrp/dots', f'{disc1}/trans/wsj1'
  tests = f'{index0}/test/nvp/si_et_20.ndx'
  return (
    _Set(
      f'{index0}/train/tr_s_wv1.ndx', '11-1.1', 'wsj0/si_tr_s', dots0, '0', train[:half]
    ),
    _Set(f'{index1}/si_tr_s.ndx', '13-1.1', 'wsj1/si_tr_s', dots1, '1', train[half:]),
    _Set(
      f'{index1}/h1_p0.ndx',
      '13-16.1',
      'wsj1/si_dt_20',
      dots1,
      '4',
      script['validation'],
    ),
    _Set(tests, '11-6.1', 'wsj0/si_et_20', dots0, '5', script['test']),
  )


def _write_wsj(
  root: pathlib.Path, own: _Set, speaker: str, recorded: Sequence[Recording]
) -> list[str]:
  """The lines of the list."""
  folder = root / own.disc / own.folder / speaker
  folder.mkdir(parents=True)
  dots = root / own.transcripts / pathlib.PurePath(own.folder).name / speaker
  dots.mkdir(parents=True)
  session = f'{speaker}c02'
  spoken, listed = [], []
  for number, recording in enumerate(recorded, 1):
    name = f'{session}{np.base_repr(number, 36).lower():0>2}'
    sphere.write(folder / f'{name}.wv1', recording.samples, RATE)
    spoken.append(f'{recording.text} ({name})\n')
    # The lists of the tests leave the suffix out.
    suffix = '' if own.folder.endswith('si_et_20') else '.wv1'
    disc = own.disc.replace('-', '_').replace('.', '_')
    listed.append(f'{disc}:{own.folder}/{speaker}/{name}{suffix}')
  (dots / f'{session}00.dot').write_text(''.join(spoken))
  return listed
