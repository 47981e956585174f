"""Replicas that are processes of their own and share a directory.

DIRECTORY/replica-1/00000007-0000000350.safetensors   the 7th copy, of step 350

A copy gets its name when it is whole. Its number goes on where a replica that was
killed is started again, maybe from an earlier step: the newest copy is the one with the
highest number.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.exchange import files, worker
from regularizers.exchange.claims import Claim
from regularizers.exchange.files import Copy, DamagedError
from regularizers.exchange.peers import ExchangeError, Peers, PyTree
from regularizers.exchange.stacked import check_counts

KEPT = 2  # whoever reads the older one may end; a damaged one has a predecessor


class Directory:
  """Exchange through files: no replica waits for another, nor ends with it.

  Every ``every`` steps a replica writes what it has and reads the newest whole copy
  of each peer. A peer that is slow, dead, ahead or started again, a copy that is
  damaged, a disk that is full or a directory that is gone for a while: the copies that
  are there go on being used, and a warning says once what is the matter.

  Writing and reading take place in a thread of their own. What was read is there at
  one of the calls after, so call it at every step.

  The replicas, in the same place or not, need to see the same file system; that
  replicas with the same index are noticed takes one that knows file locks, or until
  both have written.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    replica: int,
    num_replicas: int,
    every: int = 50,
    *,
    dtype: Any = None,
    background: bool = True,
  ):
    """Claims the place of the replica.

    Args:
      path: the directory, which is made if it is missing.
      replica: index of this one, from 0 on.
      num_replicas: of all of them.
      every: steps from exchange to exchange.
      dtype: floating leaves are rounded to it in the files, e.g. ``jnp.bfloat16`` for
        half the bytes; None: they are exact.
      background: whether a thread writes and reads; otherwise the calls do, and
        return what is there.

    Raises:
      ValueError: the index is none of the replicas, fewer than two of them, or
        ``every`` < 1.
      ExchangeError: another process is this replica, or the directory cannot be
        written.

    References:
      Anil et al., 2018.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as path:
      ...   one, two = (Directory(path, i, 2, background=False) for i in range(2))
      ...   params = {'w': jnp.array([1.0, 2.0])}
      ...   nothing = one.init(params)
      ...   _ = one(50, params, nothing)
      ...   peers = two(50, params, nothing)
      ...   one.close(), two.close()
      (None, None)
      >>> print(peers.trees['w'], peers.staleness(60))
      [[1. 2.]] [10]
    """
    check_counts(num_replicas, every)
    if not 0 <= replica < num_replicas:
      raise ValueError(f'replica: expected 0 to {num_replicas - 1}, got {replica}')
    self.path = pathlib.Path(path)
    self.replica, self.num_replicas, self.every = replica, num_replicas, every
    self._dtype = dtype
    self._claim = Claim(self._place(replica))
    self._number = max(map(_number, _copies(self._place(replica))), default=0)
    self._known = set(_copies(self._place(replica)))
    self._taken: dict[int, _Taken] | None = None  # by peer
    self._refused: set[pathlib.Path] = set()
    self._said: set[str] = set()
    self._thread = worker.Worker() if background else None

  @property
  def peers(self) -> list[int]:
    """Indices of the others, in the order of the leaves."""
    count = self.num_replicas
    return [(self.replica + shift) % count for shift in range(1, count)]

  def init(self, tree: PyTree) -> Peers:
    """Nothing yet: ``[peers, ...]`` zeros."""
    for path, leaf in jax.tree.leaves_with_path(tree):
      if not jnp.issubdtype(jnp.asarray(leaf).dtype, np.generic):
        name = jax.tree_util.keystr(path)
        raise ExchangeError(f'{name}: leaves of type {leaf.dtype} cannot be exchanged')
    count = self.num_replicas - 1
    zeros = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), tree)
    return Peers(zeros, jnp.full(count, -1, jnp.int32))

  def __call__(self, step: int, tree: PyTree, peers: Peers) -> Peers:
    """Starts an exchange if ``step`` is one for it; the newest peers that are there.

    An exchange that is due while the one before is not done is left out.

    Args:
      step: a number of the host.
      tree: what is given away; copied, so that it may be donated afterwards.
      peers: what the call before returned, or ``init``, or a checkpoint.

    Raises:
      ExchangeError: a peer that does not go with this replica: other leaves, shapes or
        types, another number of replicas; or another process that is this replica.
    """
    if self._taken is None:
      self._taken = _taken_before(self.peers, peers)
    due = int(step) % self.every == 0
    if self._thread is None:
      news = self._exchange(int(step), _host(tree)) if due else None
      return peers if news is None else news
    news = self._thread.result()
    if due and self._thread.idle:
      host = _host(tree)
      self._thread.start(lambda: self._exchange(int(step), host))
    return peers if news is None else news

  def close(self, timeout: float = 10.0) -> None:
    """Waits for the exchange under way, but not for ever, and gives the place free.

    Args:
      timeout: seconds.
    """
    if self._thread is not None:
      self._thread.close(timeout)
    self._claim.release()

  def __enter__(self) -> 'Directory':
    return self

  def __exit__(self, *error: object) -> None:
    self.close()

  def _place(self, replica: int) -> pathlib.Path:
    return self.path / f'replica-{replica}'

  def _exchange(self, step: int, tree: PyTree) -> Peers | None:
    self._publish(step, tree)
    return self._read(tree)

  def _publish(self, step: int, tree: PyTree) -> None:
    place = self._place(self.replica)
    try:
      self._check_alone(place)
      self._number += 1
      content = files.encode(self._copy(step, tree))
      name = place / f'{self._number:08d}-{step:010d}.safetensors'
      place.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
      files.write(name, content)
      self._known.add(name)
      for old in _copies(place)[:-KEPT]:
        old.unlink(missing_ok=True)
    except OSError as error:
      self._say(f'cannot write to {place}: {error.strerror or error}')

  def _copy(self, step: int, tree: PyTree) -> Copy:
    about = {
      'step': str(step),
      'replica': str(self.replica),
      'num_replicas': str(self.num_replicas),
    }
    leaves = {name: self._wired(leaf) for name, leaf in _named(tree).items()}
    return Copy(about, leaves)

  def _wired(self, leaf: np.ndarray) -> np.ndarray:
    if self._dtype is None or not jnp.issubdtype(leaf.dtype, jnp.floating):
      return leaf
    return leaf.astype(self._dtype)

  def _check_alone(self, place: pathlib.Path) -> None:
    strange = [path for path in _copies(place) if path not in self._known]
    if strange:
      raise ExchangeError(
        f'{strange[-1]} is not of this process: two replicas have the index '
        f'{self.replica}'
      )

  def _read(self, tree: PyTree) -> Peers | None:
    """All that was taken, if a peer has something newer."""
    assert self._taken is not None
    before, expected = dict(self._taken), _named(tree)
    for peer in self.peers:
      try:
        self._take(self._taken, peer, expected)
      except OSError as error:
        self._say(f'cannot read {self._place(peer)}: {error.strerror or error}')
    if all(self._taken.get(peer) is before.get(peer) for peer in self.peers):
      return None
    return _stacked([self._taken.get(peer) for peer in self.peers], tree)

  def _take(
    self, taken: 'dict[int, _Taken]', peer: int, expected: dict[str, np.ndarray]
  ) -> None:
    """The newest whole copy of a peer, unless it was taken before."""
    for path in reversed(_copies(self._place(peer))):
      if peer in taken and path.name == taken[peer].name:
        return
      if path in self._refused:
        continue
      try:
        copy = files.decode(path.read_bytes())
      except FileNotFoundError:
        continue  # its replica wrote newer ones, and removed it
      except DamagedError as error:
        self._refused.add(path)
        self._say(f'{path} is damaged: {error}')
        continue
      _check_fits(path, copy, expected, self.num_replicas)
      taken[peer] = _Taken(path.name, int(copy.about['step']), copy.leaves)
      return

  def _say(self, line: str) -> None:
    if line not in self._said:
      self._said.add(line)
      warnings.warn(f'exchange: {line}', RuntimeWarning, stacklevel=2)


