"""The recursion with batch normalisation inside."""

from typing import Any

import jax
import jax.numpy as jnp

from regularizers.nn.batch_norm import BatchNorm
from regularizers.nn.cells import State
from regularizers.nn.scan import Recursion, choose, product


def recur_normalized(
  static: Recursion,
  norm: BatchNorm,
  use_running_average: bool | None,
  valid: jax.Array | None,
  inputs: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  initial: State,
) -> tuple[jax.Array, State]:
  """As `regularizers.nn.scan.recur`, normalising U·h or W·x + U·h at every step.

  Statistics are those of the sequences that have the frame; the running ones are
  updated after the last step.
  """
  whole = norm.options.placement == 'pre_activation'
  running = norm.evaluates(use_running_average)
  stored = norm.running(inputs.shape[0]) if running else None

  def body(state: State, frame: Any) -> tuple[State, tuple[jax.Array, Any]]:
    x, there, step = frame
    recurrent = product(state[0], kernel, static.dtype)
    subject = recurrent + x if whole else recurrent
    batch = norm.of_step(subject, there) if step is None else None
    mean, variance = (batch.mean, batch.variance) if batch is not None else step
    normal = norm.affine(subject, mean[None], variance[None])
    if bias is not None:
      normal = normal + bias[None]
    x = jnp.zeros_like(x) if whole else x
    new, _ = static.cell(x, normal, state)
    state = choose(there, new, state)
    return state, (state[0], batch)

  last, (outputs, batches) = static.scan(body, initial, (inputs, valid, stored))
  if not running:
    norm.update(batches)
  return outputs, last
