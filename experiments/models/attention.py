"""Attention by a feed-forward network of one layer, and the decoder layer that asks it.

Bahdanau, Cho and Bengio, 2015: "Neural machine translation by jointly learning to align
and translate". With a location it reads where it looked before, too: Chorowski et al.,
2015: "Attention-based models for speech recognition".
"""

import dataclasses
import functools
from typing import Any, NamedTuple

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
    shifts: ``[source, source · filters]``: a product with it is the convolution of
      weights with the filters of a location; None without one.
  """

  values: jax.Array
  keys: jax.Array
  mask: jax.Array
  shifts: jax.Array | None = None


class Location(NamedTuple):
  """How attention reads the weights before.

  Attributes:
    filters: of the convolution.
    width: of a filter, in places of the source; odd.
  """

  filters: int
  width: int


class Attention(nnx.Module):
  """``softmax_s(v · tanh(W query + U value_s))`` and the mean of the values by it.

  With a location ``L (F * weights before)_s`` is added in tanh.
  """

  def __init__(
    self,
    query: int,
    values: int,
    size: int,
    *,
    location: Location | None = None,
    kernel_init: Initializer,
    rngs: nnx.Rngs,
  ):
    """Draws the kernels.

    Args:
      query: size of a query.
      values: size of a value.
      size: units of the layer.
      location: of the convolution of the weights before; None: there is none.
      kernel_init: of all kernels.
      rngs: key ``params``.
    """
    options: dict[str, Any] = {'kernel_init': kernel_init, 'rngs': rngs}
    self.of_values = nnx.Linear(values, size, **options)
    self.of_query = nnx.Linear(query, size, use_bias=False, **options)
    self.energy = nnx.Param(kernel_init(rngs.params(), (size, 1))[:, 0])
    self.filters = self.of_location = nnx.data(None)
    if location is not None:
      if location.width % 2 == 0:
        raise ValueError(f'location: expected an odd width, got {location.width}')
      shape = location.width, location.filters
      self.filters = nnx.Param(kernel_init(rngs.params(), shape))
      shape = location.filters, size
      self.of_location = nnx.Param(kernel_init(rngs.params(), shape))

  def memory(self, values: jax.Array, mask: jax.Array) -> Memory:
    """Of ``[batch, source, values]`` and ``[batch, source]``; a row needs one value."""
    shifts = None
    if self.filters is not None:
      shifts = _shifts(self.filters[...], mask.shape[1])
    keys = self.of_values(values.reshape(-1, values.shape[-1]))
    return Memory(values, keys.reshape(*values.shape[:-1], -1), mask, shifts)

  def initial(self, memory: Memory) -> tuple[jax.Array, ...]:
    """The weights before the first ones, of attention with a location.

    They are on the first place of the source.
    """
    if self.filters is None:
      return ()
    return (jnp.zeros(memory.mask.shape).at[:, 0].set(1.0),)

  def __call__(
    self, memory: Memory, query: jax.Array, *before: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Context ``[batch, values]`` and weights ``[batch, source]``.

    Args:
      memory: what is attended to; there may be several queries for each of its batch,
        one after the other.
      query: ``[batch, query]``.
      before: the weights before, of attention with a location.
    """
    options: tuple[jax.Array, ...] = (self.energy[...],)
    if self.of_location is not None:
      options += (self.of_location[...],)
    asked = (self.of_query(query), *before)
    batch = len(memory.mask)
    if len(query) == batch:
      return _attend(memory, options, *asked)
    # Not the memory repeated for each of them, which would be read as often.
    grouped = [part.reshape(batch, -1, part.shape[-1]) for part in asked]
    axes = (None, None, *[1] * len(grouped))
    context, weights = jax.vmap(_attend, axes, out_axes=1)(memory, options, *grouped)
    return context.reshape(len(query), -1), weights.reshape(len(query), -1)


def _shifts(filters: jax.Array, source: int) -> jax.Array:
  """``[source, source · filters]`` of ``[width, filters]``; see ``Memory``."""
  width, count = filters.shape
  places = jnp.arange(source)
  offsets = places[:, None] - places[None] + width // 2
  there = (offsets >= 0) & (offsets < width)
  taken = filters[jnp.clip(offsets, 0, width - 1)]
  return jnp.where(there[..., None], taken, 0.0).reshape(source, source * count)


# Computed again in the backward pass: what it would keep, for every step and every pair
# of a query and a value, takes longer to write and read.
@functools.partial(jax.checkpoint, prevent_cse=False)
def _attend(
  memory: Memory, options: tuple[jax.Array, ...], query: jax.Array, *before: jax.Array
) -> tuple[jax.Array, jax.Array]:
  energy, *of_location = options
  inner = memory.keys + query[:, None]
  for weights, kernel in zip(before, of_location, strict=True):
    assert memory.shifts is not None
    moved = weights @ memory.shifts
    inner += moved.reshape(*weights.shape, -1) @ kernel
  energies = jnp.tanh(inner) @ energy
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
    location: Location | None = None,
    kernel_init: Initializer,
    rngs: nnx.Rngs,
  ):
    """Draws the kernels.

    Args:
      inputs: size of an input.
      hidden: units.
      values: size of a value of the memory.
      attention: units of the attention's layer.
      location: see ``Attention``.
      kernel_init: of all kernels.
      rngs: key ``params``.
    """

    def kernel(rows: int) -> nnx.Param[jax.Array]:
      return nnx.Param(by_gate(kernel_init, rngs, (rows, hidden), 4, jnp.float32))

    self.attention = Attention(
      *(hidden, values, attention),
      location=location,
      kernel_init=kernel_init,
      rngs=rngs,
    )
    self.of_inputs, self.of_context = kernel(inputs), kernel(values)
    self.recurrent = kernel(hidden)
    self.bias = nnx.Param(jnp.zeros(4 * hidden))
    self.hidden_features = hidden

  def initial(self, memory: Memory) -> State:
    """Zeros, and the weights before the first ones if attention reads them."""
    zeros = jnp.zeros((len(memory.mask), self.hidden_features))
    return zeros, zeros, *self.attention.initial(memory)

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
    _, (outputs, contexts, weights) = jax.lax.scan(body, self.initial(memory), fed)
    return outputs.swapaxes(0, 1), contexts.swapaxes(0, 1), weights.swapaxes(0, 1)

  def _product(self, inputs: jax.Array) -> jax.Array:
    fed = product(inputs, self.of_inputs[...], inputs.dtype)
    return fed + jnp.broadcast_to(self.bias[...], fed.shape)

  def _advance(
    self, memory: Memory, state: State, fed: jax.Array
  ) -> tuple[State, jax.Array, jax.Array]:
    context, weights = self.attention(memory, state[0], *state[2:])
    recurrent = state[0] @ self.recurrent[...] + context @ self.of_context[...]
    after, _ = CELL(fed, recurrent, state[:2])
    return (*after, weights) if state[2:] else after, context, weights
