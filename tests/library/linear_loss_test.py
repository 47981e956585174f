"""The mean loss with its gradient taken chunk by chunk."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
import transforms
from linear_test import CLASSES, ROWS, WIDTH, Q, chain_rule, close
from linear_test import inputs as float_inputs

import regularizers as reg

pytestmark = pytest.mark.usefixtures('plainly_compiled')
CE = reg.cross_entropy
MASK = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 1.0])
LABELS = jnp.asarray(Q.labels)
BOTH = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))(CE)
NOISELESS = transforms.select(lambda case: 'key' not in case.extras)


def dense(loss: Any, mask: Any = None, **extra: Any) -> Any:
  def mean(hidden: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    logits = hidden @ kernel + bias[None]
    return reg.masked_mean(loss(logits, LABELS, **extra), mask)

  return jax.jit(jax.value_and_grad(mean, (0, 1, 2)))(*float_inputs())


def linear(loss: Any, mask: Any = None, **extra: Any) -> Any:
  def mean(hidden: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return reg.linear_loss(loss, hidden, kernel, LABELS, mask, bias=bias, **extra)

  return jax.jit(jax.value_and_grad(mean, (0, 1, 2)))(*float_inputs())


@NOISELESS
def test_values_and_gradients(case: transforms.Case):
  """Against the formulas in float64, under a mask, with a remainder."""
  extra = {
    k: v.astype(jnp.float32) if k == 'teacher' else v for k, v in case.extra(Q).items()
  }
  value, grads = linear(case.loss(Q), jnp.asarray(MASK), chunk_size=4, **extra)
  weights = MASK / MASK.sum()
  np.testing.assert_allclose(value, weights @ case.reference(Q), rtol=2e-6)
  gradient = weights[:, None] * oracles.gradient(case.rows(Q), Q.logits)
  close(grads, chain_rule(gradient), 5e-6)


@pytest.mark.parametrize('size', [None, 1, 5, ROWS, 99])
def test_size_of_chunks_changes_nothing(size: int | None):
  value, grads = linear(BOTH, jnp.asarray(MASK), chunk_size=size)
  expected = dense(BOTH, jnp.asarray(MASK))
  np.testing.assert_allclose(value, expected[0], rtol=1e-6)
  close(grads, expected[1])


@pytest.mark.parametrize(
  'loss',
  [optax.softmax_cross_entropy_with_integer_labels, lambda z, y: -z[..., 0] * y],
  ids=['optax', 'own'],
)
def test_losses_of_other_make(loss: Any):
  value, grads = linear(loss, chunk_size=4)
  expected = dense(loss)
  np.testing.assert_allclose(value, expected[0], rtol=1e-6)
  close(grads, expected[1])


def test_what_goes_with_the_positions_is_cut_with_them():
  """Masks of classes, dense labels, teachers of all kinds, arrays of one's own."""
  hidden, kernel, bias = float_inputs()
  where = jnp.asarray((np.arange(CLASSES) % 4 > 0) | (np.eye(CLASSES)[Q.labels] > 0))
  peers, teacher = (jnp.asarray(a, jnp.float32) for a in (Q.peers, Q.teacher))
  offset = jnp.arange(float(ROWS))

  def penalty(p: Any, labels: Any, *, offset: Any, scale: Any) -> Any:
    return p.entropy() * offset * scale

  own = reg.add_penalty(penalty, 0.1)(CE)
  distilled = reg.distillation(0.5, 2.0)(BOTH)
  cases = [
    (BOTH, {'where': where}),
    (BOTH, {'where': jnp.arange(CLASSES) != (Q.labels[0] + 1) % CLASSES}),
    (own, {'offset': offset, 'scale': 2.0}),
    (distilled, {'teacher': teacher}),
    (distilled, {'teacher': peers}),
    (distilled, {'teacher': [peers[0], peers[1]]}),
    (distilled, {'teacher': reg.Categorical(teacher)}),
    (distilled, {'teacher': reg.LinearCategorical(hidden, 2 * kernel, bias)}),
  ]
  for loss, extra in cases:
    value, grads = linear(loss, chunk_size=4, **extra)
    expected = dense(loss, **extra)
    np.testing.assert_allclose(value, expected[0], rtol=2e-6)
    close(grads, expected[1], 5e-6)


def test_dense_labels_and_positions_of_two_axes():
  labels = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(CLASSES), (2, 3)))
  hidden, kernel, _ = float_inputs()
  value = reg.linear_loss(
    BOTH, hidden.reshape(2, 3, WIDTH), kernel, labels, chunk_size=4
  )
  logits = (hidden @ kernel).reshape(2, 3, CLASSES)
  np.testing.assert_allclose(value, BOTH(logits, labels).mean(), rtol=1e-6)


