"""A classifier in flax nnx: the loss takes the logits and labels you already have.

python -m examples.flax_nnx
"""

import jax
import optax
from flax import nnx

import regularizers as reg
from examples.problem import blobs

LOSS = reg.chain(
  reg.label_smoothing(0.1),
  reg.confidence_penalty(0.1),
)(reg.cross_entropy)


class Classifier(nnx.Module):
  """A network of one hidden layer."""

  def __init__(self, rngs: nnx.Rngs):
    self.hidden = nnx.Linear(2, 16, rngs=rngs)
    self.last = nnx.Linear(16, 3, rngs=rngs)

  def __call__(self, inputs: jax.Array) -> jax.Array:
    return self.last(nnx.relu(self.hidden(inputs)))


@nnx.jit
def update(
  model: Classifier, optimizer: nnx.Optimizer, inputs: jax.Array, labels: jax.Array
) -> jax.Array:
  """Takes one step; returns the loss before it."""

  def objective(model: Classifier) -> jax.Array:
    return reg.masked_mean(LOSS(model(inputs), labels))

  value, gradient = nnx.value_and_grad(objective)(model)
  optimizer.update(model, gradient)
  return value


def train(num_steps: int = 50) -> tuple[Classifier, list[float]]:
  """The trained model, and the loss before every step."""
  inputs, labels = blobs()
  model = Classifier(nnx.Rngs(0))
  optimizer = nnx.Optimizer(model, optax.adam(0.02), wrt=nnx.Param)
  losses = [update(model, optimizer, inputs, labels) for _ in range(num_steps)]
  return model, [float(value) for value in losses]


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
