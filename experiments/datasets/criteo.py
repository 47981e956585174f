"""Criteo's click logs: the Kaggle challenge's train.txt, or the Terabyte's day_0 to 23.

A line is a label, 13 integers and 26 categories of eight hexadecimal digits, with tabs
between; a field may be empty, and the last line may lack some. The text is read once
and kept as arrays that are mapped into memory, so that a log may be larger than it.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets.click_arrays import prepared
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError


def load(
  data_dir: str | os.PathLike[str],
  cache_dir: str | os.PathLike[str],
  *,
  num_train: int | None = None,
  buckets: int = 100_000,
) -> Dataset:
  """Reads ``train.txt`` or ``day_*``, also ``.gz``, in the order of time.

  Of a single file the last seventh, a day of train.txt, is validation and test, half
  each; of several days it is the last one.

  Args:
    data_dir: holds the files.
    cache_dir: where what was read is kept.
    num_train: how many of the first lines to train on; None: all.
    buckets: of every column of categories; see ``click_arrays.features``.

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


def _files(root: pathlib.Path) -> list[pathlib.Path]:
  if not root.is_dir():
    raise InputError(
      f'{root}: expected a directory with train.txt or day_0, day_1, ...'
    )
  for name in ('train.txt', 'train.txt.gz'):
    if (root / name).exists():
      return [root / name]
  days = {}
  for path in sorted(root.glob('day_*'), reverse=True):  # the plain one, if both
    number = path.name.removeprefix('day_').removesuffix('.gz')
    if number.isdecimal():
      days[int(number)] = path
  if not days:
    more = '; test.txt has no labels' if list(root.glob('test.txt*')) else ''
    raise InputError(
      f'{root}: neither train.txt nor day_0, day_1, ..., also with .gz{more}'
    )
  return [days[day] for day in sorted(days)]
