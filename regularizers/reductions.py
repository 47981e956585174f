"""From one value per position to one number."""

import jax
import jax.numpy as jnp

from regularizers.collectives import AxisName, total
from regularizers.dtypes import widened


def masked_sum(
  losses: jax.Array, mask: jax.Array | None = None, axis_name: AxisName | None = None
) -> jax.Array:
  """Σ mask·losses over all positions, a scalar.

  Args:
    losses: ``[...]``, numbers or booleans.
    mask: booleans or weights, broadcastable to ``[...]``; default: all ones.
    axis_name: inside `jax.shard_map`, the mesh axis (or axes) over which the
      positions are split: the sum is over all devices' positions.

  Returns:
    A scalar, float32 or wider. What stands where the mask is 0 changes neither the
    value nor, as long as it came from finite numbers, the gradient.

  Raises:
    NameError: an axis name that is not bound.
    ValueError: a mask that does not broadcast to the losses.

  Example:
    >>> print(masked_sum(jnp.array([1.0, 2.0, jnp.nan]), jnp.array([1, 1, 0])))
    3.0
  """
  losses = _wide(losses)
  if mask is None:
    return _total(jnp.sum(losses), axis_name)
  weights = fit(mask, losses).astype(losses.dtype)
  weighted = weights * jnp.where(weights != 0, losses, 0.0)
  return _total(jnp.sum(weighted), axis_name)


def masked_mean(
  losses: jax.Array, mask: jax.Array | None = None, axis_name: AxisName | None = None
) -> jax.Array:
  """Σ mask·losses / Σ mask, a scalar; 0 if the mask is all zero.

  With ``axis_name`` both sums are over all devices, so that shards with few
  positions count for few: a mean of the shards' means would not be the mean.
  Gradients: under ``check_vma=True``, the default of `jax.shard_map`, differentiate
  this mean, inside the map or around it, and add no `psum` or `pmean` of the
  gradients. Under ``check_vma=False`` differentiate around the map; inside, what
  `jax.grad` gives each device is n times its positions' share: `pmean` it over the
  n devices.

  Args:
    losses: ``[...]``, numbers or booleans (correct predictions, say).
    mask: booleans or weights ≥ 0, broadcastable to ``[...]``; default: all ones.
    axis_name: inside `jax.shard_map`, the mesh axis (or axes) over which the
      positions are split.

  Returns:
    A scalar.

  Raises:
    NameError: an axis name that is not bound.
    ValueError: a mask that does not broadcast to the losses.

  Example:
    >>> print(masked_mean(jnp.array([1.0, 2.0, 9.0]), jnp.array([True, True, False])))
    1.5
  """
  losses = _wide(losses)
  if mask is None and axis_name is None and losses.size:
    return jnp.mean(losses)
  if mask is None:
    mask = jnp.ones(losses.shape, bool)
  count = _total(fit(mask, losses).astype(losses.dtype).sum(), axis_name)
  return masked_sum(losses, mask, axis_name) / jnp.where(count == 0, 1.0, count)


def _wide(losses: jax.Array) -> jax.Array:
  """In float32 or wider: neither a weight of ½ nor a count of 70,000 fits all types."""
  losses = jnp.asarray(losses)
  return losses.astype(widened(losses.dtype))


def _total(value: jax.Array, axis_name: AxisName | None) -> jax.Array:
  out: jax.Array = value if axis_name is None else total(value, axis_name)
  return out


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
