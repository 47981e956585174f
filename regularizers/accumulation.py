"""Gradients of a large batch from microbatches that fit."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.collectives import AxisName, axes_of, total, varying
from regularizers.dtypes import widened


def microbatches(batch: Any, count: int) -> Any:
  """Splits the leading axis of every array of a batch, in order.

  Args:
    batch: pytree of arrays ``[B, ...]``.
    count: M, how many microbatches; divides B.

  Returns:
    The same pytree of arrays ``[M, B/M, ...]``.

  Raises:
    ValueError: M that does not divide an array's leading axis.

  Example:
    >>> print(microbatches({'x': jnp.arange(6)}, 3)['x'].tolist())
    [[0, 1], [2, 3], [4, 5]]
  """

  def split(array: Any) -> jax.Array:
    array = jnp.asarray(array)
    if count < 1 or array.ndim == 0 or array.shape[0] % count:
      raise ValueError(
        f'microbatches: {list(array.shape)} has no leading axis of a multiple of '
        f'{count}'
      )
    rows = array.shape[0] // count
    return jnp.reshape(array, (count, rows, *array.shape[1:]))

  return jax.tree.map(split, batch)


def accumulate_gradients(
  loss_fn: Callable[..., Any],
  params: Any,
  batches: Any,
  *,
  has_aux: bool = False,
  axis_name: AxisName | None = None,
) -> tuple[Any, Any]:
  """Value and gradient of the mean over all microbatches, one at a time in memory.

  Computes Σ_m S_m / Σ_m C_m and its gradient Σ_m ∇S_m / Σ_m C_m, for a loss that
  gives sum S and count C of a microbatch. That is what the whole batch at once
  would give, however unevenly the masks fill the microbatches; the mean of their
  means is not.

  Args:
    loss_fn: ``(params, microbatch) -> (sum, count)``, two scalars, or
      ``((sum, count), aux)`` if ``has_aux``. The count is a constant.
    params: pytree of floating arrays.
    batches: pytree of arrays ``[M, ...]``, one microbatch for each index of the
      leading axis (see `microbatches`); keys of dropout belong here too.
    has_aux: whether ``loss_fn`` returns an ``aux``, a pytree of sums (and counts).
    axis_name: inside `jax.shard_map`, the mesh axis (or axes) over which batches are
      split. Sums, counts, aux and gradients are added up over all devices, once
      after the last microbatch. ``params`` are the same on all of them, and
      ``loss_fn`` reduces nothing over the axis.

  Returns:
    ``(value, gradients)`` as `jax.value_and_grad` gives, or ``((value, aux),
    gradients)`` with aux added up. Sums are kept in float32 or wider; gradients
    come in the type of ``params``. Both are 0 if the count is.

  Raises:
    NameError: an axis name that is not bound.
    TypeError: a ``loss_fn`` that gives something else, as a mean.
    ValueError: no microbatches, or arrays that disagree on their number.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> def loss_fn(params, batch):
    ...   losses = reg.cross_entropy(batch['x'] * params[None], batch['y'])
    ...   return reg.masked_sum(losses, batch['mask']), batch['mask'].sum()
    >>> batch = {
    ...   'x': jnp.eye(4, 3),
    ...   'y': jnp.array([0, 1, 2, 0]),
    ...   'mask': jnp.array([1, 1, 1, 0]),
    ... }
    >>> value, gradients = reg.accumulate_gradients(
    ...   loss_fn, jnp.zeros(3), reg.microbatches(batch, 2)
    ... )
    >>> print(value.round(4), gradients.round(4))
    1.0986 [-0.2222 -0.2222 -0.2222]
  """
  _check_count(batches)
  if axis_name is not None:
    # A copy for every device, or each microbatch would pay for an all-reduce.
    params = varying(params, axis_name)

  def loss_and_rest(params: Any, batch: Any) -> tuple[jax.Array, Any]:
    loss, count, aux = _parts(loss_fn(params, batch), has_aux)
    # Half precision has no integers above 256 or 2,048.
    count = jnp.asarray(count, widened(loss.dtype))
    return loss, (loss, count, aux)

  def sums(batch: Any) -> Any:
    gradients, rest = jax.grad(loss_and_rest, has_aux=True)(params, batch)
    return jax.tree.map(_wide, (gradients, rest))

  def add(carry: Any, batch: Any) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, carry, sums(batch)), None

  one = jax.eval_shape(sums, jax.tree.map(lambda array: array[0], batches))
  done, _ = jax.lax.scan(add, jax.tree.map(_zeros, one), batches)
  if axis_name is not None:
    done = total(done, axis_name)
  gradients, (loss, count, aux) = done
  count = jnp.where(count == 0, 1.0, count)
  gradients = jax.tree.map(lambda g, p: (g / count).astype(p.dtype), gradients, params)
  value = loss / count
  return ((value, aux) if has_aux else value), gradients


def _check_count(batches: Any) -> None:
  sizes = {jnp.shape(array)[:1] for array in jax.tree.leaves(batches)}
  if len(sizes) != 1 or sizes & {(), (0,)}:
    raise ValueError(
      'batches: expected arrays with one leading axis of microbatches, got '
      f'{sorted(sizes)}'
    )


def _parts(out: Any, has_aux: bool) -> tuple[jax.Array, Any, Any]:
  """Sum, count and aux, where ``loss_fn`` gave them."""

  def is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2

  pair = out[0] if has_aux and is_pair(out) else out
  if is_pair(out) and is_pair(pair) and all(map(_is_scalar, pair)):
    return jnp.asarray(pair[0]), pair[1], out[1] if has_aux else None
  expected = '((sum, count), aux)' if has_aux else '(sum, count)'
  raise TypeError(
    f'loss_fn: expected {expected}, sum and count two scalars, got {_described(out)}'
  )


def _is_scalar(value: Any) -> bool:
  return isinstance(value, int | float | np.generic) or getattr(value, 'shape', 0) == ()


def _described(value: Any) -> str:
  if isinstance(value, tuple | list):
    return f'({", ".join(map(_described, value))})'
  if isinstance(value, jax.Array | np.ndarray):
    return f'{value.dtype}{list(value.shape)}'
  return type(value).__name__


def _wide(array: Any) -> jax.Array:
  dtype = jnp.result_type(array)
  floating = jnp.issubdtype(dtype, jnp.floating)
  return jnp.asarray(array, widened(dtype) if floating else dtype)


def _zeros(like: Any) -> Any:
  """Zeros that differ between devices where the sums do, as `scan` wants it."""
  zeros: jax.Array = varying(jnp.zeros(like.shape, like.dtype), axes_of(like))
  return zeros
