"""Against transformers' OPT: logits, answers and checkpoints, in both directions."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import opt_checkpoint
from experiments.models.generation import greedy
from experiments.models.opt import OPT, graph

torch = pytest.importorskip('torch', reason='PyTorch is not installed')
transformers = pytest.importorskip(
  'transformers', reason='transformers is not installed'
)

VARIANTS: dict[str, dict[str, Any]] = {
  'norm before': {'word_embed_proj_dim': 16, 'do_layer_norm_before': True},
  'norm after, projected': {'word_embed_proj_dim': 8, 'do_layer_norm_before': False},
}
WIDTH, LENGTH = 8, 6


def theirs(name: str) -> Any:
  """Of random weights, biases and norms too."""
  torch.manual_seed(1)
  config = transformers.OPTConfig(
    vocab_size=37,
    hidden_size=16,
    num_hidden_layers=3,
    ffn_dim=24,
    max_position_embeddings=20,
    num_attention_heads=4,
    dropout=0.0,
    **VARIANTS[name],
  )
  model = transformers.OPTForCausalLM(config).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.3 * torch.randn_like(parameter))
  return model


def ours(directory: pathlib.Path) -> tuple[OPT, opt_checkpoint.Checkpoint]:
  found = opt_checkpoint.read(directory)
  return nnx.merge(graph(found.sizes), jax.tree.map(jnp.asarray, found.params)), found


def batch() -> tuple[np.ndarray, np.ndarray]:
  """Ids, padded on the left, as generation in PyTorch wants them."""
  ids = np.random.default_rng(0).integers(3, 37, (3, WIDTH))
  mask = np.arange(WIDTH)[None] >= np.array([0, 3, 6])[:, None]
  return np.where(mask, ids, 1), mask


@functools.cache
def logits():
  def run(model: OPT, ids: jax.Array, mask: jax.Array) -> jax.Array:
    positions = jnp.maximum(jnp.cumsum(mask, 1) - 1, 0)
    hidden = model(ids, mask.astype(int), positions, deterministic=True)
    return model.logits(hidden)

  return nnx.jit(run)


@pytest.mark.parametrize('shard', ['1GB', '8KB'])
@pytest.mark.parametrize('name', VARIANTS)
def test_both_directions(tmp_path: pathlib.Path, name: str, shard: str):
  """Theirs in ours, ours in theirs, and back: the same logits and the same bits."""
  model, (ids, mask) = theirs(name), batch()
  model.save_pretrained(tmp_path / 'theirs', max_shard_size=shard)
  assert (tmp_path / 'theirs' / 'model.safetensors').exists() == (shard == '1GB')
  found, saved = ours(tmp_path / 'theirs')
  as_torch = torch.tensor(ids), torch.tensor(mask).long()
  with torch.no_grad():
    expected = model(as_torch[0], attention_mask=as_torch[1]).logits.numpy()
  got = np.asarray(logits()(found, ids, mask))
  np.testing.assert_allclose(got[mask], expected[mask], atol=5e-6, rtol=2e-6)

  shard_bytes = 10**9 if shard == '1GB' else 8000
  opt_checkpoint.write(
    *(tmp_path / 'ours', saved.sizes, saved.params),
    config=saved.config,
    shard_bytes=shard_bytes,
  )
  back, info = transformers.OPTForCausalLM.from_pretrained(
    tmp_path / 'ours', output_loading_info=True
  )
  assert not any(info[key] for key in ('missing_keys', 'unexpected_keys'))
  state = back.state_dict()
  for key, tensor in model.state_dict().items():
    assert torch.equal(state[key], tensor), key
  assert back.config.eos_token_id == model.config.eos_token_id
  again, _ = ours(tmp_path / 'ours')
  for a, b in zip(
    jax.tree.leaves(nnx.state(again)), jax.tree.leaves(nnx.state(found)), strict=True
  ):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('name', VARIANTS)
def test_greedy_decoding(tmp_path: pathlib.Path, name: str):
  model, (ids, mask) = theirs(name), batch()
  model.save_pretrained(tmp_path)
  found, _ = ours(tmp_path)
  write = nnx.jit(greedy, static_argnames='length')
  with torch.no_grad():
    expected = model.generate(
      torch.tensor(ids),
      attention_mask=torch.tensor(mask).long(),
      max_new_tokens=LENGTH,
      do_sample=False,
      eos_token_id=2,
      pad_token_id=1,
    )[:, WIDTH:].numpy()
  got = np.asarray(write(found, ids, mask, length=LENGTH, end=2, padding=1).ids)
  count = expected.shape[1]
  np.testing.assert_array_equal(got[:, :count], expected)
  assert (got[:, count:] == 1).all()
