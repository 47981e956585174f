"""Criteo's click logs: the Kaggle challenge's train.txt, or the Terabyte's day_0 to 23.

A line is a label, 13 integers and 26 categories of eight hexadecimal digits, with tabs
between; a field may be empty, and the last line may lack some. The text is read once
and kept as arrays that are mapped into memory, so that a log may be larger than it.
"""

import dataclasses
import gzip
import itertools
import json
import os
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from experiments.datasets.dataset import Dataset
from experiments.errors import InputError

NUMBERS, CATEGORIES = 13, 26
FIELDS = 1 + NUMBERS + CATEGORIES
CHUNK = 20_000  # lines
_MAX_LINE = 10_000  # characters
_LAYOUT: Mapping[str, tuple[str, int]] = {
  'label': ('int32', 0),
  'number': ('float32', 2 * NUMBERS),
  'category': ('int32', CATEGORIES),
}


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


def load(
  data_dir: str | os.PathLike[str],
  cache_dir: str | os.PathLike[str],
  *,
  num_train: int | None = None,
  buckets: int = 100_000,
) -> Dataset:
  """Reads ``train.txt`` or ``day_*``, also ``.gz``, in the order of time.

  Of train.txt the last seventh, which is a day, is validation and test, half each; of
  several days it is the last one.

  Args:
    data_dir: holds the files.
    cache_dir: where what was read is kept.
    num_train: how many of the first lines to train on; None: all.
    buckets: of every column of categories; see ``features``.

  Returns:
    ``number`` [n, 26] float32, ``category`` [n, 26] int32 and ``label`` [n] int32.

  Raises:
    InputError: a file is missing or malformed, or there are fewer lines than asked for.
  """
  root = pathlib.Path(data_dir)
  paths = _files(root)
  arrays, sizes = prepared(paths, pathlib.Path(cache_dir), buckets)
  total = sum(sizes)
  held_out = sizes[-1] if len(sizes) > 1 else total // 7
  if held_out < 2:
    raise InputError(f'{root}: {total} lines are too few for three splits')
  half = held_out // 2
  return split('criteo', arrays, (total - held_out, half, held_out - half), num_train)


def split(
  name: str,
  arrays: Mapping[str, np.ndarray],
  sizes: Sequence[int],
  num_train: int | None = None,
  about: Mapping[str, Any] | None = None,
) -> Dataset:
  """Training, validation and test in the order of the lines, of these sizes.

  Raises:
    InputError: ``num_train`` is more than the lines of training.
  """
  train = sizes[0] if num_train is None else num_train
  if not 1 <= train <= sizes[0]:
    raise InputError(f'--num_train: expected 1 to {sizes[0]}, got {num_train}')
  first, second = sizes[0], sizes[0] + sizes[1]
  parts = {
    'train': slice(0, train),
    'validation': slice(first, second),
    'test': slice(second, second + sizes[2]),
  }
  splits = {
    part: {key: array[rows] for key, array in arrays.items()}
    for part, rows in parts.items()
  }
  return Dataset(name, 2, splits, about or {})


def features(log: Log, buckets: int) -> dict[str, np.ndarray]:
  """What a network takes.

  ``number`` is sign(x)·log(1 + |x|) of the 13 integers and then, for each, 1 where
  there is none (its value is 0). ``category`` is 0 where there is none, otherwise 1 to
  ``buckets - 1`` by a hash of column and value: the same ones on every machine.
  """
  missing = np.isnan(log.integer)
  integer = np.where(missing, 0.0, log.integer)
  number = np.sign(integer) * np.log1p(np.abs(integer))
  columns = np.arange(CATEGORIES, dtype=np.uint64)
  mixed = log.category.astype(np.uint64) + (columns << np.uint64(32))
  hashed = 1 + _mixed(mixed) % np.uint64(buckets - 1)
  return {
    'label': log.label.astype(np.int32),
    'number': np.concatenate([number, missing], axis=1).astype(np.float32),
    'category': np.where(log.category < 0, 0, hashed).astype(np.int32),
  }


def _mixed(values: np.ndarray) -> np.ndarray:
  """SplitMix64's finaliser (Steele, Lea and Flood, 2014)."""
  with np.errstate(over='ignore'):
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return values ^ (values >> np.uint64(31))


def read(path: pathlib.Path, chunk: int = CHUNK) -> Iterator[Log]:
  """The lines of a file, ``chunk`` at a time.

  Raises:
    InputError: names the file and the line that cannot be read.
  """
  number = 0
  try:
    with _opened(path) as file:
      while lines := list(itertools.islice(_lines(file, path, number), chunk)):
        yield _parsed(lines, path, number)
        number += len(lines)
  except (OSError, EOFError, zlib.error) as error:
    raise InputError(f'cannot read {path}: {error}') from error
  if number == 0:
    raise InputError(f'{path}: no lines')


def prepared(
  paths: Sequence[pathlib.Path], cache: pathlib.Path, buckets: int
) -> tuple[dict[str, np.ndarray], list[int]]:
  """Features of all lines, and the number of lines of each file; read at most once.

  Raises:
    InputError: a file cannot be read, or the cache not be written.
  """
  if buckets < 2:
    raise InputError(f'--buckets: expected 2 or more, got {buckets}')
  key = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
  about = {'files': key, 'buckets': buckets, 'layout': 1}
  manifest = cache / 'manifest.json'
  try:
    there = json.loads(manifest.read_text())
  except (OSError, ValueError):
    there = {}
  if there.get('about') != about:
    there = {'about': about, 'sizes': _prepare(paths, cache, buckets)}
    _write_whole(manifest, json.dumps(there))
  total = sum(there['sizes'])
  try:
    arrays = {name: _mapped(cache, name, total) for name in _LAYOUT}
  except (OSError, ValueError) as error:
    manifest.unlink(missing_ok=True)
    raise InputError(f'{cache} is damaged ({error}): start again') from error
  return arrays, there['sizes']


