"""Replicas that are separate processes and share a directory.

DIRECTORY/replica-1/00000007-0000000350.safetensors   the 7th copy, of step 350

A copy gets its name when it is whole, and loses it when two newer ones are there: the
next one overwrites it, which is faster than a new file. To keep a copy, give it a
second name (a link), or copy it. Its number continues when a replica that was killed
is started again, maybe from an earlier step: the newest copy is the one
with the highest number.
"""

import collections
import contextlib
import os
import pathlib
import re
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.exchange import files, leaves, worker
from regularizers.exchange.claims import Claim
from regularizers.exchange.files import Copy, DamagedError
from regularizers.exchange.leaves import Taken
from regularizers.exchange.peers import ExchangeError, Peers, PyTree
from regularizers.exchange.stacked import check_counts, check_dtype

_NAME = re.compile(r'[0-9]+-[0-9]+\.safetensors')
KEPT = 2  # whoever reads the older one may end; a damaged one has a predecessor


class Directory:
  """Exchange through files: no replica waits for another, or ends with it.

  Every ``every`` steps a replica writes what it has and reads the newest whole copy
  of each peer. A peer that is slow, dead, ahead or started again, a copy that is
  damaged, a disk that is full or a directory that is gone for a while: the copies
  at hand remain in use, and one warning says what is wrong.

  A run that is started again goes on with the copies that are there, whoever wrote
  them: a new run needs a new directory.

  Writing and reading happen in a separate thread. What was read becomes available at
  a later call, so call it at every step.

  The replicas, in the same place or not, need to see the same file system. Duplicate
  indices are detected at once if the file system supports locks, otherwise only after
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
      path: the directory, which is created if missing.
      replica: index of this one, from 0 on.
      num_replicas: of all of them.
      every: steps from exchange to exchange.
      dtype: floating leaves are rounded to it in the files, e.g. ``jnp.bfloat16`` for
        half the bytes; None: they are exact.
      background: whether a thread writes and reads; otherwise the calls do, and
        return what is there.

    Raises:
      ValueError: an index out of range, fewer than two replicas,
        ``every`` < 1, or a ``dtype`` that is not floating.
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
    check_dtype(dtype)
    if not isinstance(replica, (int, np.integer)) or not 0 <= replica < num_replicas:
      raise ValueError(f'replica: expected 0 to {num_replicas - 1}, got {replica}')
    self.path = pathlib.Path(path)
    self.replica, self.num_replicas, self.every = replica, num_replicas, every
    self._dtype = dtype
    # As text: what pathlib does to a path takes longer than some system calls.
    self._places = [str(self.path / f'replica-{i}') for i in range(num_replicas)]
    self._claim = Claim(pathlib.Path(self._places[replica]))
    copies = _copies(self._places[replica])
    self._number = max(map(_number, copies), default=0)
    self._known = set(copies)
    self._taken: dict[int, Taken] | None = None  # by peer
    self._refused: set[str] = set()
    self._said: set[str] = set()
    self._unsaid: collections.deque[str] = collections.deque()
    self._closed = False
    self._thread = worker.Worker() if background else None

  @property
  def peers(self) -> list[int]:
    """Indices of the others, in the order of the leaves."""
    count = self.num_replicas
    return [(self.replica + shift) % count for shift in range(1, count)]

  def init(self, tree: PyTree) -> Peers:
    """Nothing yet: ``[peers, ...]`` zeros.

    Raises:
      ExchangeError: a leaf that has no place in a file, as random keys or functions.
    """
    leaves.check_types(tree)
    count = self.num_replicas - 1
    zeros = jax.tree.map(
      lambda leaf: jnp.zeros((count, *jnp.shape(leaf)), jnp.result_type(leaf)), tree
    )
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
      ValueError: peers of another tree; after ``close``.
    """
    if self._closed:
      raise ValueError('the exchange is closed')
    step = int(step)
    if self._taken is None:
      leaves.check_types(tree)
      self._taken = leaves.taken_before(self.peers, peers, tree)
    due = step % self.every == 0
    if self._thread is None:
      news = self._exchange(step, leaves.host(tree)) if due else None
    else:
      news = self._thread.result()
      if due and self._thread.idle:
        host = leaves.host(tree)
        self._thread.start(lambda: self._exchange(step, host))
    self._warn()
    return peers if news is None else news

  def all_there(self) -> bool:
    """Whether there is a copy of every replica, this one included."""
    try:
      return all(_copies(place) for place in self._places)
    except OSError:
      return False

  def close(self, timeout: float = 10.0) -> None:
    """Waits for the exchange under way, up to ``timeout``, and frees the place.

    An error of that exchange becomes a warning.

    Args:
      timeout: seconds.
    """
    if self._closed:
      return
    self._closed = True
    if self._thread is not None:
      self._thread.close(timeout)
      try:
        self._thread.result()
      except ExchangeError as error:
        self._say(str(error))
    self._claim.release()
    with contextlib.suppress(OSError):
      os.unlink(files.spare(self._places[self.replica]))
    self._warn()

  def __enter__(self) -> 'Directory':
    return self

  def __exit__(self, *error: object) -> None:
    self.close()

  def _exchange(self, step: int, tree: PyTree) -> Peers | None:
    self._publish(step, tree)
    return self._read(tree)

  def _publish(self, step: int, tree: PyTree) -> None:
    place = self._places[self.replica]
    try:
      copies = self._own(place)
      self._number += 1
      content = files.encode(self._copy(step, tree))
      name = f'{self._number:08d}-{step:010d}.safetensors'
      self._write(place, name, content)
      for old in [*copies, name][:-KEPT]:
        self._remove(place, old)
    except OSError as error:
      self._say(f'cannot write to {place}: {error.strerror or error}')

  def _write(self, place: str, name: str, content: files.Parts) -> None:
    try:
      files.write(f'{place}/{name}', content)
    except FileNotFoundError:  # somebody has removed the place
      os.makedirs(place, exist_ok=True)
      files.write(f'{place}/{name}', content)
    self._known.add(name)

  def _remove(self, place: str, old: str) -> None:
    try:
      with contextlib.suppress(FileNotFoundError):
        files.retire(f'{place}/{old}')
      self._known.discard(old)
    except OSError as error:
      self._say(f'cannot remove {place}/{old}: {error.strerror or error}')

  def _copy(self, step: int, tree: PyTree) -> Copy:
    about = {
      'step': str(step),
      'replica': str(self.replica),
      'num_replicas': str(self.num_replicas),
    }
    named = leaves.named(tree)
    return Copy(about, {name: self._narrowed(leaf) for name, leaf in named.items()})

  def _narrowed(self, leaf: np.ndarray) -> np.ndarray:
    if self._dtype is None or not jnp.issubdtype(leaf.dtype, jnp.floating):
      return leaf
    return leaves.cast(leaf, self._dtype)

  def _own(self, place: str) -> list[str]:
    """What is there; all of it has to be of this process."""
    copies = _copies(place)
    strange = [name for name in copies if name not in self._known]
    if strange:
      raise ExchangeError(
        f'{place}/{strange[-1]} is not of this process: two replicas have the index '
        f'{self.replica}'
      )
    return copies

  def _read(self, tree: PyTree) -> Peers | None:
    """All that was taken, if a peer has something newer."""
    assert self._taken is not None
    before, expected = dict(self._taken), leaves.named(tree)
    for peer in self.peers:
      try:
        self._take(self._taken, peer, expected)
      except OSError as error:
        self._say(f'cannot read {self._places[peer]}: {error.strerror or error}')
    if all(self._taken.get(peer) is before.get(peer) for peer in self.peers):
      return None
    return leaves.stacked([self._taken.get(peer) for peer in self.peers], tree)

  def _take(
    self, taken: dict[int, Taken], peer: int, expected: dict[str, np.ndarray]
  ) -> None:
    """The newest whole copy of a peer, unless it was taken before."""
    for name in reversed(_copies(self._places[peer])):
      if peer in taken and name == taken[peer].name:
        return
      path = f'{self._places[peer]}/{name}'
      if path in self._refused:
        continue
      try:
        copy = files.decode(files.read(path))
      except FileNotFoundError:
        continue  # its replica wrote newer ones, and removed it
      except OSError as error:
        self._say(f'cannot read {path}: {error.strerror or error}')
        continue
      except DamagedError as error:
        if not os.path.lexists(path):
          continue  # and it was written over while it was read
        self._refused.add(path)
        self._say(f'{path} is damaged: {error}')
        continue
      leaves.check_fits(path, copy, expected, self.num_replicas)
      taken[peer] = Taken(name, int(copy.about['step']), copy.leaves)
      return

  def _say(self, line: str) -> None:
    """Once, and to the caller: a thread of its own has no place for warnings."""
    if line not in self._said:
      self._said.add(line)
      self._unsaid.append(line)

  def _warn(self) -> None:
    while self._unsaid:
      line = self._unsaid.popleft()
      warnings.warn(f'exchange: {line}', RuntimeWarning, stacklevel=3)


def _copies(place: str) -> list[str]:
  """Names of whole copies, the oldest first."""
  try:
    names = os.listdir(place)
  except FileNotFoundError:
    return []
  found = [name for name in names if _NAME.fullmatch(name)]
  return sorted(found, key=lambda name: (_number(name), name))


def _number(name: str) -> int:
  return int(name.partition('-')[0])
