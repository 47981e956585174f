"""Penalties that draw a prediction towards a teacher's or towards peers'."""

import dataclasses
import math
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from regularizers.base import AddPenalty, add_penalty
from regularizers.categorical import Categorical, Distribution, class_array
from regularizers.checks import aligned, as_float
from regularizers.divergence import relative, relative_entropy
from regularizers.kernels.dense import times
from regularizers.linear import LinearCategorical
from regularizers.values import ScalarOrSchedule, Value, check_number, show, value_at

Kind = Literal['cross_entropy', 'kl', 'reverse_kl', 'squared_logits']


@dataclasses.dataclass(frozen=True)
class Matching(Value):
  """T² times a divergence between teacher and prediction, both at temperature T."""

  temperature: ScalarOrSchedule
  kind: str
  name: str

  def __call__(
    self,
    p: Distribution,
    labels: jax.Array,
    *,
    teacher: Any = None,
    step: Any = None,
  ) -> jax.Array:
    if teacher is None:
      raise TypeError(f'{self.name} matches a teacher: call the loss with teacher=…')
    t = value_at(self.temperature, step, f'{self.name}: temperature')

    def divergence(p: Distribution, teacher: Any) -> jax.Array:
      p = _at(t, p)
      return _DIVERGENCES[self.kind](p, Teacher.of(teacher, p, t))

    # What is kept for the backward pass is the arguments, not their softmax.
    value: jax.Array = jax.checkpoint(divergence, prevent_cse=False)(p, teacher)
    return jnp.asarray(t**2, value.dtype) * value

  def __str__(self) -> str:
    form = _FORMS[self.kind]
    if not callable(self.temperature) and show(self.temperature) == '1':
      return form
    return f'T²·{form}, T={show(self.temperature)}'


@dataclasses.dataclass(frozen=True)
class Teacher:
  """One or more peers as class arrays, whose probabilities are averaged.

  Attributes:
    peers: log-probabilities ``[..., V]``, or distributions that stand for them; one
      alone, the mean, beside dense logits.
  """

  peers: tuple[Any, ...]

  @classmethod
  def of(cls, teacher: Any, p: Distribution, temperature: Any) -> 'Teacher':
    """The teacher at a temperature; no gradient flows to it.

    Args:
      teacher: logits ``[..., V]``, a distribution, a stack of logits ``[peers, ...,
        V]``, or a list or tuple of logits and distributions.
      p: the prediction, for its shape and its mask of classes.
      temperature: what the logits are divided by.

    Raises:
      TypeError: not a teacher.
      ValueError: a shape that is neither the prediction's nor a stack of it; no peer.
    """
    if isinstance(teacher, (list, tuple)) and any(map(_is_peer, teacher)):
      peers = tuple(_peer(one, p, temperature) for one in teacher)
    else:
      peers = (_peer(teacher, p, temperature),)
    if len(peers) > 1 and isinstance(p, Categorical):
      peers = (_log_mean(jnp.stack([class_array(peer) for peer in peers])),)
    return cls(peers)

  def sum(self, p: Distribution, phi: Any, *arrays: Any) -> jax.Array:
    """Σ_k phi(log p_k, log q_k, …), ``[...]``, q the mean of the peers."""
    count = len(self.peers)

    def mixed(log_p: jax.Array, *rest: jax.Array) -> jax.Array:
      log_q, others = rest[0], rest[count:]
      if count > 1:
        log_q = _log_mean(jnp.stack(rest[:count]))
      out: jax.Array = phi(log_p, log_q, *others)
      return out

    return p.sum(mixed, *self.peers, *arrays)


def _at(temperature: Any, p: Any) -> Any:
  """The distribution at a temperature; itself where that is 1 for certain."""
  certain = isinstance(temperature, (int, float)) and temperature == 1
  return p if certain else p.tempered(temperature)


def _is_peer(teacher: Any) -> bool:
  return isinstance(teacher, Distribution) or jnp.ndim(teacher) > 0


