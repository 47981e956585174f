"""Attention by a feed-forward network of one layer, and the decoder layer that asks it.

Bahdanau, Cho and Bengio, 2015: "Neural machine translation by jointly learning to align
and translate".
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from regularizers.nn.cells import LSTM as CELL
from regularizers.nn.cells import State
from regularizers.nn.initial import Initializer, by_gate
from regularizers.nn.scan import product


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Memory:
  """What is attended to, and what of it is computed once for all queries.

  Attributes:
    values: ``[batch, source, size]``.
    keys: ``[batch, source, attention]``.
    mask: ``[batch, source]``, what is there.
  """

  values: jax.Array
  keys: jax.Array
  mask: jax.Array


class Attention(nnx.Module):
  """``softmax_s(v · tanh(W query + U value_s))`` and the mean of the values by it."""

  def __init__(
    self,
    query: int,
    values: int,
    size: int,
    *,
    kernel_init: Initializer,
    rngs: nnx.Rngs,
  ):
    """Draws the kernels.

    Args:
      query: size of a query.
      values: size of a value.
      size: units of the layer.
      kernel_init: of all kernels.
      rngs: key ``params``.
    """
    options: dict[str, Any] = {'kernel_init': kernel_init, 'rngs': rngs}
    self.of_values = nnx.Linear(values, size, **options)
    self.of_query = nnx.Linear(query, size, use_bias=False, **options)
    self.energy = nnx.Param(kernel_init(rngs.params(), (size, 1))[:, 0])

  def memory(self, values: jax.Array, mask: jax.Array) -> Memory:
    """Of ``[batch, source, values]`` and ``[batch, source]``; a row needs one value."""
    keys = self.of_values(values.reshape(-1, values.shape[-1]))
    return Memory(values, keys.reshape(*values.shape[:-1], -1), mask)

  def __call__(self, memory: Memory, query: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Context ``[batch, values]`` and weights ``[batch, source]``."""
    return _attend(memory, self.of_query(query), self.energy[...])


# Computed again in the backward pass: what it would keep, for every step and every pair
# of a query and a value, takes longer to write and read.
@functools.partial(jax.checkpoint, prevent_cse=False)
def _attend(
  memory: Memory, query: jax.Array, energy: jax.Array
) -> tuple[jax.Array, jax.Array]:
  energies = jnp.tanh(memory.keys + query[:, None]) @ energy
  weights = jax.nn.softmax(energies, axis=-1, where=memory.mask)
  # Not a product of batches of matrices, which XLA takes one by one on CPUs.
  return (weights[..., None] * memory.values).sum(1), weights


class AttentionLSTM(nnx.Module):
  """A layer that looks at the memory with what it put out last, then takes a step.

  ``gates_t = W x_t + A context_t + U h_{t−1} + b`` with ``context_t`` of ``h_{t−1}``,
  as the lowest layer of the decoder of Wu et al., 2016. The products of what the layer
  is fed are those of all steps at once.
  """

  def __init__(
    self,
    inputs: int,
    hidden: int,
    values: int,
    attention: int,
    *,
    kernel_init: Initializer,
    rngs: nnx.Rngs,
  ):
    """Draws the kernels.

    Args:
      inputs: size of an input.
      hidden: units.
      values: size of a value of the memory.
      attention: units of the attention's layer.
      kernel_init: of all kernels.
      rngs: key ``params``.
    """

    def kernel(rows: int) -> nnx.Param[jax.Array]:
      return nnx.Param(by_gate(kernel_init, rngs, (rows, hidden), 4, jnp.float32))

    self.attention = Attention(
      hidden, values, attention, kernel_init=kernel_init, rngs=rngs
    )
    self.of_inputs, self.of_context = kernel(inputs), kernel(values)
    self.recurrent = kernel(hidden)
    self.bias = nnx.Param(jnp.zeros(4 * hidden))
    self.hidden_features = hidden

  def initial(self, batch: int) -> State:
    """Zeros."""
    zeros = jnp.zeros((batch, self.hidden_features))
    return zeros, zeros

  def step(
    self, memory: Memory, state: State, inputs: jax.Array
  ) -> tuple[State, jax.Array, jax.Array]:
    """State, context and weights after one input ``[batch, inputs]``."""
    return self._advance(memory, state, self._product(inputs))

  def __call__(
    self, memory: Memory, inputs: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Outputs, contexts and weights, ``[batch, time, ...]``."""

    def body(state: State, fed: jax.Array) -> tuple[State, tuple[jax.Array, ...]]:
      state, context, weights = self._advance(memory, state, fed)
      return state, (state[0], context, weights)

    fed = self._product(inputs.swapaxes(0, 1))
    _, (outputs, contexts, weights) = jax.lax.scan(body, self.initial(len(inputs)), fed)
    return outputs.swapaxes(0, 1), contexts.swapaxes(0, 1), weights.swapaxes(0, 1)

  def _product(self, inputs: jax.Array) -> jax.Array:
    fed = product(inputs, self.of_inputs[...], inputs.dtype)
    return fed + jnp.broadcast_to(self.bias[...], fed.shape)

  def _advance(
    self, memory: Memory, state: State, fed: jax.Array
  ) -> tuple[State, jax.Array, jax.Array]:
    context, weights = self.attention(memory, state[0])
    recurrent = state[0] @ self.recurrent[...] + context @ self.of_context[...]
    state, _ = CELL(fed, recurrent, state)
    return state, context, weights
