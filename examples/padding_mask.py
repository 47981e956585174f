"""Next-token prediction on padded sequences: a mask of positions, given to the mean.

The loss gives one value per position; `reg.masked_mean` divides by the number of real
ones. What stands in the padding, even a label that is no class, has no effect.

python -m examples.padding_mask
"""

import jax
import optax
from flax import nnx

import regularizers as reg
from examples.problem import sequences

LOSS = reg.confidence_penalty(0.1, threshold=1.0)(reg.cross_entropy)


class Model(nnx.Module):
  """A small recurrent language model."""

  def __init__(self, rngs: nnx.Rngs):
    self.embed = nnx.Embed(7, 8, rngs=rngs)
    self.recurrent = nnx.RNN(nnx.GRUCell(8, 16, rngs=rngs))
    self.last = nnx.Linear(16, 7, rngs=rngs)

  def __call__(self, tokens: jax.Array) -> jax.Array:
    return self.last(self.recurrent(self.embed(tokens)))


def objective(model: Model, tokens: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean over the real tokens that have one before them."""
  inputs, labels = tokens[:, :-1], tokens[:, 1:]
  logits = model(inputs * mask[:, :-1])  # the embedding does want a token
  return reg.masked_mean(LOSS(logits, labels), mask[:, 1:])


@nnx.jit
def update(
  model: Model, optimizer: nnx.Optimizer, tokens: jax.Array, mask: jax.Array
) -> jax.Array:
  """Takes one step; returns the loss before it."""
  value, gradient = nnx.value_and_grad(objective)(model, tokens, mask)
  optimizer.update(model, gradient)
  return value


def train(num_steps: int = 50) -> tuple[Model, list[float]]:
  """The trained model, and the loss before every step."""
  tokens, mask = sequences()
  model = Model(nnx.Rngs(0))
  optimizer = nnx.Optimizer(model, optax.adam(0.02), wrt=nnx.Param)
  losses = [update(model, optimizer, tokens, mask) for _ in range(num_steps)]
  return model, [float(value) for value in losses]


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
