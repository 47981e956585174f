"""Derivatives in float64, to the third order, in forward and in reverse mode."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import transforms
from jax.test_util import check_grads

Q = transforms.problem()
ALONG = np.random.default_rng(1).normal(size=Q.logits.shape)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
  with jax.enable_x64(True):
    yield


def push(function: Callable[[jax.Array], jax.Array], logits: jax.Array) -> jax.Array:
  return jax.jvp(function, (logits,), (jnp.asarray(ALONG),))[1]


@transforms.each
def test_to_second_order(case: transforms.Case):
  """Forward over reverse gives it all: value, gradient, jvp and a row of hessian."""
  call, rows = case.call(Q), case.rows(Q)

  def value_and_slope(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    value, pull = jax.vjp(call, logits)
    return value, pull(jnp.ones_like(value))[0]

  (value, gradient), (pushed, curvature) = jax.jvp(
    value_and_slope, (jnp.asarray(Q.logits),), (jnp.asarray(ALONG),)
  )
  expected = oracles.gradient(rows, Q.logits)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-13, atol=1e-13)
  close(value, rows(Q.logits))
  close(gradient, expected)
  close(pushed, (expected * ALONG).sum(-1))
  expected = oracles.directional_hessian(rows, Q.logits, ALONG)
  np.testing.assert_allclose(curvature, expected, rtol=1e-8, atol=1e-8)


# One of each kind of formula; the others differ in what is settled above.
@transforms.named(
  'label_smoothing',
  'unigram_smoothing',
  'threshold',
  'reverse_kl_prior',
  'skew_0',
  'skew_0.3',
  'skew_1',
  'z_loss',
  'distillation_peers',
  'codistillation_squared_logits',
  'class_weights(label_smoothing+threshold)',
)
def test_third_order(case: transforms.Case):
  logits = jnp.asarray(Q.logits)
  second = functools.partial(push, functools.partial(push, case.call(Q)))
  expected = oracles.third_derivative(case.rows(Q), Q.logits, ALONG)
  np.testing.assert_allclose(push(second, logits), expected, rtol=1e-7, atol=1e-7)


@transforms.named('label_smoothing+confidence_penalty', 'reverse_kl_prior')
def test_matrices(case: transforms.Case):
  logits = jnp.asarray(Q.logits)
  call, rows = case.call(Q), case.rows(Q)

  @jax.jit
  def matrices(logits: jax.Array) -> tuple[jax.Array, ...]:
    hessian = jax.hessian(lambda z: call(z).sum())(logits)
    reverse_over_forward = jax.grad(lambda z: push(call, z).sum())(logits)
    return (
      jax.jacfwd(call)(logits),
      jax.jacrev(call)(logits),
      hessian,
      reverse_over_forward,
    )

  forward, reverse, hessian, product = matrices(logits)
  # A row depends on its own logits alone.
  expected = np.eye(len(logits))[..., None] * oracles.gradient(rows, Q.logits)
  np.testing.assert_allclose(forward, expected, rtol=1e-13, atol=1e-13)
  np.testing.assert_allclose(reverse, expected, rtol=1e-13, atol=1e-13)
  expected = oracles.directional_hessian(rows, Q.logits, ALONG)
  np.testing.assert_allclose(np.tensordot(hessian, ALONG, 2), expected, atol=1e-8)
  np.testing.assert_allclose(product, expected, atol=1e-8)


def test_check_grads():
  """jax's own check, reverse over reverse; `test_third_order` is forward alone."""
  call = jax.jit(transforms.PAIR.call(Q))
  check_grads(call, (jnp.asarray(Q.logits),), 2, ('rev',))


@transforms.named('distillation_peers', 'codistillation_reverse_kl')
def test_no_gradient_flows_to_the_teacher(case: transforms.Case):
  loss, labels = case.loss(Q), jnp.asarray(Q.labels)

  def value(teacher: jax.Array) -> jax.Array:
    return loss(jnp.asarray(Q.logits), labels, teacher=teacher).sum()

  assert not jax.grad(value)(case.extra(Q)['teacher']).any()


@transforms.named('unigram_smoothing', 'skew_0.5_prior', 'distillation_peers')
def test_gradient_of_settings(case: transforms.Case):
  """A loss is differentiable in its weights, priors, exponents and temperatures."""
  logits, labels, extra = jnp.asarray(Q.logits), jnp.asarray(Q.labels), case.extra(Q)
  loss = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), case.loss(Q))
  along = jax.tree.map(
    lambda leaf: jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), loss
  )

  def value(t: jax.Array) -> jax.Array:
    moved = jax.tree.map(lambda leaf, a: leaf + t * a, loss, along)
    return moved(logits, labels, **extra)

  _, slope = jax.jvp(value, (jnp.zeros(()),), (jnp.ones(()),))
  h = 1e-5
  differences = (value(jnp.array(h)) - value(jnp.array(-h))) / (2 * h)
  np.testing.assert_allclose(slope, differences, rtol=1e-8, atol=1e-8)