def _peer(teacher: Any, p: Distribution, temperature: Any) -> Any:
  """One peer's log-probabilities, those of a stack averaged; no gradient."""
  teacher = jax.lax.stop_gradient(teacher)
  if isinstance(teacher, LinearCategorical):
    _check_shape((*teacher.shape, teacher.num_classes), (*p.shape, p.num_classes))
    masked = teacher.masked(_both(getattr(p, 'where', None), teacher.where))
    return _at(temperature, masked)
  where = getattr(p, 'where', None)
  if isinstance(teacher, Categorical):
    where = _both(where, teacher.where)
    teacher = teacher.logits
  elif isinstance(teacher, Distribution):  # its log-probabilities are logits too
    teacher = _log_probs(teacher)
  teacher = as_float(teacher, 'teacher')
  blocks, of_logits = getattr(p, 'blocks', None), getattr(p, 'of_logits', Categorical)
  expected = (*p.shape, p.num_classes)
  if blocks is not None:
    teacher, expected = blocks.own(teacher, 'teacher'), (*p.shape, blocks.size)
  stacked = teacher.shape[1:] == expected and teacher.shape[0] > 0
  if not stacked:
    _check_shape(teacher.shape, expected)
  q = _at(temperature, of_logits(teacher, where))
  if stacked:
    return _log_mean(q.log_probs())
  return q if isinstance(p, Categorical) else q.log_probs()


def _log_mean(log_q: jax.Array) -> jax.Array:
  """log of the mean probability of the peers along the first axis."""
  return jax.nn.logsumexp(log_q, axis=0) - math.log(log_q.shape[0])


def _both(where: Any, own: Any) -> Any:
  if where is None or own is None:
    return own if where is None else where
  rank = max(where.ndim, own.ndim)
  return aligned(where, rank) & aligned(own, rank)


def _check_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
  if shape != expected:
    raise ValueError(
      f'teacher: expected logits {list(expected)} or a stack [peers, …] of them, '
      f'got {list(shape)}'
    )


def _log_probs(teacher: Distribution) -> jax.Array:
  log_probs = getattr(teacher, 'log_probs', None)
  if log_probs is None:
    raise TypeError(f'teacher: {type(teacher).__name__} has no log_probs()')
  out: jax.Array = log_probs()
  return out


def _cross_entropy(p: Distribution, teacher: Teacher) -> jax.Array:
  if isinstance(p, Categorical):
    return -p.log_prob(jnp.exp(class_array(teacher.peers[0])))
  return teacher.sum(p, lambda log_p, log_q: -times(jnp.exp(log_q), log_p))


def _kl(p: Distribution, teacher: Teacher) -> jax.Array:
  if isinstance(p, Categorical):
    return relative_entropy(teacher.peers[0], p)
  return teacher.sum(p, lambda log_p, log_q: relative(log_q, log_p))


def _reverse_kl(p: Distribution, teacher: Teacher) -> jax.Array:
  if isinstance(p, Categorical):
    return relative_entropy(p, teacher.peers[0])
  return teacher.sum(p, relative)


def _squared_logits(p: Distribution, teacher: Teacher) -> jax.Array:
  """Mean over classes of the squared difference of centred logits.

  A class that is impossible for both differs by nothing, for one by infinity.
  """
  count = p.num_allowed()
  mean = (teacher.sum(p, _difference) / count)[..., None]
  squares = teacher.sum(p, _squared, mean)
  return squares / count