def test_gradients_flow_to_weights_masks_and_extras():
  hidden, kernel, _ = float_inputs()

  def mean(form: Any, loss: Any, mask: Any, scale: Any) -> jax.Array:
    scaled = reg.add_penalty(lambda p, y, scale: scale * p.entropy(), 0.5)
    return form(scaled(loss), mask, scale)

  def by_chunks(loss: Any, mask: Any, scale: Any) -> jax.Array:
    return reg.linear_loss(
      loss, hidden, kernel, LABELS, mask, chunk_size=4, scale=scale
    )

  def whole(loss: Any, mask: Any, scale: Any) -> jax.Array:
    return reg.masked_mean(loss(hidden @ kernel, LABELS, scale=scale), mask)

  arguments = BOTH, jnp.asarray(MASK, jnp.float32), jnp.float32(1.5)
  got, expected = (
    jax.jit(jax.grad(lambda *a, form=form: mean(form, *a), (0, 1, 2)))(*arguments)
    for form in (by_chunks, whole)
  )
  # By a weight it is a sum of terms of either sign, a tenth or less of their size.
  close(jax.tree.leaves(got), jax.tree.leaves(expected), 3e-5)


def test_key_is_folded_with_the_chunk():
  """Chunks draw noise of their own, the same forward and backward."""
  rows = 512
  hidden, kernel = jnp.zeros((rows, 2)), jnp.zeros((2, 64))
  seen = []

  def reveal(logits: Any, labels: Any) -> Any:
    jax.debug.callback(lambda y: seen.append(np.asarray(y)), labels)
    return logits[..., 0]

  noise = reg.label_noise(1.0)(reveal)
  labels = jnp.zeros(rows, int)
  reg.linear_loss(noise, hidden, kernel, labels, chunk_size=256, key=jax.random.key(0))
  jax.effects_barrier()
  assert len(seen) == 2
  assert not np.array_equal(*seen)


def test_metrics_come_from_the_same_chunks():
  hidden, kernel, bias = float_inputs()
  mask = jnp.asarray(MASK)
  run = jax.value_and_grad(
    lambda h: reg.linear_loss(
      BOTH, h, kernel, LABELS, mask, bias=bias, chunk_size=4, with_metrics=True
    ),
    has_aux=True,
  )
  (value, measured), _ = jax.jit(run)(hidden)
  logits = hidden @ kernel + bias[None]
  np.testing.assert_allclose(value, dense(BOTH, mask)[0], rtol=1e-6)
  for name, expected in {
    'nll': reg.metrics.nll(logits, LABELS, mask),
    'entropy': reg.metrics.entropy(logits, mask=mask),
  }.items():
    np.testing.assert_allclose(measured[name], expected, rtol=2e-6)


def test_a_given_normalizer_makes_micro_batches_add_up():
  hidden, kernel, _ = float_inputs()
  mask, count = jnp.asarray(MASK), MASK.sum()
  parts = [
    reg.linear_loss(CE, hidden[s], kernel, LABELS[s], mask[s], count)
    for s in (slice(0, 2), slice(2, 6))
  ]
  whole = reg.linear_loss(CE, hidden, kernel, LABELS, mask)
  np.testing.assert_allclose(sum(parts), whole, rtol=1e-6)


def test_junk_under_the_mask_and_a_mask_of_zeros():
  hidden, kernel, _ = float_inputs()
  junk = hidden.at[1].set(1e20)
  labels = LABELS.at[1].set(-100)
  run = jax.jit(
    jax.value_and_grad(
      lambda h, y, m: reg.linear_loss(BOTH, h, kernel, y, m, chunk_size=4)
    )
  )
  clean, dirty = run(hidden, LABELS, MASK > 0), run(junk, labels, MASK > 0)
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  assert run(hidden, LABELS, MASK < 0)[0] == 0


def test_short_inputs_are_summed_in_float32():
  draw = np.random.default_rng(0)
  hidden = jnp.asarray(draw.normal(size=(1024, 8)), jnp.bfloat16)
  kernel = jnp.asarray(draw.normal(size=(8, 300)), jnp.bfloat16)
  labels = jnp.asarray(draw.integers(0, 300, 1024))
  run = jax.jit(
    jax.value_and_grad(
      lambda h, k: reg.linear_loss(BOTH, h, k, labels, normalizer=1.0), (0, 1)
    )
  )
  value, grads = run(hidden, kernel)
  exact = run(*map(jnp.float32, (hidden, kernel)))
  np.testing.assert_allclose(value, exact[0], rtol=1e-6)
  for got, expected in zip(grads, exact[1], strict=True):
    np.testing.assert_array_equal(got, expected.astype(jnp.bfloat16))


H, K, _ = float_inputs()
ERRORS = {
  'width': (lambda: reg.linear_loss(CE, H, K[1:], LABELS), ValueError, 'kernel'),
  'labels': (lambda: reg.linear_loss(CE, H, K, LABELS[1:]), ValueError, 'labels'),
  'mask': (lambda: reg.linear_loss(CE, H, K, LABELS, MASK[1:]), ValueError, 'mask'),
  'chunk': (
    lambda: reg.linear_loss(CE, H, K, LABELS, chunk_size=-1),
    ValueError,
    'chunk_size: expected an integer > 0, got -1',
  ),
  'keyword': (lambda: reg.linear_loss(CE, H, K, LABELS, mas=1), TypeError, 'mas'),
  'reduced': (
    lambda: reg.linear_loss(lambda z, y: z.mean(), H, K, LABELS),
    ValueError,
    'one value per position',
  ),
  'forward mode': (
    lambda: jax.jvp(lambda h: reg.linear_loss(CE, h, K, LABELS), (H,), (H,)),
    TypeError,
    'forward-mode',
  ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_error_says_what_is_wrong(name: str):
  call, kind, words = ERRORS[name]
  with pytest.raises(kind, match=words):
    call()
