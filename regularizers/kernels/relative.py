"""KL(p‖q) of dense rows at the price of one exponential an element.

A side is ``(logits, shift, log_sum)``: log-probabilities up to a constant a row,
with log p = (logits − shift) − log_sum, as `dense.log_normalizer` splits it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from regularizers.kernels.dense import apart, reciprocal_sum

Side = tuple[jax.Array, jax.Array, jax.Array]


def _weighted_ratio(p: Side, q: Side, tag: jax.Array) -> tuple[jax.Array, jax.Array]:
  """exp(z − shift) of p, and log p − log q where that is not 0."""
  (z, shift, log_sum), (y, other_shift, other_log_sum) = p, q
  # In the words of `dense`, which has computed it already.
  weights = jnp.exp(z - shift[..., None])
  centred = (z - apart(shift, tag)[..., None]) - (y - other_shift[..., None])
  ratio = centred - (log_sum - other_log_sum)[..., None]
  return weights, jnp.where(weights > 0, ratio, 0.0)


@jax.custom_jvp
def relative_entropy(p: Side, q: Side) -> jax.Array:
  """Σ_k p_k (log p_k − log q_k) of each row, in nats, ``[...]``.

  Args:
    p: its logits, ``[..., V]``, must be a distribution's, normalised by log_sum.
    q: of the same rank; any numbers.

  Returns:
    +inf where p gives mass to a class of q with −inf; 0 where p has no mass, also
    by underflow. The derivative is that of a function of both sides' logits.
  """
  weights, ratio = _weighted_ratio(p, q, p[2])
  return (weights * ratio).sum(-1) * reciprocal_sum(p[2])


def _relative_entropy_jvp(primals: Any, tangents: Any) -> Any:
  p, q = primals
  (d_logits, _, _), (d_other, *d_constants) = tangents
  value = relative_entropy(p, q)
  out = jnp.zeros_like(value)

  def of_p(tangent: jax.Array, p: Side, q: Side, value: jax.Array) -> jax.Array:
    weights, ratio = _weighted_ratio(p, q, value)
    slope = weights * (ratio - value[..., None])
    return (slope * tangent).sum(-1) * reciprocal_sum(p[2])

  def of_q(tangent: jax.Array, p: Side) -> jax.Array:
    weights = jnp.exp(p[0] - p[1][..., None])
    return (weights * tangent).sum(-1) * reciprocal_sum(p[2])

  if not isinstance(d_logits, SymbolicZero):
    out += jax.checkpoint(of_p, prevent_cse=False)(d_logits, p, q, value)
  if not isinstance(d_other, SymbolicZero):
    out -= jax.checkpoint(of_q, prevent_cse=False)(d_other, p)
  # Σp = 1, or 0 in a row without a possible class.
  for tangent in d_constants:
    if not isinstance(tangent, SymbolicZero):
      out += jnp.where(jnp.isneginf(p[2]), 0.0, tangent)
  return value, out


relative_entropy.defjvp(_relative_entropy_jvp, symbolic_zeros=True)
