"""Click logs as files, for tests, and a plain parser."""

import gzip
import pathlib

import numpy as np

from experiments.datasets.click_lines import FIELDS, Log

GOOD = '\t'.join(['1', *map(str, range(-1, 12)), *(f'{x:08x}' for x in range(26))])


def joined(logs) -> Log:
  """The blocks of a file as one."""
  logs = list(logs)
  names = ('label', 'integer', 'category')
  return Log(*(np.concatenate([getattr(log, name) for log in logs]) for name in names))


def parsed(content: bytes) -> Log:
  """Slow and plain: what the reader is held against."""
  rows = [line.split(b'\t') for line in content.removesuffix(b'\n').split(b'\n')]
  rows[-1] += [b''] * (FIELDS - len(rows[-1]))
  assert all(len(row) == FIELDS for row in rows)
  return Log(
    np.array([int(row[0]) for row in rows], np.int32),
    np.array([[float(x or 'nan') for x in row[1:14]] for row in rows]),
    np.array([[int(x, 16) if x else -1 for x in row[14:]] for row in rows]),
  )


def assert_same(a: Log, b: Log) -> None:
  np.testing.assert_array_equal(a.label, b.label)
  np.testing.assert_array_equal(a.integer, b.integer)
  np.testing.assert_array_equal(a.category, b.category)
  assert (a.label.dtype, a.integer.dtype, a.category.dtype) == (
    np.int32,
    np.float64,
    np.int64,
  )


def write(path: pathlib.Path, content: bytes) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(gzip.compress(content, 1) if path.suffix == '.gz' else content)
  return path


def numbered(count: int, first: int = 0) -> bytes:
  """Lines whose first integer is their number."""
  fields = GOOD.split('\t')
  lines = ['\t'.join(['0', str(first + i), *fields[2:]]) for i in range(count)]
  return ('\n'.join(lines) + '\n').encode()
