"""OPT checkpoints: there and back, and every way in which one is not what it says."""

import functools
import json
import pathlib
from collections.abc import Callable

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from experiments import opt_checkpoint
from experiments.errors import InputError
from experiments.models.opt import OPT
from experiments.models.opt_layers import Sizes

SIZES = {
  'norm before': Sizes(21, 11, 12, layers=3, heads=3, ffn=20),
  'norm after, projected': Sizes(
    21, 11, 12, layers=2, heads=2, ffn=20, embedding=8, norm_before=False
  ),
}
SINGLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'


@functools.cache
def weights(name: str):
  """Where no two numbers are the same."""
  state = nnx.eval_shape(lambda: nnx.state(OPT(SIZES[name], rngs=nnx.Rngs(0))))
  random = np.random.default_rng(0)
  draw = lambda leaf: random.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
  return jax.tree.map(draw, nnx.to_pure_dict(state))


def written(directory: pathlib.Path, name: str = 'norm before', **options):
  opt_checkpoint.write(directory, SIZES[name], weights(name), **options)
  return directory


def same(actual, expected) -> None:
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize('shard_bytes', [10**9, 5000])
@pytest.mark.parametrize('name', SIZES)
def test_there_and_back(tmp_path: pathlib.Path, name: str, shard_bytes: int):
  extra = {'bos_token_id': 2, 'dropout': 0.1, 'dtype': 'float16'}
  written(tmp_path / 'new', name, shard_bytes=shard_bytes, config=extra)
  found = opt_checkpoint.read(tmp_path / 'new')
  assert found.sizes == SIZES[name]
  same(found.params, weights(name))
  assert found.config['bos_token_id'] == 2
  assert found.config['torch_dtype'] == 'float32'
  assert 'dtype' not in found.config
  shards = list((tmp_path / 'new').glob('*.safetensors'))
  assert len(shards) == 1 if shard_bytes > 5000 else len(shards) > 2


def test_what_was_there_goes(tmp_path: pathlib.Path):
  """Shards of a larger one would otherwise be read in its place."""
  written(tmp_path, shard_bytes=5000)
  written(tmp_path, 'norm after, projected')
  assert sorted(path.name for path in tmp_path.iterdir()) == ['config.json', SINGLE]
  same(opt_checkpoint.read(tmp_path).params, weights('norm after, projected'))


def test_the_tokenizer_goes_with_it(tmp_path: pathlib.Path):
  source = tmp_path / 'source'
  source.mkdir()
  (source / 'vocab.json').write_text('{}')
  (source / 'secret.txt').write_text('')
  written(tmp_path / 'new', tokenizer=source)
  names = {path.name for path in (tmp_path / 'new').iterdir()}
  assert names == {'config.json', SINGLE, 'vocab.json'}


@pytest.mark.parametrize('prefix', ['model.decoder.', 'decoder.', ''])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_prefixes_and_dtypes(tmp_path: pathlib.Path, prefix: str, dtype: str):
  written(tmp_path)
  tensors = {
    prefix + name.removeprefix('model.decoder.'): array.astype(dtype)
    for name, array in load_file(tmp_path / SINGLE).items()
  }
  tensors['lm_head.weight'] = tensors[f'{prefix}embed_tokens.weight']
  save_file(tensors, tmp_path / SINGLE)
  rounded = lambda a: a.astype(dtype).astype(np.float32)  # noqa: E731
  found = opt_checkpoint.read(tmp_path).params
  same(found, jax.tree.map(rounded, weights('norm before')))


def test_bfloat16(tmp_path: pathlib.Path):
  jnp = jax.numpy
  written(tmp_path)
  flax = pytest.importorskip('safetensors.flax')
  tensors = load_file(tmp_path / SINGLE)
  flax.save_file(
    {name: jnp.asarray(a, jnp.bfloat16) for name, a in tensors.items()},
    tmp_path / SINGLE,
  )
  rounded = lambda a: np.asarray(jnp.asarray(a, jnp.bfloat16), np.float32)  # noqa: E731
  found = opt_checkpoint.read(tmp_path).params
  same(found, jax.tree.map(rounded, weights('norm before')))


def tensors(change: Callable[[dict[str, np.ndarray]], object]):
  """Changes the tensors of a directory."""

  def run(directory: pathlib.Path) -> None:
    found = load_file(directory / SINGLE)
    change(found)
    save_file(found, directory / SINGLE)

  return run


def config(**changes):
  """Changes the configuration of a directory; None: leaves out."""

  def run(directory: pathlib.Path) -> None:
    path = directory / 'config.json'
    found = json.loads(path.read_text()) | changes
    kept = {name: value for name, value in found.items() if value is not None}
    path.write_text(json.dumps(kept))

  return run


def pickled(directory: pathlib.Path) -> None:
  (directory / SINGLE).rename(directory / 'pytorch_model.bin')


