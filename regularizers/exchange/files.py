"""One copy of a replica as one file: whole, or noticed not to be.

The layout is that of safetensors, so that other programs can read the files: the
length of a JSON header in eight bytes, the header, the bytes of the leaves.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import stat
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from regularizers.exchange.peers import ExchangeError

_NAMES: Mapping[str, str] = {
  'BOOL': 'bool',
  'U8': 'uint8',
  'I8': 'int8',
  'U16': 'uint16',
  'I16': 'int16',
  'U32': 'uint32',
  'I32': 'int32',
  'U64': 'uint64',
  'I64': 'int64',
  'F16': 'float16',
  'BF16': 'bfloat16',
  'F32': 'float32',
  'F64': 'float64',
}
_DTYPES = {
  name: np.dtype(jnp.bfloat16 if kind == 'bfloat16' else kind)
  for name, kind in _NAMES.items()
}
_NAME_OF = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER = 100_000_000
RESERVED = '__metadata__'  # no name of a leaf
_UNKNOWN = b'0' * 8  # where the checksum will stand
_JUNK = (
  ValueError,
  LookupError,
  TypeError,
  AttributeError,
  OverflowError,
  RecursionError,
)


Parts = Sequence[bytes | memoryview]  # one after the other


class DamagedError(ExchangeError):
  """A file that is cut off, changed, or none of ours."""


@dataclasses.dataclass(frozen=True)
class Copy:
  """What a file holds.

  Attributes:
    about: step, replica and num_replicas, as text.
    leaves: by their path in the tree.
  """

  about: Mapping[str, str]
  leaves: Mapping[str, np.ndarray]


def check_type(name: str, dtype: Any) -> None:
  """Raises ExchangeError if leaves of this type have no place in a file."""
  if dtype not in _NAME_OF:
    raise ExchangeError(f'{name}: leaves of type {dtype} cannot be exchanged')


def encode(copy: Copy) -> Parts:
  """The bytes of a file, the leaves not copied once more.

  Raises:
    ExchangeError: a leaf of a type that has no name.
  """
  entries = _entries(tuple((n, x.dtype, x.shape) for n, x in copy.leaves.items()))
  data = [
    np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data
    for leaf in copy.leaves.values()
  ]
  about = {'crc32': _UNKNOWN.decode(), **copy.about}
  text = json.dumps({RESERVED: about})[:-1] + entries
  start = text.encode()
  start += b' ' * (-len(start) % 8)
  head = len(start).to_bytes(8, 'little') + start
  return [head.replace(_UNKNOWN, _checksum([head, *data]), 1), *data]


@functools.lru_cache(maxsize=64)  # making it takes longer than to write a small copy
def _entries(leaves: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> str:
  """What stands behind the first entry of the header."""
  header, end = {}, 0
  for name, dtype, shape in leaves:
    check_type(name, dtype)
    start, end = end, end + dtype.itemsize * math.prod(shape)
    header[name] = {
      'dtype': _NAME_OF[dtype],
      'shape': list(shape),
      'data_offsets': [start, end],
    }
  return f', {json.dumps(header)[1:]}' if header else '}'


def decode(content: bytes) -> Copy:
  """What ``encode`` was given.

  Raises:
    DamagedError: it is not what was written.
  """
  try:
    length = int.from_bytes(content[:8], 'little')
    if length > min(len(content) - 8, _MAX_HEADER):
      raise ValueError('cut off')
    start, data = content[: 8 + length], memoryview(content)[8 + length :]
    header = json.loads(start[8:])
    about = header.pop(RESERVED)
    if not all(isinstance(value, str) for value in about.values()):
      raise ValueError('what it says of itself is not text')
    expected = about.pop('crc32').encode()
    if expected != _checksum([start.replace(expected, _UNKNOWN, 1), data]):
      raise ValueError('the checksum is not that of what was written')
    leaves = {name: _leaf(entry, data) for name, entry in header.items()}
  except _JUNK as error:
    raise DamagedError(str(error) or type(error).__name__) from error
  return Copy(about, leaves)


def _leaf(entry: Mapping[str, Any], data: memoryview) -> np.ndarray:
  start, end = entry['data_offsets']
  array = np.frombuffer(data[start:end], _DTYPES[entry['dtype']])
  return array.reshape(entry['shape'])


def _checksum(parts: Iterable[bytes | memoryview]) -> bytes:
  """Of every byte of the file, but that zeros stand in place of the checksum.

  For accidents: a digest that withstands forgery takes more than twice as long.
  """
  value = 0
  for part in parts:
    value = zlib.crc32(part, value)
  return b'%08x' % value


def read(path: str | os.PathLike[str]) -> bytes:
  """What is in a regular file; never waits for a writer, as a pipe would.

  Raises:
    DamagedError: it is something else.
    OSError: it cannot be read.
  """
  try:
    with open(path, 'rb', opener=_open_at_once) as file:
      if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file.read()
  except IsADirectoryError:
    pass
  raise DamagedError('not a regular file')


def _open_at_once(path: str, flags: int) -> int:
  return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))


def write(path: str | os.PathLike[str], content: Parts) -> None:
  """Under its name as soon as it is whole and on the disk, not before.

  Raises:
    OSError: it cannot be written; nothing is left of it.
  """
  temporary = spare(os.path.dirname(path))
  try:
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
      for part in content:
        left = memoryview(part)
        while left:
          left = left[os.write(file, left) :]
      os.ftruncate(file, sum(len(part) for part in content))
      os.fsync(file)
    finally:
      os.close(file)
    os.replace(temporary, path)
  except OSError:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(temporary)
    raise


def retire(path: str | os.PathLike[str]) -> None:
  """Takes the name away; what is written next goes over it.

  To give back the pages of a file and to get new ones takes longer than all else in
  writing it.

  Raises:
    OSError: it cannot be removed.
  """
  there = os.lstat(path)
  if stat.S_ISREG(there.st_mode) and there.st_nlink == 1:
    os.replace(path, spare(os.path.dirname(path)))
  else:
    os.unlink(path)


def spare(place: str | os.PathLike[str]) -> str:
  """Where this process writes what has no name yet."""
  return os.path.join(place, f'.{os.getpid()}.tmp')
