"""The examples of one need each: what each promises, against the plain computation."""

import json
import os
import pathlib
import subprocess
import sys

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import regularizers as reg
from examples import (
  entropy_bonus,
  gradient_accumulation,
  mixed_precision,
  padding_mask,
  sharding,
  weight_sweep,
)
from examples.problem import blobs, init, logits, sequences

ROOT = pathlib.Path(__file__).parent.parent.parent


def assert_trees_close(got, expected, rtol: float, atol: float = 0.0) -> None:
  def close(a, b):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)

  jax.tree.map(close, got, expected)


def test_padding_is_as_if_it_were_not_there():
  model, losses = padding_mask.train(40)
  assert losses[-1] < 0.5 * losses[0]
  tokens, mask = sequences(3)
  got = padding_mask.objective(model, tokens, mask)
  rows = [row[keep] for row, keep in zip(tokens, mask, strict=True)]
  assert len({len(row) for row in rows}) > 1
  alone = [padding_mask.LOSS(model(row[None, :-1])[0], row[1:]) for row in rows]
  np.testing.assert_allclose(got, np.concatenate(alone).mean(), rtol=1e-6)


@pytest.mark.parametrize('junk', [5, 10**6])
def test_what_stands_in_the_padding_has_no_effect(junk):
  tokens, mask = sequences()
  model = padding_mask.Model(nnx.Rngs(0))
  gradient = nnx.jit(nnx.value_and_grad(padding_mask.objective))
  expected = gradient(model, tokens, mask)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
  got = gradient(model, jnp.where(mask, tokens, junk), mask)
  jax.tree.map(np.testing.assert_array_equal, got, expected)


def full_batch(params, batch):
  inputs, labels, mask = batch
  return reg.masked_mean(
    gradient_accumulation.LOSS(logits(params, inputs), labels), mask
  )


@pytest.mark.parametrize('parts', [1, 4, 32])
def test_accumulated_gradient_is_the_full_batchs(parts):
  batch, params = gradient_accumulation.batch(), init(3)
  micro = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
  counts = micro[2].sum(1)
  got = gradient_accumulation.accumulate(params, micro)
  expected = jax.value_and_grad(full_batch)(params, batch)
  assert_trees_close(got, expected, rtol=1e-5, atol=1e-7)
  if parts == 1:
    return
  # The case tells the two means apart: the micro-batches' mean is off by far.
  assert len(set(counts.tolist())) > 1
  each = jax.vmap(jax.grad(full_batch), (None, 0))(params, micro)
  naive = jax.tree.map(lambda leaf: leaf.mean(0), each)
  error = jnp.abs(naive['kernel'] - expected[1]['kernel']).max()
  assert error > 0.02 * jnp.abs(expected[1]['kernel']).max()


def test_accumulated_training_is_that_of_the_full_batch():
  (_, losses), (_, expected) = (
    gradient_accumulation.train(20, parts) for parts in (4, 1)
  )
  np.testing.assert_allclose(losses, expected, rtol=1e-4)
  assert losses[-1] < 0.5 * losses[0]


def test_mixed_precision_keeps_loss_and_parameters_in_float32():
  model, losses = mixed_precision.train(30)
  assert {loss.dtype for loss in losses} == {jnp.dtype(jnp.float32)}
  assert losses[-1] < 0.5 * losses[0]
  leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
  inputs, labels = blobs()
  low = model(inputs)
  assert low.dtype == jnp.bfloat16
  got = mixed_precision.LOSS(low, labels)
  np.testing.assert_allclose(got, by_hand.losses(low, labels, 0, 0.1), atol=1e-6)
  gradient = jax.grad(lambda z: mixed_precision.LOSS(z, labels).mean())(low)
  assert gradient.dtype == jnp.bfloat16


ON_EIGHT = """
import json
from examples import sharding
params, losses = sharding.train()
kernel = params['kernel']
shards = [list(shard.data.shape) for shard in kernel.addressable_shards]
print(json.dumps({'losses': losses, 'shards': shards, 'kernel': kernel.tolist()}))
"""


