"""What densenet_test.py compares, on four devices: run in a process.

densenet_sharded_program.py OUT.npz
"""

import os
import sys

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
  '--xla_force_host_platform_device_count=4 '
  '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.models.densenet import DenseNet
from experiments.task import functions, state_of

jax.config.update('jax_enable_x64', True)


def module(rngs: nnx.Rngs) -> DenseNet:
  return DenseNet(3, depth=7, growth=2, rngs=rngs)


def main(path: str) -> None:
  init, merged = functions(module)
  weights = jax.tree.map(lambda a: a.astype(float), init(jax.random.key(0)))
  images = np.random.default_rng(0).normal(size=(8, 8, 8, 3))
  images += np.arange(8.0).reshape(8, 1, 1, 1)  # the devices' own means differ

  def value(params: Any, rest: Any, x: jax.Array) -> Any:
    model, _ = merged(params, rest, None)
    logits = model(x, deterministic=False)
    return (logits**2).mean(), (logits, state_of(model))

  step = jax.jit(jax.value_and_grad(value, has_aux=True))
  mesh = Mesh(np.array(jax.devices()), ('data',))
  split = jax.device_put(images, NamedSharding(mesh, P('data')))
  found = {'devices': jax.device_count(), 'spread': len(split.sharding.device_set)}
  for name, x in (('one', jnp.asarray(images)), ('split', split)):
    leaves = jax.tree.leaves(step(*weights, x))
    found |= {f'{name}/{i}': np.asarray(leaf) for i, leaf in enumerate(leaves)}
  np.savez(path, **found)


if __name__ == '__main__':
  main(sys.argv[1])
