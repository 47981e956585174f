"""Recurrent layers with batch normalisation over sequences, for flax nnx.

The one part of the library that needs flax, hence imported when it is asked for:

  >>> import jax.numpy as jnp
  >>> from flax import nnx
  >>> import regularizers as reg
  >>> lstm = reg.nn.LSTM(8, 16, num_layers=2, rngs=nnx.Rngs(0))
  >>> outputs, carry = lstm(jnp.ones((4, 5, 8)), lengths=jnp.array([5, 3, 1, 0]))
  >>> outputs.shape
  (4, 5, 16)
"""

import importlib.util

if importlib.util.find_spec('flax') is None:
  raise ModuleNotFoundError('regularizers.nn needs flax: pip install flax', name='flax')

from regularizers.nn.batch_norm import BatchNorm as BatchNorm
from regularizers.nn.batch_norm import SequenceBatchNorm as SequenceBatchNorm
from regularizers.nn.frames import check_finite as check_finite
from regularizers.nn.recurrent import GRU as GRU
from regularizers.nn.recurrent import LSTM as LSTM
from regularizers.nn.recurrent import SimpleRNN as SimpleRNN

__all__ = [
  'GRU',
  'LSTM',
  'BatchNorm',
  'SequenceBatchNorm',
  'SimpleRNN',
  'check_finite',
]
