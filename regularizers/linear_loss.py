"""The mean loss of logits that are never materialized, and its gradient in one pass."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

from regularizers.base import as_loss
from regularizers.categorical import Categorical
from regularizers.checks import as_where, check_labels
from regularizers.chunks import Packing, Rows, pack
from regularizers.collectives import equally_varying, fold
from regularizers.dtypes import widened
from regularizers.kernels import tiles
from regularizers.kernels.affine import soft_cap
from regularizers.kernels.slices import Slices
from regularizers.linear_checks import check_chunk_size, check_linear
from regularizers.loss import Loss, check_keywords
from regularizers.reductions import fit, masked_sum

_SMALL = 2**18
Leaves = list[Any]


def linear_loss(
  loss: Any,
  hidden: jax.Array,
  kernel: jax.Array,
  labels: jax.Array,
  mask: jax.Array | None = None,
  normalizer: float | jax.Array | None = None,
  bias: jax.Array | None = None,
  *,
  softcap: float | None = None,
  where: jax.Array | None = None,
  chunk_size: int | None = None,
  with_metrics: bool = False,
  **extra: Any,
) -> Any:
  """The masked mean of ``loss(hidden @ kernel + bias, labels)``, a scalar.

  Σ mask·loss / Σ mask, or Σ mask·loss / normalizer. Positions are processed in chunks;
  if the value is differentiated, the gradient of a chunk is computed while its logits
  are in memory: 6·rows·D·V floating-point operations, and no more memory than a few
  chunks of logits plus one float32 gradient of the kernel.
  `LinearCategorical` gives a loss per position and forward-mode derivatives, for 8.
  Under `jax.jit` positions (their leading axis) and classes may be split over devices,
  evenly: nothing is gathered, but the gradient of the kernel is added up over the
  positions' devices, and that of the hidden states over the classes', with every
  chunk. To add up once, split positions inside `jax.shard_map`, with
  ``normalizer=psum(mask.sum(), axis)``, and classes with `ShardedCategorical`. A mesh
  of explicit axes needs `jax.sharding.auto_axes` around the call.

  Args:
    loss: any loss of this package, or ``(logits, labels, …) -> [...]`` such as
      optax's, with one value per position.
    hidden: ``[..., D]``, floating.
    kernel: ``[D, V]``, floating.
    labels: integers ``[...]`` or a distribution ``[..., V]``.
    mask: booleans or weights, broadcastable to ``[...]``.
    normalizer: what the sum is divided by, say the count over all devices or all
      micro-batches. Default: Σ mask (1 if that is 0), or the number of positions.
    bias: ``[V]``, floating, or None.
    softcap: c > 0; logits become c·tanh(logits / c).
    where: mask of classes, broadcastable to ``[..., V]``.
    chunk_size: positions a chunk; default: from the shapes.
    with_metrics: whether to give sums of nll and entropy too.
    **extra: what the loss takes (``step``, ``teacher``, …). Arrays whose leading
      axes are those of the labels are cut into chunks, a stack of teachers
      ``[peers, ..., V]`` too; all else is handed to every chunk as it is. A ``key``
      is folded with the number of the chunk (chunks, hence the noise, differ with
      the number of devices); strings, functions, booleans and integers (but a
      ``step``) stay what they are. The loss must not close over traced arrays: give
      them to it as weights or here.

  Returns:
    A float32 (or wider) scalar, or with metrics ``(scalar, {'nll': (sum, count),
    'entropy': (sum, count)})`` over the masked positions, in nats; no gradient flows
    through the metrics. Reverse mode only, once. Gradients flow to every floating
    input, also to the weights of the loss and to ``extra``.

  Raises:
    TypeError: inputs that are not floating.
    ValueError: shapes that do not match; a chunk size that is not > 0.

  Example:
    >>> import jax, jax.numpy as jnp, regularizers as reg
    >>> loss = reg.label_smoothing(0.1)(reg.cross_entropy)
    >>> hidden, labels = jnp.ones((3, 2)), jnp.array([0, 1, 2])
    >>> step = jax.jit(
    ...   jax.value_and_grad(
    ...     lambda kernel: reg.linear_loss(loss, hidden, kernel, labels)
    ...   )
    ... )
    >>> value, gradient = step(jnp.zeros((2, 1000)))
    >>> print(value.round(4), gradient.shape)
    6.9078 (2, 1000)
  """
  step, *operands, count = _prepare(
    as_loss(loss),
    (hidden, kernel, bias, softcap),
    labels,
    (mask, where),
    extra,
    normalizer,
    chunk_size,
  )
  total, sums = _total(step, *operands)
  if not with_metrics:
    return total
  return total, {name: (sums[name], count) for name in ('nll', 'entropy')}


def _prepare(
  loss: Loss,
  affine: Any,
  labels: Any,
  masks: tuple[Any, Any],
  extra: dict[str, Any],
  normalizer: Any,
  chunk_size: Any,
) -> Any:
  """The static part, the arguments of `_total`, and the sum of the mask."""
  hidden, kernel, bias = check_linear(*affine)
  check_keywords(loss, extra)
  shape, num_classes = hidden.shape[:-1], kernel.shape[1]
  dtype = jnp.result_type(hidden.dtype, kernel.dtype)
  labels = check_labels(labels, shape, num_classes)
  weights, normalizer = _weights(masks[0], normalizer, shape, dtype)
  own = {'labels': labels, 'weights': weights}
  where = None if masks[1] is None else as_where(masks[1], (*shape, num_classes))
  if where is not None and where.size > where.shape[-1]:
    own['where'] = jnp.broadcast_to(where, (*shape, num_classes))
    where = None
  rows = _rows(shape, kernel.shape, check_chunk_size(chunk_size))
  packing, per_row, shared = pack(rows, own, extra)
  # One mask of classes for all rows stays one.
  alike = None if where is None else where.reshape(1, -1)
  rest = {'softcap': affine[3], 'normalizer': normalizer, 'loss': loss, 'where': alike}
  leaves, tree = jax.tree.flatten({**rest, 'given': shared})
  rows_leaves, rows_tree = jax.tree.flatten(per_row)
  linear = hidden.reshape(rows.count, hidden.shape[-1]), kernel, bias
  step = _Step(packing, dtype, rows_tree, tree)
  return step, *equally_varying((linear, rows_leaves, leaves)), weights.sum()


def _weights(
  mask: Any, normalizer: Any, shape: tuple[int, ...], dtype: Any
) -> tuple[jax.Array, jax.Array]:
  """Weight of every position, and what their sum is divided by."""
  ones = jnp.ones(shape, widened(dtype))
  weights = ones if mask is None else fit(mask, ones).astype(ones.dtype)
  if normalizer is None:
    total = weights.sum()
    return weights, jnp.where(total == 0, 1.0, total)
  if jnp.ndim(normalizer):
    raise ValueError(f'normalizer: expected a number, got {list(normalizer.shape)}')
  return weights, jnp.asarray(normalizer, ones.dtype)


def _rows(
  shape: tuple[int, ...], kernel_shape: tuple[int, ...], size: int | None
) -> Rows:
  """Chunks whose few arrays of logits are as large as a gradient of the kernel."""
  count, (width, num_classes) = math.prod(shape), kernel_shape
  wanted = max(count // 32 + width // 3, _SMALL // num_classes, 8)
  chunks = max(-(-count // wanted), 1)
  even = 8 * -(-count // (8 * chunks))  # so that the last one overlaps little
  return Rows(shape, Slices.over_devices(count, size or even))


@dataclasses.dataclass(frozen=True)
class _Step:
  """Computes one chunk; static, since the derivative rule is keyed on it."""

  packing: Packing
  dtype: Any
  rows_tree: Any
  shared_tree: Any

  @property
  def wide(self) -> Any:
    """Dtype of sums."""
    return widened(self.dtype)

  def logits(self, hidden: jax.Array, kernel: jax.Array, bias: Any) -> jax.Array:
    """``hidden @ kernel + bias``, ``[size, V]``."""
    z = tiles.product(hidden.astype(self.wide), kernel, self.dtype)
    return z if bias is None else z + bias[None].astype(z.dtype)

  def value(
    self, z: jax.Array, per_row: Leaves, shared_leaves: Leaves, index: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The chunk's share of the mean, and its sums of nll and entropy."""
    per_row = jax.tree.unflatten(self.rows_tree, per_row)
    shared = jax.tree.unflatten(self.shared_tree, shared_leaves)
    own, extra = self.packing.unpack(per_row, shared['given'], index)
    labels, weights = own['labels'], own['weights']
    # A row that the chunk before had counts no more.
    weights = jnp.where(self.packing.rows.fresh(index), weights, 0.0)
    where = own.get('where', shared['where'])
    p = Categorical(soft_cap(z, shared['softcap']), where)
    losses = shared['loss'].value(p, labels, **extra)
    if losses.shape != weights.shape:
      raise ValueError(
        f'loss: expected one value per position, {list(weights.shape)}, '
        f'got {list(losses.shape)}'
      )
    value = masked_sum(losses.astype(self.wide), weights) / shared['normalizer']
    sums = {
      'nll': masked_sum(-p.log_prob(labels), weights),
      'entropy': masked_sum(p.entropy(), weights),
    }
    return value, jax.lax.stop_gradient(sums)

  def scan(self, body: Callable[[Any, jax.Array], Any], init: Any) -> Any:
    """Folds ``carry = body(carry, index)`` over the chunks."""
    count = self.packing.rows.num_chunks
    if count == 0:
      return init
    if count == 1:
      return body(init, jnp.asarray(0))
    return fold(body, init, jnp.arange(count))

  def zeros(self) -> Any:
    """What the totals start from."""
    zero = jnp.zeros((), self.wide)
    return zero, {'nll': zero, 'entropy': zero}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _total(step: _Step, linear: Any, per_row: Leaves, shared: Leaves) -> Any:
  """The value alone: without differentiation no gradient is computed."""
  hidden, *affine = linear
  cut = step.packing.rows.cut

  def body(totals: Any, index: jax.Array) -> Any:
    rows = [cut(array, index) for array in per_row]
    z = step.logits(cut(hidden, index), *affine)
    return jax.tree.map(jnp.add, totals, step.value(z, rows, shared, index))

  return step.scan(body, step.zeros())


