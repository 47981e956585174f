"""Gradient accumulation that gives the full batch's gradient, also with unequal masks.

A mean of the micro-batches' means weights a row by how much padding stood beside it.
`reg.accumulate_gradients` adds up sums and counts, and divides once.

python -m examples.gradient_accumulation
"""

import jax
import jax.numpy as jnp
import optax

import regularizers as reg
from examples.problem import Params, blobs, init, logits

LOSS = reg.label_smoothing(0.1)(reg.cross_entropy)
OPTIMIZER = optax.adam(0.05)

Batch = tuple[jax.Array, jax.Array, jax.Array]  # inputs, labels, mask


def sum_and_count(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
  """The loss summed over the rows that count, and how many do."""
  inputs, labels, mask = batch
  return reg.masked_sum(LOSS(logits(params, inputs), labels), mask), mask.sum()


@jax.jit
def update(
  params: Params, state: optax.OptState, batches: Batch
) -> tuple[Params, optax.OptState, jax.Array]:
  """Parameters and optimizer state after one step, and the loss before it."""
  value, gradient = reg.accumulate_gradients(sum_and_count, params, batches)
  updates, state = OPTIMIZER.update(gradient, state)
  return optax.apply_updates(params, updates), state, value


def batch(size: int = 64) -> Batch:
  """A batch whose second half is mostly padding."""
  inputs, labels = blobs(size=size)
  row = jnp.arange(size)
  return inputs, labels, (row < size // 2) | (row % 5 == 0)


def train(num_steps: int = 50, parts: int = 4) -> tuple[Params, list[float]]:
  """The trained parameters, and the loss before every step."""
  micro = reg.microbatches(batch(), parts)
  params = init(num_classes=3)
  state, losses = OPTIMIZER.init(params), []
  for _ in range(num_steps):
    params, state, value = update(params, state, micro)
    losses.append(float(value))
  return params, losses


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