def _prepare(
  paths: Sequence[pathlib.Path], cache: pathlib.Path, buckets: int
) -> list[int]:
  """Writes the features of all lines; returns the number of lines of each file."""
  try:
    cache.mkdir(parents=True, exist_ok=True)
    (cache / 'manifest.json').unlink(missing_ok=True)
    files = {name: _place(cache, name).open('wb') for name in _LAYOUT}
  except OSError as error:
    raise InputError(f'cannot write {cache}: {error.strerror}') from error
  sizes = []
  try:
    for path in paths:
      sizes.append(0)
      for log in read(path):
        sizes[-1] += len(log.label)
        for name, array in features(log, buckets).items():
          _write(files[name], array)
  finally:
    for file in files.values():
      file.close()
  return sizes


def _write(file: IO[bytes], array: np.ndarray) -> None:
  try:
    array.tofile(file)
  except OSError as error:
    raise InputError(f'cannot write {file.name}: {error.strerror or error}') from error


def _mapped(cache: pathlib.Path, name: str, total: int) -> np.ndarray:
  dtype, columns = _LAYOUT[name]
  shape = (total, columns) if columns else (total,)
  return np.memmap(_place(cache, name), dtype, 'r', shape=shape)


def _place(cache: pathlib.Path, name: str) -> pathlib.Path:
  return cache / f'{name}.bin'


def _write_whole(path: pathlib.Path, text: str) -> None:
  temporary = path.with_name(f'.{path.name}.tmp')
  try:
    temporary.write_text(text)
    temporary.replace(path)
  except OSError as error:
    raise InputError(f'cannot write {path}: {error.strerror}') from error


def _files(root: pathlib.Path) -> list[pathlib.Path]:
  if not root.is_dir():
    raise InputError(
      f'{root}: expected a directory with train.txt or day_0, day_1, ...'
    )
  for name in ('train.txt', 'train.txt.gz'):
    if (root / name).exists():
      return [root / name]
  days = {}
  for path in root.glob('day_*'):
    number = path.name.removeprefix('day_').removesuffix('.gz')
    if number.isdigit():
      days[int(number)] = path
  if not days:
    raise InputError(f'{root}: neither train.txt nor day_0, day_1, ..., also with .gz')
  return [days[day] for day in sorted(days)]


def _opened(path: pathlib.Path) -> IO[bytes]:
  return gzip.open(path, 'rb') if path.suffix == '.gz' else path.open('rb')  # type: ignore[return-value]


def _lines(file: IO[bytes], path: pathlib.Path, number: int) -> Iterator[bytes]:
  while line := file.readline(_MAX_LINE + 1):
    number += 1
    if len(line) > _MAX_LINE:
      raise InputError(f'{path}: line {number}: longer than {_MAX_LINE} characters')
    yield line.rstrip(b'\r\n')


def _parsed(lines: Sequence[bytes], path: pathlib.Path, before: int) -> Log:
  rows = [line.split(b'\t') for line in lines]
  try:
    return _converted([row + [b''] * (FIELDS - len(row)) for row in rows])
  except (ValueError, OverflowError):
    for number, row in enumerate(rows, before + 1):  # only now: it takes its time
      _check(row, f'{path}: line {number}')
    raise


def _converted(rows: Sequence[Sequence[bytes]]) -> Log:
  if any(len(row) != FIELDS for row in rows):
    raise ValueError('too many fields')
  label = np.array([_LABELS[row[0]] for row in rows if row[0] in _LABELS], np.int32)
  if len(label) != len(rows):
    raise ValueError('a label')
  nan, first = float('nan'), 1 + NUMBERS
  integer = [[int(x) if x else nan for x in row[1:first]] for row in rows]
  category = [[int(x, 16) if x else -1 for x in row[first:]] for row in rows]
  log = Log(label, np.array(integer, np.float64), np.array(category, np.int64))
  if log.category.min() < -1 or log.category.max() >= 1 << 32:
    raise ValueError('a category')
  return log


_LABELS = {b'0': 0, b'1': 1}


def _check(row: Sequence[bytes], place: str) -> None:
  """Raises InputError for the field that cannot be read."""
  if len(row) > FIELDS:
    raise InputError(f'{place}: expected {FIELDS} fields, found {len(row)}')
  if row[0] not in _LABELS:
    more = ' (test.txt has no labels)' if len(row) == FIELDS - 1 else ''
    raise InputError(f'{place}: expected a label 0 or 1, found {_shown(row[0])}{more}')
  for index, field in enumerate(row[1:], 1):
    base, what = (10, 'an integer') if index <= NUMBERS else (16, 'hexadecimal digits')
    try:
      value = int(field, base) if field else 0
    except ValueError:
      value = None
    beyond = index > NUMBERS and value is not None and not 0 <= value < 1 << 32
    if value is None or beyond:
      raise InputError(
        f'{place}: field {index + 1}: expected {what}, found {_shown(field)}'
      )


def _shown(field: bytes) -> str:
  return repr(field[:40].decode('ascii', 'backslashreplace'))
