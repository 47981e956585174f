"""The number of devices changes nothing: rows, heads, inner units and ids are split."""

import pathlib
from collections.abc import Mapping

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from experiments.models import opt_sharding
from experiments.models.opt import OPT
from experiments.models.opt_layers import Sizes


@pytest.fixture(scope='module')
def results(arrays_of) -> Mapping[str, np.ndarray]:
  return arrays_of(pathlib.Path(__file__).with_name('opt_sharded_program.py'))


@pytest.mark.parametrize('name', ['data', 'both', 'ids too'])
def test_devices_change_nothing(name: str, results: Mapping[str, np.ndarray]):
  """Loss, gradients, with dropout; and what is written."""
  assert results['devices'] == 8
  single = {key: a for key, a in results.items() if key.startswith('one/')}
  assert len(single) > 16
  for key, expected in single.items():
    got = results[key.replace('one/', f'{name}/', 1)]
    scale = max(float(np.abs(expected).max()), 0.1)
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-6 * scale, err_msg=key)


def test_gradients_are_split_as_their_parameters(results: Mapping[str, np.ndarray]):
  parts = {name: results[f'{name}/part'].tolist() for name in ('data', 'both')}
  assert parts == {'data': [2, 16, 24], 'both': [2, 16, 6]}


def test_each_half_of_a_layer_is_summed_once(results: Mapping[str, np.ndarray]):
  """Forward and backward, ``[rows, hidden]``; no array is put together again."""
  moved = {name: results[f'{name}/moved'].tolist() for name in ('data', 'both')}
  assert moved['both'].count('all-reduce 48,16') == 2 * 2 * 2
  for found in moved.values():
    assert not [line for line in found if not line.startswith('all-reduce')]


def test_every_parameter_has_a_rule():
  """Whatever is as large as hidden units squared is split."""
  sizes = Sizes(64, 9, 8, layers=2, heads=2, ffn=32, embedding=4, norm_before=False)
  made = nnx.eval_shape(lambda: OPT(sizes, rngs=nnx.Rngs(0)))
  params = nnx.to_pure_dict(nnx.state(made))
  found = opt_sharding.specs(params)
  whole = lambda leaf: isinstance(leaf, P)  # noqa: E731
  assert jax.tree.structure(found, is_leaf=whole) == jax.tree.structure(params)
  for name, array in params['layers'].items():
    assert (array.ndim == 3) == name.endswith('_kernel')
    assert ('model' in found['layers'][name]) == (name in opt_sharding._LAYERS)
    assert array.ndim < 3 or 'model' in found['layers'][name]
  assert found['embedding'] == P()
  assert opt_sharding.specs(params, vocabulary=True)['embedding'] == P('model', None)


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    ({'heads': 2}, 'heads: expected a multiple of the 4'),
    ({'ffn': 6}, 'ffn: expected a multiple'),
    ({'vocabulary': 63}, 'vocabulary: expected a multiple'),
  ],
)
def test_what_cannot_be_split(changed: dict[str, int], message: str):
  sizes = Sizes(
    **{'vocabulary': 64, 'positions': 9, 'hidden': 8, 'layers': 1}
    | {'heads': 4, 'ffn': 8}
    | changed
  )
  mesh = jax.sharding.AbstractMesh((1, 4), ('data', 'model'))
  with pytest.raises(ValueError, match=message):
    opt_sharding.shardings(mesh, sizes, {}, vocabulary=True)