def _forward(step: _Step, linear: Any, per_row: Leaves, shared: Leaves) -> Any:
  """The value, and every gradient taken while the logits are at hand."""
  (hidden, kernel, bias), _ = _split(linear)
  per_row, in_rows = _split(per_row)
  shared, in_shared = _split(shared)
  rows = step.packing.rows

  def body(carry: Any, index: jax.Array) -> Any:
    totals, (d_linear, d_rows, d_shared) = carry
    part = [rows.cut(array, index) for array in per_row]
    part_hidden = rows.cut(hidden, index).astype(step.wide)

    def value(z: jax.Array, chosen: Any) -> Any:
      given = in_rows.put(part, chosen[0]), in_shared.put(shared, chosen[1])
      return step.value(z, *given, index)

    z = step.logits(part_hidden, kernel, bias)
    chosen = in_rows.take(part), in_shared.take(shared)
    one, pull, sums = jax.vjp(value, z, chosen, has_aux=True)
    dz, (more_rows, more_shared) = pull(jnp.ones_like(one))
    add = functools.partial(rows.add, index=index)
    d_linear = (
      add(d_linear[0], tiles.dot(dz, kernel.T, step.wide)),
      tiles.add_outer(d_linear[1], part_hidden, dz),
      None if bias is None else d_linear[2] + dz.sum(0),
    )
    grads = (
      d_linear,
      [*map(add, d_rows, more_rows)],
      [*map(_add, d_shared, more_shared)],
    )
    return jax.tree.map(jnp.add, totals, (one, sums)), grads

  zeros = functools.partial(
    jax.tree.map, lambda array: jnp.zeros(jnp.shape(array), step.wide)
  )
  start = (
    zeros((hidden, kernel, bias)),
    *map(zeros, (in_rows.take(per_row), in_shared.take(shared))),
  )
  totals, (d_linear, d_rows, d_shared) = step.scan(body, (step.zeros(), start))
  d_linear = jax.tree.map(
    lambda g, a: g.astype(a.dtype), d_linear, (hidden, kernel, bias)
  )
  cotangents = (
    in_rows.cotangents(per_row, d_rows),
    in_shared.cotangents(shared, d_shared),
  )
  return totals, (d_linear, *cotangents)


