"""scikit-learn's handwritten digits: 1,797 real 8x8 images, no download.

With few training images or with noisy labels, this small set is a setting
where regularization shows.
"""

import numpy as np

from experiments.datasets.dataset import Dataset
from experiments.datasets.noise import noisy, random_state
from experiments.errors import InputError

NUM_CLASSES = 10
SIDE = 8
NUM_TRAIN, NUM_VALIDATION = 1077, 360  # the other 360 are the test split
_SPLIT_SEED = 1797  # fixed: every run sees the same three splits
_SUBSET, _NOISE = 1, 2  # streams of random numbers


def load(
  num_train: int | None = 200, label_noise: float = 0.0, seed: int = 0
) -> Dataset:
  """Reads the digits; ``seed`` changes the training split alone.

  Args:
    num_train: how many of the 1,077 training images to keep, drawn from
      ``seed``; None keeps all.
    label_noise: share of the kept training labels that is replaced by another
      class, drawn uniformly; which ones is drawn from ``seed``.
    seed: of the subset and of the noise.

  Returns:
    ``image`` [n, 64] float32 in [0, 1] and ``label`` [n] int32.

  Raises:
    InputError: ``num_train`` or ``label_noise`` is out of range.
  """
  if num_train is not None and not 1 <= num_train <= NUM_TRAIN:
    raise InputError(f'num_train: expected 1 to {NUM_TRAIN}, got {num_train}')
  if not 0 <= label_noise <= 1:
    raise InputError(f'label_noise: expected a share in [0, 1], got {label_noise}')
  splits = _fixed_splits()
  train = splits['train']
  kept = np.sort(random_state(seed, 0, _SUBSET).permutation(NUM_TRAIN)[:num_train])
  splits['train'] = {
    'image': train['image'][kept],
    'label': noisy(
      train['label'][kept], label_noise, NUM_CLASSES, random_state(seed, 0, _NOISE)
    ),
  }
  return Dataset('digits', NUM_CLASSES, splits)


def _fixed_splits() -> dict[str, dict[str, np.ndarray]]:
  from sklearn import datasets  # takes a second: only where it is needed

  digits = datasets.load_digits()
  image = (digits.data / 16).astype(np.float32)
  label = digits.target.astype(np.int32)
  order = np.random.RandomState(_SPLIT_SEED).permutation(len(label))
  parts = np.split(order, [NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION])
  return {
    name: {'image': image[rows], 'label': label[rows]}
    for name, rows in zip(('train', 'validation', 'test'), parts, strict=True)
  }
