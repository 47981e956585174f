"""What goes wrong around a directory: disks, permissions, mistakes, calls that hang."""

import contextlib
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regularizers.exchange import Directory, ExchangeError, Peers, claims, files

TREE = {'w': jnp.ones((2, 3)), 'b': jnp.zeros(3)}
SAID = RuntimeWarning


def directory(
  path: pathlib.Path, replica: int, count: int = 2, **options: Any
) -> Directory:
  return Directory(path, replica, count, 1, **{'background': False, **options})


def steps(one: Directory, step: int, tree: Any = TREE) -> list[int]:
  """Of its peers, when it starts from nothing."""
  return one(step, tree, one.init(tree)).steps.tolist()


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> Iterator[tuple[Directory, Directory]]:
  with directory(tmp_path / 'x', 0) as one, directory(tmp_path / 'x', 1) as two:
    yield one, two


def test_directory_is_removed(
  pair: tuple[Directory, Directory], tmp_path: pathlib.Path
):
  """It is made again, and they find each other again."""
  one, two = pair
  steps(one, 0)
  peers = two(0, TREE, two.init(TREE))
  shutil.rmtree(tmp_path / 'x')
  peers = two(1, TREE, peers)
  assert peers.steps.tolist() == [0]
  one(1, TREE, one.init(TREE))
  assert two(2, TREE, peers).steps.tolist() == [1]


def test_something_in_its_place(
  pair: tuple[Directory, Directory], tmp_path: pathlib.Path
):
  """Said once for each place; goes on as soon as it can."""
  one, two = pair
  peers = one(0, TREE, one.init(TREE))
  shutil.rmtree(tmp_path / 'x')
  (tmp_path / 'x').write_text('a file')
  with pytest.warns(SAID, match='cannot (read|write)') as said:
    for step in range(1, 4):
      peers = one(step, TREE, peers)
  assert len(said) == 2
  (tmp_path / 'x').unlink()
  steps(two, 5)
  assert one(6, TREE, peers).steps.tolist() == [5]


@contextlib.contextmanager
def forbidden(path: pathlib.Path) -> Iterator[None]:
  """Nobody may use the path; root, who may all, is somebody else."""
  root = os.geteuid() == 0
  path.chmod(0)
  if root:
    os.seteuid(65534)
  try:
    yield
  finally:
    if root:
      os.seteuid(0)
    path.chmod(0o700)


def test_no_permission(pair: tuple[Directory, Directory], tmp_path: pathlib.Path):
  one, two = pair
  steps(two, 0)
  peers = one(0, TREE, one.init(TREE))
  with forbidden(tmp_path / 'x'):
    with pytest.warns(SAID, match='Permission denied'):
      peers = one(1, TREE, peers)
    with pytest.raises(ExchangeError, match='cannot write to .*: Permission denied'):
      directory(tmp_path / 'x', 0)
  assert peers.steps.tolist() == [0]
  steps(two, 2)
  assert one(3, TREE, peers).steps.tolist() == [2]


