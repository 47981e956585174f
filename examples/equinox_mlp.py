"""A classifier in equinox: the loss wants a batch of logits, so vmap the model first.

python -m examples.equinox_mlp
"""

import equinox as eqx
import jax
import optax

import regularizers as reg
from examples.problem import blobs

LOSS = reg.chain(
  reg.label_smoothing(0.1),
  reg.confidence_penalty(0.1),
)(reg.cross_entropy)
OPTIMIZER = optax.adam(0.02)


@eqx.filter_jit
def update(
  model: eqx.nn.MLP, state: optax.OptState, inputs: jax.Array, labels: jax.Array
) -> tuple[eqx.nn.MLP, optax.OptState, jax.Array]:
  """Model and optimizer state after one step, and the loss before it."""

  def objective(model: eqx.nn.MLP) -> jax.Array:
    return reg.masked_mean(LOSS(jax.vmap(model)(inputs), labels))

  value, gradient = eqx.filter_value_and_grad(objective)(model)
  updates, state = OPTIMIZER.update(gradient, state)
  return eqx.apply_updates(model, updates), state, value


def train(num_steps: int = 50) -> tuple[eqx.nn.MLP, list[float]]:
  """The trained model, and the loss before every step."""
  inputs, labels = blobs()
  model = eqx.nn.MLP(2, 3, width_size=16, depth=1, key=jax.random.key(0))
  state = OPTIMIZER.init(eqx.filter(model, eqx.is_array))
  losses = []
  for _ in range(num_steps):
    model, state, value = update(model, state, inputs, labels)
    losses.append(float(value))
  return model, losses


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
