"""KL between two predictions, whatever stands behind them."""

from typing import Any

import jax
import jax.numpy as jnp

from regularizers.categorical import Categorical, Distribution, as_distribution
from regularizers.checks import aligned
from regularizers.kernels.relative import Side
from regularizers.kernels.relative import relative_entropy as dense_relative_entropy
from regularizers.kernels.skew import row_sum, skew


def kl_divergence(p: Any, q: Any) -> jax.Array:
  """KL(p‖q) = Σ_k p_k (log p_k − log q_k), in nats, ``[...]``.

  Args:
    p: logits ``[..., V]`` or a distribution.
    q: logits ``[..., V]`` or a distribution.

  Returns:
    ``[...]``; +inf where p gives probability to a class that q does not.

  Example:
    >>> p = jnp.log(jnp.array([0.5, 0.5]))
    >>> q = jnp.log(jnp.array([0.25, 0.75]))
    >>> print(kl_divergence(p, q).round(4))
    0.1438
  """
  return relative_entropy(as_distribution(p, name='p'), as_distribution(q, name='q'))


def relative_entropy(p: Any, q: Any) -> jax.Array:
  """KL(p‖q).

  Args:
    p: a distribution; or log-probabilities ``[..., V]``, where q has dense logits.
    q: a distribution, or log-probabilities ``[..., V]``.
  """
  first, second = _side(p), _side(q)
  if first is not None and second is not None:
    rank = max(first[0].ndim, second[0].ndim)
    return dense_relative_entropy(_of_rank(first, rank), _of_rank(second, rank))
  out: jax.Array = p.sum(relative, q)
  return out


def _side(distribution: Any) -> Side | None:
  """What the dense kernel needs; None for a distribution without logits."""
  if isinstance(distribution, Categorical):
    return distribution.split_log_probs()
  if isinstance(distribution, Distribution):
    return None
  log_p = jnp.asarray(distribution)
  zeros = jnp.zeros(log_p.shape[:-1], log_p.dtype)
  return log_p, zeros, zeros


def _of_rank(side: Side, rank: int) -> Side:
  scores, shift, log_sum = side
  return aligned(scores, rank), aligned(shift, rank - 1), aligned(log_sum, rank - 1)


def relative(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
  """p (log p − log q), elementwise; 0 where p is 0, also by underflow."""
  possible = jnp.exp(log_p) > 0
  safe_p = jnp.where(possible, log_p, 0.0)
  safe_q = jnp.where(possible, log_q, 0.0)
  return jnp.where(possible, jnp.exp(safe_p) * (safe_p - safe_q), 0.0)


def skew_divergence(p: Distribution, prior: jax.Array, alpha: jax.Array) -> jax.Array:
  """[(1 − α)G(u) + αG(p) − G((1 − α)u + αp)] / (α(1 − α)), G(q) = Σ q log q, ``[...]``.

  Args:
    p: a distribution.
    prior: u, broadcastable to the classes of p.
    alpha: in [0, 1].
  """
  if isinstance(p, Categorical) and p.where is None:
    side = p.split_log_probs()
    return row_sum(side, aligned(prior, side[0].ndim), alpha)
  return p.sum(lambda log_p, u: skew(log_p, u, alpha), prior)
