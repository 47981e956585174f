"""Mean and variance over valid frames, on one device or over a mesh axis."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from regularizers.collectives import AxisName, total


class Moments(NamedTuple):
  """Statistics of frames.

  Attributes:
    mean: ``[..., features]``.
    variance: ``[..., features]``, biased: divided by their number.
    frames: ``[..., 1]``, how many are behind them.
  """

  mean: jax.Array
  variance: jax.Array
  frames: jax.Array


def moments(
  frames: jax.Array,
  valid: jax.Array | None,
  axes: tuple[int, ...],
  axis_name: AxisName | None,
) -> Moments:
  """Moments over some axes, in two passes; 0 and 0 where no frame is valid.

  Counts and sums are added up over devices, never means, so that it does not matter
  which device holds how many valid frames.

  Args:
    frames: ``[..., features]``, float32 or wider; finite where invalid too.
    valid: ``[..., 1]``, booleans; None: all.
    axes: what is summed over.
    axis_name: mesh axis or axes that split the frames, inside `jax.shard_map`.
  """
  weight = jnp.ones((), frames.dtype) if valid is None else valid.astype(frames.dtype)
  weight = jnp.broadcast_to(weight, (*frames.shape[:-1], 1))

  def add(values: jax.Array) -> jax.Array:
    sums = values.sum(axes)
    out: jax.Array = sums if axis_name is None else total(sums, axis_name)
    return out

  count = add(weight)
  divisor = jnp.maximum(count, 1)
  mean = add(weight * frames) / divisor
  centred = weight * (frames - jnp.expand_dims(mean, axes))
  return Moments(mean, add(centred**2) / divisor, count)
