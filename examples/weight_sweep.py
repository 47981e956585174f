"""A sweep of weights as one program: a loss is a pytree, so `jax.vmap` goes over it.

python -m examples.weight_sweep
"""

import jax
import jax.numpy as jnp
import optax

import regularizers as reg
from examples.problem import Params, blobs, init, logits

OPTIMIZER = optax.adam(0.05)
EPSILONS = (0.0, 0.1, 0.2)
WEIGHTS = (0.0, 0.1, 0.5)


def make(epsilon: float | jax.Array, weight: float | jax.Array) -> reg.Loss:
  """The loss with these two weights."""
  return reg.chain(
    reg.label_smoothing(epsilon),
    reg.confidence_penalty(weight),
  )(reg.cross_entropy)


def fit(
  loss: reg.Loss, inputs: jax.Array, labels: jax.Array, num_steps: int
) -> tuple[Params, jax.Array]:
  """Trains under one loss: the parameters, and the loss before every step."""

  def objective(params: Params) -> jax.Array:
    return reg.masked_mean(loss(logits(params, inputs), labels))

  def step(carry: tuple, _: None) -> tuple[tuple, jax.Array]:
    params, state = carry
    value, gradient = jax.value_and_grad(objective)(params)
    updates, state = OPTIMIZER.update(gradient, state)
    return (optax.apply_updates(params, updates), state), value

  params = init(num_classes=3)
  start = params, OPTIMIZER.init(params)
  (params, _), values = jax.lax.scan(step, start, length=num_steps)
  return params, values


def train(num_steps: int = 50) -> tuple[Params, jax.Array, jax.Array]:
  """Parameters, losses ``[9, steps]`` and final entropies ``[9]`` of the whole grid."""
  epsilon, weight = map(
    jnp.ravel, jnp.meshgrid(jnp.array(EPSILONS), jnp.array(WEIGHTS))
  )
  grid = jax.vmap(make)(epsilon, weight)  # one loss, whose weights are [9]
  inputs, labels = blobs()
  run = jax.jit(jax.vmap(fit, (0, None, None, None)), static_argnums=3)
  params, losses = run(grid, inputs, labels, num_steps)
  entropy = reg.entropy(jax.vmap(logits, (0, None))(params, inputs)).mean(-1)
  return params, losses, entropy


if __name__ == '__main__':
  _, losses, entropy = train()
  pairs = [(epsilon, weight) for weight in WEIGHTS for epsilon in EPSILONS]
  for (epsilon, weight), loss, nats in zip(pairs, losses, entropy, strict=True):
    print(
      f'{make(epsilon, weight)}: from {loss[0]:.3f} to {loss[-1]:.3f}, H {nats:.3f}'
    )
