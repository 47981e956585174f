"""Smoothed labels: uniform, by a prior, and by sampled noise."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.base import AddPenalty, Transform, add_penalty, as_loss
from regularizers.categorical import Distribution
from regularizers.checks import as_array, check_labels
from regularizers.loss import Loss
from regularizers.values import (
  ScalarOrSchedule,
  Value,
  check_number,
  check_prior,
  show,
  value_at,
)


@dataclasses.dataclass(frozen=True)
class Smoothing(Value):
  """CE(prior, p) − CE(y, p), in nats."""

  prior: jax.Array | None = None
  exclude_target: bool = False

  def __call__(self, p: Distribution, labels: jax.Array) -> jax.Array:
    difference = _finite_log_prob(p, labels) - p.mean_log_prob(self.prior)
    return self._scale(p) * difference if self.exclude_target else difference

  def split(self, p: Distribution, labels: jax.Array) -> tuple[Any, Any]:
    """(rest, prior) with penalty = rest − Σ_k prior_k log p_k."""
    scale = self._scale(p) if self.exclude_target else 1.0
    return scale * _finite_log_prob(p, labels), scale * p.allowed_prior(self.prior)

  def _scale(self, p: Distribution) -> Any:
    classes = p.num_allowed()
    if isinstance(classes, int):
      return classes / max(classes - 1, 1)
    return classes / jnp.maximum(classes - 1, 1)

  def __str__(self) -> str:
    prior = 'u' if self.prior is None else 'prior'
    scale = 'V/(V−1)·' if self.exclude_target else ''
    inner = f'CE({prior}, p) − CE(y, p)'
    return f'{scale}({inner})' if scale else inner


def _finite_log_prob(p: Distribution, labels: jax.Array) -> jax.Array:
  """log p(y), or 0 where it is −inf: the base is +inf there, and ∞ − ∞ no number."""
  log_p = p.log_prob(labels)
  return jnp.where(jnp.isneginf(log_p), 0.0, log_p)


def label_smoothing(
  epsilon: ScalarOrSchedule, exclude_target: bool = False
) -> AddPenalty:
  """Uniform label smoothing.

  Adds ε·(CE(u, p) − CE(y, p)). On `cross_entropy` that is exactly the
  cross-entropy of the targets (1 − ε)·y + ε·u, with u = 1/V on every class, the
  true one included. On another base it is the same addition.

  Args:
    epsilon: mass moved from the label, in [0, 1]; scalar or schedule of ``step``.
    exclude_target: put ε/(V − 1) on each of the other classes instead, as fairseq,
      t5x and Megatron do; equal to the default at ε·V/(V − 1).

  Returns:
    A transform. Under ``where`` u is uniform over the allowed classes; without
    it a logit of −inf makes the loss +inf, as the formula says.

  Raises:
    ValueError: ε outside [0, 1].

  References:
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, *Rethinking the Inception
    Architecture for Computer Vision*, 2016. Pereyra, Tucker, Chorowski, Kaiser,
    Hinton, *Regularizing Neural Networks by Penalizing Confident Output
    Distributions*, 2017.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> loss = reg.label_smoothing(0.1)(reg.cross_entropy)
    >>> print(loss(jnp.array([[2.0, 1.0, 0.1, -1.0]]), jnp.array([0])).round(4))
    [0.5968]
  """
  check_number('label_smoothing: epsilon', epsilon, high=1.0)
  if not isinstance(exclude_target, bool):
    raise TypeError(
      f'label_smoothing: exclude_target: expected a bool, got {exclude_target!r}'
    )
  penalty = Smoothing(exclude_target=exclude_target)
  return add_penalty(penalty, epsilon, name='label_smoothing')


def unigram_smoothing(epsilon: ScalarOrSchedule, prior: jax.Array) -> AddPenalty:
  """Label smoothing towards a prior, usually the labels' own frequencies.

  Adds ε·(CE(prior, p) − CE(y, p)): on `cross_entropy`, the cross-entropy of the
  targets (1 − ε)·y + ε·prior.

  Args:
    epsilon: mass moved from the label, in [0, 1]; scalar or schedule of ``step``.
    prior: ``[V]``, probabilities; see `unigram_prior`.

  Returns:
    A transform. Under ``where`` the prior is renormalised over the allowed
    classes. Several priors in a chain are added up and read once.

  Raises:
    ValueError: ε outside [0, 1]; a prior that is negative or does not sum to one.

  References:
    Pereyra et al., 2017 (named and measured there; no formula printed).

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> prior = jnp.array([0.5, 0.25, 0.15, 0.1])
    >>> loss = reg.unigram_smoothing(0.1, prior)(reg.cross_entropy)
    >>> print(loss(jnp.array([[2.0, 1.0, 0.1, -1.0]]), jnp.array([0])).round(4))
    [0.5328]
  """
  check_number('unigram_smoothing: epsilon', epsilon, high=1.0)
  check_prior('unigram_smoothing: prior', as_array('unigram_smoothing: prior', prior))
  return add_penalty(Smoothing(jnp.asarray(prior)), epsilon, name='unigram_smoothing')


def unigram_prior(
  labels: jax.Array, num_classes: int, temperature: float | jax.Array = 1.0
) -> jax.Array:
  """Frequencies of labels, for `unigram_smoothing` and the KL penalties.

  Args:
    labels: integers of any shape.
    num_classes: ``V``.
    temperature: T > 0; counts are raised to 1/T before they are normalised, so
      that large T gives the uniform distribution over the labels that occur.

  Returns:
    ``[V]``, float32, sums to one.

  Raises:
    TypeError: labels that are not integers.
    ValueError: no labels, labels outside [0, V), T ≤ 0 (each when concrete).

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> print(reg.unigram_prior(jnp.array([0, 0, 0, 2]), 3))
    [0.75 0.   0.25]
  """
  labels = as_array('labels', labels)
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise TypeError(f'labels: expected integers, got {labels.dtype}')
  if not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
    raise ValueError(f'num_classes: expected an integer > 0, got {num_classes!r}')
  check_number('unigram_prior: temperature', temperature, above=True)
  if not isinstance(labels, jax.core.Tracer):
    _check_range(np.asarray(labels), num_classes)
  counts = jnp.bincount(jnp.ravel(labels), length=num_classes).astype(jnp.float32)
  # Relative to the most frequent label, so that no power of a count overflows.
  scaled = counts / counts.max()
  powers = jnp.where(counts > 0, scaled ** (1 / temperature), 0.0)
  return powers / powers.sum()


def _check_range(labels: np.ndarray, num_classes: int) -> None:
  if labels.size == 0:
    raise ValueError('labels: expected at least one, got none')
  low, high = labels.min(), labels.max()
  if low < 0 or high >= num_classes:
    raise ValueError(f'labels: expected [0, {num_classes}), got {low} to {high}')


@dataclasses.dataclass(frozen=True)
class LabelNoise(Loss):
  """The loss of labels some of which are replaced by draws from a prior."""

  loss: Loss
  rate: ScalarOrSchedule
  prior: jax.Array | None = None

  def keywords(self) -> frozenset[str] | None:
    return self.loss.keywords()

  def value(self, p: Distribution, labels: jax.Array, **extra: Any) -> jax.Array:
    labels, extra = self._replace(p, labels, extra)
    return self.loss.value(p, labels, **extra)

  def parts(
    self, p: Distribution, labels: jax.Array, **extra: Any
  ) -> dict[str, jax.Array]:
    labels, extra = self._replace(p, labels, extra)
    return self.loss.parts(p, labels, **extra)

  def _replace(
    self, p: Distribution, labels: jax.Array, extra: dict[str, Any]
  ) -> tuple[jax.Array, dict[str, Any]]:
    key = extra.get('key')
    if key is None:
      raise TypeError('label_noise draws labels: call the loss with key=…')
    dtype = as_array('labels', labels).dtype
    if not jnp.issubdtype(dtype, jnp.integer):
      raise TypeError(f'label_noise: expected integer labels, got {dtype}')
    labels = check_labels(labels, p.shape, p.num_classes)
    rate = value_at(self.rate, extra.get('step'), 'label_noise: rate')
    replace_key, draw_key, inner_key = _split_key(key)
    noise = self._draw(draw_key, p, labels)
    replaced = jax.random.uniform(replace_key, labels.shape) < rate
    # An invalid label stays invalid: noise must not hide it.
    valid = ~jnp.isnan(p.log_prob(labels))
    labels = jnp.where(replaced & valid, noise, labels)
    return labels, {**extra, 'key': inner_key}

  def _draw(self, key: jax.Array, p: Distribution, labels: jax.Array) -> jax.Array:
    if self.prior is None and getattr(p, 'where', None) is None:
      return jax.random.randint(key, labels.shape, 0, p.num_classes, labels.dtype)
    cumulative = jnp.cumsum(p.allowed_prior(self.prior), axis=-1)
    uniform = jax.random.uniform(key, labels.shape, cumulative.dtype)
    blocks = getattr(p, 'blocks', None)
    if blocks is None:
      drawn = _passed(cumulative, uniform * cumulative[..., -1])
    else:
      before, mass = blocks.before(cumulative[..., -1])
      drawn = blocks.total(_passed(cumulative, uniform * mass - before))
    return jnp.minimum(drawn, p.num_classes - 1).astype(labels.dtype)

  def __str__(self) -> str:
    prior = 'u' if self.prior is None else 'prior'
    return f'label_noise[{show(self.rate)}, {prior}]({self.loss})'


def _split_key(key: Any) -> jax.Array:
  try:
    return jax.random.split(key, 3)
  except (TypeError, ValueError) as error:
    raise TypeError(
      f'label_noise: key: expected one jax.random.key, got {key!r}'
    ) from error


def _passed(cumulative: jax.Array, target: jax.Array) -> jax.Array:
  """How many of the cumulated weights are at most the target, ``[...]``."""
  if cumulative.ndim == 1:
    return jnp.searchsorted(cumulative, target, side='right')
  return (cumulative <= target[..., None]).sum(-1)


@dataclasses.dataclass(frozen=True)
class AddLabelNoise(Value):
  """The transform of `label_noise`."""

  rate: ScalarOrSchedule
  prior: jax.Array | None = None

  def __call__(self, loss: Any) -> Loss:
    return LabelNoise(as_loss(loss), self.rate, self.prior)

  def __str__(self) -> str:
    return f'label_noise({show(self.rate)})'


def label_noise(rate: ScalarOrSchedule, prior: jax.Array | None = None) -> Transform:
  """Replaces each label, with probability ``rate``, by a draw from a prior.

  The expectation over draws is `label_smoothing` (or `unigram_smoothing`) with
  ε = rate: the prior may draw the true label too. Put it last in a chain: what
  stands inside sees the noisy labels. The loss needs ``key=``, a fresh one per step.

  Args:
    rate: probability in [0, 1]; scalar or schedule of ``step``.
    prior: ``[V]``, probabilities. Default: uniform, over the allowed classes.

  Returns:
    A transform; takes O(rows + V) memory (with a ``where`` of one mask per row, as
    much as that mask).

  Raises:
    ValueError: rate outside [0, 1]; a prior that is negative or does not sum to
      one.
    TypeError: labels that are a distribution; no ``key``.

  References:
    Xie, Wang, Wei, Wang, Tian, *DisturbLabel: Regularizing CNN on the Loss Layer*,
    2016; used on Penn Treebank by Pereyra et al., 2017.

  Example:
    >>> import jax, jax.numpy as jnp, regularizers as reg
    >>> loss = reg.label_noise(0.1)(reg.cross_entropy)
    >>> key = jax.random.key(0)
    >>> print(loss(jnp.zeros((2, 4)), jnp.array([0, 1]), key=key).round(4))
    [1.3863 1.3863]
  """
  check_number('label_noise: rate', rate, high=1.0)
  check_prior('label_noise: prior', prior)
  return AddLabelNoise(rate, None if prior is None else jnp.asarray(prior))
