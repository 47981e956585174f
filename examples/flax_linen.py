"""A classifier in flax linen, with a penalty whose weight is a schedule of the step.

python -m examples.flax_linen
"""

import flax.linen as nn
import jax
import optax
from flax.training.train_state import TrainState

import regularizers as reg
from examples.problem import blobs

LOSS = reg.chain(
  reg.label_smoothing(0.1),
  reg.confidence_penalty(optax.linear_schedule(0.0, 0.2, 50)),
)(reg.cross_entropy)


class Classifier(nn.Module):
  """A network of one hidden layer."""

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    return nn.Dense(3)(nn.relu(nn.Dense(16)(inputs)))


@jax.jit
def update(
  state: TrainState, inputs: jax.Array, labels: jax.Array
) -> tuple[TrainState, jax.Array]:
  """The state after one step, and the loss before it."""

  def objective(params: dict) -> jax.Array:
    logits = state.apply_fn({'params': params}, inputs)
    # What varies from step to step is a keyword: there is no hidden counter.
    return reg.masked_mean(LOSS(logits, labels, step=state.step))

  value, gradient = jax.value_and_grad(objective)(state.params)
  return state.apply_gradients(grads=gradient), value


def train(num_steps: int = 50) -> tuple[TrainState, list[float]]:
  """The trained state, and the loss before every step."""
  inputs, labels = blobs()
  model = Classifier()
  params = model.init(jax.random.key(0), inputs)['params']
  state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(0.02))
  losses = []
  for _ in range(num_steps):
    state, value = update(state, inputs, labels)
    losses.append(float(value))
  return state, losses


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
