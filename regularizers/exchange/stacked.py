"""What exchanges have in common whose replicas are one stacked pytree."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.exchange.peers import Peers, PyTree


class Stacked:
  """Every leaf has a first axis of replicas; all exchange at once.

  The calls can be traced: ``step`` may be an array inside `jax.jit`.
  """

  every: int

  @property
  def replicas(self) -> int:
    """The length of the first axis of every leaf."""
    raise NotImplementedError

  def swap(self, step: int | jax.Array, tree: PyTree) -> Peers:
    """Every replica's copies of the others, as of ``step``."""
    raise NotImplementedError

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
      peers = _swap(self, jnp.int32(step), tree)
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
def _swap(exchange: Stacked, step: jax.Array, tree: PyTree) -> Peers:
  return exchange.swap(step, tree)


@functools.partial(jax.jit, static_argnums=0)
def _nothing(exchange: Stacked, tree: PyTree) -> Peers:
  peers = exchange.swap(-1, tree)
  return Peers(jax.tree.map(jnp.zeros_like, peers.trees), peers.steps)


def check_counts(num_replicas: int, every: int) -> None:
  """Raises ValueError unless there are peers, and steps between exchanges."""
  for name, value, least in (('num_replicas', num_replicas, 2), ('every', every, 1)):
    if not isinstance(value, (int, np.integer)) or value < least:
      raise ValueError(f'{name}: expected an integer of at least {least}, got {value}')


def rounded(tree: PyTree, dtype: Any) -> PyTree:
  """Floating leaves as they are after a way on which they have another type."""
  if dtype is None:
    return tree

  def one(leaf: jax.Array) -> jax.Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      return leaf
    return leaf.astype(dtype).astype(leaf.dtype)

  return jax.tree.map(one, tree)