def _difference(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
  """log p − log q, 0 for a class that is impossible for either."""
  possible = jnp.isfinite(log_p) & jnp.isfinite(log_q)
  return jnp.where(possible, log_p, 0.0) - jnp.where(possible, log_q, 0.0)


def _squared(log_p: jax.Array, log_q: jax.Array, mean: jax.Array) -> jax.Array:
  one = jnp.isneginf(log_p) != jnp.isneginf(log_q)
  both = jnp.isneginf(log_p) & jnp.isneginf(log_q)
  square = jnp.square(_difference(log_p, log_q) - mean)
  return jnp.where(one, jnp.inf, jnp.where(both, 0.0, square))


_DIVERGENCES = {
  'cross_entropy': _cross_entropy,
  'kl': _kl,
  'reverse_kl': _reverse_kl,
  'squared_logits': _squared_logits,
}
_FORMS = {
  'cross_entropy': 'CE(teacher, p)',
  'kl': 'KL(teacher‖p)',
  'reverse_kl': 'KL(p‖teacher)',
  'squared_logits': 'mean (z − z_teacher)²',
}


def distillation(
  weight: ScalarOrSchedule, temperature: ScalarOrSchedule = 1.0
) -> AddPenalty:
  """Adds weight·T²·KL(teacher_T‖p_T).

  Args:
    weight: ≥ 0; scalar or schedule of ``step``.
    temperature: T > 0, divides the logits of both; scalar or schedule. The factor
      T² keeps the size of the gradient. The rest of the loss stays at T = 1.

  Returns:
    A transform. The loss needs ``teacher=``: logits ``[..., V]``, a distribution
    (a `LinearCategorical` too), or peers whose probabilities are averaged: a stack
    of logits ``[peers, ..., V]`` or a list of logits and distributions. No gradient
    flows to it. Under ``where`` the teacher is masked and renormalised too.

  Raises:
    ValueError: a negative weight, T ≤ 0; a teacher of another shape.
    TypeError: at the call, no ``teacher``, or a schedule without ``step``.

  References:
    Hinton, Vinyals, Dean, *Distilling the Knowledge in a Neural Network*, 2015.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> loss = reg.distillation(0.5, temperature=2.0)(reg.cross_entropy)
    >>> logits, labels = jnp.zeros((1, 2)), jnp.array([0])
    >>> (value,) = loss(logits, labels, teacher=jnp.array([[2.0, 0.0]]))
    >>> print(f'{value:.4f}')
    0.9150
  """
  check_number('distillation: temperature', temperature, above=True)
  penalty = Matching(temperature, 'kl', 'distillation')
  return add_penalty(penalty, weight, name='distillation')


def codistillation(
  weight: ScalarOrSchedule,
  temperature: ScalarOrSchedule = 1.0,
  kind: Kind = 'cross_entropy',
) -> AddPenalty:
  """Draws the prediction towards the (stale) predictions of peers.

  Adds weight·T²·D(mean of the peers' probabilities, p), both at temperature T.

  Args:
    weight: ≥ 0; scalar or schedule of ``step``, zero during burn-in.
    temperature: T > 0; scalar or schedule.
    kind: D: ``'cross_entropy'`` (the paper's), ``'kl'`` = KL(teacher‖p) (the same
      gradient), ``'reverse_kl'`` = KL(p‖teacher), or ``'squared_logits'``, the mean
      over classes of the squared difference of the centred logits.

  Returns:
    A transform. The loss needs ``teacher=``; see `distillation`.

  Raises:
    ValueError: a negative weight, T ≤ 0, an unknown kind; a teacher of another
      shape.
    TypeError: at the call, no ``teacher``, or a schedule without ``step``.

  References:
    Anil, Pereyra, Passos, Ormandi, Dahl, Hinton, *Large Scale Distributed Neural
    Network Training through Online Distillation*, 2018.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> loss = reg.codistillation(1.0)(reg.cross_entropy)
    >>> peers = jnp.array([[[2.0, 0.0]], [[0.0, 2.0]]])  # two of them
    >>> print(loss(jnp.zeros((1, 2)), jnp.array([0]), teacher=peers).round(4))
    [1.3863]
  """
  if kind not in get_args(Kind):
    raise ValueError(f'codistillation: kind: expected {get_args(Kind)}, got {kind!r}')
  check_number('codistillation: temperature', temperature, above=True)
  penalty = Matching(temperature, kind, 'codistillation')
  return add_penalty(penalty, weight, name='codistillation')
