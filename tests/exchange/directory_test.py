"""Replicas that share a directory, one process calling for all of them."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regularizers.exchange import Directory, ExchangeError, Peers, files

EVERY = 10


def params(value: float) -> Any:
  return {'w': jnp.full((2, 3), value), 'stats': {'n': jnp.int32(value)}}


class Replicas:
  """Some of a directory; what each has of the others."""

  def __init__(self, path: pathlib.Path):
    self.path = path
    self.open: dict[int, Directory] = {}
    self.peers: dict[int, Peers] = {}

  def start(
    self, replica: int, count: int = 2, tree: Any = None, **options: Any
  ) -> Any:
    options = {'background': False, **options}
    one = Directory(self.path, replica, count, EVERY, **options)
    self.open[replica] = one
    self.peers[replica] = one.init(params(0) if tree is None else tree)
    return one

  def call(self, replica: int, step: int, value: float | None = None) -> Any:
    """The steps of its peers, and the values of what it has of them."""
    tree = params(step if value is None else value)
    peers = self.open[replica](step, tree, self.peers[replica])
    self.peers[replica] = peers
    np.testing.assert_array_equal(peers.trees['w'][:, 0, 0], peers.trees['stats']['n'])
    return peers.steps.tolist(), peers.trees['stats']['n'].tolist()

  def restart(self, replica: int) -> None:
    self.open[replica].close()
    self.start(replica)

  def copies(self, replica: int) -> list[pathlib.Path]:
    return sorted((self.path / f'replica-{replica}').glob('*.safetensors'))


@pytest.fixture
def replicas(tmp_path: pathlib.Path) -> Iterator[Replicas]:
  all_of_them = Replicas(tmp_path / 'exchange')
  yield all_of_them
  for one in all_of_them.open.values():
    one.close()


def two(replicas: Replicas) -> Replicas:
  replicas.start(0)
  replicas.start(1)
  return replicas


def test_newest_of_each_in_order(replicas: Replicas):
  for i in range(3):
    replicas.start(i, 3)
  assert [one.peers for one in replicas.open.values()] == [[1, 2], [2, 0], [0, 1]]
  assert replicas.call(0, 0, 7) == ([-1, -1], [0, 0])
  assert replicas.call(2, 10, 8) == ([0, -1], [7, 0])
  assert replicas.call(1, 20, 9) == ([10, 0], [8, 7])
  assert replicas.call(1, 29, 6) == ([10, 0], [8, 7])  # not a step for it
  assert replicas.call(0, 30, 5) == ([20, 10], [9, 8])
  np.testing.assert_array_equal(replicas.peers[0].staleness(34), [14, 24])


def test_old_copies_are_removed(replicas: Replicas):
  replicas.start(0)
  for step in range(0, 100, EVERY):
    replicas.call(0, step)
  names = [path.name for path in replicas.copies(0)]
  steps = ['00000009-0000000080.safetensors', '00000010-0000000090.safetensors']
  assert names == steps


def test_restart_from_an_earlier_step(replicas: Replicas):
  """The newest is what was written last, though its step is lower."""
  two(replicas)
  for step in (0, 10, 20):
    replicas.call(0, step)
  assert replicas.call(1, 20) == ([20], [20])
  replicas.restart(0)
  assert replicas.call(0, 10, 77) == ([20], [20])
  assert replicas.call(1, 30) == ([10], [77])
  assert [path.name[:8] for path in replicas.copies(0)] == ['00000003', '00000004']


def test_peer_ahead(replicas: Replicas):
  two(replicas)
  replicas.call(0, 500)
  assert replicas.call(1, 10) == ([500], [500])
  np.testing.assert_array_equal(replicas.peers[1].staleness(10), [0])


def cut(path: pathlib.Path) -> None:
  path.write_bytes(path.read_bytes()[:-1])


def flipped(path: pathlib.Path) -> None:
  content = bytearray(path.read_bytes())
  content[-5] ^= 4
  path.write_bytes(content)


def pipe(path: pathlib.Path) -> None:
  path.unlink()
  os.mkfifo(path)


def folder(path: pathlib.Path) -> None:
  path.unlink()
  path.mkdir()


def loop(path: pathlib.Path) -> None:
  path.unlink()
  path.symlink_to(path)


SPOIL = [cut, flipped, pipe, folder, loop]


@pytest.mark.parametrize('spoil', SPOIL)
def test_damaged_copy(spoil: Any, replicas: Replicas, recwarn: Any):
  """The one before it is used; said once; a new one is used again."""
  two(replicas)
  replicas.call(0, 0)
  replicas.call(0, 10)
  newest = replicas.copies(0)[-1]
  spoil(newest)
  with pytest.warns(RuntimeWarning, match='is damaged|cannot read') as said:
    assert replicas.call(1, 10) == ([0], [0])
  assert [str(newest) in str(one.message) for one in said] == [True]
  assert said[0].filename == __file__
  assert replicas.call(1, 20) == ([0], [0])
  replicas.call(0, 20)
  assert replicas.call(1, 30) == ([20], [20])
  assert not recwarn.list


def test_nothing_but_damaged_copies(replicas: Replicas):
  two(replicas)
  replicas.call(0, 0)
  assert replicas.call(1, 0) == ([0], [0])
  replicas.call(0, 10)
  for path in replicas.copies(0):
    flipped(path)
  with pytest.warns(RuntimeWarning, match='is damaged'):
    assert replicas.call(1, 10) == ([0], [0])
  replicas.restart(1)
  with pytest.warns(RuntimeWarning, match='is damaged'):
    assert replicas.call(1, 10) == ([-1], [0])


@pytest.mark.parametrize('spoil', [pipe, folder, loop])
def test_own_copy_that_cannot_be_removed(
  spoil: Any, replicas: Replicas, recwarn: pytest.WarningsRecorder
):
  """Is no reason to keep all the later ones."""
  replicas.start(0)
  replicas.call(0, 0)
  spoil(replicas.copies(0)[0])
  for step in range(10, 100, EVERY):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr('warnings.warn', lambda *_, **__: None)
      replicas.call(0, step)
  assert len(replicas.copies(0)) == (3 if spoil is folder else 2)
  assert not recwarn.list


def test_copy_vanishes_before_it_is_read(
  replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
  two(replicas)
  replicas.call(0, 0)
  replicas.call(0, 10)
  listdir, newest = os.listdir, replicas.copies(0)[-1]

  def listed(place: Any) -> list[str]:
    names = listdir(place)
    newest.unlink(missing_ok=True)
    return names

  monkeypatch.setattr(os, 'listdir', listed)
  assert replicas.call(1, 10) == ([0], [0])


def test_copy_is_written_over_while_it_is_read(
  replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
  """The one before it is taken; nothing is said, as nothing is wrong."""
  two(replicas)
  replicas.call(0, 0)
  replicas.call(0, 10)
  read, newest = files.read, replicas.copies(0)[-1]

  def late(path: str) -> bytes:
    content = read(path)
    if path == str(newest):
      newest.unlink()
      return content[:-4] + b'over'
    return content

  monkeypatch.setattr(files, 'read', late)
  assert replicas.call(1, 10) == ([0], [0])


def test_linked_copy_is_kept(replicas: Replicas):
  """Whoever wants one for longer gives it a second name."""
  replicas.start(0)
  replicas.call(0, 0)
  kept = replicas.path / 'kept'
  os.link(replicas.copies(0)[0], kept)
  content = kept.read_bytes()
  for step in range(10, 60, EVERY):
    replicas.call(0, step)
  assert kept.read_bytes() == content


def test_half_written_copy(replicas: Replicas):
  """Of one that was killed: ignored, and removed when it starts again."""
  two(replicas)
  replicas.call(0, 0)
  left = replicas.copies(0)[0].with_name('.00000002-0000000010.safetensors.77.tmp')
  left.write_bytes(b'half')
  assert replicas.call(1, 10) == ([0], [0])
  replicas.restart(0)
  assert not left.exists()
  assert len(replicas.copies(0)) == 1


def test_other_files_are_left_alone(replicas: Replicas):
  two(replicas)
  for name in (
    'notes.txt',
    '²-1.safetensors',
    '1-2.safetensors.bak',
    'a-b.safetensors',
  ):
    (replicas.path / 'replica-0' / name).write_text('mine')
  replicas.restart(0)
  for step in range(0, 50, EVERY):
    replicas.call(0, step)
  assert replicas.call(1, 50) == ([40], [40])
  place = replicas.path / 'replica-0'
  assert len(list(place.iterdir())) == 4 + 1 + 2 + 1  # the last is written over next
  replicas.open[0].close()
  assert len(list(place.iterdir())) == 4 + 1 + 2


def test_more_than_eight_digits(replicas: Replicas):
  two(replicas)
  replicas.call(0, 0)
  only = replicas.copies(0)[0]
  only.rename(only.with_name('99999999-0000000000.safetensors'))
  replicas.restart(0)
  replicas.call(0, 10)
  assert replicas.call(1, 10) == ([10], [10])


@pytest.mark.parametrize('restarted', [False, True])
def test_checkpoint_is_used_until_there_is_news(restarted: bool, replicas: Replicas):
  two(replicas)
  saved = jax.tree.map(np.asarray, Peers(params(5), jnp.array([40])))
  saved.trees['w'], saved.trees['stats']['n'] = saved.trees['w'][None], np.int32([5])
  replicas.peers[1] = saved
  assert replicas.call(1, 50) == ([40], [5])
  replicas.call(0, 30, 9)
  if restarted:
    replicas.restart(1)
    replicas.peers[1] = saved
  assert replicas.call(1, 60) == ([30], [9])


@pytest.mark.parametrize('background', [False, True])
def test_donated_buffers(background: bool, replicas: Replicas):
  """What was given, and what was got, may be used up by a compiled step."""
  two(replicas)
  one = replicas.open[0]
  replicas.call(1, 0, 3)
  use_up = jax.jit(
    lambda tree, peers: jax.tree.map(lambda a: a * 2 + 1, (tree, peers)),
    donate_argnums=(0, 1),
  )
  one.close()
  one = replicas.start(0, background=background)
  start = Peers(jax.tree.map(lambda a: a[None], params(3)), jnp.array([0]))
  tree, peers = params(4), start
  for step in range(0, 50, EVERY):
    peers = one(step, tree, peers)
    assert peers.trees['stats']['n'].tolist() == [3]
    tree, _ = use_up(tree, peers)
    replicas.call(1, step, 3)
    peers = Peers(jax.tree.map(lambda a: a[None], params(3)), jnp.array([0]))
  one.close()
  assert replicas.call(1, 50, 3)[1][0] in (
    (79,) if not background else (4, 9, 19, 39, 79)
  )


@pytest.mark.parametrize(
  ('leaf', 'said'),
  [
    (jax.custom_jvp(jnp.abs), 'expected an array, got custom_jvp'),
    ('relu', 'expected an array, got str'),
    (jax.random.key(0), 'leaves of type .* cannot be exchanged'),
  ],
)
def test_a_leaf_that_is_no_array_is_named(tmp_path: pathlib.Path, leaf: Any, said: str):
  """As modules of equinox have."""
  tree = {'w': jnp.ones(2), 'count': 3, 'layer': {'activation': leaf}}
  with Directory(tmp_path, 0, 2, EVERY, background=False) as one:
    with pytest.raises(ExchangeError, match=f'layer.activation: {said}'):
      one.init(tree)
    del tree['layer']
    assert one.init(tree).trees['w'].shape == (1, 2)


def test_all_are_there_when_each_has_given_something_away(tmp_path: pathlib.Path):
  tree = {'w': jnp.ones(2)}
  with contextlib.ExitStack() as places:
    replicas = [
      places.enter_context(Directory(tmp_path, i, 2, EVERY, background=False))
      for i in range(2)
    ]
    for one, whole in zip(replicas, (False, True), strict=True):
      assert not one.all_there()
      one(EVERY, tree, one.init(tree))
      assert [replica.all_there() for replica in replicas] == [whole, whole]
