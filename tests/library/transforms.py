"""The one table of all transforms: how each is made and what it should compute."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import regularizers as reg


@dataclasses.dataclass(frozen=True)
class Problem:
  """Everything that a loss may be given, in float64."""

  logits: np.ndarray  # [N, V]
  labels: np.ndarray  # [N]
  prior: np.ndarray  # [V]
  class_weights: np.ndarray  # [V]
  teacher: np.ndarray  # [N, V]
  peers: np.ndarray  # [2, N, V]
  step: int = 3

  @property
  def uniform(self) -> np.ndarray:
    return np.full(self.logits.shape[-1], 1 / self.logits.shape[-1])

  @property
  def key(self) -> jax.Array:
    return jax.random.key(1)

  def at(self, logits: np.ndarray) -> 'Problem':
    return dataclasses.replace(self, logits=logits)

  def classes(self, index: np.ndarray) -> 'Problem':
    """The problem with the classes `index` alone, in that order."""
    prior = self.prior[index]
    position = {k: i for i, k in enumerate(index)}
    return Problem(
      self.logits[:, index],
      np.array([position.get(y, -1) for y in self.labels]),
      prior / prior.sum(),
      self.class_weights[index],
      self.teacher[:, index],
      self.peers[..., index],
      self.step,
    )

  def rows(self, index: slice) -> 'Problem':
    taken = {
      'logits': self.logits[index],
      'labels': self.labels[index],
      'teacher': self.teacher[index],
      'peers': self.peers[:, index],
    }
    return dataclasses.replace(self, **taken)


def problem(num_rows: int = 4, num_classes: int = 5, seed: int = 3) -> Problem:
  """A problem whose rows go from nearly uniform to peaked."""
  draw = np.random.default_rng(seed)
  shape = (num_rows, num_classes)
  scale = np.linspace(0.5, 4.0, num_rows)[:, None]
  prior = draw.dirichlet(np.full(num_classes, 3.0))
  return Problem(
    logits=scale * draw.normal(0.0, 1.0, shape),
    labels=draw.integers(0, num_classes, num_rows),
    prior=prior,
    class_weights=draw.uniform(0.5, 2.0, num_classes),
    teacher=draw.normal(0.0, 1.5, shape),
    peers=draw.normal(0.0, 1.5, (2, *shape)),
  )


@dataclasses.dataclass(frozen=True)
class Case:
  """A transform, and the same in formulas.

  Attributes:
    name: its name in reports.
    make: the transform for a problem.
    reference: the loss that it makes of the cross-entropy, ``[N]``.
    extras: the keywords its loss needs; `peers` is a ``teacher=`` with an axis more.
  """

  name: str
  make: Callable[[Problem], Any]
  reference: Callable[[Problem], np.ndarray]
  extras: tuple[str, ...] = ()

  def loss(self, q: Problem) -> reg.Loss:
    return self.make(q)(reg.cross_entropy)

  def extra(self, q: Problem) -> dict[str, Any]:
    values = {name: getattr(q, name) for name in self.extras}
    if 'peers' in values:
      values['teacher'] = values.pop('peers')
    return {k: v if k == 'key' else jnp.asarray(v) for k, v in values.items()}

  def rows(self, q: Problem) -> oracles.Rows:
    """The reference as a function of the logits."""
    return lambda logits: self.reference(q.at(logits))

  def call(self, q: Problem, dtype: Any = None) -> Callable[..., jax.Array]:
    """The loss as a function of the logits alone (and `where`)."""
    loss, extra = self.loss(q), self.extra(q)
    if dtype is not None:
      extra = {k: v.astype(dtype) if k == 'teacher' else v for k, v in extra.items()}
    labels = jnp.asarray(q.labels)
    return lambda logits, **mask: loss(logits, labels, **mask, **extra)


def nll(q: Problem) -> np.ndarray:
  return oracles.cross_entropy(q.logits, q.labels)


def smoothing(q: Problem, target: np.ndarray) -> np.ndarray:
  return oracles.cross_entropy(q.logits, target) - nll(q)


def exclusive(q: Problem) -> np.ndarray:
  """The same mass on every class but the label's."""
  others = 1 - np.eye(q.uniform.size)[q.labels]
  return smoothing(q, others / (q.uniform.size - 1))


