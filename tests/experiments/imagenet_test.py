"""ImageNet's reader, on small images in the files of the real one."""

import dataclasses
import io
import itertools
import pathlib
import shutil

import numpy as np
import optax
import prepared
import pytest
from flax import nnx
from PIL import Image

import regularizers as reg
from experiments.datasets import batching, crops, imagenet
from experiments.errors import InputError
from experiments.evaluate import evaluate
from experiments.images import image_classification
from experiments.state import init_state, stack
from experiments.train import training

TRAIN, TEST, HELD_OUT, SIDE = 23, 7, 5, 16


def jpeg(row: int) -> bytes:
  """Red tells the row, green rises from left to right."""
  height, width = 40 + 7 * (row % 3), 60 - 11 * (row % 4)
  pixels = np.zeros((height, width, 3), np.uint8)
  pixels[..., 0] = 10 * row
  pixels[..., 1] = np.linspace(0, 255, width)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'JPEG', quality=95)
  return file.getvalue()


def write(directory: pathlib.Path) -> str:
  def rows(size: int) -> list[dict]:
    return [
      {'image': jpeg(row), 'label': 41 * row, 'file_name': f'{row}.JPEG'}
      for row in range(size)
    ]

  examples = {'train': rows(TRAIN), 'validation': rows(TEST)}
  return prepared.prepare('imagenet2012', directory, examples)


@pytest.fixture(scope='module')
def directory(tmp_path_factory) -> str:
  return write(tmp_path_factory.mktemp('imagenet'))


def load(directory: str, **options) -> imagenet.ImageNet:
  fields = {'image_size': SIDE, 'num_validation': HELD_OUT, **options}
  return imagenet.load(directory, **fields)


@pytest.fixture(scope='module')
def dataset(directory) -> imagenet.ImageNet:
  return load(directory)


def red(images: np.ndarray) -> np.ndarray:
  """The rows that ``jpeg`` was made of."""
  values = images[..., 0] * crops.STD[0] + crops.MEAN[0]
  return np.round(values.mean((-2, -1)) * 25.5).astype(int)


def take(batches, count: int) -> list:
  result = list(itertools.islice(batches, count))
  batches.close()
  return result


def equal(a: dict, b: dict) -> bool:
  return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_splits_are_parts_of_the_two_that_are_there(dataset):
  sizes = {name: len(arrays['label']) for name, arrays in dataset.splits.items()}
  assert sizes == {'train': TRAIN - HELD_OUT, 'validation': HELD_OUT, 'test': TEST}
  seen = {}
  for split, arrays in dataset.splits.items():
    image, label = arrays['image'], arrays['label']
    assert image.shape == (len(label), SIDE, SIDE, 3)
    assert (len(image), label.dtype) == (len(label), np.int32)
    decoded = image[np.arange(len(label))]
    assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(41 * red(decoded), label)
    seen[split] = set(label)
  assert len(seen['train'] | seen['validation']) == TRAIN
  assert dataset.num_classes == 1000
  assert dataset.about['version'] == 'imagenet2012/5.1.0'


