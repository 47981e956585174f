"""Masked and impossible classes, their order, and the type of the logits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import transforms

import regularizers as reg

Q = transforms.problem()
KEPT = np.array([True, False, True, True, False])
LABELS = np.flatnonzero(KEPT)[[0, 1, 2, 1]]  # none of them masked
MASKED = transforms.dataclasses.replace(Q, labels=LABELS)
FEWER = MASKED.classes(np.flatnonzero(KEPT))
ROWS_KEPT = np.tile(KEPT, (4, 1))
NOISELESS = transforms.select(lambda case: 'key' not in case.extras)


def value_and_gradient(call: Any, logits: np.ndarray, **mask: Any) -> Any:
  def total(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    losses = call(logits, **mask)
    return losses.sum(), losses

  (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(jnp.asarray(logits))
  return np.asarray(losses), np.asarray(gradient)


@NOISELESS
def test_a_masked_class_might_as_well_not_exist(case: transforms.Case):
  """As in the formulas without it, whatever stands there."""
  # Of either shape; those that differ from row to row are below.
  where = jnp.asarray(KEPT if case.name in transforms.PENALTIES else ROWS_KEPT)
  # A junk of its own for every row; -inf is what masks are made of elsewhere.
  junk = np.array([[1e30], [-1e30], [-np.inf], [50.0]])
  logits = np.where(KEPT, Q.logits, junk).astype(np.float32)
  losses, gradient = value_and_gradient(case.call(MASKED), logits, where=where)
  np.testing.assert_array_equal(gradient[:, ~KEPT], 0)
  rows, kept = case.rows(FEWER), logits[:, KEPT].astype(np.float64)
  np.testing.assert_allclose(losses, rows(kept), rtol=1e-6, atol=1e-6)
  expected = oracles.gradient(rows, kept)
  np.testing.assert_allclose(gradient[:, KEPT], expected, rtol=1e-6, atol=1e-6)


@transforms.named('many', 'class_weights(label_smoothing+threshold)')
def test_masks_may_differ_from_row_to_row(case: transforms.Case):
  where = np.random.default_rng(3).random((4, 5)) < 0.7
  where[np.arange(4), Q.labels] = True
  assert len(set(where.sum(-1))) > 1
  logits = jnp.asarray(Q.logits, jnp.float32)
  losses = case.call(Q)(logits, where=jnp.asarray(where))
  for row in range(4):
    one = Q.rows(slice(row, row + 1)).classes(np.flatnonzero(where[row]))
    np.testing.assert_allclose(losses[row], case.reference(one)[0], rtol=1e-6)


def test_a_row_mask_takes_all_classes_or_none():
  """[N, 1] broadcasts: the row without classes is no distribution, and harmless."""
  call, rows = transforms.MANY.call(Q), np.array([True, True, False, True])
  logits = jnp.asarray(Q.logits, jnp.float32)

  def total(logits: jax.Array) -> jax.Array:
    losses = call(logits, where=jnp.asarray(rows)[:, None])
    return reg.masked_sum(losses, jnp.asarray(rows))

  value, gradient = jax.value_and_grad(total)(logits)
  expected, whole = jax.value_and_grad(lambda z: call(z)[rows].sum())(logits)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_array_equal(gradient[~rows], 0)
  np.testing.assert_allclose(gradient, whole, rtol=1e-6, atol=1e-6)


IMPOSSIBLE = np.where(KEPT, Q.logits, -np.inf).astype(np.float32)


@transforms.named('cross_entropy', 'confidence_penalty', 'threshold', 'reverse_kl')
def test_impossible_class_is_finite(case: transforms.Case):
  losses, gradient = value_and_gradient(case.call(MASKED), IMPOSSIBLE)
  np.testing.assert_array_equal(gradient[:, ~KEPT], 0)
  if case.name == 'reverse_kl':  # of another uniform distribution
    losses = losses - 0.5 * np.log(5 / 3)
  rows = case.rows(FEWER)
  np.testing.assert_allclose(losses, rows(FEWER.logits), rtol=1e-6, atol=1e-6)
  expected = oracles.gradient(rows, FEWER.logits)
  np.testing.assert_allclose(gradient[:, KEPT], expected, rtol=1e-6, atol=1e-6)


@transforms.named('label_smoothing', 'unigram_smoothing', 'forward_kl', 'skew_1')
def test_mass_on_an_impossible_class_is_infinite(case: transforms.Case):
  losses, _ = value_and_gradient(case.call(MASKED), IMPOSSIBLE)
  np.testing.assert_array_equal(losses, np.inf)


def test_entropy_of_one_possible_class_is_zero():
  logits = jnp.array([-jnp.inf, 3.0, -jnp.inf])
  assert float(reg.entropy(logits)) == 0
  np.testing.assert_array_equal(jax.grad(reg.entropy)(logits), 0)


# For the others it follows from the formulas that they are compared with.
@transforms.named(
  'many',
  'label_smoothing_others',
  'codistillation_squared_logits',
  'class_weights(label_smoothing+threshold)',
)
def test_order_of_classes_does_not_matter(case: transforms.Case):
  order = np.array([3, 0, 1, 4, 2])
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
  losses, gradient = value_and_gradient(call, logits)
  exact, expected = value_and_gradient(call, logits.astype(jnp.float32))
  assert losses.dtype == jnp.float32
  np.testing.assert_array_equal(losses, exact)
  # Rounded once, at the end.
  assert gradient.dtype == dtype
  np.testing.assert_array_equal(gradient, expected.astype(dtype))


def test_a_teacher_keeps_its_own_mask():
  logits, teacher = (jnp.asarray(a, jnp.float32) for a in (Q.logits, Q.teacher))
  loss = reg.distillation(1.0, 2.0)(reg.cross_entropy)
  own = jnp.array([True, True, False, True, True])
  masked = {'labels': jnp.asarray(LABELS), 'where': jnp.asarray(KEPT)}
  got = loss(logits, teacher=reg.Categorical(teacher, own), **masked)
  expected = loss(logits, teacher=jnp.where(own, teacher, -jnp.inf), **masked)
  np.testing.assert_array_equal(got, expected)
  assert not np.allclose(got, loss(logits, teacher=teacher, **masked))


def test_squared_logits_of_impossible_classes():
  """Impossible for both is no difference; a burn-in's weight of 0 is none either."""
  logits, teacher = (jnp.asarray(a, jnp.float32) for a in (IMPOSSIBLE, Q.teacher))
  both = jnp.where(jnp.asarray(KEPT), teacher, -jnp.inf)
  labels = jnp.asarray(LABELS)

  def value_and_slope(weight: float, teacher: jax.Array) -> Any:
    loss = reg.codistillation(weight, kind='squared_logits')(reg.cross_entropy)
    return jax.value_and_grad(lambda z: loss(z, labels, teacher=teacher).sum())(logits)

  for weight, given in ((1.0, both), (0.0, teacher)):
    assert all(np.isfinite(part).all() for part in value_and_slope(weight, given))
