"""Penalties on confident predictions, and the family between the two KLs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.base import AddPenalty, add_penalty
from regularizers.categorical import Distribution, class_sum
from regularizers.divergence import relative_entropy, skew_divergence
from regularizers.values import (
  ScalarOrSchedule,
  Value,
  check_number,
  check_prior,
  show,
  value_at,
)


@dataclasses.dataclass(frozen=True)
class NegativeEntropy(Value):
  """−H(p), or max(0, threshold − H(p)), in nats."""

  threshold: ScalarOrSchedule | None = None

  def __call__(
    self, p: Distribution, labels: jax.Array, *, step: Any = None
  ) -> jax.Array:
    entropy = p.entropy()
    if self.threshold is None:
      return -entropy
    missing = value_at(self.threshold, step, 'confidence_penalty: threshold') - entropy
    # `where`, not `maximum`: at the kink the gradient is 0, not half of it.
    return jnp.where(missing > 0, missing, 0.0)

  def __str__(self) -> str:
    if self.threshold is None:
      return '−H(p)'
    return f'max(0, {show(self.threshold)} − H(p))'


def confidence_penalty(
  weight: ScalarOrSchedule, threshold: ScalarOrSchedule | None = None
) -> AddPenalty:
  """Penalises low entropy of the predicted distribution.

  Adds −β·H(p), or with a threshold Γ the hinge +β·max(0, Γ − H(p)), which does
  not affect predictions that are uncertain enough. (The paper prints the hinge with a
  minus sign, which would reward confidence.) The objective can become negative.

  Args:
    weight: β ≥ 0; scalar or schedule of ``step`` (the paper suggests annealing).
    threshold: Γ in nats, at most log V to be reachable; scalar or schedule.

  Returns:
    A transform. Without threshold its gradient is that of β·KL(p‖u).

  Raises:
    ValueError: a negative weight or threshold.
    TypeError: at the call, a schedule without ``step``.

  References:
    Pereyra, Tucker, Chorowski, Kaiser, Hinton, *Regularizing Neural Networks by
    Penalizing Confident Output Distributions*, 2017.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> logits, labels = jnp.array([[2.0, 1.0, 0.1, -1.0]]), jnp.array([0])
    >>> loss = reg.confidence_penalty(0.1)(reg.cross_entropy)
    >>> print(loss(logits, labels).round(4))
    [0.3532]
    >>> print(reg.confidence_penalty(0.1, threshold=1.0)(reg.cross_entropy))
    cross_entropy + 0.1·(max(0, 1 − H(p)))
  """
  check_number('confidence_penalty: threshold', threshold, optional=True)
  penalty = NegativeEntropy(threshold)
  return add_penalty(penalty, weight, name='confidence_penalty')


@dataclasses.dataclass(frozen=True)
class ForwardKL(Value):
  """KL(prior‖p), in nats."""

  prior: jax.Array | None = None

  def __call__(self, p: Distribution, labels: jax.Array) -> jax.Array:
    return self._negative_entropy(p) - p.mean_log_prob(self.prior)

  def split(self, p: Distribution, labels: jax.Array) -> tuple[Any, Any]:
    """(rest, prior) with penalty = rest − Σ_k prior_k log p_k."""
    rest = jnp.broadcast_to(self._negative_entropy(p), p.shape)
    return rest, p.allowed_prior(self.prior)

  def _negative_entropy(self, p: Distribution) -> jax.Array:
    prior = p.allowed_prior(self.prior)
    if self.prior is None:
      return -jnp.log(jnp.asarray(p.num_allowed(), prior.dtype))
    positive = jnp.where(prior > 0, prior, 1.0)
    return class_sum(p, positive * jnp.log(positive))

  def __str__(self) -> str:
    return f'KL({"u" if self.prior is None else "prior"}‖p)'


def forward_kl(weight: ScalarOrSchedule, prior: jax.Array | None = None) -> AddPenalty:
  """Adds weight·KL(prior‖p): label smoothing's direction, mass-covering.

  Args:
    weight: ≥ 0; scalar or schedule of ``step``.
    prior: ``[V]``, probabilities. Default: uniform.

  Returns:
    A transform. ε/(1 − ε)·KL(u‖p) added to the cross-entropy is label smoothing
    by ε, up to a factor and a constant.

  Raises:
    ValueError: a negative weight; a prior that is negative or does not sum to one.

  References:
    Pereyra et al., 2017, §3.2.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> penalty = reg.forward_kl(1.0)
    >>> parts = reg.terms(penalty(reg.cross_entropy))
    >>> logits = jnp.array([[2.0, 1.0, 0.1, -1.0]])
    >>> print(parts(logits, jnp.array([0]))['forward_kl'].round(4))
    [0.538]
  """
  check_prior('forward_kl: prior', prior)
  prior = None if prior is None else jnp.asarray(prior)
  return add_penalty(ForwardKL(prior), weight, name='forward_kl')


@dataclasses.dataclass(frozen=True)
class ReverseKL(Value):
  """KL(p‖prior), in nats."""

  prior: jax.Array | None = None

  def __call__(self, p: Distribution, labels: jax.Array) -> jax.Array:
    if self.prior is None:
      entropy = p.entropy()
      return jnp.log(jnp.asarray(p.num_allowed(), entropy.dtype)) - entropy
    return relative_entropy(p, jnp.log(p.allowed_prior(self.prior)))

  def __str__(self) -> str:
    return f'KL(p‖{"u" if self.prior is None else "prior"})'


def reverse_kl(weight: ScalarOrSchedule, prior: jax.Array | None = None) -> AddPenalty:
  """Adds weight·KL(p‖prior): the confidence penalty's direction, mode-seeking.

  Args:
    weight: ≥ 0; scalar or schedule of ``step``.
    prior: ``[V]``, probabilities. Default: uniform, for which this is the
      confidence penalty plus the constant weight·log V.

  Returns:
    A transform; +inf where p > 0 meets a prior of 0.

  Raises:
    ValueError: a negative weight; a prior that is negative or does not sum to one.

  References:
    Pereyra et al., 2017, §3.2.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> parts = reg.terms(reg.reverse_kl(1.0)(reg.cross_entropy))
    >>> logits = jnp.array([[2.0, 1.0, 0.1, -1.0]])
    >>> print(parts(logits, jnp.array([0]))['reverse_kl'].round(4))
    [0.4256]
  """
  check_prior('reverse_kl: prior', prior)
  prior = None if prior is None else jnp.asarray(prior)
  return add_penalty(ReverseKL(prior), weight, name='reverse_kl')


@dataclasses.dataclass(frozen=True)
class SkewDivergence(Value):
  """KL(u‖m)/α + KL(p‖m)/(1 − α) with m = (1 − α)u + αp, in nats."""

  alpha: ScalarOrSchedule
  prior: jax.Array | None = None

  def __call__(
    self, p: Distribution, labels: jax.Array, *, step: Any = None
  ) -> jax.Array:
    prior = p.allowed_prior(self.prior)
    alpha = jnp.asarray(
      value_at(self.alpha, step, 'generalized_entropy: alpha'), prior.dtype
    )
    return skew_divergence(p, prior, alpha)

  def __str__(self) -> str:
    return f'J[{show(self.alpha)}]({"u" if self.prior is None else "prior"}, p)'


def generalized_entropy(
  weight: ScalarOrSchedule,
  alpha: ScalarOrSchedule,
  prior: jax.Array | None = None,
) -> AddPenalty:
  """The skew-Jensen family that joins the two directions of KL.

  Adds weight·J_α with
  J_α = [(1 − α)G(u) + αG(p) − G((1 − α)u + αp)] / (α(1 − α)), G(q) = Σ q log q:
  KL(p‖u) at α = 0 (the confidence penalty's direction), KL(u‖p) at α = 1 (label
  smoothing's), four times the Jensen–Shannon divergence at α = ½.

  Args:
    weight: ≥ 0; scalar or schedule of ``step``.
    alpha: in [0, 1], both ends included, accurate near them; scalar or schedule.
    prior: u, ``[V]``, probabilities. Default: uniform.

  Returns:
    A transform; +inf where p > 0 meets a prior of 0 at α = 0, or a prior > 0 meets
    p = 0 at α = 1.

  Raises:
    ValueError: a negative weight; α outside [0, 1]; a prior that is negative or
      does not sum to one.

  References:
    Meister, Salesky, Cotterell, *Generalized Entropy Regularization or: There's
    Nothing Special about Label Smoothing*, 2020.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> logits, labels = jnp.array([[2.0, 1.0, 0.1, -1.0]]), jnp.array([0])
    >>> for alpha in (0.0, 0.5, 1.0):
    ...   loss = reg.generalized_entropy(1.0, alpha)(reg.cross_entropy)
    ...   (divergence,) = reg.terms(loss)(logits, labels)['generalized_entropy']
    ...   print(f'{divergence:.4f}')
    0.4256
    0.4397
    0.5380
  """
  check_number('generalized_entropy: alpha', alpha, high=1.0)
  check_prior('generalized_entropy: prior', prior)
  prior = None if prior is None else jnp.asarray(prior)
  return add_penalty(SkewDivergence(alpha, prior), weight, name='generalized_entropy')
