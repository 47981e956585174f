"""Noise on the weights: how much, from when on, and never in evaluation."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.task import Task
from experiments.weight_noise import noisy, weight_noise

PARAMS = {'a': jnp.full((100, 100), 2.0), 'b': jnp.zeros(10_000)}


def task() -> Task:
  def batches(split, seed, start_step=0):
    while True:
      yield {'split': split}

  def apply(params, rest, batch, key):
    return (params, key), rest

  return Task(lambda key: (PARAMS, {}), apply, batches, None)


def test_steps_are_those_of_training():
  own = weight_noise(task(), 0.1, start=2)
  train = own.batches('train', 0, 5)
  assert [next(train)['step'] for _ in range(2)] == [5, 6]
  assert 'step' not in next(own.batches('test', 0, 0))


def test_noise():
  own, key = weight_noise(task(), 0.1, start=2), jax.random.key(0)
  (params, rest_of_key), _ = own.apply(PARAMS, {}, {'step': np.int32(2)}, key)
  for name, value in PARAMS.items():
    noise = np.asarray(params[name] - value)
    assert abs(noise.mean()) < 0.004
    assert abs(noise.std() - 0.1) < 0.003
  both = [np.ravel(params[name] - PARAMS[name]) for name in PARAMS]
  assert abs(np.corrcoef(*both)[0, 1]) < 0.04
  assert not (jax.random.key_data(rest_of_key) == jax.random.key_data(key)).all()
  (early, _), _ = own.apply(PARAMS, {}, {'step': np.int32(1)}, key)
  (evaluated, none), _ = own.apply(PARAMS, {}, {}, None)
  assert none is None
  for name, value in PARAMS.items():
    np.testing.assert_array_equal(early[name], value)
    np.testing.assert_array_equal(evaluated[name], value)


def test_the_gradient_is_that_at_the_noisy_weights():
  key = jax.random.key(1)
  gradient = jax.grad(lambda x: (noisy({'x': x}, 0.5, key)['x'] ** 2).sum())
  there = noisy({'x': jnp.ones(3)}, 0.5, key)['x']
  np.testing.assert_allclose(gradient(jnp.ones(3)), 2 * there, rtol=1e-6)
