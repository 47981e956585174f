"""Checks of hidden states, kernel and bias at the door."""

from typing import Any

import jax
import jax.numpy as jnp

from regularizers.checks import as_array
from regularizers.values import as_count, check_number


def check_linear(
  hidden: Any, kernel: Any, bias: Any, softcap: Any
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
  """Hidden states, kernel and bias as arrays, or an error about their shapes."""
  hidden, kernel = as_array('hidden', hidden), as_array('kernel', kernel)
  bias = None if bias is None else as_array('bias', bias)
  for name, array in (('hidden', hidden), ('kernel', kernel), ('bias', bias)):
    if array is not None and not jnp.issubdtype(array.dtype, jnp.floating):
      raise TypeError(f'{name}: expected a floating type, got {array.dtype}')
  if hidden.ndim == 0:
    raise ValueError('hidden: expected shape [..., D], got []')
  if kernel.ndim != 2 or kernel.shape[0] != hidden.shape[-1] or kernel.shape[1] == 0:
    raise ValueError(
      f'kernel: expected [{hidden.shape[-1]}, V] for hidden {list(hidden.shape)}, '
      f'got {list(kernel.shape)}'
    )
  if bias is not None and bias.shape != kernel.shape[1:]:
    raise ValueError(
      f'bias: expected [{kernel.shape[1]}] for kernel {list(kernel.shape)}, '
      f'got {list(bias.shape)}'
    )
  check_number('softcap', softcap, above=True, optional=True)
  if jnp.ndim(0 if softcap is None else softcap):
    raise ValueError(f'softcap: expected a number, got {list(jnp.shape(softcap))}')
  return hidden, kernel, bias


def check_chunk_size(chunk_size: Any) -> Any:
  """The size itself, None if none is given; an error unless it is an integer > 0."""
  return None if chunk_size is None else as_count('chunk_size', chunk_size)
