"""The skew divergences in float32, near both ends, against sixty digits."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import regularizers as reg

ALPHAS = [0.0, 1e-8, 1e-4, 0.5, 1 - 1e-4, 1.0]
DRAW = np.random.default_rng(7)
UNIFORM = np.full(6, 1 / 6)
# A class that the prior excludes, but not the prediction.
SPARSE = np.array([0.5, 0.25, 0.0, 0.25, 0.0, 0.0])
ROWS = {
  'flat': (1e-3 * DRAW.normal(size=6), UNIFORM),
  'plain': (DRAW.normal(size=6), DRAW.dirichlet(np.ones(6))),
  'peaked': (np.array([90.0, 0.0, -3.0, 1.0, 2.0, 0.5]), UNIFORM),
  'sparse': (DRAW.normal(size=6), SPARSE),
  'peaked off the prior': (np.array([0.0, 1.0, 30.0, 2.0, 3.0, 4.0]), SPARSE),
  'many': (2 * DRAW.normal(size=1500), DRAW.dirichlet(np.ones(1500))),
}


@jax.jit
def value_and_slope(
  logits: jax.Array, prior: jax.Array, alpha: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """One compilation for all priors and exponents, which are traced."""

  def divergence(logits: jax.Array) -> jax.Array:
    loss = reg.generalized_entropy(1.0, alpha, prior)(reg.cross_entropy)
    return reg.terms(loss)(logits, jnp.asarray(0))['generalized_entropy']

  return jax.value_and_grad(divergence)(logits)


@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('name', ROWS)
def test_value(name: str, alpha: float):
  logits, prior = (np.float32(array) for array in ROWS[name])
  got, _ = value_and_slope(logits, prior, alpha)
  expected = oracles.exact_skew_divergence(logits, prior, alpha)
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-12)
  assert got >= 0


@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('name', ['flat', 'plain', 'sparse'])
def test_gradient(name: str, alpha: float):
  """Against differences of the exact values, where they are finite."""
  logits, prior = (np.float32(array) for array in ROWS[name])
  if not np.isfinite(oracles.exact_skew_divergence(logits, prior, alpha)):
    pytest.skip('infinite: p gives mass to what the prior excludes')
  _, got = value_and_slope(logits, prior, alpha)
  exact, h = logits.astype(np.float64), 1e-5
  differences = [
    oracles.exact_skew_divergence(exact + h * axis, prior, alpha)
    - oracles.exact_skew_divergence(exact - h * axis, prior, alpha)
    for axis in np.eye(6)
  ]
  expected = np.array(differences) / (2 * h)
  scale = abs(expected).max()
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize('mirrored', [False, True])
def test_the_family_is_symmetric(mirrored: bool):
  """J_α(u, p) = J_{1−α}(p, u): to swap the two is to turn α round."""
  logits, prior = ROWS['plain']
  log_p = oracles.log_softmax(np.asarray(logits))
  given, other = (np.log(prior), np.exp(log_p)) if mirrored else (log_p, prior)
  alpha = 0.8 if mirrored else 0.2
  got, _ = value_and_slope(np.float32(given), np.float32(other), alpha)
  expected = oracles.skew_divergence(np.asarray(logits), prior, 0.2)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def exact_slope(logits: np.ndarray, prior: np.ndarray, alpha: float) -> float:
  """By alpha, also at an end: from three values on its inner side."""
  h = -1e-6 if alpha > 0.5 else 1e-6
  at, near, far = (
    oracles.exact_skew_divergence(logits, prior, alpha + i * h) for i in range(3)
  )
  return (4 * near - far - 3 * at) / (2 * h)


@jax.jit
def by_settings(
  logits: jax.Array, prior: jax.Array, alpha: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Backward by prior and alpha, and forward by alpha alone."""

  def divergence(prior: jax.Array, alpha: jax.Array) -> jax.Array:
    loss = reg.generalized_entropy(1.0, alpha, prior)(reg.cross_entropy)
    return reg.terms(loss)(logits, jnp.asarray(0))['generalized_entropy']

  backward = jax.grad(divergence, (0, 1))(prior, alpha)
  _, forward = jax.jvp(lambda a: divergence(prior, a), (alpha,), (jnp.ones(()),))
  return *backward, forward


@pytest.mark.parametrize('alpha', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('tiny', [0.0, 1e-30])
def test_slopes_by_the_settings(tiny: float, alpha: float):
  """At both ends too, and with a prior whose reciprocal squared is infinite."""
  logits, prior = (np.float32(array) for array in ROWS['plain'])
  if tiny:
    logits[0], prior[0] = np.log(tiny), tiny
    prior /= prior.sum()
  by_prior, *by_alpha = by_settings(logits, prior, alpha)
  expected = exact_slope(logits, prior, alpha)  # a sum of numbers of the size of 1
  np.testing.assert_allclose(by_alpha, expected, rtol=1e-4, atol=1e-6)
  p = np.exp(oracles.log_softmax(np.float64(logits)))
  mixed = (1 - alpha) * prior + alpha * p
  expected = -np.log(mixed / prior) / alpha if alpha else 1 - p / prior
  np.testing.assert_allclose(by_prior, expected, rtol=1e-4)


@pytest.mark.parametrize('alpha', ALPHAS)
def test_a_class_that_both_exclude_has_no_slope(alpha: float):
  logits = np.where(SPARSE > 0, ROWS['plain'][0], -np.inf).astype(np.float32)
  got, slope = value_and_slope(logits, np.float32(SPARSE), alpha)
  kept = SPARSE > 0
  without = value_and_slope(logits[kept], np.float32(SPARSE[kept]), alpha)
  np.testing.assert_allclose(got, without[0], rtol=1e-6)
  np.testing.assert_allclose(slope[kept], without[1], rtol=1e-5, atol=1e-7)
  assert not slope[~kept].any()
