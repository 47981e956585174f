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
