"""Which frames of a batch of sequences are there, and checks at the door."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.checks import as_array


def as_features(given: Any, num_features: int) -> jax.Array:
  """Features ``[batch, time, num_features]``.

  Raises:
    TypeError: not floating.
    ValueError: any other shape.
  """
  features: jax.Array = as_array('features', given)
  if features.ndim != 3 or features.shape[-1] != num_features:
    raise ValueError(
      f'features: expected [batch, time, {num_features}], got {list(features.shape)}'
    )
  if not jnp.issubdtype(features.dtype, jnp.floating):
    raise TypeError(f'features: expected a floating type, got {features.dtype}')
  return features


def check_dtype(name: str, dtype: Any) -> None:
  """Raises TypeError unless it is a floating type, or None."""
  if dtype is not None and not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
    raise TypeError(f'{name}: expected a floating type, got {jnp.dtype(dtype)}')


def as_mask(
  shape: tuple[int, ...], lengths: Any = None, mask: Any = None
) -> jax.Array | None:
  """Which frames are there, ``[batch, time]`` booleans; None: all of them.

  Args:
    shape: batch and time.
    lengths: integers ``[batch]``. Checked against the time where they are concrete;
      traced ones count as what they are cut to.
    mask: booleans ``[batch, time]``, instead of lengths.

  Raises:
    TypeError: lengths that are not integers, a mask that is not boolean, both.
    ValueError: other shapes; concrete lengths outside [0, time].
  """
  if lengths is not None and mask is not None:
    raise TypeError('expected lengths or mask, got both')
  if lengths is not None:
    return jnp.arange(shape[1])[None] < _as_lengths(shape, lengths)[:, None]
  if mask is None:
    return None
  valid: jax.Array = as_array('mask', mask)
  if valid.dtype != jnp.bool_:
    raise TypeError(f'mask: expected booleans, got {valid.dtype}')
  if valid.shape != shape:
    raise ValueError(
      f'mask: expected [batch, time] = {list(shape)}, got {list(valid.shape)}'
    )
  return valid


def _as_lengths(shape: tuple[int, ...], given: Any) -> jax.Array:
  lengths: jax.Array = as_array('lengths', given)
  if not jnp.issubdtype(lengths.dtype, jnp.integer):
    raise TypeError(f'lengths: expected integers, got {lengths.dtype}')
  if lengths.shape != shape[:1]:
    raise ValueError(f'lengths: expected [{shape[0]}], got {list(lengths.shape)}')
  # As given: inside of `jax.jit` whatever jnp makes of it is traced.
  if _is_here(given) and lengths.size:
    values = np.asarray(given)
    low, high = values.min(), values.max()
    if low < 0 or high > shape[1]:
      raise ValueError(
        f'lengths: expected 0 to {shape[1]}, the frames of the array, '
        f'got {low} to {high}'
      )
  return lengths


def _is_here(array: Any) -> bool:
  """Whether there are numbers to look at: not traced, nor on another host."""
  return not isinstance(array, jax.core.Tracer) and getattr(
    array, 'is_fully_addressable', True
  )


def check_finite(features: Any, lengths: Any = None, mask: Any = None) -> None:
  """Raises an error that names the first valid frame that is not finite.

  The layers do this by themselves when they are called on concrete arrays; inside
  `jax.jit` there are no numbers to look at, so check a batch before it goes in.

  Args:
    features: ``[batch, time, features]``.
    lengths: ``[batch]``, integers; or
    mask: ``[batch, time]``, booleans. What padding holds is not looked at.

  Raises:
    ValueError: a NaN or an infinity in a valid frame.

  Example:
    >>> check_finite(np.array([[[0.0], [np.nan]]]), lengths=np.array([1]))
    >>> check_finite(np.array([[[0.0], [np.nan]]]))
    Traceback (most recent call last):
    ValueError: features: expected finite numbers, got nan in sequence 0, frame 1
  """
  features = as_features(features, np.shape(features)[-1] if np.ndim(features) else 0)
  valid = as_mask(features.shape[:2], lengths, mask)
  if not (_is_here(features) and _is_here(valid)):
    return
  values = np.asarray(features)
  good = np.isfinite(values).all(-1)
  if valid is not None:
    good |= ~np.asarray(valid)
  if good.all():
    return
  row, time = (int(index) for index in np.argwhere(~good)[0])
  frame = values[row, time].astype(np.float32)
  raise ValueError(
    f'features: expected finite numbers, got {frame[~np.isfinite(frame)][0]} '
    f'in sequence {row}, frame {time}'
  )
