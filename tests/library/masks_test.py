"""Masked and impossible classes, their order, and the type of the logits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transforms

import regularizers as reg

Q = transforms.problem(num_classes=6)
KEPT = np.array([True, False, True, True, False, True])
LABELS = np.flatnonzero(KEPT)[np.arange(4)]  # none of them masked
MASKED = transforms.dataclasses.replace(Q, labels=LABELS)
NOISELESS = transforms.select(lambda case: 'key' not in case.extras)


def value_and_gradient(call: Any, logits: np.ndarray, **mask: Any) -> Any:
  def total(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    losses = call(logits, **mask)
    return losses.sum(), losses

  (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(jnp.asarray(logits))
  return np.asarray(losses), np.asarray(gradient)


@NOISELESS
@pytest.mark.parametrize('rank', [1, 2])
def test_a_masked_class_might_as_well_not_exist(case: transforms.Case, rank: int):
  with jax.enable_x64(True):
    where = jnp.asarray(KEPT if rank == 1 else np.tile(KEPT, (4, 1)))
    losses, gradient = value_and_gradient(case.call(MASKED), Q.logits, where=where)
    fewer = MASKED.classes(np.flatnonzero(KEPT))
    expected = value_and_gradient(case.call(fewer), fewer.logits)
  np.testing.assert_array_equal(gradient[:, ~KEPT], 0)
  np.testing.assert_allclose(losses, expected[0], rtol=1e-12, atol=1e-12)
  np.testing.assert_allclose(gradient[:, KEPT], expected[1], rtol=1e-11, atol=1e-12)


@NOISELESS
def test_what_stands_in_a_masked_class_is_not_read(case: transforms.Case):
  where = jnp.asarray(KEPT)
  call = case.call(MASKED, jnp.float32)
  clean = value_and_gradient(call, Q.logits.astype(np.float32), where=where)
  for junk in (1e30, -1e30, 0.0, -np.inf):
    logits = np.where(KEPT, Q.logits, junk).astype(np.float32)
    jax.tree.map(
      np.testing.assert_array_equal,
      value_and_gradient(call, logits, where=where),
      clean,
    )


def test_masks_may_differ_from_row_to_row():
  where = np.random.default_rng(3).random((4, 6)) < 0.7
  where[np.arange(4), Q.labels] = True
  loss = transforms.PAIR.loss(Q)
  losses = loss(jnp.asarray(Q.logits), jnp.asarray(Q.labels), where=jnp.asarray(where))
  for row in range(4):
    index = np.flatnonzero(where[row])
    label = jnp.asarray(np.flatnonzero(index == Q.labels[row])[0])
    expected = loss(jnp.asarray(Q.logits[row, index]), label)
    np.testing.assert_allclose(losses[row], expected, rtol=2e-6)


def test_label_noise_never_draws_a_masked_class():
  for prior in (None, jnp.asarray(Q.prior, jnp.float32)):
    for where in (KEPT, np.tile(KEPT, (4, 1))):
      drawn = set()
      for seed in range(20):
        key_problem = reg.label_noise(1.0, prior)(lambda z, y, where: y * 1.0)
        labels = key_problem(
          jnp.zeros((4, 6)),
          jnp.asarray(LABELS),
          key=jax.random.key(seed),
          where=jnp.asarray(where),
        )
        drawn |= set(np.asarray(labels).astype(int).tolist())
      assert drawn == set(np.flatnonzero(KEPT))


IMPOSSIBLE = np.where(KEPT, Q.logits, -np.inf).astype(np.float32)


@transforms.named('cross_entropy', 'confidence_penalty', 'threshold', 'reverse_kl')
def test_impossible_class_is_finite(case: transforms.Case):
  losses, gradient = value_and_gradient(case.call(MASKED), IMPOSSIBLE)
  np.testing.assert_array_equal(gradient[:, ~KEPT], 0)
  fewer = MASKED.classes(np.flatnonzero(KEPT))
  if case.name == 'reverse_kl':  # of another uniform distribution
    losses = losses - 0.5 * np.log(6 / 4)
  expected = value_and_gradient(case.call(fewer), fewer.logits.astype(np.float32))
  np.testing.assert_allclose(losses, expected[0], rtol=2e-6)
  np.testing.assert_allclose(gradient[:, KEPT], expected[1], rtol=2e-5, atol=1e-6)


@transforms.named('label_smoothing', 'unigram_smoothing', 'forward_kl', 'skew_1')
def test_mass_on_an_impossible_class_is_infinite(case: transforms.Case):
  losses, _ = value_and_gradient(case.call(MASKED), IMPOSSIBLE)
  np.testing.assert_array_equal(losses, np.inf)


def test_entropy_of_one_possible_class_is_zero():
  logits = jnp.array([-jnp.inf, 3.0, -jnp.inf])
  assert float(reg.entropy(logits)) == 0
  np.testing.assert_array_equal(jax.grad(reg.entropy)(logits), 0)


@NOISELESS
def test_order_of_classes_does_not_matter(case: transforms.Case):
  order = np.array([3, 0, 5, 1, 4, 2])
  turned = Q.classes(order)
  with jax.enable_x64(True):
    losses, gradient = value_and_gradient(case.call(Q), Q.logits)
    again = value_and_gradient(case.call(turned), turned.logits)
  np.testing.assert_allclose(again[0], losses, rtol=1e-12)
  np.testing.assert_allclose(again[1], gradient[:, order], rtol=1e-10, atol=1e-13)


@NOISELESS
@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16], ids=['bf16', 'f16'])
def test_short_logits_are_computed_with_in_float32(case: transforms.Case, dtype: Any):
  logits = jnp.asarray(Q.logits, dtype)
  call = case.call(Q, jnp.float32)
  losses = call(logits)
  assert losses.dtype == jnp.float32
  np.testing.assert_array_equal(losses, call(logits.astype(jnp.float32)))
  gradient = jax.grad(lambda z: call(z).sum())(logits)
  expected = jax.grad(lambda z: call(z).sum())(logits.astype(jnp.float32))
  assert gradient.dtype == dtype
  tolerance = float(jnp.finfo(dtype).eps)
  np.testing.assert_allclose(
    gradient.astype(np.float32), expected, rtol=tolerance, atol=1e-6
  )
