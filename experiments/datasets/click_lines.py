"""Lines of a click log in Criteo's format as numbers, a block of bytes at a time."""

import dataclasses
import gzip
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from experiments.datasets import files
from experiments.errors import InputError

NUMBERS, CATEGORIES = 13, 26
FIELDS = 1 + NUMBERS + CATEGORIES
BLOCK = 1 << 22  # bytes
_MAX_LINE = 10_000  # bytes
_DIGITS = 18  # of an integer: they fit into 64 bits
_HEX = 8

_LABEL = re.compile(rb'[01]')
_INTEGER = re.compile(rb'(-?[0-9]{1,%d})?' % _DIGITS)
_CATEGORY = re.compile(rb'([0-9a-fA-F]{%d})?' % _HEX)

_NIBBLE = np.full(256, 255, np.uint8)
for _symbols in (b'0123456789abcdef', b'0123456789ABCDEF'):
  _NIBBLE[list(_symbols)] = range(16)


@dataclasses.dataclass(frozen=True)
class Log:
  """Lines as numbers.

  Attributes:
    label: ``[n]`` int32, 1 for a click.
    integer: ``[n, 13]`` float64, NaN where there is none.
    category: ``[n, 26]`` int64, -1 where there is none.
  """

  label: np.ndarray
  integer: np.ndarray
  category: np.ndarray


def read(path: pathlib.Path, block: int = BLOCK) -> Iterator[Log]:
  """The lines of a file, plain or ``.gz``, about ``block`` bytes at a time.

  A field may be empty, and the last line may lack some, and its end.

  Raises:
    InputError: names the file and the line that cannot be read.
  """
  files.check(path)
  number = 0
  try:
    with _opened(path) as file:
      for text in _pieces(file, block):
        log = _parsed(text, path, number)
        number += len(log.label)
        yield log
  except EOFError as error:
    raise InputError(
      f'{path}: truncated: the gzip stream breaks off after line {number}'
    ) from error
  except (gzip.BadGzipFile, zlib.error) as error:
    raise InputError(
      f'{path}: corrupt gzip stream after line {number}: {error}'
    ) from error
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error
  if number == 0:
    raise InputError(f'{path}: no lines')


def _opened(path: pathlib.Path) -> IO[bytes]:
  return gzip.open(path, 'rb') if path.suffix == '.gz' else path.open('rb')  # type: ignore[return-value]


def _pieces(file: IO[bytes], block: int) -> Iterator[bytes]:
  """Whole lines; only the last piece may end within a line, and is filled up."""
  held = b''
  while data := file.read(block):
    cut = held.rfind(b'\n') + 1
    if cut:
      yield held[:cut]
    held = held[cut:] + data
    if len(held) > _MAX_LINE + block:
      break  # a line without an end: refused as it is
  if held:
    yield _filled(held)


def _filled(text: bytes) -> bytes:
  text = text.removesuffix(b'\n').removesuffix(b'\r')
  last = text[text.rfind(b'\n') + 1 :]
  return text + b'\t' * (FIELDS - 1 - last.count(b'\t')) + b'\n'


def _parsed(text: bytes, path: pathlib.Path, before: int) -> Log:
  if b'\r' in text:
    text = text.replace(b'\r\n', b'\n')
  if log := _converted(text):
    return log
  for number, line in enumerate(text.removesuffix(b'\n').split(b'\n'), before + 1):
    _check(line, f'{path}: line {number}')  # only now, as it takes its time
  raise AssertionError('a line that is refused, but not by its check')


def _converted(text: bytes) -> Log | None:
  """None if there is anything that cannot be read."""
  # Bytes behind the end, so that a window may begin at any field.
  symbols = np.frombuffer(text + bytes(_DIGITS + 1), np.uint8)
  line_end = symbols == ord('\n')
  ends = np.flatnonzero(line_end | (symbols == ord('\t')))
  lines = np.flatnonzero(line_end[ends])
  if len(ends) % FIELDS or not np.array_equal(
    lines, np.arange(FIELDS - 1, len(ends), FIELDS)
  ):
    return None
  starts = np.concatenate([[0], ends[:-1] + 1])
  start, width = (x.reshape(-1, FIELDS) for x in (starts, ends - starts))
  first = 1 + NUMBERS
  label = symbols[start[:, 0]] - np.uint8(ord('0'))
  integer = _integers(symbols, start[:, 1:first], width[:, 1:first])
  category = _categories(symbols, start[:, first:], width[:, first:])
  if integer is None or category is None:
    return None
  if (width[:, 0] != 1).any() or (label > 1).any():
    return None
  return Log(label.astype(np.int32), integer, category)


def _integers(
  symbols: np.ndarray, start: np.ndarray, width: np.ndarray
) -> np.ndarray | None:
  missing = width == 0
  negative = (symbols[start] == ord('-')) & ~missing
  start, width = start + negative, width - negative
  if (negative & (width == 0)).any() or (width > _DIGITS).any():
    return None
  value = np.zeros(start.shape, np.int64)
  for place in range(width.max(initial=0)):
    digit = symbols[start + place] - np.uint8(ord('0'))
    inside = place < width
    if (inside & (digit > 9)).any():
      return None
    value = np.where(inside, value * 10 + digit, value)
  return np.where(missing, np.nan, np.where(negative, -value, value))


def _categories(
  symbols: np.ndarray, start: np.ndarray, width: np.ndarray
) -> np.ndarray | None:
  missing = width == 0
  if not (missing | (width == _HEX)).all():
    return None
  windows = np.lib.stride_tricks.sliding_window_view(symbols, _HEX)
  nibble = _NIBBLE[windows[start]]
  if ((nibble > 15).any(axis=-1) & ~missing).any():
    return None
  value = (nibble[..., ::2] << 4 | nibble[..., 1::2]).view('>u4')[..., 0]
  return np.where(missing, -1, value.astype(np.int64))


def _check(line: bytes, place: str) -> None:
  """Raises InputError for the first thing that cannot be read."""
  if len(line) > _MAX_LINE:
    raise InputError(f'{place}: longer than {_MAX_LINE} bytes')
  row = line.split(b'\t')
  if len(row) != FIELDS:
    more = ' (test.txt has no labels)' if len(row) == FIELDS - 1 else ''
    raise InputError(f'{place}: expected {FIELDS} fields, found {len(row)}{more}')
  if not _LABEL.fullmatch(row[0]):
    raise InputError(f'{place}: expected a label 0 or 1, found {_shown(row[0])}')
  for index, field in enumerate(row[1:], 1):
    form, what = _CATEGORY, f'{_HEX} hexadecimal digits'
    if index <= NUMBERS:
      form, what = _INTEGER, f'an integer of up to {_DIGITS} digits'
    if not form.fullmatch(field):
      raise InputError(
        f'{place}: field {index + 1}: expected {what}, found {_shown(field)}'
      )


def _shown(field: bytes) -> str:
  return repr(field[:40])[1:]
