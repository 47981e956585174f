"""Batch and classes sharded over all devices: the same code, under jit.

Rows lie on the mesh axis `data`, the classes of kernel and logits on `class`. Nothing
in the loss has to know. On a machine with one device, see it with eight:

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m examples.sharding
"""

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import regularizers as reg
from examples.problem import Params, blobs, init, logits

LOSS = reg.chain(
  reg.label_smoothing(0.1),
  reg.confidence_penalty(0.1),
)(reg.cross_entropy)
OPTIMIZER = optax.sgd(0.5, momentum=0.9)
NUM_CLASSES = 8


def make_mesh() -> jax.sharding.Mesh:
  """All devices, two of them to a row's classes where the number is even."""
  devices = jax.device_count()
  per_row = 2 if devices % 2 == 0 else 1
  shape, names = (devices // per_row, per_row), ('data', 'class')
  return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * 2)


def objective(
  params: Params, inputs: jax.Array, labels: jax.Array, mask: jax.Array
) -> jax.Array:
  """Divides by the rows of all devices that count, however they are spread."""
  return reg.masked_mean(LOSS(logits(params, inputs), labels), mask)


@jax.jit
def update(
  params: Params, state: optax.OptState, *batch: jax.Array
) -> tuple[Params, optax.OptState, jax.Array]:
  """Parameters and optimizer state after one step, and the loss before it."""
  value, gradient = jax.value_and_grad(objective)(params, *batch)
  updates, state = OPTIMIZER.update(gradient, state)
  return optax.apply_updates(params, updates), state, value


def train(num_steps: int = 20) -> tuple[Params, list[float]]:
  """The trained parameters, and the loss before every step."""
  mesh = make_mesh()
  inputs, labels = blobs(NUM_CLASSES)
  mask = jnp.arange(len(labels)) < 50  # the last shards hold padding
  batch = jax.device_put((inputs, labels, mask), NamedSharding(mesh, P('data')))
  layout = {'hidden': P(), 'kernel': P(None, 'class')}
  shardings = {name: NamedSharding(mesh, spec) for name, spec in layout.items()}
  params = jax.device_put(init(NUM_CLASSES), shardings)
  state, losses = OPTIMIZER.init(params), []
  for _ in range(num_steps):
    params, state, value = update(params, state, *batch)
    losses.append(float(value))
  return params, losses


if __name__ == '__main__':
  params, losses = train()
  jax.debug.visualize_array_sharding(params['kernel'])
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
