"""A copy in a file is whole, or it is noticed that it is not."""

import os
import pathlib
import tracemalloc
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from regularizers.exchange import ExchangeError, files

ABOUT = {'step': '350', 'replica': '1', 'num_replicas': '2'}
TYPES = [*'?bBhHiIlLefd', jnp.bfloat16]
LEAVES = {
  'layer.kernel é"\\': np.arange(6, dtype=np.float32).reshape(2, 3),
  '': np.array(True),
  '0' * 8: np.zeros((0, 3), np.float16),
  'half': np.array([1, -np.inf, np.nan], jnp.bfloat16),
}
CONTENT = b''.join(files.encode(files.Copy(ABOUT, LEAVES)))


def same(there: Any, leaves: Any) -> None:
  assert list(there) == list(leaves)
  for name, leaf in leaves.items():
    assert there[name].dtype == leaf.dtype
    assert there[name].shape == leaf.shape
    assert there[name].tobytes() == leaf.tobytes()


@pytest.mark.parametrize('shape', [(), (0,), (3, 0), (1,), (2, 3)], ids=str)
@pytest.mark.parametrize('kind', TYPES, ids=str)
def test_round_trip(kind: Any, shape: tuple[int, ...]):
  leaf = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind)
  leaves = {'w': leaf, 'transposed': leaf.T}
  copy = files.decode(b''.join(files.encode(files.Copy(ABOUT, leaves))))
  assert copy.about == ABOUT
  same(copy.leaves, leaves)


def test_round_trip_of_strange_names_and_of_nothing():
  same(files.decode(CONTENT).leaves, LEAVES)
  nothing = b''.join(files.encode(files.Copy(ABOUT, {})))
  assert files.decode(nothing).leaves == {}


@pytest.mark.parametrize('dtype', [np.complex64, 'S3', 'O', '>f4', jnp.float8_e5m2])
def test_types_without_a_name(dtype: Any):
  with pytest.raises(ExchangeError, match='w: leaves of type .* cannot be exchanged'):
    files.encode(files.Copy(ABOUT, {'w': np.zeros(2, dtype)}))


def test_other_programs_can_read_it(tmp_path: pathlib.Path):
  safetensors = pytest.importorskip('safetensors')
  numpy = pytest.importorskip('safetensors.numpy')
  path = tmp_path / 'copy.safetensors'
  leaves = {name: leaf for name, leaf in LEAVES.items() if leaf.dtype != jnp.bfloat16}
  files.write(path, files.encode(files.Copy(ABOUT, leaves)))
  there = numpy.load_file(path)
  same({name: there[name] for name in leaves}, leaves)
  with safetensors.safe_open(path, 'np') as file:
    assert ABOUT.items() <= file.metadata().items()


def damaged(content: bytes) -> None:
  with pytest.raises(files.DamagedError):
    files.decode(content)


def test_every_flip_and_every_end():
  for position in range(8 * len(CONTENT)):
    changed = bytearray(CONTENT)
    changed[position // 8] ^= 1 << position % 8
    damaged(bytes(changed))
  for end in range(len(CONTENT)):
    damaged(CONTENT[:end])
  damaged(CONTENT + b'\0')
  damaged(bytes(len(CONTENT)))


@hypothesis.given(st.binary(max_size=200), st.booleans())
def test_junk(junk: bytes, measured: bool):
  damaged(len(junk).to_bytes(8, 'little') + junk if measured else junk)


VALUES = st.recursive(
  st.none() | st.integers() | st.floats() | st.text(max_size=5),
  lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
  ),
  max_leaves=5,
)
ENTRIES = st.fixed_dictionaries(
  {'dtype': st.just('F32') | VALUES, 'shape': VALUES, 'data_offsets': VALUES}
)
HEADERS = VALUES | st.fixed_dictionaries(
  {
    'w': ENTRIES | VALUES,
    '__metadata__': VALUES | st.fixed_dictionaries({'crc32': VALUES}),
  }
)


@hypothesis.settings(max_examples=50)
@hypothesis.given(HEADERS)
def test_headers_of_others(header: Any):
  text = files.json.dumps(header).encode()
  damaged(len(text).to_bytes(8, 'little') + text + bytes(64))


@pytest.mark.parametrize('length', [100_000_001, 2**40, 2**63, 2**64 - 1])
def test_length_that_is_a_lie_costs_nothing(length: int):
  content = length.to_bytes(8, 'little') + b'{}' * 500
  tracemalloc.start()
  try:
    damaged(content)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
  finally:
    tracemalloc.stop()


def test_only_regular_files_are_read(tmp_path: pathlib.Path):
  """A pipe without a writer would be read for ever."""
  os.mkfifo(tmp_path / 'pipe')
  (tmp_path / 'directory').mkdir()
  (tmp_path / 'endless').symlink_to('/dev/zero')
  for path in tmp_path.iterdir():
    with pytest.raises(files.DamagedError, match='not a regular file'):
      files.read(path)
  with pytest.raises(FileNotFoundError):
    files.read(tmp_path / 'nothing')


def test_failed_writing_leaves_nothing(tmp_path: pathlib.Path):
  (tmp_path / 'taken').mkdir()
  with pytest.raises(OSError):
    files.write(tmp_path / 'taken', [CONTENT])
  assert os.listdir(tmp_path) == ['taken']
