"""Row statistics of a vocabulary from those of its blocks on several devices.

A block's mass is Σ exp z over its classes. Masses are kept as logarithms relative
to the largest logit of the row, for which the blocks agree on one number: the sum
of shift and logarithm would lose digits where the logits are large. A block whose
classes are all impossible has mass 0, a logarithm of −inf, and gradient 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.collectives import AxisName, largest, total


def log_mass(local: Any) -> tuple[jax.Array, jax.Array]:
  """A block's log-normaliser in two parts, the first a constant."""
  parts = getattr(local, 'normalizer_parts', None)
  if parts is None:
    return split(local.log_normalizer())
  shift, log_sum = parts()
  return shift, log_sum


def split(log_mass: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Its finite value as a constant, and the rest, which has the derivative."""
  lowest = float(np.finfo(log_mass.dtype).min)
  shift = jnp.maximum(jax.lax.stop_gradient(log_mass), lowest)
  return shift, log_mass - shift


def merge(
  shift: jax.Array, log_sum: jax.Array, axis_name: AxisName
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The log-normaliser of all blocks: a `pmax` and a `psum` of a number per row.

  Args:
    shift: first part of this block's log-normaliser, ``[...]``.
    log_sum: the rest of it, ``[...]``.
    axis_name: the axis along which the blocks lie.

  Returns:
    ``(mass, shift, log_sum)``: this block's log mass over exp(shift), the largest
    shift, and the log of all mass over exp(shift).
  """
  top = largest(shift, axis_name)
  mass = (shift - top) + log_sum
  whole = total(jnp.exp(mass), axis_name)
  nothing = whole == 0
  log_whole = jnp.log(jnp.where(nothing, 1.0, whole))
  return mass, top, jnp.where(nothing, -jnp.inf, log_whole)


def merged_entropy(
  entropy: jax.Array, mass: jax.Array, log_sum: jax.Array, axis_name: AxisName
) -> jax.Array:
  """−Σ p log p over all blocks, of which each knows that of its own classes.

  It is log Σm − Σ_s m_s (log m_s − H_s) / Σm, so that its `psum` waits for no other.
  """
  empty, nothing = jnp.isneginf(mass), jnp.isneginf(log_sum)
  mass = jnp.where(empty, 0.0, mass)
  weight = jnp.where(empty, 0.0, jnp.exp(mass))
  weighted = total(weight * (mass - entropy), axis_name)
  log_sum = jnp.where(nothing, 0.0, log_sum)
  return jnp.where(nothing, 0.0, log_sum - weighted * jnp.exp(-log_sum))


def shifted_log_p(log_p: jax.Array, offset: jax.Array) -> jax.Array:
  """log p of classes from log p within their block; −inf if the block has no mass."""
  # There the one within the block is no number.
  empty = jnp.isneginf(offset)
  return jnp.where(empty, -jnp.inf, log_p + jnp.where(empty, 0.0, offset))


def tempered_mass(local: Any, tempered: Any, temperature: Any) -> jax.Array:
  """log Σ_k exp(log p_k / T) over a block, ``[...]``.

  Args:
    local: the distribution p within the block.
    tempered: the same at the temperature.
    temperature: T.
  """
  parts = getattr(local, 'normalizer_parts', None)
  if parts is not None:  # whose `tempered` divides what is left of the logits
    _, log_sum = parts()
    log_sum = jnp.where(jnp.isneginf(log_sum), 0.0, log_sum)
    out: jax.Array = tempered.log_normalizer() - log_sum / temperature
    return out
  # It is at least −H·(1/T − 1), its tangent at T = 1, hence no underflow above that.
  bound = jax.lax.stop_gradient(local.entropy()) * (1 / temperature - 1)
  powers = local.sum(
    lambda log_p, bound: jnp.exp(log_p / temperature + bound), bound[..., None]
  )
  return jnp.asarray(jnp.log(powers) - bound)
