"""ImageNet, ILSVRC 2012: 1,281,167 photographs of 1,000 classes for training.

They are too many for the memory: an image is decoded when it is indexed, and
``batches`` reads ahead in threads. tensorflow-datasets prepares them from the two
archives that image-net.org gives after a registration.
"""

import dataclasses
import functools
import hashlib
import io
import pathlib
from collections.abc import Iterator
from typing import Any, cast

import grain
import numpy as np

from experiments.datasets import batching, catalogue, crops
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError

NAME = 'imagenet2012'
NUM_CLASSES = 1000
# The last of the training images. Preparation has shuffled them by a hash of their
# names, so this is a random part, and the same one everywhere.
NUM_VALIDATION = 10_000
THREADS = 16
AHEAD = 2  # batches

_AUGMENTATION = 1  # tells these random numbers from those of the order of examples

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Images:
  """An array ``[n, size, size, 3]`` float32 that is decoded where it is indexed.

  Attributes:
    source: the examples.
    size: of a side.
    rows: of ``source``.
  """

  source: catalogue.Source
  size: int
  rows: range

  dtype = np.dtype(np.float32)

  @property
  def shape(self) -> tuple[int, ...]:
    return len(self.rows), self.size, self.size, 3

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, rows: Any) -> Any:
    """The central parts of ``rows``; of a slice, an array as lazy as this one."""
    if isinstance(rows, slice):
      return dataclasses.replace(self, rows=self.rows[rows])
    result = np.empty((len(rows), *self.shape[1:]), self.dtype)
    for place, row in enumerate(rows):
      result[place] = self.central(row)
    return result

  def central(self, row: int) -> np.ndarray:
    """The central part of one image, as evaluation has it."""
    image = self._decoded(row)
    return crops.normalised(image, crops.centre(image.width, image.height), self.size)

  def drawn(self, row: int, random: np.random.RandomState) -> np.ndarray:
    """A random part of one image, flipped half of the time."""
    image = self._decoded(row)
    box = crops.drawn(image.width, image.height, random)
    return crops.normalised(image, box, self.size, random.uniform() < 0.5)

  def _decoded(self, row: int) -> Any:
    row = self.rows[row]
    try:
      return crops.decoded(self.source[row]['image'])
    except (OSError, ValueError, SyntaxError) as error:
      raise self.source.damaged(row, catalogue.reason(error)) from error


@dataclasses.dataclass(frozen=True)
class ImageNet(Dataset):
  """A data set whose images are `Images`."""

  @functools.cached_property
  def fingerprint(self) -> str:
    """sha256 over what the data are prepared from, and the labels in their order."""
    digest = hashlib.sha256(repr(sorted(self.about.items())).encode())
    for split, arrays in sorted(self.splits.items()):
      digest.update(f'{split}{arrays["label"].shape}'.encode())
      digest.update(arrays['label'].tobytes())
    return digest.hexdigest()


def load(
  data_dir: str | None = None,
  *,
  image_size: int = 224,
  num_validation: int = NUM_VALIDATION,
  cache_dir: str | None = None,
) -> ImageNet:
  """Opens what ``tfds.builder('imagenet2012')`` prepared as array_record.

  ImageNet's own validation images, whose labels are public, are ``'test'``;
  ``'validation'`` is the end of its training images.

  Args:
    data_dir: where tensorflow-datasets keeps data; None: its default.
    image_size: side of the images in pixels.
    num_validation: training images held out; 0: none, and no ``'validation'``.
    cache_dir: where the labels are kept, which take a pass over all images to
      collect; None: beside the images.

  Returns:
    ``image`` [n, image_size, image_size, 3], see `Images`, and ``label`` [n] int32.

  Raises:
    InputError: the data are not prepared, damaged or too few.
  """
  splits: dict[str, dict[str, Any]] = {}
  for split, name in (('train', 'train'), ('test', 'validation')):
    source = catalogue.Source(NAME, name, data_dir, raw=['image'])
    images = Images(source, image_size, range(len(source)))
    splits[split] = {'image': images, 'label': _labels(source, name, cache_dir)}
  size = len(splits['train']['label'])
  if not 0 <= num_validation < size:
    raise InputError(
      f'num_validation: expected 0 to {size - 1} of the {size} training images, '
      f'got {num_validation}'
    )
  if num_validation:
    train, kept = splits['train'], slice(size - num_validation)
    splits['validation'] = {key: a[kept.stop :] for key, a in train.items()}
    splits['train'] = {key: a[kept] for key, a in train.items()}
  about = {'version': source.version, 'image_size': image_size}
  return ImageNet('imagenet', NUM_CLASSES, splits, about)


