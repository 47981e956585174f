"""MNIST: 60,000 training and 10,000 test images of 28x28 (LeCun et al. 1998)."""

import os
import urllib.request

import numpy as np

from experiments.datasets import idx
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError

NUM_CLASSES = 10
SIDE = 28
NUM_VALIDATION = 10_000  # the last ones of the training images

_NAMES = {  # of a split's images and labels
  'train': ('train-images-idx3-ubyte', 'train-labels-idx1-ubyte'),
  'test': ('t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte'),
}
_Files = dict[str, tuple[idx.Path, idx.Path]]


def load(data_dir: str | None = None, merge_validation: bool = False) -> Dataset:
  """Reads MNIST from idx files.

  Args:
    data_dir: directory of the four idx files, plain or gzipped; None: download
      those of tensorflow-datasets' ``mnist`` and keep them where it keeps data.
    merge_validation: keep the validation images in ``train`` and leave
      ``validation`` out: for the final training.

  Returns:
    ``image`` [n, 784] float32 in [0, 1] and ``label`` [n] int32.

  Raises:
    InputError: a file is missing or malformed, or the download failed.
  """
  files = _downloaded() if data_dir is None else _found(data_dir)
  splits = {split: _read(*pair) for split, pair in files.items()}
  if not merge_validation:
    train = splits['train']
    size = len(train['label'])
    if size <= NUM_VALIDATION:
      raise InputError(
        f'{files["train"][0]}: expected more than {NUM_VALIDATION} images, as the '
        f'last {NUM_VALIDATION} are for validation; found {size}'
      )
    splits['train'] = {key: a[:-NUM_VALIDATION] for key, a in train.items()}
    splits['validation'] = {key: a[-NUM_VALIDATION:] for key, a in train.items()}
  return Dataset('mnist', NUM_CLASSES, splits)


def _found(data_dir: str) -> _Files:
  return {
    split: (idx.find(data_dir, images), idx.find(data_dir, labels))
    for split, (images, labels) in _NAMES.items()
  }


def _downloaded() -> _Files:
  # Only the download is left to tensorflow-datasets: its preparation of mnist
  # takes TensorFlow, shuffles the images and is read 40 times slower.
  try:
    import tensorflow_datasets as tfds

    builder = tfds.builder('mnist')
    urls = {
      split: tuple(f'{builder.URL}{name}.gz' for name in names)
      for split, names in _NAMES.items()
    }
    downloads = builder.data_dir_root / 'downloads'
    if len(list((downloads / 'mnist').glob('*-ubyte*.gz'))) < 4:
      # Fails at once where tfds would retry for minutes.
      head = urllib.request.Request(urls['test'][1], method='HEAD')
      urllib.request.urlopen(head, timeout=10).close()
    manager = tfds.download.DownloadManager(
      download_dir=os.fspath(downloads),
      dataset_name='mnist',
      url_infos=builder.url_infos,  # their sha256 are checked
    )
    return dict(manager.download(urls))
  except Exception as error:  # it fails in many ways; the advice is the same
    lines = str(error).strip().splitlines() or ['']
    raise InputError(
      'cannot download mnist: install tensorflow-datasets and be online, or pass '
      f'--data_dir with the four idx files ({type(error).__name__}: {lines[0]})'
    ) from error


def _read(images: idx.Path, labels: idx.Path) -> dict[str, np.ndarray]:
  image = idx.read_images(images, SIDE, SIDE)
  if not len(image):
    raise InputError(f'{images}: expected images, found none')
  label = idx.read_labels(labels, NUM_CLASSES, len(image))
  return {
    'image': image.reshape(len(image), -1).astype(np.float32) / np.float32(255),
    'label': label.astype(np.int32),
  }
