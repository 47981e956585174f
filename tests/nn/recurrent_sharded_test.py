"""The number of devices changes nothing: statistics are those of the whole batch."""

import pathlib
from collections.abc import Mapping

import numpy as np
import pytest


@pytest.fixture(scope='module')
def results(arrays_of) -> Mapping[str, np.ndarray]:
  return arrays_of(pathlib.Path(__file__).with_name('recurrent_sharded_program.py'))


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
