"""Features of many utterances, computed once and kept on disk.

A directory holds the features of all utterances in one file, which is mapped into
memory, and an index. Its name tells of the recordings (their files, with size and time)
and of all that decides the features.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from experiments.datasets import fbank, files, sphere
from experiments.datasets.directories import made
from experiments.errors import InputError

_FORMAT = 1
_VALUES, _INDEX = 'values.f32', 'index.json'


class Sound(Protocol):
  """What features are made of."""

  @property
  def name(self) -> str:
    """Of the utterance, which no other has."""

  @property
  def speaker(self) -> str:
    """Whose mean and variance are taken out."""

  @property
  def path(self) -> pathlib.Path:
    """The file that it comes from."""

  def samples(self) -> tuple[np.ndarray, int]:
    """``[n]`` int16, and how many a second.

    Raises:
      InputError: the file is missing or damaged.
    """


@dataclasses.dataclass(frozen=True)
class Features:
  """Features of a split.

  Attributes:
    values: ``[frames of all utterances, dims]`` float32.
    names: of the utterances.
    starts: ``[n]``, the first frame of each.
    lengths: ``[n]``, frames.
    rate: samples a second.
    sha256: of names and samples.
    bad: what is wrong with those that were left out, by name.
  """

  values: np.ndarray
  names: Sequence[str]
  starts: np.ndarray
  lengths: np.ndarray
  rate: int
  sha256: str
  bad: Mapping[str, str]

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, row: int) -> np.ndarray:
    """``[frames, dims]`` of an utterance."""
    start = self.starts[row]
    return self.values[start : start + self.lengths[row]]


def prepare(
  sounds: Sequence[Sound], cache_dir: pathlib.Path, num_mel: int, skip_bad: bool = False
) -> Features:
  """The features of all utterances, normalised by speaker.

  Args:
    sounds: the utterances.
    cache_dir: where features are kept.
    num_mel: number of filters.
    skip_bad: leave out what cannot be read.

  Raises:
    InputError: there is no utterance, two have one name, a recording cannot be read,
      or the cache is not usable.
  """
  if not sounds:
    raise InputError('speech: expected an utterance at least, found none')
  named = {sound.name for sound in sounds}
  if len(named) < len(sounds):
    raise InputError(f'speech: {len(sounds)} utterances have {len(named)} names')
  digest = hashlib.sha256(repr(_key(sounds, num_mel)).encode()).hexdigest()

  def write(directory: pathlib.Path) -> None:
    _write(directory, sounds, num_mel, skip_bad)

  features = _read(made(cache_dir / f'features-{digest[:16]}', write))
  if features.bad and not skip_bad:
    raise InputError(next(iter(features.bad.values())))
  return features


def _key(sounds: Sequence[Sound], num_mel: int) -> Any:
  files = []
  for sound in sounds:
    try:
      status = sound.path.stat()
      size, time = status.st_size, status.st_mtime_ns
    except OSError:  # reading it says what is wrong
      size, time = -1, -1
    files.append((sound.name, sound.speaker, os.fspath(sound.path), size, time))
  # What was left out for want of sph2pipe is not, once it is there.
  return _FORMAT, fbank.version(), num_mel, sphere.converts(), files


def _write(
  directory: pathlib.Path, sounds: Sequence[Sound], num_mel: int, skip_bad: bool
) -> None:
  """One speaker after the other, so that no more than one needs memory."""
  by_speaker: dict[str, list[Sound]] = {}
  for sound in sounds:
    by_speaker.setdefault(sound.speaker, []).append(sound)
  index = _Index(num_mel, skip_bad)
  with (directory / _VALUES).open('wb') as file:
    for own in by_speaker.values():
      values = index.add(own)
      if values:
        np.concatenate(fbank.normalised(values)).astype('<f4').tofile(file)
  content = index.content([sound.name for sound in sounds])
  (directory / _INDEX).write_text(json.dumps(content))


class _Index:
  """What the file of an index says, in the making."""

  def __init__(self, num_mel: int, skip_bad: bool):
    self._num_mel, self._skip_bad = num_mel, skip_bad
    self._end = 0
    self._places: dict[str, tuple[int, int]] = {}
    self._digests: dict[str, str] = {}
    self._rates: set[int] = set()
    self._bad: dict[str, str] = {}

  def add(self, sounds: Sequence[Sound]) -> list[np.ndarray]:
    """The features of the utterances that can be read, as they are."""
    result = []
    for sound in sounds:
      try:
        samples, rate = sound.samples()
        values = fbank.features(samples, rate, self._num_mel)
      except InputError as error:
        if not self._skip_bad:
          raise
        self._bad[sound.name] = str(error)
        continue
      self._rates.add(rate)
      self._digests[sound.name] = hashlib.sha256(samples.tobytes()).hexdigest()
      self._places[sound.name] = self._end, len(values)
      self._end += len(values)
      result.append(values)
    return result

  def content(self, names: Sequence[str]) -> dict[str, Any]:
    """The places, in the order of the names.

    Raises:
      InputError: there is no utterance, or they have several rates.
    """
    known = [name for name in names if name in self._places]
    if not known:
      fault = next(iter(self._bad.values()))
      raise InputError(f'speech: no recording of {len(names)} can be read: {fault}')
    if len(self._rates) > 1:
      raise InputError(f'speech: expected one rate, found {sorted(self._rates)}')
    lines = [f'{name} {self._digests[name]}\n' for name in known]
    return {
      'dims': fbank.dims(self._num_mel),
      'rate': self._rates.pop(),
      'sha256': hashlib.sha256(''.join(lines).encode()).hexdigest(),
      'bad': self._bad,
      'names': known,
      'places': [self._places[name] for name in known],
    }


def _read(directory: pathlib.Path) -> Features:
  path = directory / _VALUES
  try:
    index = files.parsed((directory / _INDEX).read_text())
    places = np.array(index['places'], np.int64)
    shape = int(places[:, 1].sum()), index['dims']
    if path.stat().st_size != 4 * shape[0] * shape[1]:
      raise ValueError('cut off')
    # Mapped: those of WSJ are larger than the memory of many a machine.
    values = np.memmap(path, '<f4', 'r', shape=shape)
  except (OSError, ValueError, TypeError, LookupError) as error:
    raise InputError(f'{directory}: not features: delete it ({error})') from error
  about = index['rate'], index['sha256'], index['bad']
  return Features(values, index['names'], places[:, 0], places[:, 1], *about)
