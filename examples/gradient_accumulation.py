"""Gradient accumulation that gives the full batch's gradient, also with unequal masks.

A mean of the micro-batches' means weights a row by how much padding stood beside it.
Here sums and counts are added up, and divided once.

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


def total(params: Params, batch: Batch) -> jax.Array:
  """The loss summed over the rows that count."""
  inputs, labels, mask = batch
  return reg.masked_sum(LOSS(logits(params, inputs), labels), mask)


def accumulate(params: Params, batches: Batch) -> tuple[jax.Array, Params]:
  """Mean loss and gradient over micro-batches that are stacked on a leading axis."""

  def add(sums: tuple, batch: Batch) -> tuple[tuple, None]:
    value, gradient = jax.value_and_grad(total)(params, batch)
    return jax.tree.map(jnp.add, sums, (value, gradient)), None

  nothing = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
  sums, _ = jax.lax.scan(add, nothing, batches)
  count = jnp.maximum(batches[2].sum(), 1)
  value, gradient = jax.tree.map(lambda leaf: leaf / count, sums)
  return value, gradient


@jax.jit
def update(
  params: Params, state: optax.OptState, batches: Batch
) -> tuple[Params, optax.OptState, jax.Array]:
  """Parameters and optimizer state after one step, and the loss before it."""
  value, gradient = accumulate(params, batches)
  updates, state = OPTIMIZER.update(gradient, state)
  return optax.apply_updates(params, updates), state, value


def batch(size: int = 64) -> Batch:
  """A batch whose second half is mostly padding."""
  inputs, labels = blobs(size=size)
  row = jnp.arange(size)
  return inputs, labels, (row < size // 2) | (row % 5 == 0)


def train(num_steps: int = 50, parts: int = 4) -> tuple[Params, list[float]]:
  """The trained parameters, and the loss before every step."""
  micro = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch())
  params = init(num_classes=3)
  state, losses = OPTIMIZER.init(params), []
  for _ in range(num_steps):
    params, state, value = update(params, state, micro)
    losses.append(float(value))
  return params, losses


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
