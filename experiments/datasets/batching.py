"""Which examples make up a batch: a function of its arguments alone.

Nothing is stateful, so a run that is resumed at any step sees the batches that
an unbroken run sees.
"""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.errors import InputError


@functools.lru_cache(maxsize=64)  # more than the seeds that run side by side
def epoch_permutation(size: int, seed: int, epoch: int) -> np.ndarray:
  """The order of ``size`` examples in an epoch; read-only, as it is cached."""
  # RandomState's streams are frozen: the same order under every numpy.
  bits = np.random.MT19937(np.random.SeedSequence([seed, epoch]))
  order = np.random.RandomState(bits).permutation(size)
  order.setflags(write=False)
  return order


def steps_per_epoch(size: int, batch_size: int) -> int:
  """Full batches in an epoch; the last, partial one is dropped."""
  if batch_size < 1:
    raise InputError(f'batch_size: expected at least 1, got {batch_size}')
  if batch_size > size:
    raise InputError(
      f'--batch_size: {batch_size} is more than the {size} training examples'
    )
  return size // batch_size


def batch_indices(size: int, batch_size: int, seed: int, step: int) -> np.ndarray:
  """Rows ``[batch_size]`` of the batch of training step ``step``, from 0 on.

  An epoch visits every example at most once, and exactly once when
  ``batch_size`` divides ``size``: its last, partial batch is dropped. The next
  epoch draws a new order, so other examples are left out.

  Args:
    size: number of examples.
    batch_size: examples in a batch.
    seed: of the order.
    step: training step.

  Raises:
    InputError: ``batch_size`` is not in [1, ``size``].
  """
  epoch, position = divmod(step, steps_per_epoch(size, batch_size))
  order = epoch_permutation(size, seed, epoch)
  return order[position * batch_size : (position + 1) * batch_size]


def eval_batches(size: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields ``(rows, mask)``, both ``[batch_size]``, over all examples in order.

  Every example is in exactly one batch where its ``mask`` is True. The last
  batch is filled up with row 0 under a False ``mask``, so that one compiled
  function serves all batches.
  """
  if batch_size < 1:
    raise InputError(f'batch_size: expected at least 1, got {batch_size}')
  for start in range(0, size, batch_size):
    rows = np.arange(start, start + batch_size)
    mask = rows < size
    yield np.where(mask, rows, 0), mask
