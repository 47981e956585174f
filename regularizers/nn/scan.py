"""The recursion over time, its derivative by the kernel one product over all steps."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.dtypes import widened
from regularizers.nn.cells import Cell, Saved, State


@dataclasses.dataclass(frozen=True)
class Recursion:
  """What is static about a recursion.

  Attributes:
    cell: the step.
    reverse: whether it goes from the last frame to the first.
    dtype: what the product takes; all else is float32 or wider.
  """

  cell: Cell
  reverse: bool
  dtype: Any

  def scan(self, body: Any, init: Any, xs: Any) -> Any:
    """`jax.lax.scan` in this direction."""
    return jax.lax.scan(body, init, xs, reverse=self.reverse)

  def before(self, states: jax.Array, initial: jax.Array) -> jax.Array:
    """``[time, ...]``: what each step started from."""
    if not states.shape[0]:
      return states
    if self.reverse:
      return jnp.concatenate([states[1:], initial[None]])
    return jnp.concatenate([initial[None], states[:-1]])


def product(frames: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
  """``frames @ kernel`` of arrays cast to dtype, float32 or wider."""
  # Of two axes alone: else the kernel's gradient transposes a large array first.
  rows = frames.reshape(-1, frames.shape[-1]).astype(dtype)
  wide = widened(dtype)
  out = jnp.dot(rows, kernel.astype(dtype), preferred_element_type=wide)
  return out.reshape(*frames.shape[:-1], kernel.shape[-1])


def choose(valid: jax.Array | None, new: State, old: State) -> State:
  """The new state where the frame is there, else the old one."""
  if valid is None:
    return new
  return tuple(
    jnp.where(valid, one, other) for one, other in zip(new, old, strict=True)
  )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def recur(
  static: Recursion,
  valid: jax.Array | None,
  inputs: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  initial: State,
) -> tuple[jax.Array, State]:
  """Runs the cell over all frames; a frame that is not there leaves the state.

  Args:
    static: cell and direction.
    valid: ``[time, batch, 1]``, booleans, or None.
    inputs: ``[time, batch, gates·H]``, products of the input, float32 or wider.
    kernel: ``[H, gates·H]``.
    bias: ``[gates·H]``, added to the recurrent product, or None.
    initial: ``[batch, H]`` each.

  Returns:
    Outputs ``[time, batch, H]`` (repeated where no frame is) and the last state.
  """

  def body(state: State, frame: Any) -> tuple[State, jax.Array]:
    state, _ = _step(static, kernel, bias, state, *frame)
    return state, state[0]

  last, outputs = static.scan(body, initial, (inputs, valid))
  return outputs, last


def _step(
  static: Recursion,
  kernel: jax.Array,
  bias: jax.Array | None,
  state: State,
  x: jax.Array,
  there: jax.Array | None,
) -> tuple[State, Saved]:
  recurrent = product(state[0], kernel, static.dtype)
  if bias is not None:
    recurrent += bias[None]
  new, saved = static.cell(x, recurrent, state)
  return choose(there, new, state), saved


@recur.defjvp
def _recur_jvp(static: Recursion, primals: Any, tangents: Any) -> Any:
  valid, inputs, kernel, bias, initial = primals
  _, d_inputs, d_kernel, d_bias, d_initial = tangents
  cell, dtype = static.cell, static.dtype

  def forward(state: State, frame: Any) -> tuple[State, Any]:
    state, saved = _step(static, kernel, bias, state, *frame)
    return state, (state, saved)

  last, (after, saved) = static.scan(forward, initial, (inputs, valid))
  before = tuple(map(static.before, after, initial))
  # The kernel's tangent acts on all steps at once, so its gradient is one product.
  d_products = product(before[0], d_kernel, dtype)
  if d_bias is not None:
    d_products += d_bias[None, None]
  outside: Any = (d_inputs, d_products)
  if cell.additive:
    outside = (d_inputs + d_products, None)

  def tangent(d_state: State, frame: Any) -> tuple[State, jax.Array]:
    there, coefficients, dx, d_out = frame
    d_recurrent: Any = product(d_state[0], kernel, dtype)
    if cell.additive:
      dx, d_recurrent = dx + d_recurrent, None
    else:
      d_recurrent += d_out
    d_new = cell.tangent(coefficients, dx, d_recurrent, d_state)
    d_state = choose(there, d_new, d_state)
    return d_state, d_state[0]

  coefficients = cell.linearize(saved, before, after)
  frames = (valid, coefficients, *outside)
  d_last, d_outputs = static.scan(tangent, d_initial, frames)
  return (after[0], last), (d_outputs, d_last)
