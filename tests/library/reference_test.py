"""Values and gradients of every transform against float64 formulas."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import transforms

Q = transforms.problem()


@functools.cache
def compiled(name: str) -> Any:
  """One compilation a transform, shared by the tests."""
  call = transforms.BY_NAME[name].call(Q)

  def value_and_slope(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    value, pull = jax.vjp(call, logits)
    return value, pull(jnp.ones_like(value))[0]

  return jax.jit(value_and_slope)


def compare(case: transforms.Case, logits: jax.Array):
  """Value and gradient in float32 against the reference at the same numbers."""
  value, slope = compiled(case.name)(logits)
  exact, rows = np.asarray(logits, np.float64), case.rows(Q)
  # Relative to max(1, |value|): a loss near 0 is a difference of numbers near 1.
  close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
  close(value, rows(exact))
  close(slope, oracles.gradient(rows, exact))


@transforms.each
def test_values_and_gradients(case: transforms.Case):
  compare(case, jnp.asarray(Q.logits, jnp.float32))


@transforms.each
def test_offset(case: transforms.Case):
  """At 1e4 the spacing of float32 is 1e-3: the reference sees the same rounding."""
  logits = jnp.asarray(Q.logits + 1e4, jnp.float32)
  if transforms.shift_invariant(case):
    compare(case, logits)
  else:
    value, _ = compiled(case.name)(logits)
    np.testing.assert_allclose(value, case.rows(Q)(np.float64(logits)), rtol=1e-6)


@transforms.select(transforms.shift_invariant)
def test_shift_invariance(case: transforms.Case):
  """A shift by a power of two that rounds nothing away changes not one bit."""
  logits = jnp.asarray(np.round(Q.logits * 64) / 64, jnp.float32)
  here, there = (compiled(case.name)(logits + shift) for shift in (0.0, 4096.0))
  jax.tree.map(np.testing.assert_array_equal, here, there)


def test_the_problem_has_both_sides_of_the_threshold():
  """Well away from the kink, so that no difference steps over it."""
  gap = oracles.entropy(Q.logits) - 1.0
  assert gap[:2].min() > 0.1
  assert gap[2:].max() < -0.1


def test_gradient_oracle_agrees_with_differences():
  """The complex step itself, against plain central differences."""
  rows = transforms.BY_NAME['many'].rows(Q)
  column = np.eye(5)[1] * 1e-6
  differences = (rows(Q.logits + column) - rows(Q.logits - column)) / 2e-6
  exact = oracles.gradient(rows, Q.logits)
  assert exact[:, 1] == pytest.approx(differences, abs=1e-8)
