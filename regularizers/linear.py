"""The distribution of logits ``hidden @ kernel + bias`` that are never materialized."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.categorical import (
  Categorical,
  allowed_prior,
  num_allowed,
  where_allowed,
)
from regularizers.checks import (
  aligned,
  as_where,
  check_labels,
)
from regularizers.dtypes import widened
from regularizers.kernels import dense, tiles
from regularizers.kernels.affine import AffineLogits, finish
from regularizers.kernels.tiles import Tile, Tiling
from regularizers.linear_checks import check_chunk_size, check_linear


@jax.tree_util.register_pytree_node_class
class LinearCategorical:
  """Distribution over classes with logits ``hidden @ kernel + bias``; a frozen pytree.

  The logits are computed one slice of classes at a time and discarded, forward and
  backward: memory beyond inputs and gradients is a small part of the ``[..., V]``
  logits, at the cost of one more product of hidden and kernel (8·rows·D·V operations
  for value and gradient, versus 6). A training step that needs one number
  takes only 6: see `linear_loss`.

  Every loss and penalty of the package works on it, and so do your own, written on
  `sum` and its special cases. Forward and reverse mode, higher derivatives, ``jit``
  and ``vmap`` work. Products of bfloat16 inputs are summed in float32, in both
  passes; gradients come in the dtypes of the inputs.

  Under `jax.jit` hidden states may be split over devices by rows, and the kernel by
  classes, evenly: nothing is gathered. With every slice a few numbers
  per row move and, if the classes are split, the gradient of the hidden states; inside
  `jax.shard_map` a `ShardedCategorical` of this moves them once. A mesh of explicit
  axes needs `jax.sharding.auto_axes` around the call.

  Args:
    hidden: ``[..., D]``, floating.
    kernel: ``[D, V]``, floating.
    bias: ``[V]``, floating, or None.
    softcap: c > 0; logits become c·tanh(logits / c). Default: none.
    where: booleans broadcastable to ``[..., V]``, as in `Categorical`.
    chunk_size: classes per slice; default: from the shapes.

  Raises:
    TypeError: an input that is not floating.
    ValueError: shapes that do not match; a soft cap or chunk size that is not > 0.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> hidden, kernel = jnp.ones((3, 2)), jnp.zeros((2, 1000))
    >>> loss = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))(
    ...   reg.cross_entropy
    ... )
    >>> losses = loss(reg.LinearCategorical(hidden, kernel), jnp.array([0, 1, 2]))
    >>> print(losses.round(4))
    [6.217 6.217 6.217]
  """

  where: jax.Array | None
  _inputs: dict[str, Any]
  _statistics: tuple[jax.Array, jax.Array, jax.Array]
  _shape: tuple[int, ...]
  _logits: AffineLogits
  # Labels and their log-probabilities; never part of the pytree.
  _known: tuple[Any, jax.Array] | None = None

  def __init__(
    self,
    hidden: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    softcap: float | jax.Array | None = None,
    *,
    where: jax.Array | None = None,
    chunk_size: int | None = None,
  ):
    hidden, kernel, bias = check_linear(hidden, kernel, bias, softcap)
    dtype = jnp.result_type(hidden.dtype, kernel.dtype)
    wide = widened(dtype)
    shape, num_classes = hidden.shape[:-1], kernel.shape[1]
    rows = math.prod(shape)
    if where is not None:
      where = as_where(where, (*shape, num_classes))
    inputs = {
      'hidden': hidden.reshape(rows, hidden.shape[-1]).astype(wide),
      'kernel': jax.lax.stop_gradient(kernel),
      'wide_kernel': kernel.astype(wide),
      'bias': None if bias is None else bias.astype(wide),
      'softcap': None if softcap is None else jnp.asarray(softcap, wide),
      'temperature': None,
    }
    size = check_chunk_size(chunk_size) or tiles.tile_size(rows, num_classes)
    tiling = Tiling.of(num_classes, size)
    self._fill(where, inputs, shape, AffineLogits(tiling, dtype))

  def _fill(
    self,
    where: jax.Array | None,
    inputs: dict[str, Any],
    shape: tuple[int, ...],
    logits: AffineLogits,
  ) -> None:
    for name, value in (('where', where), ('_inputs', inputs)):
      object.__setattr__(self, name, value)
    object.__setattr__(self, '_shape', shape)
    object.__setattr__(self, '_logits', logits)
    hidden = inputs['hidden']
    like: Any = jax.ShapeDtypeStruct(hidden.shape[:1], hidden.dtype)  # type: ignore[no-untyped-call]
    statistics = tiles.statistics(
      logits, logits.tiling, like, inputs, self._rows(where)
    )
    object.__setattr__(self, '_statistics', statistics)

  def __setattr__(self, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f'cannot assign to {name!r}')

  def __repr__(self) -> str:
    masked = '' if self.where is None else ', where=…'
    shape = [*self._shape, self.num_classes]
    return f'LinearCategorical({self._logits.dtype}{shape}{masked})'

  def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
    """The arrays, as pytree leaves."""
    return (self.where, self._inputs, self._statistics), (self._shape, self._logits)

  @classmethod
  def tree_unflatten(cls, aux: Any, leaves: tuple[Any, ...]) -> 'LinearCategorical':
    """Inverse of `tree_flatten`."""
    new = object.__new__(cls)
    names = ('where', '_inputs', '_statistics', '_shape', '_logits')
    for name, value in zip(names, (*leaves, *aux), strict=True):
      object.__setattr__(new, name, value)
    return new

  def to_rows(self) -> tuple[Any, Any, Any]:
    """Its static part, what has one row a position, and the rest."""
    where = self._rows(self.where)
    shared = {name: a for name, a in self._inputs.items() if name != 'hidden'}
    per_row = {'hidden': self._inputs['hidden'], 'statistics': self._statistics}
    alike = where is None or where.shape[0] == 1
    (shared if alike else per_row)['where'] = where
    return self._logits, per_row, shared

  @classmethod
  def from_rows(cls, logits: Any, per_row: Any, shared: Any) -> 'LinearCategorical':
    """Of some of the rows that `to_rows` gave, in one axis."""
    parts = {**per_row, **shared}
    inputs = {
      name: part for name, part in parts.items() if name not in ('where', 'statistics')
    }
    shape = inputs['hidden'].shape[:1]
    leaves = parts['where'], inputs, parts['statistics']
    return cls.tree_unflatten((shape, logits), leaves)

  @property
  def shape(self) -> tuple[int, ...]:
    """Shape ``[...]`` of a value per position."""
    return self._shape

  @property
  def num_classes(self) -> int:
    """Size of the class axis, ``V``."""
    return self._logits.tiling.num_classes

  @property
  def chunk_size(self) -> int:
    """Classes a slice."""
    return self._logits.tiling.size

  def knowing(self, labels: jax.Array) -> 'LinearCategorical':
    """The same, with log p(labels) looked up once for all who will ask for it.

    Otherwise every member of a chain would take, and in the backward pass add to,
    the columns of the kernel.
    """
    leaves, aux = self.tree_flatten()
    new = self.tree_unflatten(aux, leaves)
    object.__setattr__(new, '_known', (labels, self.log_prob(labels)))
    return new

  def log_probs(self) -> jax.Array:
    """log p of every class, ``[..., V]``; builds what this class avoids."""
    whole = Tiling.of(self.num_classes, self.num_classes)
    logits = dataclasses.replace(self._logits, tiling=whole)
    z = logits(self._inputs, self._rows(self.where), whole.tile(jnp.asarray(0)))
    log_p = self._centred(z)
    return log_p.reshape(*self._shape, self.num_classes)

  def log_prob(self, labels: jax.Array) -> jax.Array:
    """log p(labels), in nats, ``[...]``; see `Categorical.log_prob`.

    Integer labels take one column of the kernel each.
    """
    if self._known is not None and labels is self._known[0]:
      return self._known[1]
    labels = check_labels(labels, self._shape, self.num_classes)
    if jnp.issubdtype(labels.dtype, jnp.floating):
      return self._weighted_log_prob(labels)
    flat = labels.reshape(-1)
    inside = (flat >= 0) & (flat < self.num_classes)
    index = jnp.clip(flat, 0, self.num_classes - 1)
    where = self._rows(self.where)
    if where is not None:
      rows = jnp.arange(index.size) if where.shape[0] > 1 else 0
      inside &= where[rows, index]
    z = self._picked(index)
    shift, log_sum, _ = self._statistics
    return self._out(jnp.where(inside, z - shift - log_sum, jnp.nan))

  def _picked(self, index: jax.Array) -> jax.Array:
    """The logits of one class a row, ``[N]``."""

    def pick(hidden: jax.Array, *kernels: jax.Array) -> jax.Array:
      columns = [jnp.take(kernel, index, axis=1, mode='clip') for kernel in kernels]
      return (hidden * tiles.carried(*columns).T).sum(-1)

    # The columns are taken again rather than kept for the backward pass.
    z = jax.checkpoint(pick)(*self._affine())
    if self._inputs['bias'] is not None:
      z = z + self._inputs['bias'][index]
    return finish(z, self._inputs)

  def _affine(self) -> tuple[jax.Array, jax.Array, jax.Array]:
    inputs = self._inputs
    return inputs['hidden'], inputs['kernel'], inputs['wide_kernel']

  def _weighted_log_prob(self, weights: jax.Array) -> jax.Array:
    weights = weights.astype(self._inputs['hidden'].dtype)
    out = self.sum(lambda log_p, w: dense.times(w, log_p), weights)
    if self.where is None:
      return out
    return jnp.where(jnp.any((weights != 0) & ~self.where, -1), jnp.nan, out)

  def mean_log_prob(self, prior: jax.Array | None = None) -> jax.Array:
    """Σ_k prior_k log p_k, in nats, ``[...]``; see `Categorical.mean_log_prob`.

    One product with the mean column of the kernel, O(rows·D + D·V), where the logits
    are linear and all rows have the same classes.
    """
    weights = self.allowed_prior(prior)
    flat = self._rows(weights)
    assert flat is not None
    if self._inputs['softcap'] is not None or flat.shape[0] > 1:
      return self.sum(lambda log_p, w: dense.times(w, log_p), weights)
    shift, log_sum, _ = self._statistics
    mean = self._mean_logit(flat[0]) - shift * flat.sum() - log_sum * flat.sum()
    return self._out(mean)

  def _mean_logit(self, weights: jax.Array) -> jax.Array:
    hidden, *kernels = self._affine()
    # A product and a sum, not a matrix product: it reads a short kernel as it is.
    z = hidden @ (tiles.carried(*kernels) * weights[None]).sum(1)
    if self._inputs['bias'] is not None:
      z = z + dense.times(weights, self._inputs['bias']).sum()
    return finish(z, self._inputs)

  def entropy(self) -> jax.Array:
    """Shannon entropy, in nats, ``[...]``; between 0 and log V."""
    return self._out(self._statistics[2])

  def log_normalizer(self) -> jax.Array:
    """log Σ exp logits over the allowed classes, ``[...]``."""
    shift, log_sum, _ = self._statistics
    return self._out(shift + log_sum)

  def num_allowed(self) -> jax.Array | int:
    """How many classes are not masked, ``[...]``; ``V`` without a mask."""
    return num_allowed(self.where, self._shape, self.num_classes)

  def allowed_prior(self, prior: jax.Array | None = None) -> jax.Array:
    """The prior without the masked classes; see `Categorical.allowed_prior`."""
    dtype = self._inputs['hidden'].dtype
    return allowed_prior(prior, self.where, self.num_classes, dtype)

  def tempered(self, temperature: Any) -> 'LinearCategorical':
    """The distribution of ``logits / temperature``."""
    before = self._inputs['temperature']
    temperature = jnp.asarray(temperature, self._inputs['hidden'].dtype)
    after = temperature if before is None else before * temperature
    return self._with(self.where, {**self._inputs, 'temperature': after})

  def masked(self, where: jax.Array | None) -> 'LinearCategorical':
    """The same with another mask of classes."""
    if where is self.where:
      return self
    return self._with(where, self._inputs)

  def _with(self, where: Any, inputs: dict[str, Any]) -> 'LinearCategorical':
    new = object.__new__(LinearCategorical)
    new._fill(where, inputs, self._shape, self._logits)
    return new

  def sum(self, phi: Callable[..., jax.Array], *class_arrays: Any) -> jax.Array:
    """Σ_k phi(log p_k, a_k, b_k, …): what any penalty can be written with.

    Args:
      phi: elementwise function of log p and of the class arrays. It is called with a
        slice of the classes and with the positions in one axis: what differs from
        row to row or class to class must come as an argument.
      *class_arrays: broadcastable to ``[..., V]``; or a distribution, which stands
        for its log-probabilities and is computed in slices too.

    Returns:
      ``[...]``. Masked classes are left out.
    """
    tiling = self._logits.tiling
    getters = [self._getter(array) for array in class_arrays]
    where = self._rows(self.where)

    def body(total: jax.Array, tile: Tile) -> jax.Array:
      z = self._logits(self._inputs, where, tile)
      arguments = [self._centred(z), *(get(tile) for get in getters)]
      masks = [None if where is None else tiling.cut(where, tile), tile.fresh]
      kept = [mask for mask in masks if mask is not None]
      if not kept:
        return total + phi(*arguments).sum(-1)
      mask = jnp.broadcast_to(functools.reduce(jnp.logical_and, kept), z.shape)
      return total + where_allowed(mask, phi, arguments).sum(-1)

    dtype = self._inputs['hidden'].dtype
    parts = jax.eval_shape(
      lambda: [get(tiling.tile(jnp.asarray(0))) for get in getters]
    )
    like = jax.eval_shape(
      phi, *(jnp.zeros((), d) for d in (dtype, *(p.dtype for p in parts)))
    )
    zeros = jnp.zeros(self._statistics[0].shape, jnp.promote_types(dtype, like.dtype))
    return self._out(tiling.lean_fold(body, zeros))

  def _getter(self, array: Any) -> Callable[[Tile], jax.Array]:
    tiling = self._logits.tiling
    if isinstance(array, LinearCategorical):
      if (array.shape, array.num_classes) != (self.shape, self.num_classes):
        raise ValueError(f'sum: {array} beside {self}')
      return array._tile_of(tiling)
    if isinstance(array, Categorical):
      array = array.log_probs()
    rows = self._rows(aligned(jnp.asarray(array), len(self._shape) + 1))
    return lambda tile: tiling.cut(rows, tile)

  def _tile_of(self, tiling: Tiling) -> Callable[[Tile], jax.Array]:
    """Its log-probabilities, cut as another distribution is."""
    logits, where = dataclasses.replace(self._logits, tiling=tiling), self.where
    return lambda tile: self._centred(logits(self._inputs, self._rows(where), tile))

  def _centred(self, z: jax.Array) -> jax.Array:
    shift, log_sum, _ = self._statistics
    return z - shift[:, None] - log_sum[:, None]

  def _rows(self, array: Any) -> Any:
    """``[..., K]`` with the positions in one axis; of length 1 if all are alike."""
    if array is None:
      return None
    if math.prod(array.shape[:-1]) == 1:
      return array.reshape(1, -1)
    return jnp.broadcast_to(array, (*self._shape, array.shape[-1])).reshape(
      -1, array.shape[-1]
    )

  def _out(self, rows: jax.Array) -> jax.Array:
    return rows.reshape(self._shape)
