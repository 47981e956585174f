"""Weights of classes, and the penalty on the log-normaliser."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.base import AddPenalty, Transform, add_penalty, as_loss, weighted
from regularizers.categorical import Distribution
from regularizers.checks import as_array, check_labels
from regularizers.dtypes import widened
from regularizers.loss import Loss
from regularizers.values import ScalarOrSchedule, Value, check_number


@dataclasses.dataclass(frozen=True)
class SquaredLogNormalizer(Value):
  """(log Σ exp z)²."""

  def __call__(self, p: Distribution, labels: jax.Array) -> jax.Array:
    return jnp.square(p.log_normalizer())

  def __str__(self) -> str:
    return 'log²Z'


def z_loss(weight: ScalarOrSchedule) -> AddPenalty:
  """Adds weight·(log Σ exp z)², which keeps the logits' level near zero.

  The one member of the package that is not invariant to shifts of the logits.

  Args:
    weight: ≥ 0, commonly 1e-4; scalar or schedule of ``step``.

  Returns:
    A transform.

  Raises:
    ValueError: a negative weight.

  References:
    Chowdhery et al., *PaLM: Scaling Language Modeling with Pathways*, 2022.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> loss = reg.z_loss(0.5)(reg.cross_entropy)
    >>> print(loss(jnp.zeros((1, 4)), jnp.array([0])).round(4))
    [2.3472]
  """
  return add_penalty(SquaredLogNormalizer(), weight, name='z_loss')


@dataclasses.dataclass(frozen=True)
class ClassWeighted(Loss):
  """weights[y] · loss."""

  loss: Loss
  weights: jax.Array

  def keywords(self) -> frozenset[str] | None:
    return self.loss.keywords()

  def value(self, p: Distribution, labels: jax.Array, **extra: Any) -> jax.Array:
    return weighted(self._of(p, labels), self.loss.value(p, labels, **extra))

  def parts(
    self, p: Distribution, labels: jax.Array, **extra: Any
  ) -> dict[str, jax.Array]:
    weights = self._of(p, labels)
    parts = self.loss.parts(p, labels, **extra)
    return {name: weighted(weights, part) for name, part in parts.items()}

  def _of(self, p: Distribution, labels: jax.Array) -> jax.Array:
    blocks = getattr(p, 'blocks', None)
    if blocks is not None:
      return self._of_blocks(p, labels, blocks)
    if self.weights.shape != (p.num_classes,):
      raise ValueError(
        f'class_weights: expected [{p.num_classes}] for {p.num_classes} classes, '
        f'got {list(self.weights.shape)}'
      )
    labels = check_labels(labels, p.shape, p.num_classes)
    if jnp.issubdtype(labels.dtype, jnp.floating):
      weights = jnp.broadcast_to(self.weights, labels.shape)
      return (labels.astype(widened(labels.dtype)) * weights).sum(-1)
    # An invalid label has whatever weight: the loss under it is NaN.
    return self.weights[jnp.clip(labels, 0, p.num_classes - 1)]

  def _of_blocks(self, p: Distribution, labels: jax.Array, blocks: Any) -> jax.Array:
    """The same of weights and labels that are whole or this device's part."""
    labels, weights = jnp.asarray(labels), blocks.own(self.weights, 'class_weights')
    if jnp.issubdtype(labels.dtype, jnp.floating):
      labels = check_labels(blocks.own(labels, 'labels'), p.shape, blocks.size)
      weights = jnp.broadcast_to(weights, labels.shape)
      out: jax.Array = blocks.class_sum(labels.astype(widened(labels.dtype)) * weights)
      return out
    labels = check_labels(labels, p.shape, p.num_classes)
    out = blocks.class_value(weights, labels)
    return out

  def __str__(self) -> str:
    return f'class_weight[y]·({self.loss})'


@dataclasses.dataclass(frozen=True)
class WeightClasses(Value):
  """The transform of `class_weights`."""

  weights: jax.Array

  def __call__(self, loss: Any) -> Loss:
    return ClassWeighted(as_loss(loss), self.weights)

  def __str__(self) -> str:
    return f'class_weights([{self.weights.shape[-1]}])'


def class_weights(weights: jax.Array) -> Transform:
  """Multiplies the loss of a position by the weight of its label.

  It scales what is inside it, smoothing and penalties included, by the weight of
  the true class; what comes after it in a chain is not scaled. (torch weighs every
  smoothed class by its own weight instead, which turns smoothing into a prior.)

  Args:
    weights: ``[V]``, ≥ 0. For labels that are a distribution t: Σ_k t_k w_k.

  Returns:
    A transform. It does not renormalise; for a weighted mean divide by the sum of
    the weights of the labels.

  Raises:
    ValueError: weights that are negative or not ``[V]``.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> loss = reg.class_weights(jnp.array([1.0, 3.0]))(reg.cross_entropy)
    >>> print(loss(jnp.zeros((2, 2)), jnp.array([0, 1])).round(4))
    [0.6931 2.0794]
  """
  weights = as_array('class_weights', weights)
  check_number('class_weights', weights)
  if np.ndim(weights) != 1:
    raise ValueError(f'class_weights: expected [V], got {list(np.shape(weights))}')
  return WeightClasses(weights.astype(widened(weights.dtype)))
