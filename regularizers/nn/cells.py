"""One step of each recurrent network, unit by unit, and its derivative."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

State = tuple[jax.Array, ...]
"""What goes from step to step, ``[..., H]`` each; the output comes first."""

Saved = tuple[jax.Array, ...]
"""What a step computed and its derivative needs, ``[..., H]`` or wider each."""


@dataclasses.dataclass(frozen=True)
class Cell:
  """The part of a step behind the two products: no unit sees another one here.

  Attributes:
    gates: pre-activations a unit has.
    states: arrays in a state.
    additive: whether only the sum of the two products counts.
    update: ``(inputs, recurrent, state) -> (state, saved)`` of the input's and the last
      output's product, ``[..., gates·H]`` each. Of an additive cell ``recurrent``
      is None and ``inputs`` the sum.
    linearize: ``(saved, before, after) -> coefficients`` of the derivative, from the
      states before and after the step; for all steps at once.
    tangent: ``(coefficients, d_inputs, d_recurrent, d_state) -> d_state``, linear in
      the last three.
  """

  gates: int
  states: int
  additive: bool
  update: Callable[[jax.Array, Any, State], tuple[State, Saved]]
  linearize: Callable[[Saved, State, State], Any]
  tangent: Callable[[Any, jax.Array, Any, State], State]

  def __call__(
    self, inputs: jax.Array, recurrent: jax.Array, state: State
  ) -> tuple[State, Saved]:
    """``update`` of both products."""
    if self.additive:
      return self.update(inputs + recurrent, None, state)
    return self.update(inputs, recurrent, state)


def _lstm(total: jax.Array, _: Any, state: State) -> tuple[State, Saved]:
  i, f, g, o = jnp.split(total, 4, axis=-1)
  i, f, o = map(jax.nn.sigmoid, (i, f, o))
  g = jnp.tanh(g)
  c = f * state[1] + i * g
  return (o * jnp.tanh(c), c), (i, f, g, o)


def _linear_lstm(saved: Saved, before: State, after: State) -> Any:
  i, f, g, o = saved
  tanh_c = jnp.tanh(after[1])
  into_c = jnp.concatenate(
    [g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g**2)], axis=-1
  )
  return into_c, f, tanh_c * o * (1 - o), o * (1 - tanh_c**2)


def _tangent_lstm(coefficients: Any, total: jax.Array, _: Any, state: State) -> State:
  into_c, f, by_o, by_c = coefficients
  width = f.shape[-1]
  parts = jnp.split(into_c * total[..., : 3 * width], 3, axis=-1)
  c = f * state[1] + parts[0] + parts[1] + parts[2]
  return by_o * total[..., 3 * width :] + by_c * c, c


def _gru(inputs: jax.Array, recurrent: Any, state: State) -> tuple[State, Saved]:
  reset_x, update_x, new_x = jnp.split(inputs, 3, axis=-1)
  reset_h, update_h, new_h = jnp.split(recurrent, 3, axis=-1)
  reset = jax.nn.sigmoid(reset_x + reset_h)
  update = jax.nn.sigmoid(update_x + update_h)
  new = jnp.tanh(new_x + reset * new_h)
  return (new + update * (state[0] - new),), (reset, update, new, new_h)


def _linear_gru(saved: Saved, before: State, after: State) -> Any:
  del after
  reset, update, new, new_h = saved
  by_new = (1 - update) * (1 - new**2)
  by_reset = by_new * new_h * reset * (1 - reset)
  by_update = (before[0] - new) * update * (1 - update)
  shared = by_reset, by_update
  return (
    jnp.concatenate([*shared, by_new], axis=-1),
    jnp.concatenate([*shared, by_new * reset], axis=-1),
    update,
  )


def _tangent_gru(
  coefficients: Any, inputs: jax.Array, recurrent: Any, state: State
) -> State:
  by_inputs, by_recurrent, update = coefficients
  parts = jnp.split(by_inputs * inputs + by_recurrent * recurrent, 3, axis=-1)
  return (update * state[0] + parts[0] + parts[1] + parts[2],)


def _simple(total: jax.Array, _: Any, state: State) -> tuple[State, Saved]:
  del state
  return (jnp.tanh(total),), ()


def _linear_simple(saved: Saved, before: State, after: State) -> Any:
  del saved, before
  return 1 - after[0] ** 2


def _tangent_simple(coefficients: Any, total: jax.Array, _: Any, state: State) -> State:
  del state
  return (coefficients * total,)


LSTM = Cell(4, 2, True, _lstm, _linear_lstm, _tangent_lstm)
GRU = Cell(3, 1, False, _gru, _linear_gru, _tangent_gru)
SIMPLE = Cell(1, 1, True, _simple, _linear_simple, _tangent_simple)
