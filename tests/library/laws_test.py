"""Laws of chains, limits of the weights, and identities between the members."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import transforms
from hypothesis import given, settings
from hypothesis import strategies as st

import regularizers as reg

CE = reg.cross_entropy
Q = transforms.problem()
Z, Y, PRIOR = jnp.asarray(Q.logits), jnp.asarray(Q.labels), jnp.asarray(Q.prior)
LS, CP, KL = (
  reg.label_smoothing(0.1),
  reg.confidence_penalty(0.3, threshold=1.0),
  reg.forward_kl(0.2, PRIOR),
)
W = reg.class_weights(jnp.asarray(Q.class_weights))


def close(a: jax.Array, b: jax.Array) -> None:
  np.testing.assert_allclose(a, b, rtol=3e-6, atol=3e-7)


def part(transform: reg.Loss, name: str) -> jax.Array:
  return reg.terms(transform(CE))(Z, Y)[name]


def test_chain_is_composition():
  assert reg.chain(LS, CP)(CE) == CP(LS(CE))
  assert (
    reg.chain(reg.chain(LS, CP), W)(CE)(Z, Y).tolist() == W(CP(LS(CE)))(Z, Y).tolist()
  )
  assert reg.chain()(CE) == CE


def test_penalties_commute():
  expected = reg.chain(LS, CP, KL)(CE)(Z, Y)
  for order in itertools.permutations((LS, CP, KL)):
    close(reg.chain(*order)(CE)(Z, Y), expected)


def test_class_weights_scale_what_is_inside():
  weights = jnp.asarray(Q.class_weights)[Y]
  penalty = reg.confidence_penalty(0.5)
  inside, outside = reg.chain(penalty, W)(CE)(Z, Y), reg.chain(W, penalty)(CE)(Z, Y)
  close(inside, weights * (CE(Z, Y) - 0.5 * reg.entropy(Z)))
  close(outside, weights * CE(Z, Y) - 0.5 * reg.entropy(Z))
  assert not np.allclose(inside, outside, rtol=1e-2)


def test_label_noise_is_seen_by_what_stands_before_it():
  noise, key = reg.label_noise(1.0), jax.random.key(2)
  noisy = noise(lambda z, y: y * 1.0)(Z, Y, key=key).astype(int)
  assert (noisy != Y).any()
  close(reg.chain(LS, noise)(CE)(Z, Y, key=key), LS(CE)(Z, noisy))
  # Put first, noise leaves the true labels to the penalty.
  got = reg.chain(noise, LS)(CE)(Z, Y, key=key)
  close(got, CE(Z, noisy) + (LS(CE)(Z, Y) - CE(Z, Y)))


NOTHING = {
  'label_smoothing': reg.label_smoothing(0.0),
  'unigram_smoothing': reg.unigram_smoothing(0.0, PRIOR),
  'confidence_penalty': reg.confidence_penalty(0.0),
  'threshold 0': reg.confidence_penalty(1.0, threshold=0.0),
  'generalized_entropy': reg.generalized_entropy(0.0, 0.5),
  'z_loss': reg.z_loss(0.0),
  'class_weights': reg.class_weights(jnp.ones(5)),
}


@pytest.mark.parametrize('name', NOTHING)
def test_weight_zero_is_no_regularizer(name):
  loss = NOTHING[name](CE)
  for logits in (Z, Z.at[:, (Y[0] + 1) % 5].set(-1e9)):
    np.testing.assert_array_equal(loss(logits, Y), CE(logits, Y))
    gradients = [jax.grad(lambda z, f=f: f(z, Y).sum())(logits) for f in (loss, CE)]
    np.testing.assert_array_equal(*gradients)


def test_weight_zero_is_no_regularizer_at_an_impossible_class():
  logits = Z.at[:, 0].set(-jnp.inf)
  for make in (reg.label_smoothing, lambda e: reg.unigram_smoothing(e, PRIOR)):
    np.testing.assert_array_equal(make(0.0)(CE)(logits, Y), CE(logits, Y))


def test_identities():
  entropy, log_v = reg.entropy(Z), np.log(5)
  smooth = reg.terms(reg.label_smoothing(1.0)(CE))(Z, Y)['label_smoothing']
  close(part(reg.reverse_kl(1.0), 'reverse_kl'), log_v - entropy)
  close(part(reg.forward_kl(1.0), 'forward_kl'), smooth + CE(Z, Y) - log_v)
  close(part(reg.confidence_penalty(1.0), 'confidence_penalty'), -entropy)
  close(reg.label_smoothing(1.0)(CE)(Z, Y), CE(Z, jnp.full(Z.shape, 0.2)))
  high = part(reg.confidence_penalty(1.0, threshold=9.0), 'confidence_penalty')
  close(high, 9.0 - entropy)
  exclusive = reg.label_smoothing(0.1, exclude_target=True)(CE)(Z, Y)
  close(exclusive, reg.label_smoothing(0.1 * 5 / 4)(CE)(Z, Y))
  uniform = jnp.full(5, 0.2)
  close(reg.unigram_smoothing(0.1, uniform)(CE)(Z, Y), LS(CE)(Z, Y))
  close(part(reg.reverse_kl(1.0, uniform), 'reverse_kl'), log_v - entropy)
  same = reg.terms(reg.distillation(1.0, 3.0)(CE))(Z, Y, teacher=Z)['distillation']
  np.testing.assert_allclose(same, 0, atol=1e-5)


def test_threshold_has_no_gradient_where_it_is_met():
  entropy = reg.entropy(Z)
  hinge = reg.confidence_penalty(1.0, threshold=entropy[0])(CE)
  at_kink = jax.grad(lambda z: hinge(z, Y)[0])(Z)
  np.testing.assert_array_equal(at_kink, jax.grad(lambda z: CE(z, Y)[0])(Z))


def expected_losses(
  logits: np.ndarray, labels: np.ndarray, prior: np.ndarray
) -> np.ndarray:
  """The loss of `test_shapes`, in formulas."""
  logits, prior = np.float64(logits), np.float64(prior)
  labels, uniform = np.asarray(labels), np.full(prior.shape, 1 / prior.size)
  nll, entropy = oracles.cross_entropy(logits, labels), oracles.entropy(logits)
  target = 0.7 * np.eye(prior.size)[labels] + 0.1 * uniform + 0.2 * prior
  hinge = 0.3 * np.maximum(1.0 - entropy, 0)
  assert nll.shape == labels.shape
  smooth = oracles.cross_entropy(logits, target)
  return smooth + hinge + 0.1 * (np.log(prior.size) - entropy)


# Every example compiles anew, which takes about a second.
@settings(max_examples=12)
@given(st.data())
def test_shapes(data):
  shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=3)))
  classes = data.draw(st.integers(1, 4))
  draw = np.random.default_rng(data.draw(st.integers(0, 9)))
  logits = jnp.asarray(draw.normal(size=(*shape, classes)), jnp.float32)
  labels = jnp.asarray(draw.integers(0, classes, shape))
  prior = jnp.asarray(draw.dirichlet(np.ones(classes)), jnp.float32)
  loss = reg.chain(LS, CP, reg.unigram_smoothing(0.2, prior), reg.reverse_kl(0.1))(CE)
  losses = jax.jit(loss)(logits, labels)
  assert losses.shape == shape
  expected = expected_losses(logits.reshape(-1, classes), labels.ravel(), prior)
  np.testing.assert_allclose(losses.ravel(), expected, rtol=1e-6, atol=1e-6)
