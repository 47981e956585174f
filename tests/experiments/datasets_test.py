"""The data sets, and every way in which an idx file can be wrong."""

import functools
import gzip
import http.server
import math
import pathlib
import struct
import threading
import tracemalloc

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from experiments.datasets import digits, idx, mnist
from experiments.errors import InputError

IMAGES, LABELS = 'images-idx3-ubyte', 'labels-idx1-ubyte'


def encoded(array: np.ndarray) -> bytes:
  """The idx file of an array of bytes."""
  header = struct.pack(f'>BBBB{array.ndim}I', 0, 0, 8, array.ndim, *array.shape)
  return header + array.astype(np.uint8).tobytes()


def write_mnist(
  directory: pathlib.Path, sizes=(10_003, 7), separator='-', packed=False
):
  """The four files, with images and labels that tell their row."""
  directory.mkdir(exist_ok=True)
  for prefix, size in zip(('train', 't10k'), sizes, strict=True):
    rows = np.arange(size)
    image = np.zeros((size, 28, 28), np.uint8)
    image[:, 0, 0], image[:, 27, 27] = rows % 256, 255
    for kind, array in ((IMAGES, image), (LABELS, rows % 10)):
      name = f'{prefix}-{kind}'.replace('-idx', f'{separator}idx')
      if packed:
        (directory / f'{name}.gz').write_bytes(gzip.compress(encoded(array), 1))
      else:
        (directory / name).write_bytes(encoded(array))


@pytest.fixture(scope='module')
def directory(tmp_path_factory) -> pathlib.Path:
  path = tmp_path_factory.mktemp('mnist')
  write_mnist(path)
  return path


# Digits


def test_digits_are_split_without_overlap():
  splits = digits.load(num_train=None).splits
  sizes = {name: len(split['label']) for name, split in splits.items()}
  assert sizes == {'train': 1077, 'validation': 360, 'test': 360}
  rows = np.concatenate([split['image'] for split in splits.values()])
  assert rows.dtype == np.float32
  assert rows.shape == (1797, 64)
  assert rows.min() == 0
  assert rows.max() == 1
  assert len(np.unique(rows, axis=0)) == 1797  # all differ, so none is in two splits
  for split in splits.values():
    assert split['label'].dtype == np.int32
    assert set(split['label']) == set(range(10))


def test_digits_are_the_same_everywhere():
  assert digits.load(seed=3, label_noise=0.2).fingerprint == (
    '44b6115e43772faba07d044517584e44ced2422973c74dfb45ab9bbe60a691d0'
  )


def test_the_seed_changes_the_training_split_alone():
  a, b = digits.load(seed=0), digits.load(seed=1)
  for split in ('validation', 'test'):
    np.testing.assert_array_equal(a.splits[split]['image'], b.splits[split]['image'])
    np.testing.assert_array_equal(a.splits[split]['label'], b.splits[split]['label'])
  assert not np.array_equal(a.splits['train']['image'], b.splits['train']['image'])
  assert a.fingerprint == digits.load(seed=0).fingerprint != b.fingerprint
  everything = {digits.load(num_train=None, seed=seed).fingerprint for seed in range(3)}
  assert len(everything) == 1


@pytest.mark.parametrize('num_train', [1, 200, 1077])
def test_a_subset_holds_training_images_with_their_labels(num_train):
  def pairs(dataset) -> set[bytes]:
    train = dataset.splits['train']
    return {
      image.tobytes() + bytes([label])
      for image, label in zip(train['image'], train['label'], strict=True)
    }

  subset = pairs(digits.load(num_train))
  assert len(subset) == num_train
  assert subset <= pairs(digits.load(num_train=None))


@pytest.mark.parametrize('share', [0.0, 0.2, 0.5, 1.0])
def test_label_noise_replaces_its_share_of_training_labels(share):
  clean, noisy = digits.load(500, seed=2), digits.load(500, share, seed=2)
  before, after = (data.splits['train']['label'] for data in (clean, noisy))
  assert (before != after).sum() == round(share * 500)
  assert set(after) <= set(range(10))
  for split in ('validation', 'test'):
    np.testing.assert_array_equal(
      clean.splits[split]['label'], noisy.splits[split]['label']
    )
  np.testing.assert_array_equal(
    clean.splits['train']['image'], noisy.splits['train']['image']
  )


def test_label_noise_is_uniform_over_the_other_classes():
  shifts = np.zeros(10)
  for seed in range(10):
    clean = digits.load(None, seed=seed).splits['train']['label']
    noisy = digits.load(None, 1.0, seed=seed).splits['train']['label']
    shifts += np.bincount((noisy - clean) % 10, minlength=10)
  assert shifts[0] == 0
  expected = 10_770 / 9
  assert np.abs(shifts[1:] - expected).max() < 5 * expected**0.5


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'num_train': 0}, 'num_train: expected 1 to 1077, got 0'),
    ({'num_train': 1078}, 'num_train: expected 1 to 1077, got 1078'),
    ({'label_noise': -0.1}, r'label_noise: expected a share in \[0, 1\], got -0.1'),
    ({'label_noise': math.nan}, 'label_noise: .* got nan'),
  ],
)
def test_bad_digits_options(options, message):
  with pytest.raises(InputError, match=message):
    digits.load(**options)


