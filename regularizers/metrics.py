"""Metrics as sums and counts, so that batches and shards merge exactly.

Each average takes ``logits`` (``[..., V]``, or a distribution), ``labels`` and an
optional ``mask`` of positions (booleans or weights, broadcastable to ``[...]``)
and returns ``(sum, count)``; add both up over batches and divide at the end.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from regularizers.categorical import Categorical, Distribution, as_distribution
from regularizers.checks import check_labels
from regularizers.dtypes import widened
from regularizers.reductions import fit, masked_sum

Average = tuple[jax.Array, jax.Array]
"""``(sum, count)``, two scalars: the average is sum / count, after merging."""

Mask = jax.Array | None
"""Booleans or weights of positions, broadcastable to ``[...]``; None: all count."""


def _average(values: jax.Array, mask: jax.Array | None) -> Average:
  return masked_sum(values, mask), masked_sum(jnp.ones_like(values), mask)


def nll(
  logits: jax.Array | Distribution, labels: jax.Array, mask: Mask = None
) -> Average:
  """Sum of −log p(labels), in nats, and count.

  Example:
    >>> total, count = nll(jnp.zeros((2, 4)), jnp.array([0, 1]))
    >>> print((total / count).round(4))
    1.3863
  """
  return _average(-as_distribution(logits).log_prob(labels), mask)


def entropy(logits: jax.Array | Distribution, *, mask: Mask = None) -> Average:
  """Sum of the predicted distributions' entropy, in nats, and count.

  Example:
    >>> total, count = entropy(jnp.zeros((2, 4)))
    >>> print((total / count).round(4))
    1.3863
  """
  return _average(as_distribution(logits).entropy(), mask)


def accuracy(
  logits: jax.Array | Categorical, labels: jax.Array, mask: Mask = None
) -> Average:
  """Number of positions whose likeliest class is the label, and count.

  Labels that are a distribution count by their likeliest class. A label that is
  out of range is never right.

  Example:
    >>> right, count = accuracy(jnp.eye(3), jnp.array([0, 1, 0]))
    >>> print(right, count)
    2.0 3.0
  """
  p = _dense(logits)
  return _average(_right(p, labels), mask)


def brier(
  logits: jax.Array | Categorical, labels: jax.Array, mask: Mask = None
) -> Average:
  """Sum over positions of Σ_k (p_k − y_k)², between 0 and 2, and count.

  References:
    Brier, *Verification of Forecasts Expressed in Terms of Probability*, 1950.

  Example:
    >>> total, count = brier(jnp.zeros((1, 2)), jnp.array([0]))
    >>> print((total / count).round(4))
    0.5
  """
  p = _dense(logits)
  probabilities = jnp.exp(p.log_probs())
  labels = check_labels(labels, p.shape, p.num_classes)
  if jnp.issubdtype(labels.dtype, jnp.floating):
    labels = labels.astype(widened(labels.dtype))
    return _average(jnp.square(probabilities - labels).sum(-1), mask)
  # Expanded, so that no one-hot array is built.
  right = jnp.exp(p.log_prob(labels))
  return _average(jnp.square(probabilities).sum(-1) - 2 * right + 1, mask)


def perplexity(average: Average) -> jax.Array:
  """exp(sum / count) of an `nll`: merge first, then take the exponential.

  Example:
    >>> print(perplexity(nll(jnp.zeros((2, 4)), jnp.array([0, 1]))).round(4))
    4.0
  """
  total, count = average
  return jnp.exp(total / count)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CalibrationBins:
  """Sums over the positions whose confidence falls in a bin; each ``[bins]``."""

  confidence: jax.Array
  correct: jax.Array
  count: jax.Array

  def merge(self, other: 'CalibrationBins') -> 'CalibrationBins':
    """The bins of both sets of positions."""
    merged: CalibrationBins = jax.tree.map(jnp.add, self, other)
    return merged


def calibration_bins(
  logits: jax.Array | Categorical,
  labels: jax.Array,
  mask: Mask = None,
  *,
  num_bins: int = 15,
) -> CalibrationBins:
  """Confidence, correctness and count by bins (i/n, (i+1)/n] of confidence.

  Args:
    logits: ``[..., V]``, or a `Categorical`.
    labels: integers ``[...]`` or distributions ``[..., V]``.
    mask: of positions.
    num_bins: number of equal bins of (0, 1].

  Raises:
    ValueError: fewer than one bin.

  Example:
    >>> p = jnp.log(jnp.array([[0.7, 0.3], [0.2, 0.8]]))
    >>> print(calibration_bins(p, jnp.array([0, 0]), num_bins=2).count)
    [0. 2.]
  """
  if num_bins < 1:
    raise ValueError(f'num_bins: expected at least 1, got {num_bins}')
  p = _dense(logits)
  confidence = jnp.exp(p.log_probs()).max(-1)
  index = jnp.clip(jnp.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
  ones = jnp.ones_like(confidence)
  if mask is not None:
    ones = fit(mask, ones).astype(ones.dtype)

  def total(values: jax.Array) -> jax.Array:
    weighted = jnp.where(ones != 0, ones * values, 0.0)
    return jnp.zeros(num_bins).at[index.ravel()].add(weighted.ravel())

  right = _right(p, labels)
  return CalibrationBins(total(confidence), total(right), total(jnp.ones_like(right)))


def ece_of_bins(bins: CalibrationBins) -> jax.Array:
  """Σ_bins |correct − confidence| / Σ_bins count: between 0 and 1.

  Example:
    >>> p = jnp.log(jnp.array([[0.7, 0.3], [0.2, 0.8]]))
    >>> bins = calibration_bins(p, jnp.array([0, 0]), num_bins=2)
    >>> print(ece_of_bins(bins).round(4))
    0.25
  """
  gap = jnp.abs(bins.correct - bins.confidence)
  return gap.sum() / jnp.maximum(bins.count.sum(), 1)


def ece(
  logits: jax.Array | Categorical,
  labels: jax.Array,
  mask: Mask = None,
  *,
  num_bins: int = 15,
) -> jax.Array:
  """Expected calibration error of one batch, between 0 and 1.

  It is no average over positions: for several batches merge their
  `calibration_bins` and take `ece_of_bins`.

  References:
    Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, 2017.

  Example:
    >>> print(ece(jnp.log(jnp.array([[0.7, 0.3]])), jnp.array([0])).round(4))
    0.3
  """
  return ece_of_bins(calibration_bins(logits, labels, mask, num_bins=num_bins))


class Churn(NamedTuple):
  """How much two models' predictions differ; each a ``(sum, count)``."""

  disagreement: Average
  absolute_difference: Average


