"""Small colour images: drawn, read in three forms, moved; and every way to be wrong."""

import io
import pathlib

import numpy as np
import prepared
import pytest
from PIL import Image

from experiments import pixels
from experiments.datasets import cifar10, class_folders, outside, shapes
from experiments.datasets.noise import noisy, random_state
from experiments.datasets.shifts import shifted
from experiments.errors import InputError

RECORDS = 4
NAMES = [*(f'data_batch_{i}.bin' for i in range(1, 6)), 'test_batch.bin']


@pytest.fixture(autouse=True)
def _few(monkeypatch) -> None:
  monkeypatch.setattr(cifar10, 'RECORDS', RECORDS)
  monkeypatch.setattr(cifar10, 'NUM_VALIDATION', 3)


def planes(size: int, seed: int = 0) -> np.ndarray:
  random = np.random.default_rng(seed)
  return random.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)


def write_binary(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Images ``[24, 32, 32, 3]`` and labels of all files."""
  folder.mkdir(parents=True, exist_ok=True)
  pixels, labels = planes(24), (np.arange(24) % 10).astype(np.uint8)
  for index, name in enumerate(NAMES):
    rows = slice(RECORDS * index, RECORDS * (index + 1))
    flat = pixels[rows].reshape(RECORDS, -1)
    table = np.concatenate([labels[rows, None], flat], axis=1)
    (folder / name).write_bytes(table.tobytes())
  return pixels.transpose(0, 2, 3, 1), labels


@pytest.mark.parametrize('inner', ['', 'cifar-10-batches-bin'])
def test_binary_files(tmp_path, inner):
  images, labels = write_binary(tmp_path / inner)
  (dataset,) = cifar10.load(str(tmp_path)).values()
  sizes = {'train': (0, 17), 'validation': (17, 20), 'test': (20, 24)}
  for split, rows in sizes.items():
    own = dataset.splits[split]
    np.testing.assert_array_equal(own['image'], images[slice(*rows)])
    np.testing.assert_array_equal(own['label'], labels[slice(*rows)])
    assert own['label'].dtype == np.int32
  (merged,) = cifar10.load(str(tmp_path), merge_validation=True).values()
  assert set(merged.splits) == {'train', 'test'}
  np.testing.assert_array_equal(merged.splits['train']['image'], images[:20])


def test_subset_and_noise_follow_from_the_seed(tmp_path):
  write_binary(tmp_path)
  options = {'seeds': 2, 'num_train': 10, 'label_noise': 0.5}
  first, again = (cifar10.load(str(tmp_path), **options) for _ in range(2))
  clean = cifar10.load(str(tmp_path), seeds=2, num_train=10)
  for seed in range(2):
    assert first[seed].fingerprint == again[seed].fingerprint
    own, right = (d[seed].splits['train']['label'] for d in (first, clean))
    assert len(own) == 10
    assert (own != right).sum() == 5
  one, other = (clean[seed].splits['train']['image'] for seed in range(2))
  assert (one != other).any()
  noise = cifar10.load(str(tmp_path), seeds=2, label_noise=0.5)
  one, other = (noise[seed].splits for seed in range(2))
  assert (one['train']['label'] != other['train']['label']).any()
  for split in ('validation', 'test'):  # labels that are right
    np.testing.assert_array_equal(one[split]['label'], clean[0].splits[split]['label'])
  whole = cifar10.load(str(tmp_path), seeds=2)
  assert whole[0] is whole[1]


def write_folders(root: pathlib.Path, side: int = 32) -> None:
  for split, size in (('train', 3), ('test', 1)):
    for label, name in enumerate(('cat', 'dog')):
      (root / split / name).mkdir(parents=True)
      for place in range(size):
        pixels = np.full((side, side, 3), 100 * label + place, np.uint8)
        suffix = 'png' if place else 'jpg'
        file = root / split / name / f'{place:04}.{suffix}'
        Image.fromarray(pixels).save(file)


def test_folders_of_classes_alternate(tmp_path):
  write_folders(tmp_path)
  (tmp_path / 'train' / '.hidden').write_text('')
  (dataset,) = cifar10.load(str(tmp_path), merge_validation=True).values()
  train = dataset.splits['train']
  assert dataset.num_classes == 2
  np.testing.assert_array_equal(train['label'], [0, 1, 0, 1, 0, 1])
  values = train['image'][:, 0, 0, 0]
  np.testing.assert_array_equal(values, [0, 100, 1, 101, 2, 102])


def png(pixels: np.ndarray) -> io.BytesIO:
  content = io.BytesIO()
  Image.fromarray(pixels).save(content, 'png')
  content.seek(0)
  return content


def test_prepared_by_tensorflow_datasets_in_the_order_of_its_files(tmp_path):
  images = planes(6).transpose(0, 2, 3, 1)
  examples = {
    split: [
      {'id': f'{split}_{row:05}', 'image': png(images[row]), 'label': row}
      for row in rows
    ]
    for split, rows in {'train': (3, 1, 0, 2), 'test': (5, 4)}.items()
  }
  directory = prepared.prepare('cifar10', tmp_path, examples)
  (dataset,) = cifar10.load(directory).values()
  parts = ('train', 'validation', 'test')
  labels = np.concatenate([dataset.splits[part]['label'] for part in parts])
  np.testing.assert_array_equal(labels, range(6))
  found = np.concatenate([dataset.splits[part]['image'] for part in parts])
  np.testing.assert_array_equal(found, images)


def cut(root: pathlib.Path) -> None:
  file = root / NAMES[2]
  file.write_bytes(file.read_bytes()[:-1])


def lengthen(root: pathlib.Path) -> None:
  with (root / NAMES[5]).open('ab') as stream:
    stream.write(b'x')


def relabel(root: pathlib.Path) -> None:
  file = root / NAMES[1]
  file.write_bytes(b'\x0a' + file.read_bytes()[1:])


def unlink(root: pathlib.Path) -> None:
  (root / NAMES[3]).unlink()


@pytest.mark.parametrize(
  ('harm', 'message'),
  [
    (cut, r'data_batch_3.bin: truncated: expected 4 records of 3073 bytes, 12292, f'),
    (lengthen, r'test_batch.bin: trailing bytes: .*found 12293 bytes$'),
    (relabel, r'data_batch_2.bin: expected labels 0 to 9, found 10 \(record 0\)'),
    (unlink, r'^--data_dir: .*: no data_batch_4.bin$'),
  ],
)
def test_bad_binary_files(tmp_path, harm, message):
  write_binary(tmp_path)
  harm(tmp_path)
  with pytest.raises(InputError, match=message) as caught:
    cifar10.load(str(tmp_path))
  assert '\n' not in str(caught.value)


def test_bad_folders(tmp_path):
  write_folders(tmp_path / 'good')

  def refused(message: str, folder: str = 'good') -> None:
    with pytest.raises(InputError, match=message):
      cifar10.load(str(tmp_path / folder), merge_validation=True)

  cat = tmp_path / 'good' / 'train' / 'cat'
  (cat / '0009.png').write_bytes(b'no picture')
  refused(r'cat/0009.png: not an image that can be read: not JPEG or PNG, or damaged$')
  Image.fromarray(np.full((32, 32), 1000, np.uint16)).save(cat / '0009.png')
  refused(r'cat/0009.png: .*: more than 8 bits a channel$')
  Image.new('RGB', (8, 32)).save(cat / '0009.png')
  refused(r'cat/0009.png: expected 32x32 pixels, as in .*0000.jpg, found 32x8')
  (cat / '0009.png').rename(cat / 'list.txt')
  refused(r'list.txt: expected images, .png, .jpg, .jpeg, and nothing else')
  (cat / 'list.txt').unlink()
  (tmp_path / 'good' / 'test' / 'emu').mkdir()
  refused(r'emu: expected images, found none')
  Image.new('RGB', (32, 32)).save(tmp_path / 'good' / 'test' / 'emu' / '1.png')
  refused(r'in one of train and test alone: emu')
  write_folders(tmp_path / 'small', side=8)
  refused(r'train: expected images of 32x32, found 8x8', 'small')
  with pytest.raises(InputError, match='expected a folder for each of two or more'):
    class_folders.read(cat)
  (tmp_path / 'empty').mkdir()
  refused(r'expected data_batch_1.bin .* found none of them', 'empty')
  refused(r'no such directory', 'nowhere')


def test_too_few_images(tmp_path):
  write_folders(tmp_path)
  with pytest.raises(InputError, match=r'--num_train: expected 1 to 3, .* got 4'):
    cifar10.load(str(tmp_path), num_train=4)
  (tmp_path / 'train' / 'dog' / '0002.png').unlink()
  for name in ('cat/0001.png', 'cat/0002.png'):
    (tmp_path / 'train' / name).unlink()
  with pytest.raises(InputError, match=r'more than 3 training images, .* found 3'):
    cifar10.load(str(tmp_path))


# Drawn


def test_shapes_are_the_same_everywhere():
  dataset = shapes.load(50, 0.1, seed=3)
  assert dataset.fingerprint == (
    'e03983d37d6e8c9a844e9191bb208dcb68359f4473607b8524673a61ee828a89'
  )
  sizes = {name: len(split['label']) for name, split in dataset.splits.items()}
  assert sizes == {'train': 50, 'validation': 500, 'test': 1000}
  other = shapes.load(50, 0.1, seed=4)
  for split, own in dataset.splits.items():
    same = np.array_equal(own['image'], other.splits[split]['image'])
    assert same == (split != 'train')


def test_labels_of_morphs_are_drawn_by_what_is_seen():
  """A morph has up to half of its second shape, which is that often the label."""
  plain = shapes.Drawing(morphed=0.0)
  morphs = shapes.Drawing(morphed=1.0)
  size = 1000
  first, _ = (shapes.drawn(size, random_state(7), d)['label'] for d in (plain, morphs))
  mixed = shapes.drawn(size, random_state(7), morphs)['label']
  changed = (first != mixed).mean()
  # A quarter on average; the standard error is 0.014.
  assert changed == pytest.approx(0.25, abs=0.05)
  counts = np.bincount(mixed, minlength=shapes.NUM_CLASSES)
  assert counts.min() > 0.1 * size
  with pytest.raises(InputError, match='label_noise: expected a share'):
    shapes.load(label_noise=2.0)
  with pytest.raises(InputError, match='num_train: expected at least 1'):
    shapes.load(0)


@pytest.mark.parametrize('name', outside.NAMES)
def test_images_of_no_class(name):
  images = outside.images(name, 16, 40)
  assert images.shape == (40, 16, 16, 3)
  assert images.dtype == np.uint8
  np.testing.assert_array_equal(images, outside.images(name, 16, 40))
  assert images.std((1, 2, 3)).min() > 5  # each shows something
  grey = outside.grey(images)
  assert grey.shape == (40, 256)
  assert grey.dtype == np.float32
  assert 0 <= grey.min() <= grey.max() <= 1


def test_noise_replaces_so_many_labels_by_others():
  labels = np.arange(100) % 4
  wrong = noisy(labels, 0.25, 4, random_state(1))
  assert (wrong != labels).sum() == 25
  assert set(wrong) == {0, 1, 2, 3}


def test_pixels_have_mean_0_and_deviation_1(rng):
  mean, std = np.array([0.2, 0.5, 0.7]), np.array([0.1, 0.2, 0.3])
  scale = pixels.Scale(tuple(mean), tuple(std))
  images = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
  found = scale(images)
  np.testing.assert_allclose(found, (images / 255 - mean) / std, rtol=1e-5, atol=1e-6)
  assert np.abs(scale(scale.filling)).max() < 0.5 / 255 / std.min() + 1e-6


def test_shifted_images_are_parts_of_themselves_with_a_margin():
  images = np.arange(1, 2 * 6 * 5 * 3 + 1, dtype=np.uint8).reshape(2, 6, 5, 3)
  images = np.tile(images, (50, 1, 1, 1))
  filling = np.array([200, 201, 202], np.uint8)
  moved = shifted(images, random_state(5), filling, pad=2)
  assert moved.shape == images.shape
  seen = set()
  for image, found in zip(images, moved, strict=True):
    large = np.empty((10, 9, 3), np.uint8)
    large[:] = filling
    large[2:8, 2:7] = image
    windows = {
      (top, left, flip): large[top : top + 6, left : left + 5][:, :: -1 if flip else 1]
      for top in range(5)
      for left in range(5)
      for flip in (False, True)
    }
    matching = {key for key, own in windows.items() if np.array_equal(own, found)}
    assert len(matching) == 1
    seen |= matching
  assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == {0, 1, 2, 3, 4}
  assert {flip for _, _, flip in seen} == {False, True}
