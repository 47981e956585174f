"""MNIST: 60,000 training and 10,000 test images of 28x28 (LeCun et al. 1998)."""

import os
from typing import Any

import numpy as np

from experiments.datasets import idx
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError

NUM_CLASSES = 10
SIDE = 28
NUM_VALIDATION = 10_000  # the last ones of the training images


def load(data_dir: str | None = None, merge_validation: bool = False) -> Dataset:
  """Reads MNIST from idx files, or through tensorflow-datasets.

  tensorflow-datasets keeps the training images in an order of its own, so the
  validation images are others than those of the idx files.

  Args:
    data_dir: directory of the four idx files, plain or gzipped; None: prepare
      and read ``mnist`` with tensorflow-datasets.
    merge_validation: keep the validation images in ``train`` and leave
      ``validation`` out: for the final training.

  Returns:
    ``image`` [n, 784] float32 in [0, 1] and ``label`` [n] int32.

  Raises:
    InputError: a file is missing or malformed, or tensorflow-datasets cannot
      prepare the data.
  """
  read = _from_tfds if data_dir is None else _from_idx
  train, test = read(data_dir, 'train'), read(data_dir, 'test')
  splits = {'train': train, 'test': test}
  if not merge_validation:
    size = len(train['label'])
    if size <= NUM_VALIDATION:
      raise InputError(
        f'{data_dir}: expected more than {NUM_VALIDATION} training images (the '
        f'last {NUM_VALIDATION} are for validation), found {size}'
      )
    splits['train'] = {key: a[:-NUM_VALIDATION] for key, a in train.items()}
    splits['validation'] = {key: a[-NUM_VALIDATION:] for key, a in train.items()}
  return Dataset('mnist', NUM_CLASSES, splits)


def _from_idx(data_dir: str, split: str) -> dict[str, np.ndarray]:
  prefix = {'train': 'train', 'test': 't10k'}[split]
  images = idx.find(data_dir, f'{prefix}-images-idx3-ubyte')
  labels = idx.find(data_dir, f'{prefix}-labels-idx1-ubyte')
  image = idx.read_images(images, SIDE, SIDE)
  if not len(image):
    raise InputError(f'{images}: expected images, found none')
  return _arrays(image, idx.read_labels(labels, NUM_CLASSES, len(image)))


def _from_tfds(data_dir: None, split: str) -> dict[str, np.ndarray]:
  del data_dir
  rows = list(_prepared(split))
  return _arrays(
    np.stack([row['image'] for row in rows]),
    np.array([row['label'] for row in rows]),
  )


def _prepared(split: str) -> Any:
  """The split as a source of ``{'image', 'label'}``; needs no TensorFlow once
  it has been prepared."""
  # tfds reports what goes wrong in many ways; all end in the same advice.
  try:
    import tensorflow_datasets as tfds

    builder = tfds.builder('mnist', file_format='array_record')
    try:
      builder.download_and_prepare()
    except FileExistsError:  # another process prepared it meanwhile
      builder = tfds.builder('mnist', file_format='array_record')
    return builder.as_data_source(split=split)
  except Exception as error:
    lines = str(error).strip().splitlines() or ['']
    raise InputError(
      'tensorflow-datasets cannot prepare mnist: install tensorflow-datasets and '
      'tensorflow and be online, or pass --data_dir with the four idx files '
      f'({type(error).__name__}: {lines[0]})'
    ) from error


def _arrays(image: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
  return {
    'image': image.reshape(len(image), -1).astype(np.float32) / np.float32(255),
    'label': label.astype(np.int32),
  }
