"""From one value per position to one number."""

import jax
import jax.numpy as jnp


def masked_sum(losses: jax.Array, mask: jax.Array | None = None) -> jax.Array:
  """Σ mask·losses over all positions, a scalar.

  Args:
    losses: ``[...]``.
    mask: booleans or weights, broadcastable to ``[...]``; default: all ones.

  Returns:
    A scalar. What stands where the mask is 0 changes neither the value nor, as
    long as it came from finite numbers, the gradient.

  Raises:
    ValueError: a mask that does not broadcast to the losses.

  Example:
    >>> print(masked_sum(jnp.array([1.0, 2.0, jnp.nan]), jnp.array([1, 1, 0])))
    3.0
  """
  if mask is None:
    return jnp.sum(losses)
  mask = fit(mask, losses)
  weighted = mask.astype(losses.dtype) * jnp.where(mask != 0, losses, 0.0)
  return jnp.sum(weighted)


def masked_mean(losses: jax.Array, mask: jax.Array | None = None) -> jax.Array:
  """Σ mask·losses / Σ mask, a scalar; 0 if the mask is all zero.

  Args:
    losses: ``[...]``.
    mask: booleans or weights ≥ 0, broadcastable to ``[...]``; default: all ones.

  Returns:
    A scalar.

  Raises:
    ValueError: a mask that does not broadcast to the losses.

  Example:
    >>> print(masked_mean(jnp.array([1.0, 2.0, 9.0]), jnp.array([True, True, False])))
    1.5
  """
  if mask is None:
    return jnp.mean(losses)
  total = fit(mask, losses).astype(losses.dtype).sum()
  return masked_sum(losses, mask) / jnp.where(total == 0, 1.0, total)


def fit(mask: jax.Array, losses: jax.Array) -> jax.Array:
  """The mask in the shape of the losses, or an error."""
  mask = jnp.asarray(mask)
  try:
    fits = jnp.broadcast_shapes(mask.shape, losses.shape) == losses.shape
  except ValueError:
    fits = False
  if not fits or mask.ndim > losses.ndim:
    raise ValueError(
      f'mask: {list(mask.shape)} does not broadcast to the losses {list(losses.shape)}'
    )
  # Aligned by hand: strict rank promotion would refuse it.
  mask = mask.reshape((1,) * (losses.ndim - mask.ndim) + mask.shape)
  return jnp.broadcast_to(mask, losses.shape)
