"""The number of devices changes nothing: statistics are those of the whole batch."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
SECONDS = 300  # what a stuck collective may cost


@pytest.fixture(scope='module')
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, np.ndarray]:
  path = tmp_path_factory.mktemp('sharded') / 'out.npz'
  folders = os.pathsep.join([str(HERE.parent.parent), str(HERE)])
  command = [sys.executable, HERE / 'recurrent_sharded_program.py', path]
  done = subprocess.run(
    command,
    env={**os.environ, 'PYTHONPATH': folders},
    capture_output=True,
    text=True,
    timeout=SECONDS,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return dict(np.load(path))


@pytest.mark.parametrize('way', ['jit', 'map'])
@pytest.mark.parametrize('name', ['sequence', 'hidden'])
def test_devices_change_nothing(name: str, way: str, results: Mapping[str, np.ndarray]):
  """Sharded arrays under jit, and shard_map: values, statistics and gradients."""
  assert results['devices'] == 8
  single = {key: a for key, a in results.items() if key.startswith(f'{name}/one/')}
  assert len(single) > 8
  for key, expected in single.items():
    got = results[key.replace('/one/', f'/{way}/')]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11 * scale)
