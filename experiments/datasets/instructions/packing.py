"""Examples side by side in rows of one length, each seen by itself alone."""

import bisect
from collections.abc import Mapping, Sequence

import numpy as np


def rows_of(lengths: Sequence[int], length: int) -> list[list[int]]:
  """Places of ``lengths`` by row: the longest first, each where least is left over.

  Args:
    lengths: each at most ``length``.
    length: of a row.

  Example:
    >>> rows_of([3, 5, 2, 6], 8)
    [[3, 2], [1, 0]]
  """
  rows: list[list[int]] = []
  room: list[tuple[int, int]] = []  # what is left in a row, sorted
  for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
    need = lengths[place]
    if need > length:
      raise ValueError(f'an example of {need} ids in rows of {length}')
    found = bisect.bisect_left(room, (need, -1))
    if found == len(room):
      rows.append([])
      left, row = length, len(rows) - 1
    else:
      left, row = room.pop(found)
    rows[row].append(place)
    bisect.insort(room, (left - need, row))
  return rows


def packed(
  rows: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]], length: int, padding: int
) -> Mapping[str, np.ndarray]:
  """A batch: ``[rows, length]`` of ids and of what goes with them.

  Of an example of n + 1 ids the first n are read, and the last n are their labels.

  Args:
    rows: of each the examples: ids, and which of them are counted.
    length: of a row.
    padding: the id where nothing is.

  Returns:
    ``ids``, ``label``, ``segment`` (0: padding), ``position`` (from 0 in each example)
    and ``mask``, where the loss counts.
  """
  shape = len(rows), length
  batch = {
    'ids': np.full(shape, padding, np.int32),
    'label': np.full(shape, padding, np.int32),
    'segment': np.zeros(shape, np.int32),
    'position': np.zeros(shape, np.int32),
    'mask': np.zeros(shape, bool),
  }
  for row, examples in enumerate(rows):
    start = 0
    for segment, (ids, counted) in enumerate(examples, 1):
      own = slice(start, start + len(ids) - 1)
      batch['ids'][row, own] = ids[:-1]
      batch['label'][row, own] = ids[1:]
      batch['segment'][row, own] = segment
      batch['position'][row, own] = np.arange(len(ids) - 1)
      batch['mask'][row, own] = counted[1:]
      start = own.stop
  return batch


def efficiency(lengths: Sequence[int], rows: int, length: int) -> float:
  """Share of the places that hold an id which is read."""
  return sum(lengths) / (rows * length)
