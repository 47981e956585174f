"""What lockstep_test.py compares, computed on several devices: run in a process.

lockstep_program.py devices OUT.npz          4 devices of one process
lockstep_program.py process I PORT OUT.npz   2 processes of 2 devices each
"""

import os
import sys

MODE = sys.argv[1]
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['JAX_NUM_CPU_DEVICES'] = '4' if MODE == 'devices' else '2'

import re  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import lockstep  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from regularizers.exchange import Mesh  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_disable_most_optimizations', True)


def mesh_of(shape: tuple[int, ...], axis_type: Any = AxisType.Auto) -> Any:
  names = ('replica', 'data')[: len(shape)]
  devices = jax.devices()[: np.prod(shape)]
  return jax.make_mesh(shape, names, (axis_type,) * len(shape), devices=devices)


def trained(mesh: Any) -> dict[str, np.ndarray]:
  """Every replica's parameters and peers that this process has."""
  count = mesh.shape['replica']

  def place(array: np.ndarray) -> jax.Array:
    rows = 'data' in mesh.shape and array.shape[1] == lockstep.ROWS
    spec = P('replica', 'data') if rows else P('replica')
    return jax.make_array_from_callback(
      array.shape, NamedSharding(mesh, spec), lambda index: array[index]
    )

  exchange = Mesh(mesh, 'replica', lockstep.EVERY)
  tree, peers = lockstep.train_stacked(exchange, count, place)
  out = {}
  for name, leaf in {**tree, 'steps': peers.steps}.items():
    for shard in leaf.addressable_shards:
      out[f'{name}/{shard.index[0].start or 0}'] = np.asarray(shard.data)[0]
  return out


def split(mesh: Any, dtype: Any) -> dict[str, Any]:
  """Where the copies of a leaf lie that is split along the other axis too."""
  exchange = Mesh(mesh, 'replica', 1, dtype)
  tree = {
    'w': jax.device_put(
      jnp.ones((2, 6, 8)), NamedSharding(mesh, P('replica', None, 'data'))
    ),
    'flag': jnp.array([True, False]),
  }
  first = exchange.init(tree)
  second = exchange(0, tree, first)
  third = jax.jit(exchange.__call__)(1, tree, second)
  shapes = [
    p.trees['w'].addressable_shards[0].data.shape for p in (first, second, third)
  ]
  text = jax.jit(exchange.swap).lower(jnp.int32(1), tree).compile().as_text()
  kinds = r'= (\w+)\[.*? (all-\w+|collective-\w+|reduce-scatter)(?:-start)?\('
  found = re.findall(kinds, text)
  return {
    'shapes': shapes,
    'collectives': sorted(' '.join(pair[::-1]) for pair in found),
  }


def on_four_devices() -> dict[str, Any]:
  out: dict[str, Any] = {}
  for name, shape in (('2x2', (2, 2)), ('3', (3,))):
    out |= {f'{name}/{key}': value for key, value in trained(mesh_of(shape)).items()}
  for kind in (AxisType.Auto, AxisType.Explicit):
    for dtype in (None, jnp.float16):
      found = split(mesh_of((2, 2), kind), dtype)
      name = f'{kind.name}/{"f32" if dtype is None else "f16"}'
      out |= {f'{name}/{key}': value for key, value in found.items()}
  empty = Mesh(mesh_of((2, 2)), 'replica', 1)
  return out | {'empty': empty(3, {}, empty.init({})).steps}


def on_two_processes(index: int, port: str) -> dict[str, Any]:
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  jax.distributed.initialize(f'127.0.0.1:{port}', 2, index, initialization_timeout=60)
  out: dict[str, Any] = trained(mesh_of((2, 2)))
  out['devices'] = [len(jax.devices()), len(jax.local_devices())]
  jax.distributed.shutdown()
  return out


if __name__ == '__main__':
  if MODE == 'devices':
    arrays = on_four_devices()
  else:
    arrays = on_two_processes(int(sys.argv[2]), sys.argv[3])
  np.savez(sys.argv[-1], **{name: np.asarray(array) for name, array in arrays.items()})
