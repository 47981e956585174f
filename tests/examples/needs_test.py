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
  large_vocabulary,
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


def test_padding_is_not_counted():
  _, losses = padding_mask.train(40)
  assert losses[-1] < 0.5 * losses[0]
  tokens, mask = sequences()
  start = padding_mask.Model(nnx.Rngs(0))
  rows = np.asarray(nnx.jit(lambda m, t: m(t))(start, (tokens * mask)[:, :-1]))
  labels = np.asarray(tokens)[:, 1:]
  real = np.asarray(mask)[:, 1:]
  expected = by_hand.losses(rows[real], labels[real], 0, 0.1, threshold=1.0)
  np.testing.assert_allclose(losses[0], expected.mean(), rtol=1e-6)


def test_what_stands_in_the_padding_has_no_effect():
  tokens, mask = sequences()
  model = padding_mask.Model(nnx.Rngs(0))
  gradient = nnx.jit(nnx.value_and_grad(padding_mask.objective))
  expected = gradient(model, tokens, mask)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
  for junk in (5, 10**6):  # a class, and none
    got = gradient(model, jnp.where(mask, tokens, junk), mask)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_a_large_vocabulary_is_learnt_without_its_logits():
  params, rows = large_vocabulary.train(60)
  assert rows['nll'][-1] < 0.25 * rows['nll'][0]
  tokens, mask = large_vocabulary.data()
  start, inputs = large_vocabulary.init(), (tokens * mask)[:, :-1]
  real, labels = np.asarray(mask)[:, 1:], np.asarray(tokens)[:, 1:]

  def logits(params):
    return (large_vocabulary.states(params, inputs) @ params['embedding'].T)[real]

  # The penalty's weight starts at 0.
  expected = by_hand.losses(logits(start), labels[real], 0.1)
  np.testing.assert_allclose(rows['loss'][0], expected.mean(), rtol=1e-6)
  surprise = jax.jit(large_vocabulary.surprise)(params, tokens * mask)
  expected = by_hand.losses(logits(params), labels[real])
  np.testing.assert_allclose(np.asarray(surprise)[real], expected, rtol=1e-4, atol=1e-5)


def full_batch(params, batch):
  inputs, labels, mask = batch
  return reg.masked_mean(
    gradient_accumulation.LOSS(logits(params, inputs), labels), mask
  )


@pytest.mark.parametrize('parts', [4, 32])
def test_accumulated_gradient_is_the_full_batchs(parts):
  @jax.jit
  def gradients(params, batch):
    micro = reg.microbatches(batch, parts)
    each = jax.vmap(jax.grad(full_batch), (None, 0))(params, micro)
    naive = jax.tree.map(lambda leaf: leaf.mean(0), each)
    full = jax.value_and_grad(full_batch)(params, batch)
    sum_and_count = gradient_accumulation.sum_and_count
    return reg.accumulate_gradients(sum_and_count, params, micro), full, naive

  got, expected, naive = gradients(init(3), gradient_accumulation.batch())
  assert_trees_close(got, expected, rtol=1e-5, atol=1e-7)
  # The case tells the two apart: the mean of the micro-batches' means is far off.
  kernel, off = (np.asarray(tree['kernel']) for tree in (expected[1], naive))
  assert np.abs(off - kernel).max() > 0.02 * np.abs(kernel).max()


def test_accumulated_training_is_that_of_the_full_batch():
  _, losses = gradient_accumulation.train(20, parts=4)
  _, expected = gradient_accumulation.train(20, parts=1)
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
  got = jax.jit(mixed_precision.LOSS)(low, labels)
  np.testing.assert_allclose(got, by_hand.losses(low, labels, 0, 0.1), atol=1e-6)
  # The parameters' gradient passes through the logits', in bfloat16.
  gradient = jax.eval_shape(
    jax.grad(lambda z: mixed_precision.LOSS(z, labels).sum()), low
  )
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
  grid = np.asarray(entropy).reshape(3, 3)  # weights of the penalty by epsilons
  assert (np.diff(grid, axis=0) > 0).all()
  assert (np.diff(grid[0]) > 0).all()


def test_the_bonus_keeps_a_policy_exploring():
  bonus = np.repeat(np.float32([0.0, 0.2]), 4)
  _, rows = jax.vmap(entropy_bonus.train)(bonus, np.tile(np.arange(4), 2))
  without, reward = np.split(np.asarray(rows['reward'])[:, -1], 2)
  sure, entropy = np.split(np.asarray(rows['entropy'])[:, 30], 2)
  assert (reward > 0.95).all(), 'with the bonus every seed finds every best arm'
  assert (without < 0.9).all(), 'without it every seed has settled for less'
  assert (entropy > 2 * sure).all()


@jax.value_and_grad
def written_out(params, key):
  contexts = jnp.arange(32) % 4
  scores = jnp.tanh(params['embedding'][contexts]) @ params['kernel']
  log_p = jax.nn.log_softmax(scores)
  arms = jax.random.categorical(key, log_p)
  reward = entropy_bonus.rewards()[contexts, arms]
  chosen = jnp.take_along_axis(log_p, arms[:, None], 1)[:, 0]
  entropy = -(jnp.exp(log_p) * log_p).sum(-1)
  return (-(reward - reward.mean()) * chosen - 0.2 * entropy).mean()


def test_the_policy_gradient_is_the_one_written_out(rng):
  params = {
    'embedding': rng.normal(size=(4, 16)).astype(np.float32),
    'kernel': rng.normal(size=(16, entropy_bonus.ARMS)).astype(np.float32),
  }
  ours = jax.value_and_grad(entropy_bonus.objective)

  @jax.jit
  def both(params, key):
    return ours(params, key, 0.2), written_out(params, key)

  assert_trees_close(*both(params, jax.random.key(2)), rtol=1e-4, atol=1e-6)


def test_the_picture_of_the_idea_shows_the_losses():
  pytest.importorskip('matplotlib', reason='matplotlib is not installed')
  from examples import idea

  value, _ = idea.draw().axes
  margin = value.lines[0].get_xdata()
  right, other = np.exp(margin) / (np.exp(margin) + 9), 1 / (np.exp(margin) + 9)
  plain = -np.log(right)
  entropy = -right * np.log(right) - 9 * other * np.log(other)
  smoothed = 0.91 * plain - 0.09 * np.log(other)
  expected = [
    *(plain, smoothed, plain - 0.5 * entropy),
    plain + 0.5 * np.maximum(0, 1 - entropy),
  ]
  curves = [line.get_ydata() for line in value.lines if len(line.get_xdata()) > 1]
  np.testing.assert_allclose(curves, expected, rtol=2e-6, atol=2e-6)
  # Where smoothing is least, p is the smoothed label.
  assert [text.get_text() for text in value.texts][0] == 'p = 0.91'


def test_no_curve_of_the_picture_goes_through_what_is_written():
  pytest.importorskip('matplotlib', reason='matplotlib is not installed')
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  from examples import idea

  figure = idea.draw()
  FigureCanvasAgg(figure).draw()
  value, _ = figure.axes
  for text in value.texts:
    box = text.get_window_extent()
    for line in value.lines:
      places = value.transData.transform(line.get_xydata())
      assert not [place for place in places if box.contains(*place)], text.get_text()