# idx files


@hypothesis.given(
  shape=st.lists(st.integers(0, 5), min_size=1, max_size=3),
  packed=st.booleans(),
  data=st.data(),
)
def test_idx_is_read_back_and_no_part_of_it_passes_for_the_whole(
  tmp_path_factory, shape, packed, data
):
  array = np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
  content = gzip.compress(encoded(array)) if packed else encoded(array)
  path = tmp_path_factory.mktemp('idx') / ('file.gz' if packed else 'file')
  path.write_bytes(content)
  np.testing.assert_array_equal(idx.read(path, len(shape)), array)
  cut = data.draw(st.integers(0, len(content) - 1))
  path.write_bytes(content[:cut])
  with pytest.raises(InputError, match='truncated|magic|not gzip') as caught:
    idx.read(path, len(shape))
  assert '\n' not in str(caught.value)


@hypothesis.given(packed=st.booleans(), data=st.data())
def test_a_flipped_byte_never_ends_in_another_error(tmp_path_factory, packed, data):
  content = encoded(np.arange(12).reshape(2, 2, 3))
  content = bytearray(gzip.compress(content) if packed else content)
  place = data.draw(st.integers(0, len(content) - 1))
  content[place] ^= data.draw(st.integers(1, 255))
  path = tmp_path_factory.mktemp('idx') / ('file.gz' if packed else 'file')
  path.write_bytes(content)
  try:
    assert idx.read(path, 3).size == 12
  except InputError as error:
    assert str(path) in str(error)
    assert '\n' not in str(error)


GOOD = encoded(np.zeros((3, 2, 2)))
BAD_FILES = {
  'empty': ('file', b'', 'wrong magic number: expected 00000803, found an empty file'),
  'magic': ('file', b'\x89PNG' + GOOD[4:], 'expected 00000803, found 89504e47'),
  'type': ('file', b'\0\0\x0d\x03' + GOOD[4:], 'expected 00000803, found 00000d03'),
  'dimensions': (
    'file',
    encoded(np.zeros(3)),
    'wrong number of dimensions: expected 3, found 1',
  ),
  'header': ('file', GOOD[:9], 'expected a header of 16 bytes, found 9'),
  'truncated': ('file', GOOD[:-1], 'expected 12 bytes of data, found 11'),
  'trailing': ('file', GOOD + b'\0', 'trailing bytes: expected 12 bytes of data only'),
  'huge': (
    'file',
    GOOD[:4] + b'\xff' * 12 + GOOD[16:],
    'truncated, or a corrupt header',
  ),
  'huge.gz': (
    'file.gz',
    gzip.compress(GOOD[:4] + b'\xff' * 12 + GOOD[16:]),
    'truncated, or a corrupt header',
  ),
  'not gzip': ('file.gz', GOOD, 'not gzip: expected to start with 1f8b, found 0000'),
  'empty.gz': ('file.gz', b'', 'not gzip: .* found an empty file'),
  'gzip without its name': ('file', gzip.compress(GOOD), 'found 1f8b0800'),
  'cut.gz': ('file.gz', gzip.compress(GOOD)[:-9], 'the gzip stream breaks off'),
  'short.gz': ('file.gz', gzip.compress(GOOD[:-1]), 'expected 12 bytes .* found 11'),
  'long.gz': ('file.gz', gzip.compress(GOOD + b'\0'), 'trailing bytes'),
  'checksum.gz': (
    'file.gz',
    gzip.compress(GOOD)[:-8] + b'\0' * 8,
    'corrupt gzip stream: CRC check failed',
  ),
  'junk.gz': ('file.gz', gzip.compress(GOOD) + b'junk', 'corrupt gzip stream'),
  'shape': ('file', GOOD, 'expected images of 28x28, found 2x2'),
}


@pytest.mark.parametrize('case', BAD_FILES)
def test_bad_image_files(tmp_path, case):
  name, content, message = BAD_FILES[case]
  (tmp_path / name).write_bytes(content)
  with pytest.raises(InputError, match=message) as caught:
    idx.read_images(tmp_path / name, 28, 28)
  assert str(caught.value).startswith(f'{tmp_path / name}: ')
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    ([0, 9], 'expected 3 labels, one for each image, found 2'),
    ([0, 1, 2, 3], 'expected 3 labels, one for each image, found 4'),
    ([0, 10, 255], r'expected labels 0 to 9, found 10 \(label 1\)'),
    ([[0], [1], [2]], 'wrong number of dimensions: expected 1, found 2'),
  ],
)
def test_bad_label_files(tmp_path, labels, message):
  path = tmp_path / 'labels'
  path.write_bytes(encoded(np.array(labels)))
  with pytest.raises(InputError, match=f'{path}: {message}'):
    idx.read_labels(path, 10, 3)


