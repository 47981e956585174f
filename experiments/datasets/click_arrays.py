"""A click log as what a network takes, read once and then mapped into memory."""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from experiments.datasets.click_lines import CATEGORIES, NUMBERS, Log, read
from experiments.errors import InputError

_LAYOUT: Mapping[str, tuple[str, int]] = {
  'label': ('<i4', 0),
  'number': ('<f4', 2 * NUMBERS),
  'category': ('<i4', CATEGORIES),
}
_MANIFEST = 'manifest.json'


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


def prepared(
  paths: Sequence[pathlib.Path], cache: pathlib.Path, buckets: int
) -> tuple[dict[str, np.ndarray], list[int]]:
  """Features of all lines, and the number of lines of each file; read at most once.

  They are kept in a directory of ``cache`` that is whole or absent, named by size and
  time of the files and by ``buckets``; directories of other logs stay as they are.

  Raises:
    InputError: a file cannot be read, or the cache not be written.
  """
  if not 2 <= buckets < 1 << 31:
    raise InputError(f'--buckets: expected 2 to {(1 << 31) - 1}, got {buckets}')
  key = {'files': [_state(path) for path in paths], 'buckets': buckets, 'layout': 2}
  place = cache / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
  if _sizes(place) is None:
    _prepare(paths, place, buckets)
  sizes = _sizes(place)
  if sizes is None:
    raise InputError(f'{place}: damaged while it was read; remove it')
  return {name: _mapped(place, name, sum(sizes)) for name in _LAYOUT}, sizes


def _state(path: pathlib.Path) -> list[Any]:
  try:
    status = path.stat()
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error
  return [path.name, status.st_size, status.st_mtime_ns]


def _sizes(place: pathlib.Path) -> list[int] | None:
  """Lines of each file that was read; None if the directory is not whole."""
  try:
    sizes = json.loads((place / _MANIFEST).read_text())
    for name in _LAYOUT:
      if (place / f'{name}.bin').stat().st_size != 4 * np.prod(
        _shape(name, sum(sizes)), dtype=np.int64
      ):
        return None
  except (OSError, ValueError, TypeError):
    return None
  return sizes


def _shape(name: str, total: int) -> tuple[int, ...]:
  columns = _LAYOUT[name][1]
  return (total, columns) if columns else (total,)


def _mapped(place: pathlib.Path, name: str, total: int) -> np.ndarray:
  path = place / f'{name}.bin'
  try:
    return np.memmap(path, _LAYOUT[name][0], 'r', shape=_shape(name, total))
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error


def _prepare(paths: Sequence[pathlib.Path], place: pathlib.Path, buckets: int) -> None:
  with _writing(place):
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=f'.{place.name}.', dir=place.parent)
  try:
    _fill(pathlib.Path(temporary), paths, place, buckets)
    with _writing(place):
      _publish(pathlib.Path(temporary), place)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def _fill(
  temporary: pathlib.Path,
  paths: Sequence[pathlib.Path],
  place: pathlib.Path,
  buckets: int,
) -> None:
  sizes = []
  with ExitStack() as stack:
    with _writing(place):
      files = {
        name: stack.enter_context((temporary / f'{name}.bin').open('wb'))
        for name in _LAYOUT
      }
    for path in paths:
      sizes.append(0)
      for log in read(path):
        sizes[-1] += len(log.label)
        arrays = features(log, buckets)
        with _writing(place):
          for name, file in files.items():
            file.write(np.ascontiguousarray(arrays[name], _LAYOUT[name][0]).data)
    with _writing(place):
      for file in files.values():
        file.flush()
        os.fsync(file.fileno())
      (temporary / _MANIFEST).write_text(json.dumps(sizes))


def _publish(temporary: pathlib.Path, place: pathlib.Path) -> None:
  if place.exists() and _sizes(place) is None:
    shutil.rmtree(place, ignore_errors=True)  # damaged
  try:
    temporary.replace(place)
  except OSError:
    if _sizes(place) is None:
      raise
    # Another replica was first, with the same arrays.


@contextmanager
def _writing(place: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise InputError(f'cannot write {place}: {error.strerror or error}') from error
