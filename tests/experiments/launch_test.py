"""Replicas that one command starts: their flags, and that they begin together."""

import dataclasses
import pathlib
import signal

import pytest

from experiments import codistillation, exchanging, launch
from experiments.codistillation import Config
from experiments.codistillation_arms import Arm
from experiments.codistillation_models import MODELS
from experiments.codistilled import codistilled
from experiments.state import init_state, stack
from regularizers.exchange import Directory


def test_arguments_are_read_back():
  own = Config(weight=(0.5,), hidden=(8, 4), vmap=False, data='same', replica=1)
  assert sorted(launch.arguments(own)) == [
    *('--data=same', '--hidden=8,4', '--novmap', '--replica=1', '--weight=0.5')
  ]


def test_replicas_that_were_started_together_begin_together(
  monkeypatch: pytest.MonkeyPatch,
):
  naps: list[float] = []
  monkeypatch.setattr(launch.time, 'sleep', naps.append)

  def there() -> bool:
    return len(naps) == 3  # now the other one gives something away

  launch.await_others(there, [])  # not started together
  assert not naps
  monkeypatch.setenv(launch._TOGETHER, '1')
  launch.await_others(there, [signal.SIGTERM])
  assert not naps
  launch.await_others(there, [])
  assert len(naps) == 3
  monkeypatch.setattr(launch, '_PATIENCE', 0.0)
  launch.await_others(lambda: False, [])  # the other one never comes
  assert len(naps) == 3


def test_the_beginning_is_told_once(tmp_path: pathlib.Path):
  told: list[bool] = []
  own = codistillation.filled(
    Config(model='mnist', num_train=200, hidden=(8,), seeds=1, replica=0)
  )
  arm = Arm(own, 'codistillation', MODELS['mnist'].data(own))
  base = arm.base()
  job = arm.job(codistilled(base, 1))
  state = init_state(job.task, stack(job.losses), job.optimizer, job.seeds)
  with Directory(tmp_path / 'peers', 0, 2, 5) as exchange:
    between = exchanging.ThroughDirectory(
      base, exchange, tmp_path / 'log', lambda: told.append(True)
    )
    for step, count in ((3, 0), (5, 1), (10, 1)):
      between(dataclasses.replace(state, step=step))
      assert len(told) == count
