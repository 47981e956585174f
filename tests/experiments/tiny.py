"""A task that compiles in a moment, for the tests of the loop and its files.

As a program it trains ``long_job`` in a directory: python tiny.py DIRECTORY
"""

import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

import regularizers as reg
from experiments import runner, study
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError
from experiments.models.mlp import MLP
from experiments.progress import Progress
from experiments.state import State, init_state, stack
from experiments.task import Task, classification
from experiments.train import training

CLASSES, FEATURES = 3, 4


@functools.cache
def dataset(seed: int) -> Dataset:
  random = np.random.default_rng(seed)

  def split(size: int) -> dict[str, np.ndarray]:
    label = random.integers(0, CLASSES, size).astype(np.int32)
    noise = random.normal(size=(size, FEATURES))
    image = np.eye(CLASSES, FEATURES)[label] + 0.7 * noise
    return {'image': image.astype(np.float32), 'label': label}

  sizes = {'train': 50, 'validation': 34, 'test': 34}
  return Dataset('tiny', CLASSES, {name: split(n) for name, n in sizes.items()})


def module(rngs: nnx.Rngs) -> nnx.Module:
  return MLP(FEATURES, (8,), CLASSES, dropout=0.5, rngs=rngs)


SEEDS = (0, 1, 2)
# One object each, so that tests share what is compiled.
TASK: Task = classification(module, {seed: dataset(seed) for seed in SEEDS}, 8)
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


def penalties(*weights: float) -> list[reg.Loss]:
  return [reg.confidence_penalty(weight)(reg.cross_entropy) for weight in weights]


def start(losses: list[reg.Loss], seeds: tuple[int, ...] = SEEDS) -> State:
  return init_state(TASK, stack(losses), OPTIMIZER, seeds)


def job(directory, **changes) -> runner.Job:
  """Three seeds, 20 steps, checkpoints at 6, 12, 18 and 20."""
  options = {
    'directory': directory,
    'config': {'arm': 'penalty', 'weight': 0.1},
    'about': {'experiment': 'tiny', 'dataset': 'tiny', 'arm': 'penalty', 'data': 'x'},
    'task': TASK,
    'optimizer': OPTIMIZER,
    'losses': penalties(0.1, 0.1, 0.1),
    'seeds': SEEDS,
    'points': [{}] * 3,
    'num_steps': 20,
    'log_every': 4,
    'eval_every': 10,
    'checkpoint_every': 6,
  }
  return runner.Job(**{**options, **changes})


def long_job(directory) -> runner.Job:
  """Long enough to be killed some times; has fifteen checkpoints."""
  return job(
    directory, num_steps=1500, log_every=20, eval_every=500, checkpoint_every=100
  )


def complete(own_job: runner.Job, received: Sequence[int] = (), **options: Any) -> None:
  with Progress(0) as progress:
    study.complete(own_job, 'test', progress, received, **options)


def golden_rows(own_task, loss, optimizer) -> list[list[float]]:
  """What each of the first three steps of seed 0 says."""
  stacked, rows = stack([loss]), []
  state = init_state(own_task, stacked, optimizer, [0])
  for _, new in training(own_task, stacked, optimizer, state, num_steps=3, log_every=1):
    rows += new
  names = ('loss', 'nll', 'entropy', 'gradient_norm')
  return [[row[name] for name in names] for row in rows]


def assert_same_bits(left, right) -> None:
  left, right = jax.device_get((left, right))
  jax.tree.map(np.testing.assert_array_equal, left, right)


if __name__ == '__main__':
  try:
    complete(long_job(pathlib.Path(sys.argv[1])))
  except InputError as error:
    sys.exit(f'error: {error}')