def churn(
  logits: jax.Array | Categorical, other: jax.Array | Categorical, mask: Mask = None
) -> Churn:
  """Prediction churn between two models (or two trainings of one).

  Args:
    logits: ``[..., V]``, or a `Categorical`.
    other: of the same shape.
    mask: of positions.

  Returns:
    ``disagreement``, of positions whose likeliest classes differ, and
    ``absolute_difference``, of |p_k − q_k| averaged over the classes; for two classes
    that is the difference of the probabilities of either.

  Raises:
    ValueError: shapes that differ.

  References:
    Anil et al., 2018; Fard, Cormier, Canini, Gupta, *Launch and Iterate: Reducing
    Prediction Churn*, 2016.

  Example:
    >>> a, b = jnp.log(jnp.array([[0.6, 0.4]])), jnp.log(jnp.array([[0.4, 0.6]]))
    >>> total, count = churn(a, b).absolute_difference
    >>> print((total / count).round(4))
    0.2
  """
  p, q = _dense(logits), _dense(other)
  if p.logits.shape != q.logits.shape:
    raise ValueError(
      f'churn: shapes differ: {list(p.logits.shape)} and {list(q.logits.shape)}'
    )
  log_p, log_q = p.log_probs(), q.log_probs()
  differs = jnp.argmax(log_p, -1) != jnp.argmax(log_q, -1)
  distance = jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)).mean(-1)
  return Churn(_average(differs.astype(distance.dtype), mask), _average(distance, mask))


def _dense(logits: jax.Array | Categorical) -> Categorical:
  p = as_distribution(logits)
  if not isinstance(p, Categorical):
    raise TypeError(f'expected dense logits, got {type(p).__name__}')
  return p


def _right(p: Categorical, labels: jax.Array) -> jax.Array:
  labels = check_labels(labels, p.shape, p.num_classes)
  if jnp.issubdtype(labels.dtype, jnp.floating):
    labels = jnp.argmax(labels, -1)
  return (jnp.argmax(p.log_probs(), -1) == labels).astype(p.logits.dtype)
