"""A strict reader of idx files of unsigned bytes, plain or gzipped.

Whatever is wrong with a file is an `InputError` of one line that names the
file, what was expected and what was found. A header is believed only as far as
the size of the file bears it out, so a corrupt one cannot fill the memory.
"""

import contextlib
import gzip
import math
import os
import pathlib
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from experiments.datasets import files
from experiments.datasets.files import Stream, read_bytes
from experiments.errors import InputError

Path = str | os.PathLike[str]

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b'\x1f\x8b'
_MAX_BYTES = 1 << 30  # far above any data set of this format


def find(directory: Path, name: str) -> pathlib.Path:
  """The idx file ``name`` in ``directory`` under any name people have it.

  Args:
    directory: where to look.
    name: such as ``'train-images-idx3-ubyte'``; found with ``.`` before
      ``idx`` too, and with ``.gz``. The first of these that exists is taken.

  Raises:
    InputError: ``directory`` is none, or holds none of them.
  """
  root = pathlib.Path(directory)
  if not root.is_dir():
    raise InputError(f'{root}: no such directory')
  stems = [name, name.replace('-idx', '.idx')]
  names = [stem + suffix for suffix in ('', '.gz') for stem in stems]
  for candidate in names:
    if (root / candidate).exists():
      return root / candidate
  raise InputError(f'{root}: expected one of {", ".join(names)}; found none')


def read_images(path: Path, height: int, width: int) -> np.ndarray:
  """Images ``[n, height, width]`` uint8.

  Raises:
    InputError: the file is not a complete idx file of such images.
  """
  images = read(path, 3)
  if images.shape[1:] != (height, width):
    found = 'x'.join(map(str, images.shape[1:]))
    raise InputError(f'{path}: expected images of {height}x{width}, found {found}')
  return images


def read_labels(path: Path, num_classes: int, size: int) -> np.ndarray:
  """Labels ``[size]`` uint8, all below ``num_classes``.

  Raises:
    InputError: the file is not a complete idx file of such labels.
  """
  labels = read(path, 1)
  if len(labels) != size:
    raise InputError(
      f'{path}: expected {size} labels, one for each image, found {len(labels)}'
    )
  if size and labels.max() >= num_classes:
    row = int(np.argmax(labels >= num_classes))
    raise InputError(
      f'{path}: expected labels 0 to {num_classes - 1}, found {labels[row]} '
      f'(label {row})'
    )
  return labels


def read(path: Path, ndim: int) -> np.ndarray:
  """The array of ``ndim`` dimensions of bytes in the idx file ``path``.

  Raises:
    InputError: the file is not a complete idx file of that kind.
  """
  with _opened(path) as (stream, max_bytes):
    shape = _read_header(stream, path, ndim)
    size = math.prod(shape)
    if size > max_bytes:
      raise InputError(
        f'{path}: truncated, or a corrupt header: expected {size} bytes of data '
        f'for {"x".join(map(str, shape))}, found at most {max(max_bytes, 0)}'
      )
    data = read_bytes(stream, size + 1)  # one more: is there anything behind?
  if len(data) < size:
    raise InputError(
      f'{path}: truncated: expected {size} bytes of data, found {len(data)}'
    )
  if len(data) > size:
    raise InputError(f'{path}: trailing bytes: expected {size} bytes of data only')
  return np.frombuffer(data, np.uint8, count=size).reshape(shape)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Stream, int]]:
  """The uncompressed stream, and how many bytes it can hold at most."""
  files.check(pathlib.Path(path))
  try:
    with open(path, 'rb') as file:
      size = os.fstat(file.fileno()).st_size
      if not str(path).endswith('.gz'):
        yield file, min(size, _MAX_BYTES)
        return
      start = file.read(2)
      if start != _GZIP_MAGIC:
        raise InputError(
          f'{path}: not gzip: expected to start with {_GZIP_MAGIC.hex()}, '
          f'found {start.hex() or "an empty file"}'
        )
      file.seek(0)
      with gzip.GzipFile(fileobj=file) as stream:
        # deflate packs at most 1032 to 1
        yield stream, min(1032 * size, _MAX_BYTES)
  except FileNotFoundError as error:
    raise InputError(f'{path}: no such file') from error
  except IsADirectoryError as error:
    raise InputError(f'{path}: expected a file, found a directory') from error
  except EOFError as error:
    raise InputError(f'{path}: truncated: the gzip stream breaks off') from error
  except (gzip.BadGzipFile, zlib.error) as error:
    raise InputError(f'{path}: corrupt gzip stream: {error}') from error
  except OSError as error:
    raise InputError(f'{path}: cannot be read: {error.strerror}') from error


def _read_header(stream: Stream, path: Path, ndim: int) -> tuple[int, ...]:
  magic = read_bytes(stream, 4)
  expected = bytes([0, 0, _UNSIGNED_BYTE, ndim])
  if magic[:3] == expected[:3] and len(magic) == 4 and magic[3] != ndim:
    raise InputError(
      f'{path}: wrong number of dimensions: expected {ndim}, found {magic[3]}'
    )
  if magic != expected:
    raise InputError(
      f'{path}: wrong magic number: expected {expected.hex()}, '
      f'found {magic.hex() or "an empty file"}'
    )
  sizes = read_bytes(stream, 4 * ndim)
  if len(sizes) < 4 * ndim:
    raise InputError(
      f'{path}: truncated: expected a header of {4 + 4 * ndim} bytes, '
      f'found {4 + len(sizes)}'
    )
  return struct.unpack(f'>{ndim}I', sizes)
