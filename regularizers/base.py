"""Transforms of losses, and the one combinator they are made with."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.categorical import Distribution
from regularizers.checks import check_per_position
from regularizers.loss import Loss, check_keywords, of_prediction
from regularizers.plain import Plain, accepted, keyword_names
from regularizers.values import (
  ScalarOrSchedule,
  Value,
  check_number,
  show,
  value_at,
)

Penalty = Callable[..., jax.Array]
"""``penalty(distribution, labels, **extra) -> [...]``, in nats by convention."""

Transform = Callable[[Any], Loss]
"""loss ↦ loss; what it takes may be any function of logits and labels."""


@dataclasses.dataclass(frozen=True)
class Penalized(Loss):
  """loss + weight · penalty.

  Attributes:
    loss: what is added to.
    penalty: `Penalty`.
    weight: scalar or schedule.
    name: what `terms` calls the summand.
  """

  loss: Loss
  penalty: Penalty
  weight: ScalarOrSchedule
  name: str

  def value(self, p: Distribution, labels: jax.Array, **extra: Any) -> jax.Array:
    loss, members = self._members()
    total = loss.value(p, labels, **extra)
    for summand in _sum_of_priors(members, p, labels, extra):
      total = total + summand
    return total

  def parts(
    self, p: Distribution, labels: jax.Array, **extra: Any
  ) -> dict[str, jax.Array]:
    parts = dict(self.loss.parts(p, labels, **extra))
    name, count = self.name, 1
    while name in parts:
      count += 1
      name = f'{self.name}_{count}'
    return {**parts, name: self.summand(p, labels, extra)}

  def summand(
    self, p: Distribution, labels: jax.Array, extra: dict[str, Any]
  ) -> jax.Array:
    """weight · penalty, ``[...]``."""
    penalty = self.penalty(p, labels, **accepted(self.penalty, extra))
    penalty = check_per_position(self.name, penalty, p.shape)
    return weighted(value_at(self.weight, extra.get('step'), self.name), penalty)

  def keywords(self) -> frozenset[str] | None:
    inner, own = self.loss.keywords(), keyword_names(self.penalty)
    return None if inner is None or own is None else inner | set(own)

  def _members(self) -> tuple[Loss, list['Penalized']]:
    members: list[Penalized] = []
    loss: Loss = self
    while isinstance(loss, Penalized):
      members.append(loss)
      loss = loss.loss
    return loss, members[::-1]

  def __str__(self) -> str:
    return f'{self.loss} + {show(self.weight)}·({_name(self.penalty)})'


def _sum_of_priors(
  members: list[Penalized], p: Distribution, labels: jax.Array, extra: dict[str, Any]
) -> list[jax.Array]:
  """The weighted penalties, those with a prior through one mean over classes.

  A penalty of the form rest − Σ_k prior_k log p_k says so by a method
  ``split(p, labels) -> (rest, prior)``; the weighted priors of all of them are
  added up before the row is read once. Not under a mask of classes, where every
  row has its own priors.
  """
  splits = [m.penalty for m in members if hasattr(m.penalty, 'split')]
  has_prior = any(getattr(s, 'prior', None) is not None for s in splits)
  masked = getattr(p, 'where', None) is not None
  if masked or not has_prior:
    return [m.summand(p, labels, extra) for m in members]
  out, prior = [], jnp.zeros(())
  for member in members:
    split = getattr(member.penalty, 'split', None)
    if split is None:
      out.append(member.summand(p, labels, extra))
    else:
      weight = value_at(member.weight, extra.get('step'), member.name)
      rest, own_prior = split(p, labels)
      out.append(weighted(weight, rest))
      prior = prior + weight * own_prior
  return [*out, -p.mean_log_prob(prior)]


def weighted(weight: Any, penalty: jax.Array) -> jax.Array:
  """weight · penalty, with 0 · inf = 0: a penalty of weight 0 is no penalty."""
  weight = jnp.asarray(weight, penalty.dtype)
  absent = (weight == 0) & jnp.isinf(penalty)
  return jnp.where(absent, 0.0, weight * penalty)


@dataclasses.dataclass(frozen=True)
class AddPenalty(Value):
  """The transform loss ↦ loss + weight · penalty; see `add_penalty`."""

  penalty: Penalty
  weight: ScalarOrSchedule
  name: str

  def __call__(self, loss: Any, *more: Any) -> Loss:
    if more:
      raise TypeError(
        f'{self.name} is a transform: give it a loss first, as in '
        f'{self.name}(…)(cross_entropy)(logits, labels)'
      )
    return Penalized(as_loss(loss), self.penalty, self.weight, self.name)

  def __str__(self) -> str:
    return f'{show(self.weight)}·({_name(self.penalty)})'


def add_penalty(
  penalty: Penalty, weight: ScalarOrSchedule, *, name: str | None = None
) -> AddPenalty:
  """The transform that adds ``weight · penalty(p, labels, **extra)`` to a loss.

  Every regularizer of the package is made with it, and so is your own.

  Args:
    penalty: ``(distribution, labels, **extra) -> [...]``. It gets those of the
      keywords of the call that it accepts.
    weight: scalar ≥ 0, traced scalar, or schedule of ``step``.
    name: what `terms` calls it. Default: the penalty's name.

  Returns:
    A transform: loss ↦ loss.

  Raises:
    ValueError: a negative weight.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> def collision(p, labels):  # Σ p², the Rényi-2 kind of confidence
    ...   return p.sum(lambda log_p: jnp.exp(2 * log_p))
    >>> loss = reg.add_penalty(collision, 0.5)(reg.cross_entropy)
    >>> print(loss)
    cross_entropy + 0.5·(collision)
    >>> print(loss(jnp.zeros((1, 4)), jnp.array([0])).round(4))
    [1.5113]
  """
  if not callable(penalty):
    raise TypeError(f'penalty: expected a function, got {penalty!r}')
  name = name or str(getattr(penalty, '__name__', type(penalty).__name__))
  check_number(f'{name}: weight', weight)
  if not isinstance(name, str):
    raise TypeError(f'name: expected a string, got {name!r}')
  return AddPenalty(penalty, weight, name)


@dataclasses.dataclass(frozen=True)
class Chain(Value):
  """Transforms one after the other; see `chain`."""

  transforms: tuple[Transform, ...]

  def __call__(self, loss: Any) -> Loss:
    return functools.reduce(lambda done, t: t(done), self.transforms, as_loss(loss))

  def __str__(self) -> str:
    return f'chain({", ".join(map(str, self.transforms))})'


def chain(*transforms: Transform) -> Chain:
  """Applies transforms in order: ``chain(a, b)(loss)`` is ``b(a(loss))``.

  Penalties add up and commute. `class_weights` scales what is inside it, that is
  what stands before it; `label_noise` belongs last, so that all see its labels.

  Args:
    *transforms: loss ↦ loss.

  Returns:
    A transform.

  Raises:
    TypeError: a member that cannot be called.

  Example:
    >>> import regularizers as reg
    >>> loss = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.3))(
    ...   reg.cross_entropy
    ... )
    >>> print(loss)
    cross_entropy + 0.1·(CE(u, p) − CE(y, p)) + 0.3·(−H(p))
  """
  for transform in transforms:
    if not callable(transform) or isinstance(transform, Loss):
      raise TypeError(f'chain: expected transforms of losses, got {transform}')
  return Chain(transforms)


def as_loss(loss: Any) -> Loss:
  """A `Loss` as it is; any other function as a `Plain` base of a chain.

  Raises:
    TypeError: not callable, or a transform where a loss belongs.
  """
  if isinstance(loss, Loss):
    return loss
  if isinstance(loss, Value) or not callable(loss):
    raise TypeError(f'expected a loss, got {loss}')
  return Plain(loss)


def terms(loss: Any) -> Callable[..., dict[str, jax.Array]]:
  """Splits a loss into its weighted summands.

  Args:
    loss: any loss; one that is not of this package has one summand.

  Returns:
    A function with the arguments of the loss that gives ``{name: [...]}``; the
    values add up to the loss.

  Example:
    >>> import regularizers as reg
    >>> loss = reg.label_smoothing(0.1)(reg.cross_entropy)
    >>> print(list(terms(loss)(jnp.zeros((1, 4)), jnp.array([2]))))
    ['cross_entropy', 'label_smoothing']
  """
  whole = as_loss(loss)

  def split(
    logits: jax.Array | Distribution,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    **extra: Any,
  ) -> dict[str, jax.Array]:
    check_keywords(whole, extra)
    parts: dict[str, jax.Array] = of_prediction(
      lambda p: whole.parts(p, labels, **extra), logits, labels, where
    )
    return parts

  return split


def _name(penalty: Penalty) -> str:
  if isinstance(penalty, Value):
    return str(penalty)
  return str(getattr(penalty, '__name__', repr(penalty)))
