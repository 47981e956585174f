"""The same numbers elsewhere: gold values, optax, torch, and the plain kernels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transforms

import regularizers as reg
from regularizers.kernels import dense, reference

CE = reg.cross_entropy
Q = transforms.problem()
Z, Y = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.labels)

GOLD_LOGITS = np.array([[2, 1, 0.1, -1], [0.5, 2.5, -0.3, 1.2], [1, 1, 1, 1]])
GOLD_LABELS = np.array([0, 3, 2])
GOLD_PRIOR = np.array([0.5, 0.25, 0.15, 0.1])
WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0])
# Computed with torch in float64.
GOLD = {
  'cross_entropy': (CE, [0.4493130023803544, 1.6843620901195595, 1.3862943611198906]),
  'smoothing': (
    reg.label_smoothing(0.1)(CE),
    [0.5968130023803544, 1.7068620901195595, 1.3862943611198906],
  ),
  'smoothing of the others': (
    reg.label_smoothing(0.1, exclude_target=True)(CE),
    [0.645979669047021, 1.7143620901195593, 1.3862943611198906],
  ),
  'unigram': (
    reg.unigram_smoothing(0.1, GOLD_PRIOR)(CE),
    [0.5328130023803543, 1.7093620901195594, 1.3862943611198906],
  ),
  'penalty': (
    reg.confidence_penalty(0.1)(CE),
    [0.3532457233673195, 1.5917798709527844, 1.2476649250079015],
  ),
  'hinge': (
    reg.confidence_penalty(0.1, threshold=1.0)(CE),
    [0.45324572336731955, 1.6917798709527843, 1.3862943611198906],
  ),
}


@pytest.mark.parametrize('name', GOLD)
def test_gold_values(name):
  loss, expected = GOLD[name]
  with jax.enable_x64(True):
    got = loss(jnp.asarray(GOLD_LOGITS), jnp.asarray(GOLD_LABELS))
  # Some of the constants were made in float32.
  np.testing.assert_allclose(got, expected, rtol=1e-7 if name != 'unigram' else 2e-7)


def test_gold_gradient():
  with jax.enable_x64(True):
    loss = reg.confidence_penalty(0.1)(CE)
    row = jnp.asarray(GOLD_LOGITS[0])
    gradient = jax.grad(lambda z: loss(z, jnp.asarray(0)))(row)
  expected = [
    -0.3293055014627201,
    0.2232615680495948,
    0.08218225647485042,
    0.023861676938275025,
  ]
  np.testing.assert_allclose(gradient, expected, rtol=1e-12)


OPTAX: dict[str, tuple[Any, Any]] = {
  'cross_entropy': (CE, optax.softmax_cross_entropy_with_integer_labels),
  'label_smoothing': (
    reg.label_smoothing(0.1)(CE),
    lambda z, y: optax.softmax_cross_entropy(
      z, optax.smooth_labels(jax.nn.one_hot(y, 5), 0.1)
    ),
  ),
  'distillation': (
    lambda z, y: reg.terms(reg.distillation(1.0)(CE))(z, y, teacher=2 * Z)[
      'distillation'
    ],
    lambda z, y: optax.kl_divergence(jax.nn.log_softmax(z), jax.nn.softmax(2 * Z)),
  ),
}


@pytest.mark.parametrize('name', OPTAX)
def test_optax(name):
  ours, theirs = OPTAX[name]
  results = [jax.jvp(lambda z, f=f: f(z, Y), (Z,), (Z,)) for f in (ours, theirs)]
  np.testing.assert_allclose(*map(np.asarray, results), rtol=5e-6, atol=1e-6)


def test_sigmoid_is_the_two_class_case():
  logit, label = Z[:, 0], Y % 2
  expected = optax.sigmoid_binary_cross_entropy(logit, label)
  got = CE(reg.bernoulli(logit), label)
  np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


@transforms.named('label_smoothing', 'threshold', 'many', 'distillation_peers')
@pytest.mark.parametrize('masked', [False, True])
def test_around_an_optax_loss(case: transforms.Case, masked: bool):
  where = np.ones(5, bool)
  where[np.setdiff1d(np.arange(5), Q.labels)[:2]] = not masked
  mask = {'where': jnp.asarray(where)} if masked else {}
  plain = case.make(Q)(optax.softmax_cross_entropy_with_integer_labels)
  extra = case.extra(Q)
  np.testing.assert_allclose(
    plain(Z, Y, **mask, **extra), case.loss(Q)(Z, Y, **mask, **extra), rtol=5e-6
  )


def test_a_plain_loss_gets_float32_logits():
  seen = []

  def plain(logits: jax.Array, labels: jax.Array) -> jax.Array:
    seen.append(logits.dtype)
    return logits[..., 0]

  reg.label_smoothing(0.1)(plain)(Z.astype(jnp.bfloat16), Y, step=1, key=None)
  assert seen == [jnp.float32]


@pytest.mark.parametrize('offset', [0.0, 1e4, -1e4])
def test_kernels_equal_the_reference(offset):
  logits = Z + offset
  shift, log_sum = dense.log_normalizer(logits)
  np.testing.assert_allclose(
    shift + log_sum, reference.log_normalizer(logits), rtol=1e-6
  )
  entropy = dense.entropy(logits, shift, log_sum)
  np.testing.assert_allclose(entropy, reference.entropy(logits), rtol=2e-6)
  mean = dense.mean_centred(logits, shift) + shift
  np.testing.assert_allclose(mean, reference.mean_logit(logits), rtol=1e-6, atol=3e-7)

  def ours(z: jax.Array) -> jax.Array:
    return dense.entropy(z, *dense.log_normalizer(z)).sum()

  expected = jax.grad(lambda z: reference.entropy(z).sum())(logits)
  np.testing.assert_allclose(jax.grad(ours)(logits), expected, rtol=1e-5, atol=1e-7)


def torch_pair(function: Any) -> tuple[np.ndarray, np.ndarray]:
  """Losses and gradient of their sum, in torch and float64."""
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  logits = torch.tensor(Q.logits, requires_grad=True)
  losses = function(torch, logits, torch.tensor(Q.labels))
  losses.sum().backward()
  return losses.detach().numpy(), logits.grad.numpy()


def in_torch(torch: Any, z: Any) -> Any:
  return torch.nn.functional.log_softmax(z, -1)


TORCH: dict[str, tuple[Any, Any]] = {
  'cross_entropy': (
    CE,
    lambda t, z, y: t.nn.functional.cross_entropy(z, y, reduction='none'),
  ),
  'label_smoothing': (
    reg.label_smoothing(0.3)(CE),
    lambda t, z, y: t.nn.functional.cross_entropy(
      z, y, reduction='none', label_smoothing=0.3
    ),
  ),
  'class_weights': (
    reg.class_weights(Q.class_weights)(CE),
    lambda t, z, y: t.nn.functional.cross_entropy(
      z, y, reduction='none', weight=t.tensor(Q.class_weights)
    ),
  ),
  'confidence_penalty': (
    reg.confidence_penalty(0.5)(CE),
    lambda t, z, y: (
      t.nn.functional.cross_entropy(z, y, reduction='none')
      - 0.5 * t.distributions.Categorical(logits=z).entropy()
    ),
  ),
  'reverse_kl': (
    lambda z, y: reg.terms(reg.reverse_kl(1.0, jnp.asarray(Q.prior))(CE))(z, y)[
      'reverse_kl'
    ],
    lambda t, z, y: t.distributions.kl_divergence(
      t.distributions.Categorical(logits=z),
      t.distributions.Categorical(probs=t.tensor(Q.prior)),
    ),
  ),
  'distillation': (
    lambda z, y: reg.terms(reg.distillation(1.0, 2.0)(CE))(
      z, y, teacher=jnp.asarray(Q.teacher)
    )['distillation'],
    lambda t, z, y: (
      4
      * t.nn.functional.kl_div(
        in_torch(t, z / 2),
        in_torch(t, t.tensor(Q.teacher) / 2),
        reduction='none',
        log_target=True,
      ).sum(-1)
    ),
  ),
}


@pytest.mark.parametrize('name', TORCH)
def test_torch(name):
  ours, theirs = TORCH[name]
  expected = torch_pair(theirs)
  with jax.enable_x64(True):
    logits, labels = jnp.asarray(Q.logits), jnp.asarray(Q.labels)
    losses, pull = jax.vjp(lambda z: ours(z, labels), logits)
    gradient = pull(jnp.ones_like(losses))[0]
  np.testing.assert_allclose(losses, expected[0], rtol=1e-7)
  np.testing.assert_allclose(gradient, expected[1], rtol=1e-6, atol=1e-9)
