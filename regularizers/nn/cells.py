"""One step of each recurrent network, unit by unit."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

State = tuple[jax.Array, ...]
"""What goes from step to step, ``[..., H]`` each; the output comes first."""


@dataclasses.dataclass(frozen=True)
class Cell:
  """The part of a step behind the two products.

  Attributes:
    gates: pre-activations a unit has.
    states: arrays in a state.
    update: ``(inputs, recurrent, state) -> state``: the input's and the last output's
      product, ``[..., gates·H]`` each. Every unit by itself: no number of another
      unit or sequence goes into it.
    additive: whether only the sum of the two products counts.
  """

  gates: int
  states: int
  update: Callable[[jax.Array, jax.Array, State], State]
  additive: bool = True


def _lstm(inputs: jax.Array, recurrent: jax.Array, state: State) -> State:
  i, f, g, o = jnp.split(inputs + recurrent, 4, axis=-1)
  new = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
  return jax.nn.sigmoid(o) * jnp.tanh(new), new


def _gru(inputs: jax.Array, recurrent: jax.Array, state: State) -> State:
  reset_x, update_x, new_x = jnp.split(inputs, 3, axis=-1)
  reset_h, update_h, new_h = jnp.split(recurrent, 3, axis=-1)
  reset = jax.nn.sigmoid(reset_x + reset_h)
  update = jax.nn.sigmoid(update_x + update_h)
  new = jnp.tanh(new_x + reset * new_h)
  return (new + update * (state[0] - new),)


def _simple(inputs: jax.Array, recurrent: jax.Array, state: State) -> State:
  del state
  return (jnp.tanh(inputs + recurrent),)


LSTM = Cell(4, 2, _lstm)
GRU = Cell(3, 1, _gru, additive=False)
SIMPLE = Cell(1, 1, _simple)
