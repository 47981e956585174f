"""The two large set-ups, as they are but for their size, on small data."""

import dataclasses
import pathlib

import imagenet_test
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import web_text_test

from experiments import codistillation, codistillation_large, runs
from experiments.codistillation import Config
from experiments.codistillation_arms import Arm
from experiments.codistillation_models import MODELS
from experiments.datasets.dataset import Dataset

ARMS = ('codistillation',)  # one: compiling takes its time
SHORT = {'seeds': 1, 'burn_in': 1, 'exchange_every': 2, 'exchange': 'local'}
RESNET = {'hidden': (1, 1), 'width': 4, 'batch_size': 4, 'num_steps': 5}
LM = {'hidden': (8, 8), 'embedding': 4, 'batch_size': 2, 'unroll': 8, 'num_steps': 6}


def check(path: pathlib.Path, *arms: str) -> None:
  found = {run.arm: run for run in runs.collect([path])}
  assert set(found) == set(arms)
  for run in found.values():
    assert run.finished
    assert all(np.isfinite(row['nll']) for row in run.rows)


@pytest.mark.slow
def test_resnet(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
  """Peers predict with the batch statistics they had when they were sent."""
  directory = imagenet_test.write(tmp_path / 'data')
  small = dataclasses.replace(
    MODELS['resnet'], data=lambda config: imagenet_test.load(directory)
  )
  monkeypatch.setitem(MODELS, 'resnet', small)
  workdir = str(tmp_path / 'runs')
  own = Config(model='resnet', workdir=workdir, arms=ARMS, **SHORT, **RESNET)
  check(codistillation.run(own), *ARMS)


@pytest.mark.slow
def test_language_model(tmp_path: pathlib.Path):
  directory = web_text_test.write(tmp_path / 'data')
  vocabulary = {'buckets': web_text_test.VOCABULARY, 'num_train': 0}
  own = Config(
    model='lm',
    data_dir=directory,
    workdir=str(tmp_path / 'runs'),
    arms=ARMS,
    **SHORT,
    **LM,
    **vocabulary,
  )
  check(codistillation.run(own), *ARMS)


def test_recipe_of_imagenet():
  """Warm-up over five epochs of a replica's part, then falls at 30, 60 and 80."""
  filled = codistillation.filled(
    Config(model='resnet', workdir='unused', batch_size=4, learning_rate=1.0)
  )
  arrays = {'image': np.zeros((80, 1)), 'label': np.zeros(80, np.int32)}
  data = Dataset('imagenet', 1000, {'train': arrays})
  assert Arm(filled, 'baseline', data).steps_per_epoch == 10
  expected = {0: 0.1, 25: 0.55, 50: 1.0, 299: 1.0, 300: 0.1, 600: 0.01, 800: 0.001}
  rate = codistillation_large.imagenet_rate(filled, data)
  for step, value in expected.items():
    np.testing.assert_allclose(rate(jnp.int32(step)), value, rtol=1e-5)


def test_weight_decay_leaves_scales_alone():
  filled = codistillation.filled(
    Config(model='resnet', workdir='unused', batch_size=4, learning_rate=1.0)
  )
  arrays = {'image': np.zeros((80, 1)), 'label': np.zeros(80, np.int32)}
  data = Dataset('imagenet', 1000, {'train': arrays})
  optimizer = MODELS['resnet'].optimizer(filled, data)
  params = {'kernel': jnp.ones((2, 2)), 'scale': jnp.ones(2)}
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  assert (updates['scale'] == 0).all()
  assert (updates['kernel'] < 0).all()
