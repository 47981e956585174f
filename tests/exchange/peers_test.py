"""The mean prediction of those peers that are there."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regularizers as reg
from regularizers.distillation import Kind
from regularizers.exchange import Peers

SHAPE = (4, 5)  # positions, classes
MASK = np.array([True, True, False, True, False])
MASKS = {
  'all': None,
  'classes': MASK,
  'positions': np.stack([MASK, ~MASK, MASK, np.ones(5, bool)]),
}


def reference(steps: Any, logits: Any, own: Any, where: Any) -> np.ndarray:
  """The formula, in float64."""

  def probs(z: np.ndarray) -> np.ndarray:
    z = np.where(True if where is None else where, z, -np.inf)
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)

  there = [probs(z) for z, step in zip(logits, steps, strict=True) if step >= 0]
  with np.errstate(divide='ignore'):
    return np.log(np.mean(there, 0) if there else probs(own))


@pytest.mark.parametrize('mask', MASKS)
@pytest.mark.parametrize(
  'steps', [[0], [3, 7], [-1, 7, 2], [3, -1, -1], [-1, -1]], ids=str
)
def test_average(steps: list[int], mask: str, rng: np.random.Generator):
  logits, own = 3 * rng.normal(size=(len(steps), *SHAPE)), rng.normal(size=SHAPE)
  logits[:, 0] += 1e4
  for i, step in enumerate(steps):
    if step < 0:  # a model of zeros may predict anything
      logits[i] = np.nan
  logits, own = np.float32(logits), np.float32(own)
  peers = Peers({}, jnp.array(steps))
  average = jax.jit(lambda z, own: peers.average(z, own, MASKS[mask]))(logits, own)
  expected = reference(steps, np.float64(logits), np.float64(own), MASKS[mask])
  np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('steps', [[3, 7], [-1, 7], [-1, -1]], ids=str)
def test_no_gradient(steps: list[int], rng: np.random.Generator):
  logits, own = rng.normal(size=(2, *SHAPE)), rng.normal(size=SHAPE)
  peers = Peers({}, jnp.array(steps))
  gradients = jax.grad(lambda *args: peers.average(*args)[:, 0].sum(), (0, 1))(
    jnp.asarray(logits), jnp.asarray(own)
  )
  for gradient in gradients:
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize('kind', get_args(Kind))
@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_nobody_draws(kind: Kind, temperature: float, rng: np.random.Generator):
  """As long as no peer is there, the gradient is that of the plain loss."""
  own, labels = jnp.asarray(3 * rng.normal(size=SHAPE)), jnp.arange(4)
  peers = Peers({}, jnp.array([-1, -1]))
  loss = reg.codistillation(1.0, temperature, kind)(reg.cross_entropy)

  def drawn(z: jax.Array) -> jax.Array:
    teacher = peers.average(jnp.zeros((2, *SHAPE)), z)
    return loss(z, labels, teacher=teacher).sum()

  plain = jax.grad(lambda z: reg.cross_entropy(z, labels).sum())(own)
  np.testing.assert_allclose(jax.grad(drawn)(own), plain, rtol=1e-6, atol=1e-6)


def test_low_precision():
  """Never less than float32, and as exact as what came in."""
  peers, logits = Peers({}, jnp.array([1])), jnp.array([[[1.0, 2.0]]], jnp.bfloat16)
  average = peers.average(logits, logits[0])
  assert average.dtype == jnp.float32
  np.testing.assert_allclose(average, [[-1.3132617, -0.31326166]], rtol=1e-6)


ZEROS = np.zeros((2, *SHAPE), np.float32)


@pytest.mark.parametrize(
  ('steps', 'logits', 'where', 'message'),
  [
    ((2,), ZEROS[:1], None, r'logits: expected \[2, 4, 5\], got \[1, 4, 5\]'),
    ((2,), ZEROS[0], None, r'logits: expected \[2, 4, 5\], got \[4, 5\]'),
    ((2,), ZEROS[..., :4], None, r'got \[2, 4, 4\]'),
    ((2, 1), ZEROS[:, None], None, r'steps: expected \[peers\], got \[2, 1\]: .*vmap'),
    ((2,), ZEROS, np.ones(4, bool), r'where: \[4\] does not broadcast'),
    ((2,), ZEROS, np.ones((2, *SHAPE), bool), 'does not broadcast'),
    ((2,), ZEROS, np.ones(5), 'where: expected booleans'),
    ((2,), ZEROS.astype(int), None, 'logits: expected a floating type'),
  ],
)
def test_errors(steps: tuple[int, ...], logits: Any, where: Any, message: str):
  peers = Peers({}, jnp.zeros(steps, jnp.int32))
  with pytest.raises((ValueError, TypeError), match=message):
    peers.average(logits, ZEROS[0], where)


def test_staleness():
  peers = Peers({}, jnp.array([-1, 0, 40, 60]))
  np.testing.assert_array_equal(peers.staleness(50), [-1, 50, 10, 0])
  np.testing.assert_array_equal(peers.present, [False, True, True, True])
