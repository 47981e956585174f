"""The Free Spoken Digit Dataset: real speech, single digits, as strings of phones.

The recordings are not aligned: a dictionary of ten words says what phones they have.

References:
  Jackson et al., "Free Spoken Digit Dataset", github.com/Jakobovski/free-spoken-digit-
    dataset.
"""

import dataclasses
import io
import os
import pathlib
import re
import struct
import wave
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments.datasets import files
from experiments.errors import InputError

PHONES = (
  *('z ih r ow', 'w ah n', 't uw', 'th r iy', 'f ao r', 'f ay v', 's ih k s'),
  *('s eh v ax n', 'ey t', 'n ay n'),
)
_HELD_OUT = 5  # recordings of each digit and speaker of training, for validation
_NAME = re.compile(r'(?:.*/)?((\d)_([^/_]+)_(\d+))\.wav')


@dataclasses.dataclass(frozen=True)
class Digit:
  """One recording.

  Attributes:
    name: such as ``'7_george_12'``.
    speaker: who says it.
    path: of the file, or of the archive it is in.
    content: of the file.
  """

  name: str
  speaker: str
  path: pathlib.Path
  content: bytes = dataclasses.field(repr=False)

  @property
  def text(self) -> str:
    """Its phones."""
    return PHONES[int(self.name[0])]

  def samples(self) -> tuple[np.ndarray, int]:
    """``[n]`` int16, and how many a second.

    Raises:
      InputError: it is not a wav file of one channel of 16 bits, or cut off.
    """
    try:
      with wave.open(io.BytesIO(self.content)) as file:
        channels, width, rate, count, *_ = file.getparams()
        samples = np.frombuffer(file.readframes(count), np.uint8)
    except (*files.DAMAGED, wave.Error, struct.error) as error:
      raise InputError(f'{self._place}: not a wav file ({error!r})') from error
    if (channels, width) != (1, 2):
      raise InputError(
        f'{self._place}: expected 1 channel of 2 bytes, found {channels} of {width}'
      )
    if rate < 1:
      raise InputError(f'{self._place}: a rate of 0 samples a second')
    if len(samples) != 2 * count:
      raise InputError(f'{self._place}: expected {count} samples, it is cut off')
    return samples.view('<i2').astype(np.int16), rate

  @property
  def _place(self) -> str:
    return f'{self.path}: {self.name}.wav'


def read(path: str | os.PathLike[str], speaker: str) -> Mapping[str, list[Digit]]:
  """The recordings by split.

  Args:
    path: ``recordings.zip``, or a directory with files such as ``7_george_12.wav``.
    speaker: who is left out of training, for testing. Of the others recordings 0 to 4
      are for validation.

  Raises:
    InputError: there are no such files, or none of the speaker.
  """
  digits: dict[str, Digit] = {}
  for name, place, content in _contents(pathlib.Path(path)):
    if match := _NAME.fullmatch(name):
      digits[match[1]] = Digit(match[1], match[3], place, content)
  if not digits:
    raise InputError(f'--data_dir: {path}: no files such as 7_george_12.wav')
  speakers = sorted({digit.speaker for digit in digits.values()})
  if speaker not in speakers:
    raise InputError(
      f'--left_out: {path}: no speaker {speaker!r}, but {", ".join(speakers)}'
    )
  splits: dict[str, list[Digit]] = {'train': [], 'validation': [], 'test': []}
  for name, digit in sorted(digits.items()):
    held_out = int(name.rpartition('_')[2]) < _HELD_OUT
    split = 'validation' if held_out else 'train'
    splits['test' if digit.speaker == speaker else split].append(digit)
  for split, own in splits.items():
    if not own:
      raise InputError(f'--data_dir: {path}: no recordings for {split}')
  return splits


def vocabulary() -> Sequence[str]:
  """The phones of all digits."""
  return sorted({phone for text in PHONES for phone in text.split()})


def _contents(path: pathlib.Path) -> Iterator[tuple[str, pathlib.Path, bytes]]:
  """Names, places and contents of all files."""
  try:
    if path.is_dir():
      for file in sorted(path.glob('**/*.wav')):
        yield file.name, file, files.read(file)
      return
    files.check(path)
    with zipfile.ZipFile(path) as archive:
      files.check_archive(archive)
      for name in archive.namelist():
        if name.endswith('.wav'):
          yield name, path, archive.read(name)
  except files.DAMAGED as error:
    raise InputError(f'{path}: not a zip file, or damaged ({error})') from error
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error
