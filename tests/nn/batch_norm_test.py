"""Normalisation of sequences: statistics, running ones, and what evaluation does."""

from typing import Any

import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest
from flax import nnx
from models import INPUTS, LENGTHS, TIME

from regularizers import nn

VALID = np.arange(TIME)[None] < LENGTHS[:, None]


def layer(options: Any = None, **more: Any) -> Any:
  return nn.BatchNorm(
    INPUTS, options, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **more
  )


@pytest.mark.parametrize('mode', ['sequence', 'frame'])
def test_moments_of_valid_frames(mode: Any):
  """Value, running moments and padding, against numpy on the frames themselves."""
  x = models.features()
  with jax.enable_x64(True):
    norm = layer(models.placed('input_to_hidden', mode, epsilon=0.1, scale_init=3.0))
    got = norm(jnp.asarray(np.where(VALID[..., None], x, 7.0)), mask=jnp.asarray(VALID))
    same = norm(jnp.asarray(x), lengths=jnp.asarray(LENGTHS))
  steps = (
    [slice(None)] if mode == 'sequence' else [slice(t, t + 1) for t in range(TIME)]
  )
  expected, means, variances = np.zeros_like(x), [], []
  for step in steps:
    there = np.zeros_like(VALID)
    there[:, step] = VALID[:, step]
    means.append(x[there].mean(0))
    variances.append(x[there].var(0))
    expected[there] = 3 * (x[there] - means[-1]) / np.sqrt(variances[-1] + 0.1)
  models.close(got, expected)
  models.close(same, got, 0)
  squeeze = (lambda a: a[0]) if mode == 'sequence' else np.array
  models.close((norm.mean[...], norm.var[...]), (squeeze(means), squeeze(variances)))


def test_running_moments_average_first_and_fade_later():
  """The plain mean of the first 1/(1 − m) batches, then m·running + (1 − m)·batch."""
  with jax.enable_x64(True):
    norm = layer(nn.SequenceBatchNorm(momentum=0.75))
    batches = [models.features(seed) for seed in range(6)]
    for x in batches:
      norm(jnp.asarray(x))
  for stored, of in ((norm.mean, np.mean), (norm.var, np.var)):
    each = [of(x, axis=(0, 1)) for x in batches]
    running = np.mean(each[:4], axis=0)
    for one in each[4:]:
      running = 0.75 * running + 0.25 * one
    models.close(stored[...], running)


def test_steps_past_the_training_take_those_of_the_last_trained_one():
  """Past the longest sequence, where one alone survives, and past max_length."""
  x = models.features()
  with jax.enable_x64(True):
    norm = layer(models.FRAME)
    # Two sequences at step 3, one at step 4, none at step 5.
    norm(jnp.asarray(x), lengths=jnp.asarray([5, 4, 2, 2]))
    trained = norm.mean[...][:4]
    assert norm.updates[...][:, 0].tolist() == [1, 1, 1, 1, 0, 0]
    models.close(trained[3], x[:2, 3].mean(0))
    norm.eval()
    long = np.concatenate([x, x], axis=1)
    got = norm(jnp.asarray(long))
    mean = np.concatenate([trained, np.tile(trained[3], (8, 1))])
    var = np.stack([x[:n, t].var(0) for t, n in ((0, 4), (1, 4), (2, 2), (3, 2))])
    var = np.concatenate([var, np.tile(var[3], (8, 1))])
  models.close(got, (long - mean) / np.sqrt(var + 1e-5))


def test_train_and_eval_by_the_usual_means():
  x = jnp.asarray(models.features(), jnp.float32)
  model = nn.LSTM(INPUTS, 2, batch_norm=models.SEQUENCE, rngs=nnx.Rngs(0))
  norm = model.directions[0].norm
  training, _ = model(x)
  assert norm.updates[...] == 1
  evaluation, _ = model(x, use_running_average=True)
  viewed, _ = nnx.view(model, use_running_average=True, deterministic=True)(x)
  model.eval()
  models.close((model(x)[0], viewed), (evaluation, evaluation), 0)
  assert norm.updates[...] == 1
  # After one batch the running moments are that batch's.
  np.testing.assert_allclose(evaluation, training, rtol=1e-5, atol=1e-6)
  model.train()
  model(2 * x)
  assert norm.updates[...] == 2


