"""The leaves of a tree by name: as given away, as taken, as they have to be."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.exchange import files
from regularizers.exchange.files import Copy
from regularizers.exchange.peers import ExchangeError, Peers, PyTree


@dataclasses.dataclass(frozen=True)
class Taken:
  """The copy of a peer: its file, its step, its leaves by name."""

  name: str
  step: int
  leaves: Mapping[str, np.ndarray]


def taken_before(indices: list[int], peers: Peers, tree: PyTree) -> dict[int, Taken]:
  """What a checkpoint holds of the peers, so that it is used until there is news.

  Raises:
    ValueError: peers of another tree, or another number of them.
  """
  count = len(indices)
  steps, leaves = np.array(peers.steps), named(host(peers.trees))
  there = {name: leaf.shape for name, leaf in leaves.items()}
  wanted = {name: (count, *np.shape(leaf)) for name, leaf in named(tree).items()}
  if steps.shape != (count,) or there != wanted:
    raise ValueError(f'peers: not {count} of this tree; see init')
  return {
    peer: Taken('', int(step), {name: leaf[i] for name, leaf in leaves.items()})
    for i, (peer, step) in enumerate(zip(indices, steps, strict=True))
    if step >= 0
  }


def stacked(taken: Sequence[Taken | None], tree: PyTree) -> Peers:
  """With an axis of peers; zeros for those of which there is nothing."""

  def rows(name: str, leaf: np.ndarray) -> list[np.ndarray]:
    return [
      np.zeros_like(leaf) if t is None else cast(t.leaves[name], leaf.dtype)
      for t in taken
    ]

  def joined(name: str, leaf: np.ndarray) -> np.ndarray:
    first, *others = rows(name, leaf)
    return np.stack([first, *others]) if others else first[None]

  arrays = [joined(name, leaf) for name, leaf in named(tree).items()]
  steps = np.array([-1 if t is None else t.step for t in taken], np.int32)
  *arrays, steps = _on_device(*arrays, steps)
  return Peers(jax.tree.unflatten(jax.tree.structure(tree), arrays), steps)


@jax.jit
def _on_device(*arrays: Any) -> tuple[jax.Array, ...]:
  """Copies, in a fraction of the time of `jax.device_put`: that is some steps' time."""
  return arrays


def cast(leaf: np.ndarray, dtype: Any) -> np.ndarray:
  """As jax does it: what is too large becomes infinite without a warning."""
  if leaf.dtype == dtype:
    return leaf
  with np.errstate(over='ignore'):
    return leaf.astype(dtype)


def host(tree: PyTree) -> PyTree:
  """Copies in this process's memory: the originals may be donated and used again."""
  return jax.tree.map(np.array, tree)  # `jax.device_get` takes six times as long


def named(tree: PyTree) -> dict[str, Any]:
  """The leaves by their path in the tree, each name once."""
  leaves, structure = jax.tree.flatten(tree)
  return dict(zip(_names(structure), leaves, strict=True))


@functools.lru_cache(maxsize=64)  # making them takes longer than most of an exchange
def _names(structure: Any) -> tuple[str, ...]:
  tree = jax.tree.unflatten(structure, range(structure.num_leaves))
  paths = [path for path, _ in jax.tree.leaves_with_path(tree)]
  names = [jax.tree_util.keystr(p, simple=True, separator='.') for p in paths]
  if len(set(names)) < len(names) or files.RESERVED in names:
    names = [jax.tree_util.keystr(path) for path in paths]
  return tuple(names)


def check_types(tree: PyTree) -> None:
  """Raises ExchangeError if a leaf has no place in a file, as keys and functions."""
  for name, leaf in named(tree).items():
    if not hasattr(leaf, 'dtype') and not isinstance(leaf, (int, float, complex)):
      raise ExchangeError(
        f'{name}: expected an array, got {type(leaf).__name__}: what is exchanged is '
        'the arrays of a model alone'
      )
    files.check_type(name, jnp.result_type(leaf))


def check_fits(
  path: str,
  copy: Copy,
  expected: Mapping[str, np.ndarray],
  num_replicas: int,
) -> None:
  """Raises ExchangeError, naming the first difference."""
  count = copy.about.get('num_replicas')
  if count != str(num_replicas):
    raise ExchangeError(f'{path}: one of {count} replicas, expected {num_replicas}')
  step = copy.about.get('step', '')
  # 32 bits hold it; of many digits Python makes no number.
  if not step.isdecimal() or len(step) > 10 or int(step) >= 1 << 31:
    raise ExchangeError(f'{path}: it has no step, so it is not of a replica')
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
  if there == own:
    return True
  return jnp.issubdtype(there, jnp.floating) and jnp.issubdtype(own, jnp.floating)
