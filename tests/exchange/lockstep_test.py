"""Replicas that exchange at the same steps learn the same whatever the way."""

import functools
import pathlib
import socket
from collections.abc import Mapping
from typing import Any

import lockstep
import numpy as np
import processes
import pytest

from regularizers.exchange import Directory, Local

Results = Mapping[str, np.ndarray]


@functools.cache
def local(count: int) -> Any:
  tree, peers = lockstep.train_stacked(Local(count, lockstep.EVERY), count)
  return {**tree, 'steps': peers.steps}


def same(got: Any, count: int, replica: Any = ...) -> None:
  for name, expected in local(count).items():
    leaf = np.asarray(expected)[replica]
    np.testing.assert_allclose(got[name], leaf, rtol=1e-5, atol=1e-6, err_msg=name)


def start(*arguments: object) -> processes.Program:
  return processes.start('lockstep_program.py', *arguments)


@pytest.fixture(scope='module')
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
  path = tmp_path_factory.mktemp('lockstep') / 'out.npz'
  processes.finish([start('devices', path)])
  return dict(np.load(path))


def test_peers_matter():
  """Else the others compare nothing."""
  trained, alone = local(2), lockstep.train_stacked(Local(2, 1000), 2)[0]
  assert np.abs(trained['outer'] - alone['outer']).max() > 1e-3
  np.testing.assert_array_equal(trained['steps'], [[20], [20]])


@pytest.mark.parametrize('count', [2, 3])
def test_directory(count: int, tmp_path: pathlib.Path):
  exchanges = [
    Directory(tmp_path, i, count, lockstep.EVERY, background=False)
    for i in range(count)
  ]
  tree, peers = lockstep.train_each(exchanges)
  for exchange in exchanges:
    exchange.close()
  same({**tree, 'steps': peers.steps}, count)


@pytest.mark.parametrize(('name', 'count'), [('2x2', 2), ('3', 3)])
def test_mesh(name: str, count: int, results: Results):
  """Replicas of one device, and of two that split the rows between them."""
  for replica in range(count):
    got = {leaf: results[f'{name}/{leaf}/{replica}'] for leaf in local(count)}
    same(got, count, replica)


@pytest.mark.parametrize('dtype', ['f32', 'f16'])
@pytest.mark.parametrize('kind', ['Auto', 'Explicit'])
def test_split_leaves_stay_split(kind: str, dtype: str, results: Results):
  """Nothing is gathered, also before the first exchange; narrow types are sent."""
  shapes = results[f'{kind}/{dtype}/shapes']
  np.testing.assert_array_equal(shapes, [[1, 1, 6, 4]] * 3)
  sent = results[f'{kind}/{dtype}/collectives'].tolist()
  assert {line.split()[0] for line in sent} == {'collective-permute'}
  assert f'collective-permute {dtype}' in sent
  np.testing.assert_array_equal(results['empty'], [[3], [3]])


@pytest.mark.slow
def test_mesh_of_two_processes(tmp_path: pathlib.Path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  paths = [tmp_path / f'{index}.npz' for index in range(2)]
  processes.finish([start('process', i, port, path) for i, path in enumerate(paths)])
  for replica, path in enumerate(paths):
    found = np.load(path)
    np.testing.assert_array_equal(found['devices'], [4, 2])
    same({leaf: found[f'{leaf}/{replica}'] for leaf in local(2)}, 2, replica)