FC1 = 'model.decoder.layers.1.fc1.weight'
BAD = {
  'a tensor is missing': (tensors(lambda t: t.pop(FC1)), f'no tensor {FC1}'),
  'no table': (
    tensors(lambda t: t.pop('model.decoder.embed_tokens.weight')),
    'no tensor model.decoder.embed_tokens.weight',
  ),
  'one too many': (
    tensors(lambda t: t.update({'score.weight': np.ones(3, np.float32)})),
    'score.weight is no tensor of an OPT',
  ),
  'another shape': (
    tensors(lambda t: t.update({FC1: t[FC1].T.copy()})),
    f'{FC1}: expected shape (20, 12), got (12, 20)',
  ),
  'integers': (
    tensors(lambda t: t.update({FC1: t[FC1].astype(np.int32)})),
    f"{FC1}: expected one of ('F32', 'F16', 'BF16'), got I32",
  ),
  'an untied head': (
    tensors(lambda t: t.update({'lm_head.weight': np.ones((21, 12), np.float32)})),
    'lm_head.weight: expected that of model.decoder.embed_tokens.weight',
  ),
  'other numbers': (
    config(num_hidden_layers=4),
    'no tensor model.decoder.layers.3.self_attn.q_proj.weight',
  ),
  'fewer layers': (config(num_hidden_layers=2), 'model.decoder.layers.2.'),
  'another vocabulary': (
    config(vocab_size=22),
    'embed_tokens.weight: expected shape (22, 12), got (21, 12)',
  ),
  'another model': (config(model_type='gpt2'), "model_type: expected 'opt'"),
  'no model': (config(model_type=None), "model_type: expected 'opt', got None"),
  'GELU': (
    config(activation_function='gelu'),
    "activation_function: expected 'relu', got 'gelu'",
  ),
  'no biases': (config(enable_bias=False), 'enable_bias: expected True, got False'),
  'an older layout': (
    config(_remove_final_layer_norm=True),
    '_remove_final_layer_norm: expected False',
  ),
  'no size': (config(ffn_dim=None), 'ffn_dim: expected an integer over 0, got None'),
  'a size of zero': (config(hidden_size=0), 'hidden_size: expected an integer over 0'),
  'a size in words': (config(ffn_dim='20'), 'ffn_dim: expected an integer over 0'),
  'heads': (config(num_attention_heads=5), 'heads: expected a divisor of hidden 12'),
  'norms': (
    config(do_layer_norm_before='yes'),
    'do_layer_norm_before: expected a bool',
  ),
  'pickled': (pickled, "save_pretrained('NEW_DIRECTORY')"),
  'no weights': (lambda d: (d / SINGLE).unlink(), f'neither {SINGLE} nor {INDEX}'),
  'no configuration': (lambda d: (d / 'config.json').unlink(), 'config.json'),
  'no JSON': (lambda d: (d / 'config.json').write_text('{'), 'not JSON'),
  'no object': (
    lambda d: (d / 'config.json').write_text('[]'),
    'expected a JSON object',
  ),
  'cut off': (
    lambda d: (d / SINGLE).write_bytes((d / SINGLE).read_bytes()[:-50]),
    'not safetensors, or damaged',
  ),
  'not safetensors': (lambda d: (d / SINGLE).write_text('x' * 99), 'not safetensors'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_checkpoints(tmp_path: pathlib.Path, case: str):
  change, message = BAD[case]
  change(written(tmp_path))
  with pytest.raises(InputError) as caught:
    opt_checkpoint.read(tmp_path)
  text = str(caught.value)
  assert message in text
  assert str(tmp_path) in text
  assert '\n' not in text


def index(change: Callable[[dict[str, str]], object]):
  def run(directory: pathlib.Path) -> None:
    path = directory / INDEX
    found = json.loads(path.read_text())
    change(found['weight_map'])
    path.write_text(json.dumps(found))

  return run


BAD_SHARDS = {
  'a shard is missing': (
    lambda d: sorted(d.glob('*.safetensors'))[1].unlink(),
    'cannot read',
  ),
  'in another shard': (
    index(
      lambda names: names.update({FC1: names['model.decoder.embed_tokens.weight']})
    ),
    f'no tensor {FC1}, as {INDEX} says',
  ),
  'elsewhere': (
    index(lambda names: names.update({FC1: '../other.safetensors'})),
    'expected a weight_map of file names',
  ),
  'no map': (lambda d: (d / INDEX).write_text('{}'), 'expected a weight_map'),
}


@pytest.mark.parametrize('case', BAD_SHARDS)
def test_bad_shards(tmp_path: pathlib.Path, case: str):
  change, message = BAD_SHARDS[case]
  change(written(tmp_path, shard_bytes=5000))
  with pytest.raises(InputError) as caught:
    opt_checkpoint.read(tmp_path)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)
