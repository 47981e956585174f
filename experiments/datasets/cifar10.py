"""CIFAR-10: 50,000 and 10,000 colour images of 32x32 (Krizhevsky 2009)."""

import os
import pathlib
from typing import Any

import numpy as np

from experiments.datasets import catalogue, class_folders, files
from experiments.datasets.crops import decoded
from experiments.datasets.dataset import Arrays, Dataset
from experiments.datasets.noise import noisy, random_state
from experiments.errors import InputError

NAME = 'cifar10'
NUM_CLASSES = 10
SIDE = 32
NUM_VALIDATION = 5_000  # the last ones of the training images
RECORDS = 10_000  # in a file of the binary version
_BATCHES = tuple(f'data_batch_{i}.bin' for i in range(1, 6))
_TEST = 'test_batch.bin'
_INNER = 'cifar-10-batches-bin'  # what the archive unpacks to
_SUBSET, _NOISE = 1, 2  # streams of random numbers

Split = tuple[np.ndarray, np.ndarray]  # images and labels


def load(
  data_dir: str | None = None,
  *,
  seeds: int = 1,
  merge_validation: bool = False,
  num_train: int | None = None,
  label_noise: float = 0.0,
) -> dict[int, Dataset]:
  """Reads CIFAR-10 once, and draws what depends on a seed.

  Args:
    data_dir: one of three. The binary version, ``data_batch_1.bin`` ... and
      ``test_batch.bin``; folders of images ``train/CLASS/NAME.png`` or ``.jpg`` and
      ``test/CLASS/NAME.png``; or what tensorflow-datasets has prepared as
      array_record. None: the latter, where it keeps data.
    seeds: number of data sets.
    merge_validation: keep the validation images in ``train`` and leave
      ``validation`` out: for the final training.
    num_train: how many of the training images to keep, drawn from the seed; None: all.
    label_noise: share of the training labels that is replaced by another class, drawn
      uniformly; which ones is drawn from the seed.

  Returns:
    By seed: ``image`` [n, 32, 32, 3] uint8 and ``label`` [n] int32.

  Raises:
    InputError: files are missing or malformed, or there are too few images.
  """
  (image, label), test, num_classes = _read(data_dir)
  splits: dict[str, Arrays] = {'test': _arrays(*test)}
  if not merge_validation:
    if len(label) <= NUM_VALIDATION:
      raise InputError(
        f'expected more than {NUM_VALIDATION} training images, as the last '
        f'{NUM_VALIDATION} are for validation; found {len(label)}'
      )
    splits['validation'] = _arrays(image[-NUM_VALIDATION:], label[-NUM_VALIDATION:])
    image, label = image[:-NUM_VALIDATION], label[:-NUM_VALIDATION]
  if num_train is not None and not 1 <= num_train <= len(label):
    raise InputError(
      f'--num_train: expected 1 to {len(label)}, or 0 for all of them, got {num_train}'
    )
  result: dict[int, Dataset] = {}
  for seed in range(seeds):
    if result and num_train is None and not label_noise:
      result[seed] = result[0]  # nothing is drawn
      continue
    own, wrong = image, label
    if num_train is not None:
      order = random_state(seed, 0, _SUBSET).permutation(len(label))
      kept = np.sort(order[:num_train])
      own, wrong = image[kept], label[kept]
    wrong = noisy(wrong, label_noise, num_classes, random_state(seed, 0, _NOISE))
    result[seed] = Dataset(NAME, num_classes, {**splits, 'train': _arrays(own, wrong)})
  return result