def test_evaluation_cuts_out_the_centre_of_the_whole(dataset):
  arrays = dataset.splits['train']
  rows = np.array([3, 0, 3])
  for got, label in zip(arrays['image'][rows], arrays['label'][rows], strict=True):
    image = Image.open(io.BytesIO(jpeg(label // 41)))
    side = 256 / min(image.size)  # as it is usually described
    scaled = image.resize([round(side * length) for length in image.size])
    left, upper = ((length - 224) / 2 for length in scaled.size)
    box = (left, upper, left + 224, upper + 224)
    small = scaled.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    expected = (np.asarray(small) / 255 - crops.MEAN) / crops.STD
    np.testing.assert_allclose(got, expected, atol=0.06)


def test_random_parts_are_of_the_sizes_of_the_paper():
  random = np.random.RandomState(0)
  boxes = np.array([crops.drawn(300, 300, random) for _ in range(3000)])
  left, upper, right, lower = boxes.T
  assert min(left.min(), upper.min()) >= 0
  assert (right.max() <= 300 + 1e-9) and (lower.max() <= 300 + 1e-9)
  area = (right - left) * (lower - upper) / 90_000
  aspect = (right - left) / (lower - upper)
  assert 0.08 <= area.min() < 0.09 and 0.9 < area.max() <= 1
  assert 3 / 4 <= aspect.min() < 0.76 and 1.32 < aspect.max() <= 4 / 3 + 1e-9
  assert np.log(aspect).mean() == pytest.approx(0, abs=0.01)
  # Nothing of an allowed form is as narrow as this.
  assert crops.drawn(1000, 8, random) == crops.centre(1000, 8)


def test_a_batch_is_a_function_of_seed_and_step(dataset):
  def first(*args, **options) -> list:
    return take(imagenet.batches(dataset, 'train', 4, *args, **options), 9)

  unbroken = first(0)
  for threads in (1, 3):
    resumed = first(0, 5, threads=threads)
    assert all(map(equal, unbroken[5:], resumed))
  others = first(1)
  assert not any(map(equal, unbroken, others))
  labels = dataset.splits['train']['label']
  for step, batch in enumerate(unbroken):
    rows = batching.batch_indices(len(labels), 4, 0, step)
    np.testing.assert_array_equal(batch['label'], labels[rows])
    assert (batch['label'].dtype, batch['image'].dtype) == (np.int32, np.float32)
    assert batch['image'].shape == (4, SIDE, SIDE, 3)
    np.testing.assert_array_equal(41 * red(batch['image']), batch['label'])


def test_training_images_are_cut_anew_and_flipped(dataset):
  size = TRAIN - HELD_OUT
  epochs = take(imagenet.batches(dataset, 'train', size, 0), 12)
  slopes = []
  for batch in epochs:
    order = np.argsort(batch['label'])
    green = batch['image'][order, ..., 1]
    slopes.append(green[..., -1].mean(1) - green[..., 0].mean(1))
  slopes = np.array(slopes)
  assert (slopes > 0).mean() == pytest.approx(0.5, abs=0.15)
  # The wider the part, the more green rises.
  assert all(len(np.unique(np.abs(column))) > 6 for column in slopes.T)


@pytest.mark.parametrize('batch_size', [1, 3, TEST, 10])
def test_evaluation_has_every_image_once(dataset, batch_size):
  found = list(imagenet.batches(dataset, 'test', batch_size, 0))
  assert {len(batch['mask']) for batch in found} == {batch_size}
  joined = {key: np.concatenate([b[key] for b in found]) for key in found[0]}
  mask = joined['mask']
  assert (mask.dtype, mask.sum()) == (bool, TEST)
  arrays = dataset.splits['test']
  np.testing.assert_array_equal(joined['label'][mask], arrays['label'])
  np.testing.assert_array_equal(joined['image'][mask], arrays['image'][np.arange(TEST)])


def test_replicas_have_parts_of_the_training_images(dataset):
  parts = []
  for index in range(2):
    train = {key: a[index::2] for key, a in dataset.splits['train'].items()}
    splits = {**dataset.splits, 'train': train}
    parts.append(dataclasses.replace(dataset, splits=splits))
  labels = [part.splits['train']['label'] for part in parts]
  assert not set(labels[0]) & set(labels[1])
  for part, label in zip(parts, labels, strict=True):
    (batch,) = take(imagenet.batches(part, 'train', len(label), 0), 1)
    assert set(batch['label']) == set(label)
    np.testing.assert_array_equal(41 * red(batch['image']), batch['label'])
  assert parts[0].fingerprint != dataset.fingerprint != parts[1].fingerprint


def test_labels_are_collected_once(tmp_path, directory, monkeypatch):
  first = load(directory, cache_dir=str(tmp_path))
  (test, train) = sorted(tmp_path.iterdir())[::-1]
  assert train.name == 'imagenet2012-5.1.0-train-labels.npy'
  monkeypatch.setattr(imagenet.catalogue.Source, 'read', None)
  again = load(directory, cache_dir=str(tmp_path))
  assert first.fingerprint == again.fingerprint
  assert load(directory, cache_dir=str(tmp_path), image_size=8).fingerprint != (
    first.fingerprint
  )
  for content in (b'', b'junk', test.read_bytes()[:-1]):
    test.write_bytes(content)
    with pytest.raises(InputError, match=f'{test}: not the labels .*: delete it'):
      load(directory, cache_dir=str(tmp_path))
  np.save(test, np.zeros(TEST + 1, np.int32))
  with pytest.raises(InputError, match=f'not the {TEST} labels of validation'):
    load(directory, cache_dir=str(tmp_path))


class Colours(nnx.Module):
  """Logits of the mean colour."""

  def __init__(self, rngs: nnx.Rngs):
    self.output = nnx.Linear(3, 1000, rngs=rngs)

  def __call__(self, images, *, deterministic, rngs):
    del deterministic, rngs
    return self.output(images.mean((1, 2)))


def test_a_model_trains_on_it(dataset):
  data = {0: dataset, 1: dataset}
  task = image_classification(Colours, data, 4, eval_batch_size=3)
  losses, optimizer = stack([reg.cross_entropy] * 2), optax.sgd(0.1)
  state = init_state(task, losses, optimizer, (0, 1))
  steps = training(*(task, losses, optimizer, state), num_steps=2, log_every=1)
  *_, (state, _) = steps
  rows = evaluate(task, losses, state, 'validation')
  assert [row['seed'] for row in rows] == [0, 1]
  whole = image_classification(Colours, data, 4)
  for row, other in zip(
    rows, evaluate(whole, losses, state, 'validation'), strict=True
  ):
    assert row['nll'] == pytest.approx(other['nll'], rel=1e-5)


# What is wrong with data


def refuses(message: str, function, *args, **options) -> None:
  with pytest.raises(InputError, match=message) as caught:
    function(*args, **options)
  assert '\n' not in str(caught.value)


def test_no_data(tmp_path):
  refuses('nowhere: no such directory', load, str(tmp_path / 'nowhere'))
  advice = 'split train of imagenet2012 .*: prepare it with .*array_record'
  refuses(advice, load, str(tmp_path))


def test_too_few(directory, dataset):
  refuses(
    'num_validation: expected 0 to 22 .* got 23', load, directory, num_validation=23
  )
  refuses(
    '--batch_size: 19 is more than the 18 training examples',
    *(next, imagenet.batches(dataset, 'train', 19, 0)),
  )


def test_all_training_images_may_be_trained_on(directory):
  splits = load(directory, num_validation=0).splits
  assert set(splits) == {'train', 'test'}
  assert len(splits['train']['label']) == len(splits['train']['image']) == TRAIN


@pytest.mark.parametrize('damage', ['cut', 'overwritten'])
def test_damaged_files(tmp_path, directory, damage):
  shutil.copytree(directory, tmp_path / 'copy')
  path = next((tmp_path / 'copy').rglob('*-train.array_record*'))
  content = path.read_bytes()
  dataset = load(str(tmp_path / 'copy'))  # leaves the labels there
  half = len(content) // 2
  damaged = content[:half]
  if damage == 'overwritten':
    damaged = content[:half] + b'\xff' * 400 + content[half + 400 :]
  path.write_bytes(damaged)
  dataset = load(str(tmp_path / 'copy'))
  message = r'imagenet2012/5.1.0, train: cannot read example \d+: '
  batches = imagenet.batches(dataset, 'train', 18, 0)
  refuses(message, next, batches)
  for labels in path.parent.glob('*.npy'):
    labels.unlink()
  refuses(message, load, str(tmp_path / 'copy'))


def test_an_image_that_is_none(tmp_path):
  rows = [{'image': jpeg(1), 'label': 0, 'file_name': '1.JPEG'}] * 2
  for content in (b'', b'\xff\xd8junk', jpeg(0)[:-200]):
    bad = {'image': content, 'label': 1, 'file_name': '2.JPEG'}
    directory = tmp_path / str(len(content))
    directory.mkdir()
    prepared.prepare('imagenet2012', directory, {'train': rows, 'validation': [bad]})
    dataset = load(str(directory), num_validation=1)
    refuses(
      r'imagenet2012/5.1.0, validation: cannot read example 0: \w+',
      *(next, imagenet.batches(dataset, 'test', 1, 0)),
    )
