"""What was taken from the peers, and their mean prediction."""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from regularizers.checks import aligned, as_float, as_where

PyTree = Any
"""Any nesting of arrays that JAX knows, such as parameters."""


class ExchangeError(RuntimeError):
  """Incompatible replicas, or a place that cannot be used."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Peers:
  """The newest copies of the other replicas; a pytree.

  Attributes:
    trees: what they gave away; every leaf has a leading axis of peers. For replica i
      of n these are the replicas i + 1, i + 2, ..., modulo n.
    steps: ``[peers]`` int32, the step at which each was given away; -1: nothing yet,
      and the leaves are zero.

  With `Local` and `Mesh` all leaves have an axis of replicas before that of peers.
  """

  trees: PyTree
  steps: jax.Array

  @property
  def present(self) -> jax.Array:
    """``[peers]``: whether there is anything of them."""
    return self.steps >= 0

  def staleness(self, step: int | jax.Array) -> jax.Array:
    """``[peers]``: how many steps ago each was given away; -1: nothing yet.

    A peer that is ahead counts as 0 steps old.
    """
    return jnp.where(self.present, jnp.maximum(step - self.steps, 0), -1)

  def average(
    self, logits: jax.Array, own: jax.Array, where: jax.Array | None = None
  ) -> jax.Array:
    """The log of the mean probability that the peers predict.

    The mean is over those that are there. Where there is none yet it is the
    replica's own prediction, towards which no loss draws.

    Args:
      logits: ``[peers, ..., V]``, of the peers.
      own: ``[..., V]``, of this replica.
      where: broadcastable to ``[..., V]``, the possible classes; default: all.

    Returns:
      ``[..., V]`` float32 or wider, without a gradient: the ``teacher`` of
      `codistillation`.

    Raises:
      ValueError: the shapes do not fit; an axis of replicas, as of `Local`, that was
        not mapped away with `jax.vmap`.
      TypeError: logits that are not floating, a mask that is not boolean.

    Example:
      >>> peers = Peers({}, steps=jnp.array([50, -1]))  # nothing of the second
      >>> logits = jnp.log(jnp.array([[[0.9, 0.1]], [[0.5, 0.5]]]))
      >>> print(jnp.exp(peers.average(logits, jnp.zeros((1, 2)))).round(4))
      [[0.9 0.1]]
    """
    if self.steps.ndim != 1:
      raise ValueError(
        f'steps: expected [peers], got {list(self.steps.shape)}: average one replica '
        'at a time, under jax.vmap'
      )
    logits, own = as_float(logits), as_float(own, 'own')
    expected = (*self.steps.shape, *own.shape)
    if logits.shape != expected:
      raise ValueError(f'logits: expected {list(expected)}, got {list(logits.shape)}')
    if where is not None:
      where = as_where(where, own.shape)
    logits, own = jax.lax.stop_gradient((logits, own))
    log_p, log_own = _log_probs(logits, where), _log_probs(own, where)
    present = self.present.reshape(-1, *[1] * own.ndim)
    count = self.present.sum()
    total = jax.nn.logsumexp(jnp.where(present, log_p, -jnp.inf), axis=0)
    mean = total - jnp.log(jnp.maximum(count, 1).astype(total.dtype))
    return jnp.where(count > 0, mean, log_own)


def _log_probs(logits: jax.Array, where: jax.Array | None) -> jax.Array:
  if where is not None:
    logits = jnp.where(aligned(where, logits.ndim), logits, -jnp.inf)
  return jax.nn.log_softmax(logits, axis=-1)


class Exchange(Protocol):
  """What the ways of exchange have in common."""

  @property
  def every(self) -> int:
    """Steps from exchange to exchange."""
    ...

  def init(self, tree: PyTree) -> Peers:
    """As long as nothing was exchanged; ``tree`` gives structure and shapes."""
    ...

  def __call__(self, step: int, tree: PyTree, peers: Peers) -> Peers:
    """Gives away ``tree`` if ``step`` is one for it, and returns the newest peers."""
    ...
