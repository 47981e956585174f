"""Files of others: text in UTF-8, plain or gzipped, JSON, archives.

A file may be anything: a pipe, which would be waited for, a few kilobytes that unpack
to more than the memory, values within values until the stack is at its end. All of this
is an `InputError`, and soon.
"""

import gzip
import json
import os
import pathlib
import stat
import zipfile
import zlib
from typing import Any, Protocol

from experiments.errors import InputError

# What opening or reading an archive raises if it is damaged, locked or packed in a way
# that Python does not know.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
DEEPEST = 100  # values within values
# Text packs to a third or a tenth. What unpacks to more is refused, unless it is small.
_EXPANSION, _SMALL = 100, 1 << 25
_CHUNK = 1 << 20
_MEMORY = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


class Stream(Protocol):
  """What bytes are read from."""

  def read(self, size: int, /) -> bytes: ...


def check(path: pathlib.Path, *, whole: bool = False) -> None:
  """Whether to open the path ends: that of a pipe waits, a device has no end.

  Args:
    path: what is to be opened.
    whole: and read at once, for which it has to fit into the memory.

  Raises:
    InputError: it is one of these, too large, or no path. What else may be wrong is
      left to who opens it.
  """
  try:
    found = path.stat()
  except ValueError as error:
    raise InputError(f'cannot read {str(path)!r}: {error}') from error
  except OSError:
    return
  if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
    raise InputError(f'cannot read {path}: not a regular file')
  if whole and found.st_size > _MEMORY:
    size = f'{found.st_size} bytes, which do not fit into the memory'
    raise InputError(f'cannot read {path}: {size}')


def read(path: pathlib.Path) -> bytes:
  """The content of a file, unpacked if its name ends in ``.gz``.

  Raises:
    InputError: it cannot be read, is cut off or damaged, or unpacks to far more than
      text does.
  """
  plain = path.suffix.lower() != '.gz'
  check(path, whole=plain)
  try:
    if plain:
      return path.read_bytes()
    most = _most(path.stat().st_size)
    with gzip.open(path) as file:
      content = read_bytes(file, most + 1)
  except EOFError as error:
    raise InputError(f'{path}: the gzip file is cut off') from error
  except (gzip.BadGzipFile, zlib.error) as error:
    raise InputError(f'{path}: not a gzip file, or damaged ({error})') from error
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error
  if len(content) > most:
    raise InputError(f'{path}: it unpacks to more than {_EXPANSION} times its size')
  return content


def read_bytes(stream: Stream, size: int) -> bytes:
  """Up to ``size`` bytes."""
  # In pieces: read(size) would set aside `size` bytes before it reads any.
  data = bytearray()
  while len(data) < size:
    piece = stream.read(min(_CHUNK, size - len(data)))
    if not piece:
      break
    data += piece
  return bytes(data)


def check_archive(archive: zipfile.ZipFile) -> None:
  """Raises ValueError if it would unpack to far more than its size.

  What unpacks a member stops at the size that is checked here.
  """
  members = archive.infolist()
  packed = sum(member.compress_size for member in members)
  if sum(member.file_size for member in members) > _most(packed):
    raise ValueError(f'it unpacks to more than {_EXPANSION} times its size')


def _most(size: int) -> int:
  """Bytes that so many may unpack to."""
  return max(_SMALL, _EXPANSION * size)


def decode(content: bytes, path: pathlib.Path) -> str:
  """The text, without a byte order mark.

  Raises:
    InputError: it is not UTF-8, or is what UTF-16 without a mark looks like.
  """
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = content.count(b'\n', 0, error.start) + 1
    raise InputError(
      f'{path}: expected text in UTF-8, byte {error.start} is not (line {line})'
    ) from error
  if 3 * (zeros := content.count(0)) > len(content):
    found = f'{zeros} of {len(content)} bytes are 0, as in UTF-16'
    raise InputError(f'{path}: expected text in UTF-8, {found}')
  return text


def lines(text: str) -> list[str]:
  r"""Its lines, as ``\n`` alone parts them, with or without a ``\r`` before it."""
  text = text.replace('\r\n', '\n').removesuffix('\n')
  return text.split('\n') if text else []


def parsed(text: str) -> Any:
  """The value that a text of JSON stands for.

  Raises:
    ValueError: it is not JSON, or has values within values beyond ``DEEPEST``, or a
      text with half of a pair of surrogates, which no encoding can write.
  """
  try:
    value = json.loads(text)
  except RecursionError as error:
    raise ValueError(f'nested deeper than {DEEPEST}') from error
  if text.count('[') + text.count('{') > DEEPEST:
    _check_depth(value)
  if '\\ud' in text or '\\uD' in text:
    try:
      json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
      raise ValueError('a text with half of a pair of surrogates') from error
  return value


def json_value(path: pathlib.Path) -> Any:
  """What a file of JSON holds.

  Raises:
    InputError: it cannot be read, or holds something else.
  """
  try:
    return parsed(decode(read(path), path))
  except ValueError as error:
    raise InputError(f'{path}: not JSON ({error})') from error


def json_object(path: pathlib.Path) -> dict[str, Any]:
  """As ``json_value``, of a file whose value is an object."""
  found = json_value(path)
  if not isinstance(found, dict):
    raise InputError(f'{path}: expected a JSON object')
  return found


def _check_depth(value: Any) -> None:
  level = [value]
  for _ in range(DEEPEST + 1):
    inner = [own for own in level if isinstance(own, dict | list)]
    if not inner:
      return
    level = [
      part for own in inner for part in (own.values() if isinstance(own, dict) else own)
    ]
  raise ValueError(f'nested deeper than {DEEPEST}')