@pytest.mark.parametrize('place', ['file', 'file/below', '/proc/nothing'])
def test_no_place(place: str, tmp_path: pathlib.Path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(ExchangeError, match='cannot write to'):
    directory(tmp_path / place, 0)


def test_disk_is_full(pair: tuple[Directory, Directory], tmp_path: pathlib.Path):
  """The copies that are there go on being used, and nothing half is left."""
  one, two = pair
  steps(one, 0)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
  try:
    with pytest.warns(SAID, match='cannot write to .*: File too large') as said:
      for step in range(1, 4):
        steps(one, step)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert len(said) == 1
  assert sorted(os.listdir(tmp_path / 'x/replica-0')) == [
    '00000001-0000000000.safetensors',
    'lock',
  ]
  assert steps(two, 3) == [0]
  steps(one, 4)
  assert steps(two, 5) == [4]


@pytest.mark.parametrize(
  ('other', 'message'),
  [
    (
      {'w': jnp.ones((2, 4)), 'b': jnp.zeros(4)},
      r'leaf b: expected shape \[4\], got \[3\]',
    ),
    (
      {'w': jnp.ones((2, 4)), 'b': jnp.zeros(3)},
      r'leaf w: expected shape \[2, 4\], got',
    ),
    (
      {'w': jnp.ones((2, 3), int), 'b': jnp.zeros(3)},
      'leaf w: expected int32, got float32',
    ),
    ({'w': TREE['w']}, 'a leaf b that this replica has not'),
    ({**TREE, 'c': {'d': jnp.ones(1)}}, r'no leaf c\.d'),
    ({}, 'a leaf (w|b) that this replica has not'),
  ],
)
def test_different_models(other: Any, message: str, pair: tuple[Directory, Directory]):
  one, two = pair
  steps(one, 0)
  with pytest.raises(ExchangeError, match=message):
    steps(two, 0, other)


def test_different_precision_fits(tmp_path: pathlib.Path):
  """Also what is too large for the narrower type, without a warning of numpy."""
  tree = {'w': jnp.float32([1e6, 1 / 3])}
  with directory(tmp_path, 0, dtype=jnp.float16) as one, directory(tmp_path, 1) as two:
    steps(one, 0, tree)
    peers = two(0, tree, two.init(tree))
  np.testing.assert_array_equal(peers.trees['w'], [[np.inf, np.float16(1 / 3)]])


def test_another_number_of_replicas(tmp_path: pathlib.Path):
  with directory(tmp_path, 0, 2) as one, directory(tmp_path, 1, 3) as two:
    steps(one, 0)
    with pytest.raises(ExchangeError, match='one of 2 replicas, expected 3'):
      steps(two, 0)


def test_same_index_is_locked(tmp_path: pathlib.Path):
  with directory(tmp_path, 0), pytest.raises(ExchangeError, match='is in use'):
    directory(tmp_path, 0)
  directory(tmp_path, 0).close()  # free again


@pytest.mark.parametrize('known', [False, True])
def test_same_index_without_locks(
  known: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
  def refuse(*_: Any) -> None:
    raise OSError(95, 'Operation not supported')

  if known:
    monkeypatch.setattr(claims.fcntl, 'flock', refuse)
  else:
    monkeypatch.setattr(claims, 'fcntl', None)
  with directory(tmp_path, 0) as one, directory(tmp_path, 0) as two:
    steps(one, 0)
    with pytest.raises(ExchangeError, match='two replicas have the index 0'):
      steps(two, 0)


@pytest.mark.parametrize(
  'leaf', [jax.random.key(0), jnp.complex64(1), jnp.float8_e5m2(1)], ids=str
)
@pytest.mark.parametrize('background', [False, True])
def test_types(leaf: Any, background: bool, tmp_path: pathlib.Path):
  tree = {'layer': {'rng': leaf}}
  with directory(tmp_path, 0, background=background) as one:
    with pytest.raises(ExchangeError, match=r'layer\.rng: leaves of type'):
      one.init(tree)
    with pytest.raises(ExchangeError, match=r'layer\.rng: leaves of type'):
      one(0, tree, Peers(tree, jnp.array([-1])))


@pytest.mark.parametrize(
  'tree',
  [
    {},
    jnp.ones(2),
    {'a.b': jnp.ones(1), 'a': {'b': jnp.zeros(1)}},
    {'__metadata__': jnp.ones(2)},
    {'numpy': np.ones(2), 'number': 1.5, 'flag': np.bool_(True)},
    [jnp.ones((0, 2)), (jnp.bfloat16(1.5), jnp.uint8(3))],
  ],
  ids=str,
)
def test_trees(tree: Any, pair: tuple[Directory, Directory]):
  """All of any tree arrives, at its place and with its type."""
  one, two = pair
  steps(one, 0, tree)
  first = two.init(tree)
  peers = two(0, tree, first)
  assert peers.steps.tolist() == [0]
  assert jax.tree.structure(peers.trees) == jax.tree.structure(tree)
  taken = jax.tree.leaves(peers.trees)
  for leaf, mine, zero in zip(
    taken, jax.tree.leaves(tree), jax.tree.leaves(first.trees), strict=True
  ):
    np.testing.assert_array_equal(leaf[0], mine)
    assert (leaf.shape, leaf.dtype) == (zero.shape, zero.dtype)


@pytest.mark.parametrize(
  ('arguments', 'options', 'message'),
  [
    ((2, 2), {}, 'replica: expected 0 to 1, got 2'),
    ((-1, 2), {}, 'replica: expected 0 to 1, got -1'),
    ((0.5, 2), {}, 'replica: expected 0 to 1, got 0.5'),
    ((0, 1), {}, 'num_replicas: expected an integer of at least 2'),
    ((0, 2, 0), {}, 'every: expected an integer of at least 1'),
    ((0, 2), {'dtype': jnp.int8}, 'dtype: expected a floating type'),
  ],
)
def test_options(arguments: Any, options: Any, message: str, tmp_path: pathlib.Path):
  with pytest.raises(ValueError, match=message):
    Directory(tmp_path / 'x', *arguments, **options)
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
  'peers',
  [
    Peers(jax.tree.map(lambda a: a[None], TREE), jnp.array([1, 2])),
    Peers(TREE, jnp.array([1])),
    Peers({}, jnp.array([1])),
  ],
  ids=['count', 'shape', 'leaves'],
)
def test_peers_of_another_checkpoint(peers: Peers, tmp_path: pathlib.Path):
  with (
    directory(tmp_path, 0) as one,
    pytest.raises(ValueError, match='peers: not 1 of'),
  ):
    one(0, TREE, peers)


def test_closed(tmp_path: pathlib.Path):
  one = directory(tmp_path, 0)
  one.close()
  one.close()
  with pytest.raises(ValueError, match='the exchange is closed'):
    steps(one, 0)


def test_hanging_reads_stop_nobody(
  pair: tuple[Directory, Directory], monkeypatch: pytest.MonkeyPatch
):
  _, other = pair
  steps(other, 0)
  pair[0].close()
  release, read = threading.Event(), files.read
  monkeypatch.setattr(files, 'read', lambda path: (release.wait(), read(path))[1])
  one = directory(other.path, 0, background=True)
  begin = time.monotonic()
  peers = one.init(TREE)
  for step in range(20):
    peers = one(step, TREE, peers)
  assert peers.steps.tolist() == [-1]
  one.close(timeout=0.1)
  assert time.monotonic() - begin < 5
  release.set()


def test_error_of_the_thread(pair: tuple[Directory, Directory]):
  """Comes with the next call, or is a warning when it is the last."""
  one, two = pair
  two.close()
  steps(one, 0)
  other = {'w': jnp.ones(1)}
  two = directory(one.path, 1, background=True)
  peers = two.init(other)
  with pytest.raises(ExchangeError, match='leaf w: expected shape'):
    for _ in range(1000):
      two(0, other, peers)
      time.sleep(0.01)
  two(0, other, peers)
  with pytest.warns(SAID, match='leaf w: expected shape'):
    two.close()


@pytest.mark.parametrize('hanging', [False, True])
def test_interpreter_ends(hanging: bool, tmp_path: pathlib.Path):
  """Nobody has closed it; a thread of its own is at work, or hangs for ever."""
  code = f"""
import threading
import jax.numpy as jnp
from regularizers.exchange import Directory, files, worker

tree = {{'w': jnp.ones((1000, 1000))}}
other = Directory({str(tmp_path)!r}, 1, 2, 1, background=False)
other(0, tree, other.init(tree))
if {hanging}:
  worker.AT_EXIT = 0.2
  files.read = lambda path: threading.Event().wait()
one = Directory({str(tmp_path)!r}, 0, 2, 1)
one(0, tree, one.init(tree))
print('end')
"""
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    cwd=pathlib.Path(__file__).parent.parent.parent,
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert (done.returncode, done.stdout) == (0, 'end\n'), done.stderr
