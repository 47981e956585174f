"""All replicas in one process, stacked along the first axis of every leaf."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.exchange.peers import Peers, PyTree
from regularizers.exchange.stacked import (
  Stacked,
  check_counts,
  check_dtype,
  narrowed,
  widened,
)


@dataclasses.dataclass(frozen=True)
class Local(Stacked):
  """Exchange between replicas that are one stacked pytree, as `jax.vmap` makes it.

  Every ``every`` steps all replicas take copies of one another, at once. The functions
  can be traced: ``step`` may be an array inside `jax.jit`.

  Attributes:
    num_replicas: n, the length of the first axis of every leaf.
    every: steps from exchange to exchange.
    dtype: floating leaves are rounded to it on the way, e.g. ``jnp.bfloat16``; None:
      they are exact.

  Raises:
    ValueError: fewer than two replicas, ``every`` < 1, a ``dtype`` that is not
      floating, or a leaf without that axis.

  References:
    Anil et al., 2018.

  Example:
    >>> exchange = Local(num_replicas=2, every=10)
    >>> params = {'w': jnp.array([1.0, 2.0])}  # one number per replica
    >>> peers = exchange.init(params)
    >>> peers = exchange(20, params, peers)
    >>> print(peers.trees['w'], peers.steps)  # [replicas, peers]
    [[2.] [1.]] [[20] [20]]
  """

  num_replicas: int
  every: int = 50
  dtype: Any = None

  def __post_init__(self) -> None:
    check_counts(self.num_replicas, self.every)
    check_dtype(self.dtype)

  @property
  def replicas(self) -> int:
    return self.num_replicas

  def swap(self, step: jax.Array, tree: PyTree) -> Peers:
    count = self.num_replicas
    trees = jax.tree.map(
      lambda leaf: jnp.stack(
        [jnp.roll(leaf, -shift, axis=0) for shift in range(1, count)], axis=1
      ),
      narrowed(tree, self.dtype),
    )
    return Peers(widened(trees, tree), jnp.full((count, count - 1), step, jnp.int32))