def batches(
  dataset: Dataset,
  split: str,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  *,
  threads: int = THREADS,
) -> Iterator[Batch]:
  """Batches as `experiments.task.Task` wants them, decoded ahead of their use.

  Training batch i is a function of the seed and i: the examples are those that
  ``batching.batch_indices`` names, and the part of the j-th one is drawn from (seed, i,
  j). Other splits are read once, in order, with ``'mask'``.

  Args:
    dataset: from ``load``; its ``'train'`` may be a slice of all.
    split: of it.
    batch_size: examples in a batch.
    seed: of order and augmentation.
    start_step: the first training batch.
    threads: that decode.

  Raises:
    InputError: an image is damaged, or a batch is more than all examples.
  """
  arrays = dataset.splits[split]
  images, labels = cast(Any, arrays['image']), arrays['label']
  if split == 'train':
    batching.steps_per_epoch(len(labels), batch_size)  # refuses before it reads
    places = grain.MapDataset.range(start_step * batch_size, 2**62)
    read = functools.partial(_augmented, images, labels, batch_size, seed)
  else:
    size = -(-len(labels) // batch_size) * batch_size
    places = grain.MapDataset.range(size)
    read = functools.partial(_central, images, labels)
  ahead = AHEAD * batch_size
  options = grain.ReadOptions(min(threads, ahead), ahead)
  iterator = iter(places.map(read).to_iter_dataset(options).batch(batch_size))
  try:
    yield from iterator
  finally:
    iterator.close()  # or its threads would read on


def _augmented(
  images: Images, labels: np.ndarray, batch_size: int, seed: int, place: int
) -> Batch:
  step, index = divmod(int(place), batch_size)
  row = batching.batch_indices(len(labels), batch_size, seed, step)[index]
  # RandomState's streams are frozen: the same parts under every numpy.
  entropy = np.random.SeedSequence([seed, step, index, _AUGMENTATION])
  random = np.random.RandomState(np.random.MT19937(entropy))
  return {'image': images.drawn(row, random), 'label': labels[row]}


def _central(images: Images, labels: np.ndarray, place: int) -> Batch:
  mask = np.array(place < len(labels))
  row = place if mask else 0
  return {'image': images.central(row), 'label': labels[row], 'mask': mask}


def _labels(source: catalogue.Source, split: str, cache_dir: str | None) -> np.ndarray:
  """All labels; collected by a pass over the examples, once."""

  def make() -> bytes:
    rows = range(len(source))
    blocks = (rows[start : start + 256] for start in rows[::256])
    found = [example['label'] for block in blocks for example in source.read(block)]
    content = io.BytesIO()
    np.save(content, np.array(found, np.int32))
    return content.getvalue()

  directory = source.directory if cache_dir is None else pathlib.Path(cache_dir)
  path = directory / f'{source.version.replace("/", "-")}-{split}-labels.npy'
  try:
    labels = np.load(io.BytesIO(catalogue.kept(path, make)), allow_pickle=False)
  except (ValueError, EOFError) as error:
    raise InputError(f'{path}: not the labels of {split}: delete it') from error
  expected = (len(source),)
  if labels.shape != expected or not ((labels >= 0) & (labels < NUM_CLASSES)).all():
    raise InputError(f'{path}: not the {len(source)} labels of {split}: delete it')
  return labels
