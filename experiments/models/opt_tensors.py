"""Parameters of a network as the tensors of an OPT checkpoint, and back.

Names and layouts are those of Hugging Face's: kernels ``[outputs, inputs]``, a layer's
in tensors of their own. The softmax layer is the table of embeddings.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from experiments.models.opt import OFFSET
from experiments.models.opt_layers import Sizes

Get = Callable[[str], np.ndarray]
PREFIXES = ('model.decoder.', 'decoder.', '')
TABLE = 'embed_tokens.weight'
_QKV = ('q_proj', 'k_proj', 'v_proj')
_AFFINE = {'out': 'self_attn.out_proj', 'up': 'fc1', 'down': 'fc2'}
_NORMS = {'attention_norm': 'self_attn_layer_norm', 'mlp_norm': 'final_layer_norm'}


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
  """Of all tensors, by name without a prefix."""
  hidden, ffn, word = sizes.hidden, sizes.ffn, sizes.word
  affine = {f'self_attn.{part}': (hidden, hidden) for part in _QKV}
  affine |= {_AFFINE['out']: (hidden, hidden)}
  affine |= {_AFFINE['up']: (ffn, hidden), _AFFINE['down']: (hidden, ffn)}
  layer: dict[str, tuple[int, ...]] = {}
  for name, shape in affine.items():
    layer |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}
  for name in _NORMS.values():
    layer |= {f'{name}.weight': (hidden,), f'{name}.bias': (hidden,)}
  found: dict[str, tuple[int, ...]] = {
    TABLE: (sizes.vocabulary, word),
    'embed_positions.weight': (sizes.positions + OFFSET, hidden),
  }
  if sizes.norm_before:
    found |= {f'final_layer_norm.{part}': (hidden,) for part in ('weight', 'bias')}
  if word != hidden:
    found |= {'project_in.weight': (hidden, word), 'project_out.weight': (word, hidden)}
  for index in range(sizes.layers):
    found |= {f'layers.{index}.{name}': shape for name, shape in layer.items()}
  return found


def parameters(sizes: Sizes, get: Get) -> dict[str, Any]:
  """Those of `OPT`, of the tensors that ``get`` reads; float32."""

  def wide(name: str) -> np.ndarray:
    return np.asarray(get(name)).astype(np.float32)

  def stacked(name: str) -> np.ndarray:
    return np.stack([wide(f'layers.{index}.{name}') for index in range(sizes.layers)])

  layers = {
    'qkv_kernel': _joined(
      [stacked(f'self_attn.{p}.weight') for p in _QKV], sizes.heads
    ),
    'qkv_bias': _joined([stacked(f'self_attn.{p}.bias') for p in _QKV], sizes.heads),
  }
  for ours, theirs in _AFFINE.items():
    layers[f'{ours}_kernel'] = stacked(f'{theirs}.weight').swapaxes(1, 2)
    layers[f'{ours}_bias'] = stacked(f'{theirs}.bias')
  for ours, theirs in _NORMS.items():
    layers[f'{ours}_scale'] = stacked(f'{theirs}.weight')
    layers[f'{ours}_bias'] = stacked(f'{theirs}.bias')
  found: dict[str, Any] = {
    'embedding': wide(TABLE),
    'position': wide('embed_positions.weight'),
    'layers': layers,
  }
  if sizes.norm_before:
    found['norm_scale'] = wide('final_layer_norm.weight')
    found['norm_bias'] = wide('final_layer_norm.bias')
  if sizes.word != sizes.hidden:
    found['project_in'] = wide('project_in.weight').T
    found['project_out'] = wide('project_out.weight').T
  return found


def tensors(sizes: Sizes, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The tensors of parameters, float32, by name without a prefix."""
  layers = {name: np.asarray(a, np.float32) for name, a in params['layers'].items()}
  found = {
    TABLE: params['embedding'],
    'embed_positions.weight': params['position'],
  }
  if sizes.norm_before:
    found['final_layer_norm.weight'] = params['norm_scale']
    found['final_layer_norm.bias'] = params['norm_bias']
  if sizes.word != sizes.hidden:
    found['project_in.weight'] = np.asarray(params['project_in']).T
    found['project_out.weight'] = np.asarray(params['project_out']).T
  stacks = {}
  for end, kind in (('weight', 'kernel'), ('bias', 'bias')):
    parts = _parted(layers[f'qkv_{kind}'], sizes.heads)
    for part, array in zip(_QKV, parts, strict=True):
      stacks[f'self_attn.{part}.{end}'] = array
  for ours, theirs in _AFFINE.items():
    stacks[f'{theirs}.weight'] = layers[f'{ours}_kernel'].swapaxes(1, 2)
    stacks[f'{theirs}.bias'] = layers[f'{ours}_bias']
  for ours, theirs in _NORMS.items():
    stacks[f'{theirs}.weight'] = layers[f'{ours}_scale']
    stacks[f'{theirs}.bias'] = layers[f'{ours}_bias']
  for index in range(sizes.layers):
    found |= {f'layers.{index}.{name}': array[index] for name, array in stacks.items()}
  return {n: np.ascontiguousarray(array, np.float32) for n, array in found.items()}


def _joined(parts: Iterable[np.ndarray], heads: int) -> np.ndarray:
  """Queries, keys and values ``[layers, outputs, ...]`` side by side in each head."""
  split = [a.reshape(len(a), heads, -1, *a.shape[2:]) for a in parts]
  joined = np.stack(split, axis=2)
  joined = joined.reshape(len(joined), -1, *joined.shape[4:])
  return np.moveaxis(joined, 1, -1)


def _parted(joined: np.ndarray, heads: int) -> list[np.ndarray]:
  """The reverse of ``_joined``."""
  array = np.moveaxis(joined, -1, 1)
  array = array.reshape(len(array), heads, 3, -1, *array.shape[2:])
  hidden = array.shape[1] * array.shape[3]
  return [
    array[:, :, i].reshape(len(array), hidden, *array.shape[4:]) for i in range(3)
  ]
