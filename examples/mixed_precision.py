"""Mixed precision: model and logits in bfloat16, loss and parameters in float32.

No cast is needed: a loss computes in float32 whatever the logits are, and the gradient
comes back in the logits' own type.

python -m examples.mixed_precision
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import regularizers as reg
from examples.problem import blobs

LOSS = reg.confidence_penalty(0.1)(reg.cross_entropy)


class Classifier(nnx.Module):
  """Computes in bfloat16; its parameters are float32, as is nnx's default."""

  def __init__(self, rngs: nnx.Rngs):
    self.hidden = nnx.Linear(2, 16, dtype=jnp.bfloat16, rngs=rngs)
    self.last = nnx.Linear(16, 3, dtype=jnp.bfloat16, rngs=rngs)

  def __call__(self, inputs: jax.Array) -> jax.Array:
    return self.last(nnx.relu(self.hidden(inputs)))


@nnx.jit
def update(
  model: Classifier, optimizer: nnx.Optimizer, inputs: jax.Array, labels: jax.Array
) -> jax.Array:
  """Takes one step; returns the loss before it, in float32."""

  def objective(model: Classifier) -> jax.Array:
    return reg.masked_mean(LOSS(model(inputs), labels))

  value, gradient = nnx.value_and_grad(objective)(model)
  optimizer.update(model, gradient)
  return value


def train(num_steps: int = 50) -> tuple[Classifier, list[jax.Array]]:
  """The trained model, and the loss before every step."""
  inputs, labels = blobs()
  model = Classifier(nnx.Rngs(0))
  optimizer = nnx.Optimizer(model, optax.adam(0.02), wrt=nnx.Param)
  losses = [update(model, optimizer, inputs, labels) for _ in range(num_steps)]
  return model, losses


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}, {losses[0].dtype}: from {losses[0]:.3f} to {losses[-1]:.3f}')
