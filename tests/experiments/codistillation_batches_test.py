"""The sweep over batches: where doubling stops to help, and a whole small run."""

import pathlib

import numpy as np
import pytest

from experiments import codistillation_batches
from experiments.codistillation_batches import Config, plateau
from experiments.errors import InputError
from experiments.steps_to_target import Reached, reached


def at(mean: int, missing: int = 0) -> Reached:
  return Reached((mean,) * (4 - missing), 4, 400, 0.1)


@pytest.mark.parametrize(
  ('results', 'index'),
  [
    ([at(100), at(50), at(45), at(20)], 1),  # the first one, though it helps later
    ([at(100), at(99)], 0),
    ([at(100), at(85), at(84)], 1),  # 15 % is enough
    ([at(100, 1), at(50), at(50)], 1),  # not all runs get there with the smallest
    ([at(100), at(50), at(10, 1)], 1),  # nor with the largest
  ],
)
def test_plateau(results: list[Reached], index: int):
  assert plateau(results, 0.15) == index


@pytest.mark.parametrize('results', [[at(100), at(50)], [at(9, 4), at(9, 4)]])
def test_no_plateau(results: list[Reached]):
  with pytest.raises(InputError, match='doubling helps up to the last'):
    plateau(results, 0.15)


def test_reached():
  curves = {
    0: {5: 1.0, 10: 0.5, 15: 0.6},
    1: {5: 0.4, 10: 0.3, 15: 0.2},
    2: {5: 2.0, 10: 1.0, 15: 0.9},
  }
  found = reached(curves, 0.5)
  assert (found.steps, found.num_runs, found.num_steps) == ((10, 5), 3, 15)
  assert (found.mean, found.standard_error) == (7.5, 2.5)
  assert found.least == pytest.approx(1.6 / 3)
  assert found.slowness < reached(curves, 0.1).slowness == (3, np.inf)


def test_whole_run_and_again(tmp_path: pathlib.Path):
  config = Config(
    workdir=str(tmp_path),
    batch_sizes=(16, 32),
    learning_rates=(0.1, 0.01),
    arms=('codistillation',),
    seeds=1,
    hidden=(8,),
    num_steps=20,
    burn_in=5,
    target=2.0,
    gain=0.9,  # so that there is a plateau at once
  )
  codistillation_batches.run(config)
  table = (tmp_path / 'table.md').read_text()
  rows = [line for line in table.splitlines() if line.startswith('| ')][2:]
  assert [row.split()[1] for row in rows] == ['baseline', 'baseline', 'codistillation']
  assert [row.split()[3] for row in rows] == ['16', '32', '16']
  assert (tmp_path / 'steps.png').stat().st_size > 5000
  records = {path: path.read_bytes() for path in tmp_path.rglob('record.jsonl')}
  assert len(records) == 5
  codistillation_batches.run(config)  # nothing is left to do
  assert {path: path.read_bytes() for path in records} == records


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ({'batch_size': 8}, '--batch_sizes takes its place'),
    ({'learning_rate': 0.1}, '--learning_rates takes its place'),
    ({'batch_sizes': (8,)}, 'two or more'),
    ({'batch_sizes': (8, 24)}, 'each the double'),
    ({'arms': ('baseline',)}, 'expected codistillation or same_data'),
    ({'replica': 0}, 'in one process'),
    ({'exchange': 'directory'}, 'expected one of local'),
  ],
)
def test_bad_flags(flags: dict, message: str, tmp_path: pathlib.Path):
  with pytest.raises(InputError, match=message):
    codistillation_batches.run(Config(workdir=str(tmp_path), **flags))