def missing_entropy(q: Problem, threshold: float) -> np.ndarray:
  missing = threshold - oracles.entropy(q.logits)
  return np.where(missing.real > 0, missing, 0)


def towards(q: Problem, prior: np.ndarray) -> np.ndarray:
  return oracles.kl(np.log(prior), oracles.log_softmax(q.logits))


def away(q: Problem, prior: np.ndarray) -> np.ndarray:
  return oracles.kl(oracles.log_softmax(q.logits), np.log(prior))


def matching(
  kind: str, temperature: float, source: str = 'teacher'
) -> Callable[[Problem], np.ndarray]:
  """T²·D(teacher_T, p_T) for each of the kinds."""

  def divergence(q: Problem) -> np.ndarray:
    log_p = oracles.log_softmax(q.logits / temperature)
    log_q = oracles.mean_teacher(getattr(q, source), temperature, q.logits.ndim)
    if kind == 'cross_entropy':
      return -(np.exp(log_q) * log_p).sum(-1)
    if kind == 'kl':
      return oracles.kl(log_q, log_p)
    if kind == 'reverse_kl':
      return oracles.kl(log_p, log_q)
    gap = log_p - log_q
    return ((gap - gap.mean(-1, keepdims=True)) ** 2).mean(-1)

  return lambda q: temperature**2 * divergence(q)


def noisy_labels(transform: Any, q: Problem, **mask: Any) -> np.ndarray:
  """The labels that a `label_noise` hands to what stands inside."""

  def reveal(logits: jax.Array, labels: jax.Array, where: Any = None) -> jax.Array:
    return labels.astype(logits.dtype)

  logits = jnp.zeros(q.logits.shape)
  revealed = transform(reveal)(logits, jnp.asarray(q.labels), key=q.key, **mask)
  return np.asarray(revealed).astype(int)


def noised(rate: float, prior: bool) -> Callable[[Problem], Any]:
  return lambda q: reg.label_noise(rate, q.prior if prior else None)


def relabelled(
  make: Callable[[Problem], Any], inside: Callable[[Problem], np.ndarray]
) -> Callable[[Problem], np.ndarray]:
  return lambda q: inside(dataclasses.replace(q, labels=noisy_labels(make(q), q)))


@dataclasses.dataclass(frozen=True)
class Penalty:
  """A row of the table: weight, factory and formula of one added penalty."""

  weight: float
  make: Callable[[Problem], Any]
  formula: Callable[[Problem], np.ndarray]
  extras: tuple[str, ...] = ()


def ramp(step: Any) -> Any:
  """A schedule: 0.3 at step 3."""
  return 0.1 * step


def _skew(alpha: float, prior: bool = False) -> Penalty:
  def make(q: Problem) -> Any:
    return reg.generalized_entropy(0.4, alpha, q.prior if prior else None)

  def formula(q: Problem) -> np.ndarray:
    return oracles.skew_divergence(q.logits, q.prior if prior else q.uniform, alpha)

  return Penalty(0.4, make, formula)


def _codistillation(kind: Any, temperature: float, source: str) -> Penalty:
  def make(q: Problem) -> Any:
    return reg.codistillation(0.7, temperature, kind)

  return Penalty(0.7, make, matching(kind, temperature, source), (source,))