def read_binary(path: pathlib.Path, records: int = RECORDS) -> Split:
  """A file of the binary version: a label and three planes of pixels a record.

  Raises:
    InputError: it is missing, not of so many records, or a label is no class.
  """
  width = 1 + 3 * SIDE * SIDE
  files.check(path)
  try:
    with path.open('rb') as file:
      content = file.read(records * width)
      size = os.fstat(file.fileno()).st_size
  except OSError as error:
    raise InputError(f'{path}: cannot be read: {error.strerror}') from error
  if size != len(content) or size != records * width:
    what = 'truncated' if size < records * width else 'trailing bytes'
    raise InputError(
      f'{path}: {what}: expected {records} records of {width} bytes, '
      f'{records * width}, found {size} bytes'
    )
  table = np.frombuffer(content, np.uint8).reshape(records, width)
  label = table[:, 0].astype(np.int32)
  if label.max() >= NUM_CLASSES:
    row = int(np.argmax(label >= NUM_CLASSES))
    raise InputError(
      f'{path}: expected labels 0 to {NUM_CLASSES - 1}, found {label[row]} '
      f'(record {row}); is it of CIFAR-100?'
    )
  planes = table[:, 1:].reshape(records, 3, SIDE, SIDE)
  return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), label


def _arrays(image: np.ndarray, label: np.ndarray) -> Arrays:
  return {'image': image, 'label': label}


def _read(data_dir: str | None) -> tuple[Split, Split, int]:
  """Training, test and the number of classes."""
  if data_dir is None:
    return _prepared(None)
  root = pathlib.Path(data_dir)
  if not root.is_dir():
    raise InputError(f'--data_dir: {root}: no such directory')
  for folder in (root, root / _INNER):
    if any((folder / name).exists() for name in (*_BATCHES, _TEST)):
      return _binary(folder)
  if (root / 'train').is_dir():
    return _folders(root)
  if (root / NAME).is_dir():
    return _prepared(data_dir)
  raise InputError(
    f'--data_dir: {root}: expected {_BATCHES[0]} ... and {_TEST}, folders '
    f'train/CLASS and test/CLASS of images, or {NAME} of tensorflow-datasets; '
    'found none of them'
  )


def _binary(folder: pathlib.Path) -> tuple[Split, Split, int]:
  missing = [name for name in (*_BATCHES, _TEST) if not (folder / name).exists()]
  if missing:
    raise InputError(f'--data_dir: {folder}: no {", ".join(missing)}')
  images, labels = zip(
    *(read_binary(folder / name, RECORDS) for name in _BATCHES), strict=True
  )
  train = np.concatenate(images), np.concatenate(labels)
  return train, read_binary(folder / _TEST, RECORDS), NUM_CLASSES


def _folders(root: pathlib.Path) -> tuple[Split, Split, int]:
  *train, names = class_folders.read(root / 'train')
  *test, others = class_folders.read(root / 'test')
  if names != others:
    differing = ', '.join(sorted({*names} ^ {*others}))
    raise InputError(f'{root}: in one of train and test alone: {differing}')
  for split, part in (('train', train), ('test', test)):
    if part[0].shape[1:3] != (SIDE, SIDE):
      found = 'x'.join(map(str, part[0].shape[1:3]))
      raise InputError(
        f'{root / split}: expected images of {SIDE}x{SIDE}, found {found}'
      )
  return (train[0], train[1]), (test[0], test[1]), len(names)


def _prepared(data_dir: str | None) -> tuple[Split, Split, int]:
  """In the order of the files that tensorflow-datasets made it of."""
  parts = []
  for split in ('train', 'test'):
    source = catalogue.Source(NAME, split, data_dir, raw=['image'])
    rows = range(len(source))
    examples: list[dict[str, Any]] = []
    for start in rows[::256]:
      examples += source.read(rows[start : start + 256])
    examples.sort(key=lambda example: catalogue.text(example['id']))
    images = np.empty((len(examples), SIDE, SIDE, 3), np.uint8)
    for row, example in enumerate(examples):
      try:
        images[row] = np.asarray(decoded(example['image']))
      except (OSError, ValueError, SyntaxError) as error:
        raise source.damaged(row, catalogue.reason(error)) from error
    labels = [example['label'] for example in examples]
    parts.append((images, np.array(labels, np.int32)))
  return parts[0], parts[1], NUM_CLASSES