def _add(total: jax.Array, part: jax.Array) -> jax.Array:
  return total + part.astype(total.dtype)


def _backward(step: _Step, cotangents: Any, outer: Any) -> Any:
  """The gradients times the one number that comes from outside."""
  del step
  scale = outer[0]
  if isinstance(scale, SymbolicZero):  # of the metrics alone
    return jax.tree.map(jnp.zeros_like, cotangents)
  return jax.tree.map(lambda g: (g * scale).astype(g.dtype), cotangents)


_total.defvjp(_forward, _backward, symbolic_zeros=True)


@dataclasses.dataclass(frozen=True)
class _Chosen:
  """Which leaves are differentiated."""

  flags: tuple[bool, ...]

  def take(self, leaves: Leaves) -> Leaves:
    """The chosen leaves."""
    return [leaf for leaf, flag in zip(leaves, self.flags, strict=True) if flag]

  def put(self, leaves: Leaves, chosen: Leaves) -> Leaves:
    """All leaves, with other values for the chosen ones."""
    values = iter(chosen)
    return [
      next(values) if flag else leaf
      for leaf, flag in zip(leaves, self.flags, strict=True)
    ]

  def cotangents(self, leaves: Leaves, grads: Leaves) -> Leaves:
    """Gradients of the chosen leaves in their dtypes, None for the others."""
    cast = [
      g.astype(jnp.result_type(leaf))
      for g, leaf in zip(grads, self.take(leaves), strict=True)
    ]
    return self.put([None] * len(leaves), cast)


def _split(tree: Any) -> tuple[Any, _Chosen]:
  """Values of a tree of `jax.custom_derivatives.CustomVJPPrimal`, and the chosen."""
  is_leaf = lambda x: isinstance(x, CustomVJPPrimal)  # noqa: E731
  leaves = jax.tree.leaves(tree, is_leaf=is_leaf)
  values = jax.tree.map(lambda leaf: leaf.value, tree, is_leaf=is_leaf)
  return values, _Chosen(tuple(bool(leaf.perturbed) for leaf in leaves))
