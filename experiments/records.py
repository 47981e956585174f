"""Files of a run directory: a record of rows, and files that are whole or absent.

The first line of a record is its header, the others are rows. pandas reads the rows:

  pandas.read_json('record.jsonl', lines=True).iloc[1:].dropna(axis=1, how='all')
"""

import contextlib
import io
import json
import os
import pathlib
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets import files
from experiments.errors import InputError

Row = Mapping[str, Any]
# What numpy raises where the header of an array is none, or of more than there is.
_HEADERS = SyntaxError, tokenize.TokenError, MemoryError


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
  """Turns a full disk, a missing permission and the like into one line."""
  try:
    yield
  except OSError as error:
    raise InputError(f'cannot write {path}: {error.strerror or error}') from error


def check_writable(directory: pathlib.Path) -> None:
  """Whether files can be written there, or it can be made; makes nothing."""
  if '\0' in str(directory):
    raise InputError(f'cannot write {str(directory)!r}: embedded null byte')
  with writing(directory):
    place = next(p for p in (directory, *directory.parents) if p.exists())
  if not place.is_dir():
    raise InputError(f'cannot write {directory}: {place} is a file')
  if not os.access(place, os.W_OK | os.X_OK):
    raise InputError(f'cannot write {directory}: no permission to write in {place}')


def write_whole(path: pathlib.Path, content: bytes) -> None:
  """Replaces the file at once: a reader sees the old one or the new one."""
  temporary = path.with_name(f'.{path.name}.tmp')
  with writing(path):
    with temporary.open('wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: pathlib.Path, value: Any) -> None:
  """As ``write_whole``."""
  write_whole(path, (json.dumps(value, indent=2) + '\n').encode())


def write_arrays(path: pathlib.Path, **arrays: np.ndarray) -> None:
  """As ``write_whole``, for ``numpy.load``."""
  buffer = io.BytesIO()
  np.savez(buffer, allow_pickle=False, **arrays)
  write_whole(path, buffer.getvalue())


@contextlib.contextmanager
def arrays(path: pathlib.Path, expected: str = '') -> Iterator[Any]:
  """The arrays of a file, which are read as they are asked for.

  Raises:
    InputError: it is no such file, or one of the arrays is not there or damaged;
      ``expected`` says which were.
  """
  files.check(path)
  try:
    with path.open('rb') as stream, np.load(stream, allow_pickle=False) as found:
      files.check_archive(found.zip)
      yield found
  except FileNotFoundError as error:
    raise InputError(f'{path}: no such file; has the run finished?') from error
  except (*files.DAMAGED, OSError, LookupError, TypeError, *_HEADERS) as error:
    what = f'an array {expected}' if expected else 'arrays'
    reason = next(iter(str(error).splitlines()), '') or type(error).__name__
    raise InputError(f'{path}: expected {what}: {reason}') from error


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """All complete lines, the header first; none if there is no file."""
  if not path.exists():
    return []
  lines = []
  for number, line in enumerate(_text(path).splitlines(keepends=True), 1):
    if not line.endswith('\n'):
      break  # cut off while it was written
    try:
      found = files.parsed(line)
    except ValueError as error:
      raise InputError(f'{path}: line {number} is not JSON') from error
    if not isinstance(found, dict):
      raise InputError(f'{path}: line {number}: expected an object, found {found!r}')
    lines.append(found)
  return lines


def _text(path: pathlib.Path) -> str:
  files.check(path, whole=True)
  try:
    return path.read_text('utf-8')
  except UnicodeDecodeError as error:
    raise InputError(f'{path}: not a text file (byte {error.start})') from error
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error


def cut_back(path: pathlib.Path, header: Row, step: int) -> None:
  """Leaves the header and the rows up to ``step``, but for final ones.

  A file that is missing gets the header, if nothing was trained yet.

  Raises:
    InputError: there are steps, but no record of them, or a row has none.
  """
  lines = read(path)
  if step and not lines:
    raise InputError(
      f'{path}: no record of the {step} steps of the checkpoint; '
      'remove the directory to start anew'
    )
  for number, row in enumerate(lines[1:], 2):
    if not isinstance(row.get('step'), int):
      raise InputError(f'{path}: line {number}: expected a row with a step')
  kept = [row for row in lines[1:] if row['step'] <= step and not row.get('final')]
  write_whole(path, _encode([lines[0] if lines else header, *kept]))


def write_lines(path: pathlib.Path, lines: Sequence[Row]) -> None:
  """As ``write_whole``: a header and rows."""
  write_whole(path, _encode(lines))


def append(path: pathlib.Path, rows: Sequence[Row], *, durable: bool = True) -> None:
  """Adds lines; durable: has them on the disk when it returns."""
  if not rows:
    return
  with writing(path), path.open('ab') as file:
    file.write(_encode(rows))
    file.flush()
    if durable:
      os.fsync(file.fileno())


def _encode(rows: Sequence[Row]) -> bytes:
  return ''.join(json.dumps(row) + '\n' for row in rows).encode()
