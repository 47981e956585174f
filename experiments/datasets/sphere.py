"""NIST's SPHERE files: samples behind a header in text.

PCM of 16 bits is read here. What is compressed by shorten or coded by µ-law or A-law
is read through NIST's ``sph2pipe``, which has to be installed.
"""

import io
import os
import pathlib
import re
import shutil
import struct
import subprocess
import wave
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.datasets import files
from experiments.errors import InputError

_MAGIC = b'NIST_1A\n'
_SIZE = 1024  # of the header that is written
_PROGRAM = 'sph2pipe'
_SECONDS = 60  # for one file
_BYTE_ORDER = {'01': '<i2', '10': '>i2'}
_FIELD = re.compile(r'(\S+) -(?:(i|r)|s(\d{1,9})) (.*)')


class _Header(NamedTuple):
  """What it says of the samples.

  Attributes:
    size: of the header, in bytes.
    length: samples of each channel.
    channels: one or more.
    rate: samples a second.
    width: bytes of a sample.
    order: of these bytes, as ``'01'``: the low one first.
    coding: ``'pcm'`` or what else.
  """

  size: int
  length: int
  channels: int
  rate: int
  width: int
  order: str
  coding: str


def read(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """The samples of a file, ``[n]`` or ``[n, channels]`` int16, and how many a second.

  Raises:
    InputError: it is missing, cut off or no SPHERE file; or it is compressed and
      ``sph2pipe`` is not installed.
  """
  content = files.read(path)
  header = _header(content, path)
  if header.coding == 'pcm':
    samples = _pcm(content, header, path)
  else:
    samples = _converted(header, path)
  expected = header.length * header.channels
  if len(samples) < expected:
    raise InputError(
      f'{path}: cut off: expected {expected} samples, found {len(samples)}'
    )
  samples = samples[:expected].astype(np.int16)
  shape = (-1, header.channels) if header.channels > 1 else (-1,)
  return samples.reshape(shape), header.rate


def write(path: pathlib.Path, samples: np.ndarray, rate: int) -> None:
  """Writes PCM, the low byte first.

  Args:
    path: of the file.
    samples: ``[n]`` or ``[n, channels]`` int16.
    rate: samples a second.

  Raises:
    ValueError: the samples are something else.
  """
  if samples.dtype != np.int16 or samples.ndim not in {1, 2}:
    raise ValueError(
      f'samples: expected [n] or [n, channels] int16, got {samples.dtype} '
      f'{list(samples.shape)}'
    )
  lines = [
    f'channel_count -i {1 if samples.ndim == 1 else samples.shape[1]}',
    f'sample_count -i {len(samples)}',
    f'sample_rate -i {rate}',
    'sample_n_bytes -i 2',
    'sample_byte_format -s2 01',
    'sample_sig_bits -i 16',
    'sample_coding -s3 pcm',
    'end_head',
  ]
  header = _MAGIC + f'{_SIZE:7d}\n'.encode() + '\n'.join([*lines, '']).encode()
  path.write_bytes(header.ljust(_SIZE) + samples.astype('<i2').tobytes())


def converts() -> bool:
  """Whether other codings than PCM can be read here."""
  return shutil.which(_PROGRAM) is not None


def _header(content: bytes, path: pathlib.Path) -> _Header:
  line, _, _ = content[len(_MAGIC) :].partition(b'\n')
  if not content.startswith(_MAGIC) or not re.fullmatch(rb' *\d{1,9} *', line):
    raise InputError(f'{path}: not a SPHERE file: it does not begin with NIST_1A')
  size = int(line)
  text = content[len(_MAGIC) + len(line) + 1 : size].decode('latin-1')
  head, end, _ = text.partition('end_head')
  if len(content) < size or not end:
    raise InputError(f'{path}: cut off or damaged: its header has no end')
  fields: dict[str, str] = {}
  for field in head.splitlines():
    if match := _FIELD.fullmatch(field.rstrip()):
      name, number, length, value = match.groups()
      fields[name] = value.strip() if number else value[: int(length)].strip()
  coding = fields.get('sample_coding', 'pcm').lower()
  return _Header(
    size,
    _number(fields, 'sample_count', path, least=0),
    _number(fields, 'channel_count', path, default='1'),
    _number(fields, 'sample_rate', path),
    _number(fields, 'sample_n_bytes', path),
    fields.get('sample_byte_format', ''),
    coding,
  )


def _number(
  fields: Mapping[str, str],
  name: str,
  path: pathlib.Path,
  default: str = 'nothing',
  least: int = 1,
) -> int:
  text = fields.get(name, default)
  if not re.fullmatch(r'\d{1,12}', text) or int(text) < least:
    raise InputError(
      f'{path}: header: {name}: expected a number of {least} or more, found {text}'
    )
  return int(text)


def _pcm(content: bytes, header: _Header, path: pathlib.Path) -> np.ndarray:
  if header.width != 2 or header.order not in _BYTE_ORDER:
    raise InputError(
      f'{path}: header: expected samples of 2 bytes in the order 01 or 10, found '
      f'{header.width} in the order {header.order or "of nothing"}'
    )
  whole = (len(content) - header.size) // 2
  return np.frombuffer(content, _BYTE_ORDER[header.order], whole, header.size)


def _converted(header: _Header, path: pathlib.Path) -> np.ndarray:
  """What sph2pipe makes of it."""
  program = shutil.which(_PROGRAM)
  if program is None:
    raise InputError(
      f'{path}: its samples are {header.coding}: install {_PROGRAM} and put it on PATH'
    )
  command = [program, '-p', '-f', 'wav', os.fspath(path.absolute())]
  try:
    done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
  except (OSError, subprocess.TimeoutExpired) as error:
    raise InputError(f'{path}: {_PROGRAM} cannot read it ({error})') from error
  try:
    with wave.open(io.BytesIO(done.stdout)) as file:
      width, channels = file.getsampwidth(), file.getnchannels()
      frames = file.readframes(file.getnframes())
  except (*files.DAMAGED, wave.Error, struct.error) as error:
    said = done.stderr.decode(errors='replace').strip().splitlines()
    reason = said[-1] if said else error
    raise InputError(f'{path}: {_PROGRAM} cannot read it ({reason})') from error
  if (width, channels) != (2, header.channels):
    raise InputError(
      f'{path}: {_PROGRAM}: expected {header.channels} channels of 2 bytes, found '
      f'{channels} of {width}'
    )
  return np.frombuffer(frames, '<i2', len(frames) // 2)