def test_eight_devices_train_as_one_does():
  flags = '--xla_force_host_platform_device_count=8'
  environment = {**os.environ, 'XLA_FLAGS': flags, 'PYTHONPATH': str(ROOT)}
  command = [sys.executable, '-W', 'error', '-c', ON_EIGHT]
  output = subprocess.run(
    command,
    check=False,
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert output.returncode == 0, output.stderr
  eight = json.loads(output.stdout)
  # Half of the classes on each, in four copies for the four groups of rows.
  assert eight['shards'] == [[16, sharding.NUM_CLASSES // 2]] * 8
  params, losses = sharding.train()
  np.testing.assert_allclose(eight['losses'], losses, rtol=1e-5)
  np.testing.assert_allclose(eight['kernel'], params['kernel'], rtol=1e-4, atol=1e-5)
  inputs, labels = blobs(sharding.NUM_CLASSES)
  rows = by_hand.losses(logits(init(8), inputs), labels, 0.1, 0.1)
  np.testing.assert_allclose(losses[0], rows[:50].mean(), rtol=1e-6)
  assert losses[-1] < 0.6 * losses[0]


def test_a_sweep_is_one_program_and_equals_the_runs_alone(monkeypatch):
  calls = []

  def counted(*args):
    calls.append(args)
    return logits(*args)

  monkeypatch.setattr(weight_sweep, 'logits', counted)
  _, losses, entropy = weight_sweep.train(30)
  assert len(calls) <= 3  # traced, not once a weight
  alone = jax.jit(weight_sweep.fit, static_argnums=3)
  for index, weights in ((1, (0.1, 0.0)), (8, (0.2, 0.5))):
    _, expected = alone(weight_sweep.make(*weights), *blobs(), 30)
    np.testing.assert_allclose(losses[index], expected, rtol=1e-4, atol=1e-5)
  grid = entropy.reshape(3, 3)  # weights of the penalty by epsilons
  assert (jnp.diff(grid, axis=0) > 0).all()
  assert (jnp.diff(grid, axis=1) > 0).all()


def test_the_bonus_keeps_a_policy_exploring():
  run = jax.jit(jax.vmap(jax.vmap(entropy_bonus.train, (None, 0)), (0, None)))
  _, rows = run(jnp.array([0.0, 0.2]), jnp.arange(4))
  (without, reward), (sure, entropy) = rows['reward'][..., -1], rows['entropy'][..., 30]
  assert (reward > 0.95).all(), 'with the bonus every seed finds every best arm'
  assert (without < 0.9).all(), 'without it every seed has settled for less'
  assert (entropy > 2 * sure).all()


def test_the_policy_gradient_is_the_one_written_out():
  params = {
    'embedding': jax.random.normal(jax.random.key(0), (4, 16)),
    'kernel': jax.random.normal(jax.random.key(1), (16, entropy_bonus.ARMS)),
  }
  key = jax.random.key(2)

  def written_out(params):
    context_key, arm_key = jax.random.split(key)
    contexts = jax.random.randint(context_key, (32,), 0, 4)
    scores = jnp.tanh(params['embedding'][contexts]) @ params['kernel']
    log_p = jax.nn.log_softmax(scores)
    arms = jax.random.categorical(arm_key, log_p)
    reward = entropy_bonus.rewards()[contexts, arms]
    chosen = jnp.take_along_axis(log_p, arms[:, None], 1)[:, 0]
    entropy = -(jnp.exp(log_p) * log_p).sum(-1)
    return (-(reward - reward.mean()) * chosen - 0.2 * entropy).mean()

  got = jax.value_and_grad(entropy_bonus.objective)(params, key, 0.2)
  expected = jax.value_and_grad(written_out)(params)
  assert_trees_close(got, expected, rtol=1e-4, atol=1e-6)
