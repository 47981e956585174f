"""Row statistics of dense logits at the price of one exponential an element.

Every function writes ``exp(z − shift)`` in the same words, so that XLA computes
it once and shares it between the statistics and, under ``jit``, with the
backward pass: the derivative rules ask for it again (`jax.checkpoint`), hence
only the logits and O(rows) numbers are saved between forward and backward.

XLA:CPU has two habits to steer round, measured in benchmarks/losses.py. Sibling
reductions of one operand are fused into a loop that is not vectorised, and an
elementwise operand with two readers is written out in full. `apart` gives each
reduction an operand of its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero


def apart(shift: jax.Array, *tags: jax.Array) -> jax.Array:
  """``shift`` again, but a different value to the compiler for other tags."""
  barrier: Any = jax.lax.optimization_barrier
  out: jax.Array = barrier((shift, *tags))[0]
  return out


def lowest_of(dtype: jnp.dtype) -> float:
  """The lowest finite number of a dtype."""
  return float(np.finfo(dtype).min)


@jax.custom_jvp
def log_normalizer(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Splits log Σ exp z into a shift and the rest.

  Args:
    logits: ``[..., V]``, floating; −inf is a class of probability 0.

  Returns:
    ``(shift, log_sum)``, both ``[...]``: the largest finite logit (taken as a
    constant by the derivative) and log Σ exp(z − shift). log p is
    ``(z − shift) − log_sum``: their sum first would lose digits at large shifts.
  """
  # Starting the maximum at a finite number keeps a row of −inf free of NaN.
  lowest = np.asarray(lowest_of(logits.dtype), logits.dtype)
  shift = jax.lax.reduce(logits, lowest, jax.lax.max, (logits.ndim - 1,))
  return shift, jnp.log(jnp.exp(logits - shift[..., None]).sum(-1))


def reciprocal_sum(log_sum: jax.Array) -> jax.Array:
  """1 / Σ exp(z − shift), 0 for a row without a possible class."""
  # A row whose classes are all impossible has no mass: 0, not 0/0, downstream.
  return jnp.where(jnp.isneginf(log_sum), 0.0, jnp.exp(-log_sum))


@log_normalizer.defjvp
def _log_normalizer_jvp(primals: Any, tangents: Any) -> Any:
  (logits,), (tangent,) = primals, tangents
  shift, log_sum = log_normalizer(logits)

  def rule(
    tangent: jax.Array, logits: jax.Array, shift: jax.Array, log_sum: jax.Array
  ) -> jax.Array:
    weights = jnp.exp(logits - shift[..., None])
    return (weights * tangent).sum(-1) * reciprocal_sum(log_sum)

  rule = jax.checkpoint(rule, prevent_cse=False)
  out = rule(tangent, logits, shift, log_sum)
  return (shift, log_sum), (jnp.zeros_like(shift), out)


@jax.custom_jvp
def entropy(logits: jax.Array, shift: jax.Array, log_sum: jax.Array) -> jax.Array:
  """Shannon entropy of each row, in nats; 0 log 0 = 0 in value and gradient.

  Args:
    logits: ``[..., V]``.
    shift: first output of `log_normalizer`, ``[...]``.
    log_sum: second output of `log_normalizer`, ``[...]``.

  Returns:
    −Σ p log p, ``[...]``; 0 for a row without a possible class. The derivative
    is that of the entropy as a function of the logits.
  """
  weights = jnp.exp(logits - shift[..., None])
  # The floor turns 0·(−inf) into 0. A row vector of its own, since XLA:CPU writes
  # a constant with two readers out at the size of the logits.
  lowest = jnp.full_like(log_sum, lowest_of(logits.dtype))
  floor = apart(lowest, log_sum)[..., None]
  centred = jnp.maximum(logits - apart(shift, log_sum)[..., None], floor)
  weighted = (weights * centred).sum(-1)
  empty = jnp.isneginf(log_sum)
  return jnp.where(empty, 0.0, log_sum - weighted * reciprocal_sum(log_sum))


@entropy.defjvp
def _entropy_jvp(primals: Any, tangents: Any) -> Any:
  logits, shift, log_sum = primals
  value = entropy(logits, shift, log_sum)

  def rule(
    tangent: jax.Array,
    logits: jax.Array,
    shift: jax.Array,
    log_sum: jax.Array,
    value: jax.Array,
  ) -> jax.Array:
    weights = jnp.exp(logits - shift[..., None])
    centred = jnp.maximum(logits - shift[..., None], lowest_of(logits.dtype))
    offset = jnp.where(jnp.isneginf(log_sum), 0.0, value - log_sum)
    slope = weights * (offset[..., None] + centred)
    return -(slope * tangent).sum(-1) * reciprocal_sum(log_sum)

  rule = jax.checkpoint(rule, prevent_cse=False)
  return value, rule(tangents[0], logits, shift, log_sum, value)


def mean_centred(logits: jax.Array, shift: jax.Array) -> jax.Array:
  """Mean over classes of z − shift, ``[...]``."""
  return (logits - apart(shift)[..., None]).mean(-1)


@jax.custom_jvp
def times(weights: jax.Array, values: jax.Array) -> jax.Array:
  """Product with 0·(−inf) = 0, also where the zero is differentiated."""
  return jnp.where(weights == 0, 0.0, weights * values)


def _times_jvp(primals: Any, tangents: Any) -> Any:
  weights, values = primals
  d_weights, d_values = tangents
  out = jnp.zeros_like(weights * values)
  if not isinstance(d_values, SymbolicZero):
    out += jnp.where(weights == 0, 0.0, weights * d_values)
  if not isinstance(d_weights, SymbolicZero):
    impossible = (weights == 0) & jnp.isneginf(values)
    out += d_weights * jnp.where(impossible, 0.0, values)
  return times(weights, values), out


times.defjvp(_times_jvp, symbolic_zeros=True)


def weighted_centred(
  weights: jax.Array, logits: jax.Array, shift: jax.Array
) -> jax.Array:
  """Σ_k w_k (z_k − shift), ``[...]``, with 0·(−inf) = 0.

  Args:
    weights: broadcastable to the logits.
    logits: ``[..., V]``.
    shift: ``[...]``.
  """
  weights = weights.reshape((1,) * (logits.ndim - weights.ndim) + weights.shape)

  def total(weights: jax.Array, logits: jax.Array, shift: jax.Array) -> jax.Array:
    return times(weights, logits - apart(shift)[..., None]).sum(-1)

  out: jax.Array = jax.checkpoint(total, prevent_cse=False)(weights, logits, shift)
  return out