PENALTIES = {
  'label_smoothing': Penalty(
    0.1, lambda q: reg.label_smoothing(0.1), lambda q: smoothing(q, q.uniform)
  ),
  'label_smoothing_others': Penalty(
    0.1, lambda q: reg.label_smoothing(0.1, exclude_target=True), exclusive
  ),
  'unigram_smoothing': Penalty(
    0.2, lambda q: reg.unigram_smoothing(0.2, q.prior), lambda q: smoothing(q, q.prior)
  ),
  'confidence_penalty': Penalty(
    0.3, lambda q: reg.confidence_penalty(0.3), lambda q: -oracles.entropy(q.logits)
  ),
  # At this threshold some rows of a problem are penalised and some are not.
  'threshold': Penalty(
    0.3, lambda q: reg.confidence_penalty(0.3, 1.0), lambda q: missing_entropy(q, 1.0)
  ),
  'schedule': Penalty(
    0.3,
    lambda q: reg.confidence_penalty(ramp, threshold=lambda step: 4.0 / (1 + step)),
    lambda q: missing_entropy(q, 1.0),
    ('step',),
  ),
  'forward_kl': Penalty(
    0.5, lambda q: reg.forward_kl(0.5), lambda q: towards(q, q.uniform)
  ),
  'forward_kl_prior': Penalty(
    0.5, lambda q: reg.forward_kl(0.5, q.prior), lambda q: towards(q, q.prior)
  ),
  'reverse_kl': Penalty(
    0.5, lambda q: reg.reverse_kl(0.5), lambda q: away(q, q.uniform)
  ),
  'reverse_kl_prior': Penalty(
    0.5, lambda q: reg.reverse_kl(0.5, q.prior), lambda q: away(q, q.prior)
  ),
  'skew_0': _skew(0.0),
  'skew_0.3': _skew(0.3),
  'skew_0.5_prior': _skew(0.5, prior=True),
  'skew_1': _skew(1.0),
  'z_loss': Penalty(
    0.01,
    lambda q: reg.z_loss(0.01),
    lambda q: oracles.log_normalizer(q.logits) ** 2,
  ),
  'distillation': Penalty(
    0.6, lambda q: reg.distillation(0.6), matching('kl', 1.0), ('teacher',)
  ),
  'distillation_peers': Penalty(
    0.6, lambda q: reg.distillation(0.6, 2.0), matching('kl', 2.0, 'peers'), ('peers',)
  ),
  'codistillation_cross_entropy': _codistillation('cross_entropy', 1.0, 'peers'),
  'codistillation_kl': _codistillation('kl', 1.5, 'teacher'),
  'codistillation_reverse_kl': _codistillation('reverse_kl', 0.5, 'peers'),
  'codistillation_squared_logits': _codistillation('squared_logits', 2.0, 'teacher'),
}


def _chain(*names: str) -> Case:
  """The cross-entropy with several rows of the table added up."""
  members = [PENALTIES[name] for name in names]

  def reference(q: Problem) -> np.ndarray:
    return nll(q) + sum(m.weight * m.formula(q) for m in members)

  return Case(
    '+'.join(names),
    lambda q: reg.chain(*(m.make(q) for m in members)),
    reference,
    tuple(dict.fromkeys(name for m in members for name in m.extras)),
  )


def _weighted(inner: Case) -> Case:
  return Case(
    f'class_weights({inner.name})',
    lambda q: reg.chain(inner.make(q), reg.class_weights(q.class_weights)),
    lambda q: q.class_weights[q.labels] * inner.reference(q),
    inner.extras,
  )


def _noisy(inner: Case, rate: float, prior: bool) -> Case:
  noise = noised(rate, prior)
  return Case(
    f'label_noise({inner.name}{", prior" if prior else ""})',
    lambda q: reg.chain(inner.make(q), noise(q)),
    relabelled(noise, inner.reference),
    (*inner.extras, 'key'),
  )


NOTHING = dataclasses.replace(_chain(), name='cross_entropy')
PAIR = _chain('label_smoothing', 'confidence_penalty')
MANY = _chain(
  'label_smoothing',
  'unigram_smoothing',
  'threshold',
  'forward_kl_prior',
  'reverse_kl_prior',
  'skew_0.3',
  'z_loss',
  'distillation',
)
SINGLE = [dataclasses.replace(_chain(name), name=name) for name in PENALTIES]
WEIGHTED = _weighted(_chain('label_smoothing', 'threshold'))
CHAINS = [
  PAIR,
  dataclasses.replace(MANY, name='many'),
  _weighted(NOTHING),
  WEIGHTED,
  _noisy(NOTHING, 0.5, prior=False),
  _noisy(_chain('unigram_smoothing', 'confidence_penalty'), 0.5, prior=True),
]
CASES = [NOTHING, *SINGLE, *CHAINS]
BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES)

each = pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)


def select(keep: Callable[[Case], bool]) -> pytest.MarkDecorator:
  """`each`, for a part of the table."""
  kept = [case for case in CASES if keep(case)]
  return pytest.mark.parametrize('case', kept, ids=lambda case: case.name)


def shift_invariant(case: Case) -> bool:
  """z_loss alone sees the level of the logits."""
  return case.name not in ('z_loss', 'many')


def named(*names: str) -> pytest.MarkDecorator:
  """`each`, for a few of the table."""
  return pytest.mark.parametrize('case', [BY_NAME[n] for n in names], ids=names)