@dataclasses.dataclass(frozen=True)
class _Taken:
  """The copy of a peer: its file, its step, its leaves by name."""

  name: str
  step: int
  leaves: Mapping[str, np.ndarray]


def _taken_before(indices: list[int], peers: Peers) -> dict[int, _Taken]:
  """What a checkpoint holds of the peers, so that it is used until there is news."""
  steps, leaves = np.asarray(peers.steps), _named(peers.trees)
  return {
    peer: _Taken('', int(step), {name: leaf[i] for name, leaf in leaves.items()})
    for i, (peer, step) in enumerate(zip(indices, steps, strict=True))
    if step >= 0
  }


def _stacked(taken: Sequence[_Taken | None], tree: PyTree) -> Peers:
  """With an axis of peers; zeros for those of which there is nothing."""

  def rows(name: str, leaf: np.ndarray) -> list[np.ndarray]:
    return [
      np.zeros_like(leaf) if t is None else t.leaves[name].astype(leaf.dtype)
      for t in taken
    ]

  stacked = [np.stack(rows(name, leaf)) for name, leaf in _named(tree).items()]
  steps = np.array([-1 if t is None else t.step for t in taken], np.int32)
  trees = jax.tree.unflatten(jax.tree.structure(tree), map(jnp.asarray, stacked))
  return Peers(trees, jnp.asarray(steps))


