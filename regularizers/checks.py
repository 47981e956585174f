"""Checks at the door: what was expected, and what came."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.dtypes import widened


def as_array(name: str, value: Any) -> jax.Array:
  """An array of numbers, or a TypeError that names what is none."""
  if isinstance(value, (jax.Array, np.ndarray)) and value.dtype != object:
    return jnp.asarray(value)
  if value is None or callable(value):
    raise TypeError(f'{name}: expected an array, got {value!r}')
  try:
    return jnp.asarray(value)
  except (TypeError, ValueError) as error:
    raise TypeError(f'{name}: expected numbers, got {type(value).__name__}') from error


def check_per_position(name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
  """What a loss or penalty gave, or an error unless it is one value per position."""
  got = getattr(value, 'shape', None)
  if got is None:
    raise TypeError(f'{name}: expected an array {list(shape)}, got {value!r}')
  if tuple(got) != tuple(shape):
    raise ValueError(
      f'{name}: expected one value per position, {list(shape)}, got {list(got)}; '
      'losses and penalties must not be reduced'
    )
  out: jax.Array = jnp.asarray(value)
  return out


def as_float(logits: Any, name: str = 'logits') -> jax.Array:
  """Logits ``[..., V]`` in float32 or wider.

  Raises:
    TypeError: not floating.
    ValueError: no class axis.
  """
  logits = as_array(name, logits)
  wide = widened(logits.dtype)
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise TypeError(f'{name}: expected a floating type, got {logits.dtype}')
  if logits.ndim == 0 or logits.shape[-1] == 0:
    raise ValueError(
      f'{name}: expected shape [..., V] with V > 0, got {list(logits.shape)}'
    )
  out: jax.Array = logits.astype(wide)
  return out


def as_where(where: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """A mask of classes with the rank of the logits, whose shape is ``shape``.

  Raises:
    TypeError: not boolean.
    ValueError: it does not broadcast to the logits.
  """
  where = as_array('where', where)
  if where.dtype != jnp.bool_:
    raise TypeError(f'where: expected booleans, got {where.dtype}')
  try:
    fits = jnp.broadcast_shapes(where.shape, shape) == shape
  except ValueError:
    fits = False
  if not fits:
    raise ValueError(
      f'where: {list(where.shape)} does not broadcast to the logits {list(shape)}'
    )
  return aligned(where, len(shape))


def aligned(array: jax.Array, rank: int) -> jax.Array:
  """Axes of length 1 in front, which strict rank promotion wants to be said."""
  return array.reshape((1,) * (rank - array.ndim) + array.shape)


def check_labels(
  labels: jax.Array, shape: tuple[int, ...], num_classes: int
) -> jax.Array:
  """Labels as an array, or an error that says what was expected.

  Args:
    labels: integers of ``shape``, or floats of ``shape + (num_classes,)``.
    shape: shape of the positions.
    num_classes: size of the class axis.

  Raises:
    TypeError: floats where integers belong, or the other way round.
    ValueError: any other shape.
  """
  if isinstance(labels, np.ndarray) and labels.dtype.kind in 'iu':
    # Of 64 bits jax would take the lower 32, and an invalid label might be valid.
    labels = np.clip(labels, -1, 2**31 - 1)
  labels = as_array('labels', labels)
  floating = jnp.issubdtype(labels.dtype, jnp.floating)
  integral = jnp.issubdtype(labels.dtype, jnp.integer)
  expected = (*shape, num_classes) if floating else shape
  if (floating or integral) and labels.shape == expected:
    # The number of classes may not fit a narrow type, and would wrap.
    narrow = integral and labels.dtype.itemsize < 4
    return labels.astype(jnp.int32) if narrow else labels
  wanted = (
    f'expected integers {list(shape)} or a distribution '
    f'{[*shape, num_classes]} of a floating type, got '
    f'{labels.dtype}{list(labels.shape)}'
  )
  wrong_type = labels.shape in (shape, (*shape, num_classes))
  raise (TypeError if wrong_type else ValueError)(f'labels: {wanted}')


def check_prior_shape(prior: jax.Array, num_classes: int) -> None:
  """Raises ValueError unless the prior is ``[num_classes]``."""
  if prior.shape != (num_classes,):
    raise ValueError(
      f'prior: expected [{num_classes}] for {num_classes} classes, '
      f'got {list(prior.shape)}'
    )