def test_far_from_zero():
  """100 ± 0.01 in float32: two passes keep the variance, E[x²] − E[x]² would not."""
  draw = np.random.default_rng(0)
  x = (100 + 0.01 * draw.normal(size=(40, 50, INPUTS))).astype(np.float32)
  norm = nn.BatchNorm(INPUTS, rngs=nnx.Rngs(0))
  norm(jnp.asarray(x))
  exact = x.astype(np.float64)
  np.testing.assert_allclose(norm.var[...], exact.var((0, 1)), rtol=1e-3)
  np.testing.assert_allclose(norm.mean[...], exact.mean((0, 1)), rtol=1e-6)


PLACEMENTS = [
  ('LSTM', 'input_to_hidden'),
  ('LSTM', 'layer_input'),
  ('LSTM', 'hidden_to_hidden'),
  ('LSTM', 'pre_activation'),
  ('GRU', 'input_to_hidden'),
  ('GRU', 'hidden_to_hidden'),
  ('SimpleRNN', 'pre_activation'),
]


@pytest.mark.parametrize(('cell', 'placement'), PLACEMENTS)
def test_evaluation_folds_into_plain_weights(cell: str, placement: str):
  """W' = W·diag(γ/σ), b' = b + β − γμ/σ, of a network without normalisation."""
  draw = np.random.default_rng(4)
  with jax.enable_x64(True):
    options = nn.SequenceBatchNorm('frame', placement, scale_init=0.3, max_length=1)  # type: ignore[arg-type]
    model = models.make(cell, batch_norm=options)
    part = model.directions[0]
    norm, size = part.norm, part.norm.mean.shape
    norm.mean[...] = jnp.asarray(draw.normal(size=size))
    norm.var[...] = jnp.asarray(draw.uniform(0.5, 2, size=size))
    norm.updates[...] += 1
    model.eval()
    factor = norm.scale[...] / jnp.sqrt(norm.var[...][0] + 1e-5)
    shift = -norm.mean[...][0] * factor
    beta = 0.0 if norm.bias is None else norm.bias[...]
    plain = models.make(cell)
    fold = plain.directions[0]
    bias = 0.0 if part.bias is None else part.bias[...]
    kernel, recurrent = part.input_kernel[...], part.recurrent_kernel[...]
    if part.recurrent_bias is not None:
      fold.recurrent_bias[...] = part.recurrent_bias[...]
    if placement == 'layer_input':
      shift = (shift[None] @ kernel)[0]
      kernel = factor[:, None] * kernel
    elif placement != 'hidden_to_hidden':
      kernel = kernel * factor[None]
    if placement in ('hidden_to_hidden', 'pre_activation'):
      recurrent = recurrent * factor[None]
    if cell == 'GRU' and placement == 'hidden_to_hidden':
      # Inside the reset gate's bracket.
      inner = jnp.split(shift, 3)[2]
      fold.recurrent_bias[...] += inner
      shift = shift.at[-inner.size :].set(0.0)
    fold.input_kernel[...], fold.recurrent_kernel[...] = kernel, recurrent
    fold.bias[...] = bias + beta + shift
    x, lengths = jnp.asarray(models.features()), jnp.asarray(LENGTHS)
    run, params, stats = models.pure(model)
    by_norm, _ = jax.jit(run)(params, stats, x, lengths=lengths)
    run, params, stats = models.pure(plain)
    by_fold, _ = jax.jit(run)(params, stats, x, lengths=lengths)
  models.close(by_norm, by_fold)