@pytest.mark.parametrize('name', ['file', 'file.gz'])
def test_neither_file_nor_readable(tmp_path, name):
  with pytest.raises(InputError, match=f'{name}: no such file'):
    idx.read(tmp_path / name, 1)
  (tmp_path / name).mkdir()
  with pytest.raises(InputError, match=f'{name}: expected a file, found a directory'):
    idx.read(tmp_path / name, 1)


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('header', GOOD[:4] + b'\xff' * 12),
    ('header.gz', gzip.compress(GOOD[:4] + b'\xff' * 12)),
    ('bomb.gz', gzip.compress(GOOD + bytes(100 << 20), 9)),
  ],
  # Of its own words, since gzip writes the time into the content.
  ids=['header', 'header.gz', 'bomb.gz'],
)
def test_a_bad_file_cannot_fill_the_memory(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  tracemalloc.start()
  with pytest.raises(InputError):
    idx.read(tmp_path / name, 3)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 4 << 20


# MNIST


def test_the_last_training_images_are_for_validation(directory):
  dataset = mnist.load(str(directory))
  rows = {'train': range(3), 'validation': range(3, 10_003), 'test': range(7)}
  assert set(dataset.splits) == set(rows)
  assert (dataset.name, dataset.num_classes) == ('mnist', 10)
  for split, expected in rows.items():
    image, label = (dataset.splits[split][key] for key in ('image', 'label'))
    assert image.shape == (len(expected), 784)
    assert image.dtype == np.float32
    assert label.dtype == np.int32
    assert label.tolist() == [row % 10 for row in expected]
    np.testing.assert_array_equal(
      image[:, 0], np.float32([r % 256 for r in expected]) / 255
    )
    assert (image[:, -1] == 1).all()
    assert not image[:, 1:-1].any()


def test_validation_can_be_merged_into_training(directory):
  apart, merged = mnist.load(str(directory)), mnist.load(str(directory), True)
  assert set(merged.splits) == {'train', 'test'}
  for key in ('image', 'label'):
    parts = [apart.splits[split][key] for split in ('train', 'validation')]
    np.testing.assert_array_equal(merged.splits['train'][key], np.concatenate(parts))


@pytest.mark.parametrize('separator', ['-', '.'])
@pytest.mark.parametrize('packed', [False, True])
def test_file_names_as_people_have_them(tmp_path, separator, packed):
  write_mnist(tmp_path / 'given', (20, 7), separator, packed)
  write_mnist(tmp_path / 'usual', (20, 7))
  given, usual = (mnist.load(str(tmp_path / n), True) for n in ('given', 'usual'))
  assert given.fingerprint == usual.fingerprint


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda d: (d / f't10k-{LABELS}').unlink(),
      f'expected one of t10k-{LABELS}, .*none',
    ),
    (
      lambda d: (d / f't10k-{LABELS}').write_bytes(encoded(np.zeros(8))),
      f't10k-{LABELS}: expected 7 labels',
    ),
    (
      lambda d: (d / f't10k-{IMAGES}').write_bytes(encoded(np.zeros((0, 28, 28)))),
      f't10k-{IMAGES}: expected images, found none',
    ),
    (lambda d: None, 'expected more than 10000 images, .*; found 20'),
  ],
)
def test_bad_directories(tmp_path, change, message):
  write_mnist(tmp_path, (20, 7))
  change(tmp_path)
  with pytest.raises(InputError, match=message) as caught:
    mnist.load(str(tmp_path))
  assert str(tmp_path) in str(caught.value)


def test_no_directory(tmp_path):
  with pytest.raises(InputError, match='nowhere: no such directory'):
    mnist.load(str(tmp_path / 'nowhere'))


@pytest.fixture
def tfds(monkeypatch, tmp_path):
  tfds = pytest.importorskip('tensorflow_datasets')
  monkeypatch.setattr(tfds.core.constants, 'DATA_DIR', str(tmp_path / 'tfds'))
  monkeypatch.setenv('no_proxy', '*')
  return tfds


def test_mnist_is_downloaded_once_and_equals_the_files(monkeypatch, tmp_path, tfds):
  served = tmp_path / 'served'
  write_mnist(served, (20, 7), packed=True)
  requested = []

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
      requested.append(self.path)

  handler = functools.partial(Handler, directory=str(served))
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}/'
    monkeypatch.setattr(tfds.image_classification.MNIST, 'URL', url)
    try:
      downloaded = mnist.load(merge_validation=True)
    finally:
      server.shutdown()  # else a failure would never end
  assert downloaded.fingerprint == mnist.load(str(served), True).fingerprint
  assert len(requested) == 5  # one asks whether there is a network
  again = mnist.load(merge_validation=True)  # the server is gone
  assert again.fingerprint == downloaded.fingerprint


def test_without_a_network_the_advice_is_one_line(monkeypatch, tfds):
  url = 'http://127.0.0.1:9/'  # nobody listens there
  monkeypatch.setattr(tfds.image_classification.MNIST, 'URL', url)
  with pytest.raises(InputError, match='install .* or pass --data_dir') as caught:
    mnist.load()
  assert '\n' not in str(caught.value)
