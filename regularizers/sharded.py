"""A distribution whose classes are split over a mesh axis, inside `jax.shard_map`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.categorical import Categorical, Distribution, class_array
from regularizers.checks import (
  aligned,
  as_float,
  as_where,
  check_labels,
  check_prior_shape,
)
from regularizers.collectives import AxisName, Blocks
from regularizers.kernels.merged import (
  log_mass,
  merge,
  merged_entropy,
  shifted_log_p,
  split,
  tempered_mass,
)


@jax.tree_util.register_pytree_node_class
class ShardedCategorical:
  """Distribution over classes of which every device along a mesh axis holds a block.

  For use inside `jax.shard_map`, where each device sees its own logits. Device i
  of n holds the classes from i·V/n on. Their masses m_s = Σ exp z over a block are
  merged, log p_k = log p_k^local + log m_s − log Σ m: one `pmax` and one `psum` of a
  number per row, and another such `psum` for each statistic that a loss reads.
  Every loss and transform of the package, and your own penalties, work on it as on
  a `Categorical`, and give every device the value of the whole vocabulary.

  What is given class by class is either whole or this device's block, which its
  last axis tells: priors, class weights, labels that are a distribution, ``where``,
  teachers (logits, or a distribution like this one), the arrays of `sum`. Integer
  labels and all sizes are those of the whole vocabulary. What it returns class by
  class is this device's block. Labels, keys and teachers must be the same on all
  devices along the axis.

  If V is not a multiple of n, pad the logits (or, for a `LinearCategorical`, the
  kernel's columns and the bias) with any numbers, at the end, and pass
  ``num_classes=V``: the padding is masked.

  Gradients. Under ``check_vma=True``, the default, the result counts as one value
  of all devices: `jax.grad` is right inside the map and around it. Under
  ``check_vma=False`` it is right around the map (with ``out_specs=P()`` for the
  loss); inside, it is the gradient of the sum of the n equal copies of the loss:
  divide by n. There is no `psum` or `pmean` of gradients over this axis to add.

  Args:
    local: this device's logits ``[..., V/n]``, or a distribution over its classes
      (its log-normaliser counts as part of the whole one).
    axis_name: the mesh axis over which the classes are split.
    num_classes: V. Default: n times the classes that a device holds.
    where: mask of classes, broadcastable to ``[..., V]`` or ``[..., V/n]``, for
      logits only: a distribution carries its own. True means possible.

  Raises:
    NameError: an axis name that is not bound.
    TypeError: logits are not floating.
    ValueError: ``num_classes`` that the blocks cannot hold, or that one could hold
      alone; padding under a distribution of another kind that masks nothing; ``where``
      with a distribution.

  References:
    Shoeybi, Patwary, Puri, LeGresley, Casper, Catanzaro, *Megatron-LM: Training
    Multi-Billion Parameter Language Models Using Model Parallelism*, 2019, §3.

  Example:
    >>> import jax, jax.numpy as jnp, regularizers as reg
    >>> from jax.sharding import Mesh, PartitionSpec as P
    >>> loss = reg.label_smoothing(0.1)(reg.cross_entropy)
    >>> def sharded(logits, labels):
    ...   return loss(reg.ShardedCategorical(logits, 'model'), labels)
    >>> whole = jax.jit(
    ...   jax.shard_map(
    ...     sharded,
    ...     mesh=Mesh(jax.devices()[:1], 'model'),
    ...     in_specs=(P(None, 'model'), P()),
    ...     out_specs=P(),
    ...   )
    ... )
    >>> print(whole(jnp.array([[2.0, 1.0, 0.1, -1.0]]), jnp.array([0])).round(4))
    [0.5968]
  """

  local: Distribution
  _mass: jax.Array  # log of the mass of this device's classes, over exp(_shift)
  _shift: jax.Array
  _log_sum: jax.Array  # log of all mass, over exp(_shift)
  blocks: Blocks
  _masked: bool  # whether more than the padding is

  def __init__(
    self,
    local: jax.Array | Distribution,
    axis_name: AxisName,
    num_classes: int | None = None,
    where: jax.Array | None = None,
  ):
    if isinstance(local, Distribution):
      if where is not None:
        raise ValueError('where: give it to the distribution that is local')
      blocks = Blocks.of(axis_name, num_classes, local.num_classes)
      masked = getattr(local, 'where', None) is not None
      local = _without_padding(local, blocks)
    else:
      local, masked = as_float(local), where is not None
      blocks = Blocks.of(axis_name, num_classes, local.shape[-1])
      local = Categorical(local, _allowed(where, local.shape, blocks))
    merged = merge(*log_mass(local), axis_name)
    self._set((local, *merged), (blocks, masked))

  def _set(self, leaves: tuple[Any, ...], aux: tuple[Blocks, bool]) -> None:
    for name, value in zip(_FIELDS, (*leaves, *aux), strict=True):
      object.__setattr__(self, name, value)

  def __setattr__(self, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f'cannot assign to {name!r}')

  def __repr__(self) -> str:
    blocks = self.blocks
    return (
      f'ShardedCategorical({self.local!r} of {blocks.num_classes} classes '
      f'over {blocks.axis_name!r})'
    )

  def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Blocks, bool]]:
    """The arrays, as pytree leaves."""
    leaves = (self.local, self._mass, self._shift, self._log_sum)
    return leaves, (self.blocks, self._masked)

  @classmethod
  def tree_unflatten(
    cls, aux: tuple[Blocks, bool], leaves: tuple[Any, ...]
  ) -> 'ShardedCategorical':
    """Inverse of `tree_flatten`."""
    new = object.__new__(cls)
    new._set(tuple(leaves), aux)
    return new

  @property
  def shape(self) -> tuple[int, ...]:
    """Shape ``[...]`` of a value per position."""
    return self.local.shape

  @property
  def num_classes(self) -> int:
    """Size of the whole vocabulary, ``V``."""
    return self.blocks.num_classes

  @property
  def axis_name(self) -> AxisName:
    """The mesh axis over which the classes are split."""
    return self.blocks.axis_name

  @property
  def where(self) -> jax.Array | None:
    """This device's mask of classes; None if nothing but padding is masked."""
    return self._where if self._masked else None

  @property
  def _where(self) -> jax.Array | None:
    where: jax.Array | None = getattr(self.local, 'where', None)
    return where

  @property
  def _empty(self) -> jax.Array:
    """Rows in which this device holds no possible class, ``[...]``."""
    return jnp.isneginf(self._mass)

  def _offset(self) -> jax.Array:
    """log p − log p^local, ``[...]``; −inf where this device holds no mass."""
    log_sum = jnp.where(jnp.isneginf(self._log_sum), 0.0, self._log_sum)
    return jnp.where(self._empty, -jnp.inf, self._mass - log_sum)

  def log_probs(self) -> jax.Array:
    """log p of this device's classes, ``[..., V/n]``; −inf where masked."""
    local = self.local.log_probs()  # type: ignore[attr-defined]
    return shifted_log_p(local, self._offset()[..., None])

  def log_prob(self, labels: jax.Array) -> jax.Array:
    """log p(labels), in nats, ``[...]``; see `Categorical.log_prob`.

    Args:
      labels: integers ``[...]``, numbers of the whole vocabulary; or weights of the
        classes, ``[..., V]`` or ``[..., V/n]``.
    """
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.floating):
      labels = check_labels(labels, self.shape, self.num_classes)
      return self._integer_log_prob(labels)
    if labels.ndim == len(self.shape) + 1:
      labels = self.blocks.own(labels, 'labels')
    labels = check_labels(labels, self.shape, self.blocks.size)
    weight = labels.astype(self._mass.dtype).sum(-1)
    sums = self._centred(self.local.log_prob(labels), weight)
    if self._where is not None:
      masked = jnp.any((labels != 0) & ~self._where, -1)
      sums = jnp.where(masked, jnp.nan, sums)
    total = self.blocks.total
    return total(sums) - total(weight) * self._log_sum

  def _integer_log_prob(self, labels: jax.Array) -> jax.Array:
    valid = (labels >= 0) & (labels < self.num_classes)
    index, mine = self.blocks.locate(jnp.where(valid, labels, 0))
    impossible = jnp.full(self.shape, -jnp.inf, self._mass.dtype)
    if self._where is not None:
      where = jnp.broadcast_to(self._where, (*self.shape, self.blocks.size))
      allowed = jnp.take_along_axis(where, index[..., None], -1)[..., 0]
      impossible = jnp.where(allowed, impossible, jnp.nan)
    picked = self.local.log_prob(index) + jnp.where(self._empty, 0.0, self._mass)
    picked = jnp.where(self._empty, impossible, picked)
    picked = self.blocks.total(jnp.where(mine, picked, 0.0))
    return jnp.where(valid, picked - self._log_sum, jnp.nan)

  def _centred(self, sums: jax.Array, weight: jax.Array) -> jax.Array:
    """Σ_k w_k (log p_k^local + mass) of this device's classes, ``[...]``.

    Args:
      sums: Σ_k w_k log p_k^local.
      weight: Σ_k w_k.
    """
    impossible = jnp.where(weight == 0, 0.0, -jnp.inf)
    mass = jnp.where(self._empty, 0.0, self._mass)
    return jnp.where(self._empty, impossible, sums + weight * mass)

  def mean_log_prob(self, prior: jax.Array | None = None) -> jax.Array:
    """Σ_k prior_k log p_k, in nats, ``[...]``; see `Categorical.mean_log_prob`.

    Args:
      prior: class weights ``[V]`` or ``[V/n]``; default uniform over the whole
        vocabulary. With ``where`` they are renormalised over the allowed classes.
    """
    weights, where, total = self._prior(prior), self._where, self.blocks.total
    if where is not None:
      # The local mean is one over the allowed classes of this device.
      kept = jnp.where(where, aligned(weights, where.ndim), 0.0)
      weight = jnp.broadcast_to(kept.sum(-1), self.shape)
      sums = weight * self.local.mean_log_prob(weights)
    elif prior is None:
      weight = jnp.full(self.shape, 1 / self.blocks.count, weights.dtype)
      sums = weight * self.local.mean_log_prob()
    else:
      weight = jnp.broadcast_to(weights.sum(), self.shape)
      sums = self.local.mean_log_prob(weights)
    sums, whole = total(self._centred(sums, weight)), total(weight)
    if self._masked:
      return sums / jnp.where(whole > 0, whole, 1.0) - self._log_sum
    return sums - whole * self._log_sum

  def entropy(self) -> jax.Array:
    """Shannon entropy, in nats, ``[...]``; between 0 and log V."""
    entropy = self.local.entropy()
    return merged_entropy(entropy, self._mass, self._log_sum, self.axis_name)

  def log_normalizer(self) -> jax.Array:
    """log Σ exp logits over the allowed classes of all devices, ``[...]``."""
    return self._shift + self._log_sum

  def num_allowed(self) -> jax.Array | int:
    """How many classes are not masked, ``[...]``; ``V`` without a mask."""
    if self.where is None:
      return self.num_classes
    where = jnp.broadcast_to(self.where, (*self.shape, self.blocks.size))
    return jnp.maximum(self.blocks.total(where.sum(-1)), 1)

  def allowed_prior(self, prior: jax.Array | None = None) -> jax.Array:
    """This device's block ``[V/n]`` of the prior; ``[..., V/n]`` if masked.

    Args:
      prior: ``[V]`` or ``[V/n]``; default uniform. With a mask it is renormalised
        over the allowed classes of all devices.
    """
    weights = self._prior(prior)
    if self.where is None:
      return weights
    kept = jnp.where(self.where, aligned(weights, self.where.ndim), 0.0)
    mass = self.blocks.total(kept.sum(-1, keepdims=True))
    return kept / jnp.where(mass > 0, mass, 1.0)

  def _prior(self, prior: jax.Array | None) -> jax.Array:
    """Its block ``[V/n]``, 0 on the padding."""
    dtype, size = self._mass.dtype, self.blocks.size
    if prior is None:
      weights = jnp.full(size, 1 / self.num_classes, dtype)
    else:
      weights = self.blocks.own(jnp.asarray(prior, dtype), 'prior')
      check_prior_shape(weights, size)
    return jnp.where(self.blocks.real(), weights, 0.0) if self._padded else weights

  @property
  def _padded(self) -> bool:
    return self.blocks.padded

  def tempered(self, temperature: Any) -> 'ShardedCategorical':
    """The distribution of ``logits / temperature``; its log-normaliser is shifted."""
    local = self.local.tempered(temperature)
    offset = jnp.where(self._empty, 0.0, self._offset())
    mass = offset / temperature + tempered_mass(self.local, local, temperature)
    mass = jnp.where(self._empty, -jnp.inf, mass)
    new = object.__new__(ShardedCategorical)
    merged = merge(*split(mass), self.axis_name)
    new._set((local, *merged), (self.blocks, self._masked))
    return new

  def sum(self, phi: Callable[..., jax.Array], *class_arrays: jax.Array) -> jax.Array:
    """Σ_k phi(log p_k, a_k, b_k, …) over the whole vocabulary, ``[...]``.

    Args:
      phi: elementwise function of log p and of the class arrays.
      *class_arrays: broadcastable to ``[..., V]`` or to ``[..., V/n]``.
    """

    def shifted(log_p: jax.Array, offset: jax.Array, *arrays: jax.Array) -> jax.Array:
      return phi(shifted_log_p(log_p, offset), *arrays)

    arrays = [self.blocks.own(class_array(a), 'sum') for a in class_arrays]
    return self.blocks.total(
      self.local.sum(shifted, self._offset()[..., None], *arrays)
    )

  def of_logits(self, logits: jax.Array, where: jax.Array | None) -> Distribution:
    """A distribution over the same classes, split in the same way."""
    return ShardedCategorical(logits, self.axis_name, self.num_classes, where)


_FIELDS = ('local', '_mass', '_shift', '_log_sum', 'blocks', '_masked')


def _allowed(
  where: jax.Array | None, shape: tuple[int, ...], blocks: Blocks
) -> jax.Array | None:
  """A mask of this device's classes without the padding, or None."""
  if where is not None:
    where = as_where(blocks.own(jnp.asarray(where), 'where'), shape)
  if not blocks.padded:
    return where
  real = aligned(blocks.real(), len(shape))
  return real if where is None else where & real


def _without_padding(local: Distribution, blocks: Blocks) -> Distribution:
  if not blocks.padded:
    return local
  where = getattr(local, 'where', None)
  if isinstance(local, Categorical):
    return Categorical(local.logits, _allowed(where, local.logits.shape, blocks))
  masked: Any = getattr(local, 'masked', None)
  if masked is not None:  # as a LinearCategorical can be
    shape = (*local.shape, local.num_classes)
    out: Distribution = masked(_allowed(where, shape, blocks))
    return out
  if where is None:
    raise ValueError(
      f'num_classes: {blocks.num_classes} classes leave padding in {blocks.count} '
      f'blocks of {blocks.size}: mask it in {type(local).__name__} by a where'
    )
  return local
