"""The configuration of an OPT checkpoint: sizes, and what the network does not know."""

import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.errors import InputError
from experiments.models.opt_layers import Sizes

_NUMBERS = {
  'vocabulary': 'vocab_size',
  'positions': 'max_position_embeddings',
  'hidden': 'hidden_size',
  'layers': 'num_hidden_layers',
  'heads': 'num_attention_heads',
  'ffn': 'ffn_dim',
}
# The only values of them that the network knows; they are also the defaults.
_FIXED = {
  'model_type': 'opt',
  'activation_function': 'relu',
  'enable_bias': True,
  'layer_norm_elementwise_affine': True,
  'tie_word_embeddings': True,
  '_remove_final_layer_norm': False,
}


def configuration(sizes: Sizes, others: Mapping[str, Any]) -> dict[str, Any]:
  """``config.json`` of a network."""
  kept = {name: value for name, value in others.items() if name != 'dtype'}
  return {
    **kept,
    **_FIXED,
    'architectures': ['OPTForCausalLM'],
    'torch_dtype': 'float32',
    **{name: getattr(sizes, ours) for ours, name in _NUMBERS.items()},
    'word_embed_proj_dim': sizes.word,
    'do_layer_norm_before': sizes.norm_before,
  }


def sizes_of(config: Mapping[str, Any], path: pathlib.Path) -> Sizes:
  """Those that ``config.json`` at ``path`` says.

  Raises:
    InputError: it says none, or another architecture.
  """
  for name, value in _FIXED.items():
    given = config.get(name, None if name == 'model_type' else value)
    if given != value:
      raise InputError(f'{path}: {name}: expected {value!r}, got {given!r}')
  numbers: dict[str, Any] = {}
  for ours, name in {**_NUMBERS, 'embedding': 'word_embed_proj_dim'}.items():
    given = config.get(name)
    if ours == 'embedding' and given is None:
      given = config['hidden_size']
    if type(given) is not int or given < 1:
      raise InputError(f'{path}: {name}: expected an integer over 0, got {given!r}')
    numbers[ours] = given
  if numbers['embedding'] == numbers['hidden']:
    numbers['embedding'] = None
  before = config.get('do_layer_norm_before', True)
  if type(before) is not bool:
    raise InputError(f'{path}: do_layer_norm_before: expected a bool, got {before!r}')
  try:
    return Sizes(**numbers, norm_before=before)
  except ValueError as error:
    raise InputError(f'{path}: {error}') from error
