"""Files of text in UTF-8, plain or gzipped."""

import gzip
import pathlib
import zlib

from experiments.errors import InputError


def read(path: pathlib.Path) -> bytes:
  """The content of a file, unpacked if its name ends in ``.gz``.

  Raises:
    InputError: it cannot be read, or is cut off or damaged.
  """
  try:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix.lower() == '.gz' else content
  except EOFError as error:
    raise InputError(f'{path}: the gzip file is cut off') from error
  except (gzip.BadGzipFile, zlib.error) as error:
    raise InputError(f'{path}: not a gzip file, or damaged ({error})') from error
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error


def decode(content: bytes, path: pathlib.Path) -> str:
  """The text, without a byte order mark.

  Raises:
    InputError: it is not UTF-8.
  """
  try:
    return content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = content.count(b'\n', 0, error.start) + 1
    raise InputError(
      f'{path}: expected text in UTF-8, byte {error.start} is not (line {line})'
    ) from error


def lines(text: str) -> list[str]:
  r"""Its lines, as ``\n`` alone parts them, with or without a ``\r`` before it."""
  text = text.replace('\r\n', '\n').removesuffix('\n')
  return text.split('\n') if text else []