def _host(tree: PyTree) -> PyTree:
  """Copies in this process's memory: the originals may be donated and used again."""
  return jax.tree.map(np.array, jax.device_get(tree))


def _named(tree: PyTree) -> dict[str, np.ndarray]:
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): np.asarray(leaf)
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def _copies(place: pathlib.Path) -> list[pathlib.Path]:
  """Files that have their name, the oldest first."""
  try:
    names = os.listdir(place)
  except FileNotFoundError:
    return []
  found = [place / name for name in names if _is_copy(name)]
  return sorted(found, key=lambda path: path.name)


def _is_copy(name: str) -> bool:
  stem, _, ending = name.partition('.')
  number, _, step = stem.partition('-')
  return ending == 'safetensors' and number.isdigit() and step.isdigit()


def _number(path: pathlib.Path) -> int:
  return int(path.name.partition('-')[0])


def _check_fits(
  path: pathlib.Path,
  copy: Copy,
  expected: dict[str, np.ndarray],
  num_replicas: int,
) -> None:
  """Raises ExchangeError, naming the first difference."""
  count = copy.about.get('num_replicas')
  if count != str(num_replicas):
    raise ExchangeError(f'{path}: one of {count} replicas, expected {num_replicas}')
  for name, leaf in expected.items():
    if name not in copy.leaves:
      raise ExchangeError(f'{path}: no leaf {name}: the replicas are different models')
    there = copy.leaves[name]
    if there.shape != leaf.shape:
      raise ExchangeError(
        f'{path}: leaf {name}: expected shape {list(leaf.shape)}, got '
        f'{list(there.shape)}: the replicas are different models'
      )
    if not _same_kind(there.dtype, leaf.dtype):
      raise ExchangeError(
        f'{path}: leaf {name}: expected {leaf.dtype}, got {there.dtype}'
      )
  for name in copy.leaves:
    if name not in expected:
      raise ExchangeError(
        f'{path}: a leaf {name} that this replica has not: the replicas are different '
        'models'
      )


def _same_kind(there: Any, own: Any) -> bool:
  """Floating leaves may have become narrower on the way."""
  floating = jnp.issubdtype(there, jnp.floating) and jnp.issubdtype(own, jnp.floating)
  return bool(there == own or floating)
