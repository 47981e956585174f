"""Types of results and labels, terms, and what a loss accepts beside logits."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transforms

import regularizers as reg

CE = reg.cross_entropy
Q = transforms.problem()


@transforms.select(lambda case: 'key' not in case.extras)
def test_float32_stays_float32_where_float64_is_enabled(case: transforms.Case):
  """A Python weight or a float64 prior widens nothing; float64 logits do."""
  with jax.enable_x64(True):
    call = case.call(Q, jnp.float32)
    single = jax.eval_shape(call, jax.ShapeDtypeStruct(Q.logits.shape, jnp.float32))
    double = jax.eval_shape(call, jax.ShapeDtypeStruct(Q.logits.shape, jnp.float64))
  assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)


@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'int16', 'uint16', 'uint32'])
def test_narrow_labels(dtype: str):
  """V = 300 does not fit the narrow ones; no label wraps round to another class."""
  logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 300)), jnp.float32)
  labels = np.array([0, 5, 127])
  loss = reg.chain(
    reg.label_smoothing(0.1),
    reg.class_weights(jnp.linspace(0.5, 2.0, 300)),
    reg.label_noise(0.0),
  )(CE)
  key = jax.random.key(0)
  got = loss(logits, jnp.asarray(labels.astype(dtype)), key=key)
  np.testing.assert_array_equal(got, loss(logits, jnp.asarray(labels), key=key))


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16])
def test_a_short_teacher_is_divided_by_the_temperature_in_float32(dtype: Any):
  teacher = jnp.asarray(Q.teacher, dtype)
  loss = reg.distillation(1.0, 3.0)(CE)
  logits, labels = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.labels)
  got = loss(logits, labels, teacher=teacher)
  expected = loss(logits, labels, teacher=teacher.astype(jnp.float32))
  np.testing.assert_array_equal(got, expected)


def test_teacher_may_be_a_distribution_or_offset_logits():
  loss = reg.distillation(1.0, 1.5)(CE)
  logits, labels = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.labels)
  teacher = jnp.asarray(np.round(Q.teacher * 64) / 64, jnp.float32)
  expected = loss(logits, labels, teacher=teacher)
  for same in (reg.Categorical(teacher), teacher + 4096.0, teacher[None]):
    got = loss(logits, labels, teacher=same)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_soft_labels_under_class_weights():
  soft = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(5), 4), jnp.float32)
  logits, weights = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.class_weights)
  got = reg.class_weights(weights)(CE)(logits, soft)
  expected = (np.asarray(soft) @ np.asarray(weights)) * CE(logits, soft)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


@dataclasses.dataclass(frozen=True)
class Scaled:
  """A loss with settings of its own, as an equinox module would be."""

  factor: float

  def __call__(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
    return self.factor * optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def test_any_callable_is_a_base():
  logits, labels = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.labels)
  loss = reg.confidence_penalty(0.5)(Scaled(2.0))
  expected = 2 * CE(logits, labels) - 0.5 * reg.entropy(logits)
  np.testing.assert_allclose(
    jax.jit(loss)(logits, labels), expected, rtol=1e-6, atol=1e-6
  )
  assert str(loss) == 'Scaled(factor=2.0) + 0.5·(−H(p))'


@pytest.mark.parametrize('kind', [list, tuple])
def test_labels_may_be_a_list(kind: Any):
  logits, labels = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.labels)
  loss = reg.label_smoothing(0.1)(CE)
  got = loss(logits, kind(Q.labels.tolist()))
  np.testing.assert_array_equal(got, loss(logits, labels))
  soft = np.eye(5)[Q.labels].tolist()
  np.testing.assert_allclose(loss(logits, soft), got, rtol=1e-6)


def test_a_base_may_have_labels_of_its_own():
  logits = jnp.asarray(Q.logits, jnp.float32)
  first, second = jnp.asarray(Q.labels), jnp.flip(jnp.asarray(Q.labels))
  labels = {'first': first, 'second': second, 'share': 0.25}

  def mixup(logits: jax.Array, labels: Any) -> jax.Array:
    share = labels['share']
    return (1 - share) * CE(logits, labels['first']) + share * CE(
      logits, labels['second']
    )

  loss = reg.confidence_penalty(0.5)(mixup)
  expected = mixup(logits, labels) - 0.5 * reg.entropy(logits)
  got = jax.jit(loss)(logits, labels)
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@transforms.each
def test_terms_add_up_to_the_loss(case: transforms.Case):
  logits, labels = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.labels)
  loss, extra = case.loss(Q), case.extra(Q)
  terms = reg.terms(loss)(logits, labels, **extra)
  np.testing.assert_allclose(
    sum(terms.values()), loss(logits, labels, **extra), rtol=1e-6, atol=1e-6
  )
  assert next(iter(terms)) == 'cross_entropy'


FLOATING = ['float32', 'bfloat16', 'float16', 'float8_e4m3fn', 'float8_e5m2']


@pytest.mark.parametrize('dtype', FLOATING)
@transforms.each
def test_any_floating_type_without_promotion(case: transforms.Case, dtype: str):
  """jax promotes nothing of 8 bits, and with 'strict' nothing at all."""
  logits = jnp.asarray(Q.logits).astype(dtype)
  mask = jnp.array([True, False, True, True])

  def mean(call: Any) -> Any:
    return jax.value_and_grad(lambda z: reg.masked_mean(call(z), mask))

  with jax.numpy_dtype_promotion('strict'):
    got, gradient = mean(case.call(Q, jnp.float32))(logits)
  expected, exact = mean(case.call(Q, jnp.float32))(logits.astype(jnp.float32))
  assert (got.dtype, gradient.dtype) == (jnp.float32, logits.dtype)
  np.testing.assert_allclose(got, expected, rtol=1e-6)
  rounded = exact.astype(dtype).astype(jnp.float32)
  np.testing.assert_allclose(
    gradient.astype(jnp.float32),
    rounded,
    rtol=1e-5,
    atol=float(jnp.finfo(dtype).eps) / 8,
  )


@pytest.mark.parametrize('dtype', FLOATING)
def test_soft_labels_hidden_states_and_counts_without_promotion(dtype: str):
  logits, soft = jnp.zeros((2, 4), dtype), jnp.full((2, 4), 0.25).astype(dtype)
  mask, labels = jnp.array([True, False]), jnp.array([0, 1])
  loss = reg.class_weights(jnp.full(4, 2.0))(reg.label_smoothing(0.1)(CE))
  hidden, kernel = jnp.zeros((2, 3), dtype), jnp.zeros((3, 4), dtype)

  def loss_fn(params: jax.Array, batch: Any) -> Any:
    return reg.masked_sum(CE(batch['x'] + params[None], labels[:1])), jnp.array(1)

  with jax.numpy_dtype_promotion('strict'):
    for p in (logits, reg.LinearCategorical(hidden, kernel)):
      for target in (labels, soft):
        value = reg.masked_mean(loss(p, target), mask)
        np.testing.assert_allclose(value, 2 * np.log(4), rtol=1e-6)
    value = reg.linear_loss(loss, hidden, kernel, labels, mask)
    np.testing.assert_allclose(value, 2 * np.log(4), rtol=1e-6)
    for target, expected in ((labels, 0.75), (soft, 0.0)):
      np.testing.assert_allclose(reg.metrics.brier(logits, target, mask)[0], expected)
    value, gradient = reg.accumulate_gradients(
      loss_fn, jnp.zeros(4, dtype), reg.microbatches({'x': logits}, 2)
    )
  np.testing.assert_allclose(value, np.log(4), rtol=1e-6)
  assert gradient.dtype == logits.dtype
