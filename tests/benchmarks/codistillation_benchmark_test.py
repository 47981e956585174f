"""The benchmark of the exchange: candidates that do what they are named for."""

import json

import jax
import numpy as np
import pytest

from benchmarks import codistillation as benchmark

TINY = {'model': 'mnist', 'num_train': 64, 'hidden': (4,), 'batch_size': 8}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch):
  monkeypatch.setattr(benchmark, 'INTERVALS', (10, 20))
  monkeypatch.setattr(benchmark, 'TURN', 20)
  monkeypatch.setattr(benchmark, 'PAUSE', 0)


def test_a_net_is_measured_and_told(tmp_path):
  cost = benchmark.measured('tiny', TINY, 3, str(tmp_path))
  assert cost.parameters == 64 * 4 + 4 + 4 * 10 + 10
  assert cost.rounds == 3
  assert cost.step > 0
  assert [*cost.overhead] == [10, 20, benchmark.NO_FILES]
  assert all(low <= middle <= high for middle, low, high in cost.overhead.values())
  text = benchmark.report([cost], 'idle')
  assert f'| tiny | 310 | 3 | {cost.step:.2f} |' in text
  assert 'exchange every 20 steps |' in text


def test_every_exchange_reads_a_newer_copy(tmp_path):
  replica = benchmark.Replica(TINY, str(tmp_path))
  with benchmark.Directory(tmp_path / 'peers', 0, 2, 10, background=False) as exchange:
    training = replica.exchanging(exchange)
    training.turn()
    log = (tmp_path / 'peers' / 'log.jsonl').read_text().splitlines()
    state = next(training._states)[0]
  assert len(log) == 3  # two of a turn, and the one before the first
  own = jax.tree.leaves(state.runs.model_state['peers'].trees['params'])
  given = jax.tree.leaves(replica.state.runs.params)
  for peer, first in zip(own, given, strict=True):
    np.testing.assert_array_equal(np.ravel(peer), np.ravel(first))


def test_without_files_every_exchange_brings_something(tmp_path):
  replica = benchmark.Replica(TINY, str(tmp_path))
  place = tmp_path / 'peers'
  with benchmark.WithoutFiles(place, 0, 2, 10, background=False) as exchange:
    training = replica.exchanging(exchange)
    training.turn()
    state = next(training._states)[0]  # what was given away at the end of the turn
  steps = [json.loads(line) for line in (place / 'log.jsonl').read_text().splitlines()]
  assert [line['peer_step'] for line in steps] == [10, 20, 30]
  assert not list((place / 'replica-0').glob('*.safetensors'))
  assert np.isfinite(jax.tree.leaves(state.runs.params)[0]).all()
