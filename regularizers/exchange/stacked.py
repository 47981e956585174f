"""What exchanges have in common whose replicas are one stacked pytree."""

import abc
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.exchange.peers import Peers, PyTree


class Stacked(abc.ABC):
  """Every leaf has a first axis of replicas; all exchange at once.

  The calls can be traced: ``step`` may be an array inside `jax.jit`.
  """

  every: int

  @property
  @abc.abstractmethod
  def replicas(self) -> int:
    """The length of the first axis of every leaf."""

  @abc.abstractmethod
  def swap(self, step: jax.Array, tree: PyTree) -> Peers:
    """Every replica's copies of the others, as of ``step``."""

  def init(self, tree: PyTree) -> Peers:
    """Nothing yet: ``[replicas, peers, ...]`` zeros.

    Raises:
      ValueError: a leaf without the axis of replicas.
    """
    self._check(tree)
    peers: Peers = _nothing(self, tree)
    return peers

  def __call__(self, step: int | jax.Array, tree: PyTree, peers: Peers) -> Peers:
    """The replicas as they are now if ``step`` is a multiple of ``every``.

    Raises:
      ValueError: a leaf without the axis of replicas.
    """
    self._check(tree)
    if isinstance(step, jax.core.Tracer):
      due = step % self.every == 0
      new: Peers = jax.lax.cond(due, lambda: self.swap(step, tree), lambda: peers)
      return new
    if int(step) % self.every == 0:
      peers = take(self, jnp.int32(step), tree)
    return peers

  def _check(self, tree: PyTree) -> None:
    for path, leaf in jax.tree.leaves_with_path(tree):
      shape = jnp.shape(leaf)
      if shape[:1] != (self.replicas,):
        raise ValueError(
          f'{jax.tree_util.keystr(path)}: expected a first axis of {self.replicas} '
          f'replicas, got {list(shape)}'
        )


@functools.partial(jax.jit, static_argnums=0)
def take(exchange: Stacked, step: jax.Array, tree: PyTree) -> Peers:
  """`Stacked.swap`, compiled once."""
  return exchange.swap(step, tree)


@functools.partial(jax.jit, static_argnums=0)
def _nothing(exchange: Stacked, tree: PyTree) -> Peers:
  peers = exchange.swap(jnp.int32(-1), tree)
  return Peers(jax.tree.map(jnp.zeros_like, peers.trees), peers.steps)


def check_counts(num_replicas: int, every: int) -> None:
  """Raises ValueError unless there are peers, and steps between exchanges."""
  for name, value, least in (('num_replicas', num_replicas, 2), ('every', every, 1)):
    if not isinstance(value, (int, np.integer)) or value < least:
      raise ValueError(f'{name}: expected an integer of at least {least}, got {value}')


def check_dtype(dtype: Any) -> None:
  """Raises ValueError unless it is None or a floating type."""
  if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
    raise ValueError(f'dtype: expected a floating type or None, got {dtype}')


def narrowed(tree: PyTree, dtype: Any) -> PyTree:
  """Floating leaves of the type that they have on their way."""

  def one(leaf: Any) -> jax.Array:
    leaf = jnp.asarray(leaf)
    floating = dtype is not None and jnp.issubdtype(leaf.dtype, jnp.floating)
    # Without a barrier a compiler may leave out a way there and back.
    barrier: Any = jax.lax.optimization_barrier
    out: jax.Array = barrier(leaf.astype(dtype)) if floating else leaf
    return out

  return jax.tree.map(one, tree)


def widened(trees: PyTree, tree: PyTree) -> PyTree:
  """What was narrowed, with the types of ``tree`` again."""
  return jax.tree.map(lambda new, leaf: new.astype(leaf.dtype), trees, tree)
