"""Training images moved by a few pixels and mirrored, as is usual for CIFAR-10."""

import numpy as np

PAD = 4  # pixels


def shifted(
  images: np.ndarray,
  random: np.random.RandomState,
  filling: np.ndarray,
  pad: int = PAD,
) -> np.ndarray:
  """Each image cut at random out of itself with a margin; half of them mirrored.

  Args:
    images: ``[n, height, width, channels]``.
    random: decides where.
    filling: ``[channels]``, the colour of the margin.
    pad: its width.

  Returns:
    Of the same shape and dtype.
  """
  size, height, width, _ = images.shape
  large = np.empty((size, height + 2 * pad, width + 2 * pad, len(filling)), np.uint8)
  large[:] = filling
  large[:, pad : pad + height, pad : pad + width] = images
  top, left = random.randint(0, 2 * pad + 1, (2, size))
  mirrored = np.asarray(random.randint(0, 2, size), bool)
  rows = top[:, None] + np.arange(height)
  columns = left[:, None] + np.arange(width)
  columns[mirrored] = columns[mirrored, ::-1]
  return large[np.arange(size)[:, None, None], rows[:, :, None], columns[:, None, :]]
