"""What opt_sharded_test.py compares, on eight devices: run in a process.

opt_sharded_program.py OUT.npz
"""

import os
import re
import sys

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
  '--xla_force_host_platform_device_count=8 '
  '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from experiments.models import opt_sharding
from experiments.models.generation import greedy
from experiments.models.opt import OPT, graph
from experiments.models.opt_layers import Sizes

jax.config.update('jax_numpy_rank_promotion', 'raise')
SIZES = Sizes(32, 20, 16, layers=2, heads=4, ffn=24)
# Name: devices of the axes, whether ids are split, whether layers are scanned.
SETTINGS = {
  'data': ((8, 1), False, False),
  'both': ((2, 4), False, False),
  'ids too': ((4, 2), True, True),
}
ROWS, WIDTH = 8, 12
COLLECTIVE = re.compile(r'= \w+\[([0-9,]*)\]\S* (all-gather|all-to-all|all-reduce)\(')


def batch() -> dict[str, np.ndarray]:
  random = np.random.default_rng(0)
  ids = random.integers(1, 32, (ROWS, WIDTH + 1))
  segments = np.sort(random.integers(1, 4, (ROWS, WIDTH)), axis=1)
  starts = np.diff(segments, axis=1, prepend=0) > 0
  places = np.broadcast_to(np.arange(WIDTH), segments.shape)
  first = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
  return {
    **{'ids': ids[:, :-1], 'segment': segments, 'position': places - first},
    **{'label': ids[:, 1:], 'mask': random.random((ROWS, WIDTH)) < 0.6},
  }


def weights() -> Any:
  model = nnx.jit(lambda: OPT(SIZES, init_std=0.3, rngs=nnx.Rngs(0)))()
  return nnx.to_pure_dict(nnx.state(model))


def program(**options: Any) -> Any:
  empty = graph(SIZES, dropout=0.2, **options)

  @jax.jit
  def run(params: Any, batch: Any, key: jax.Array) -> Any:
    def value(params: Any) -> jax.Array:
      model = nnx.merge(empty, params, copy=True)
      parts = (batch[name] for name in ('ids', 'segment', 'position'))
      hidden = model(*parts, deterministic=False, rngs=nnx.Rngs(dropout=key))
      log_p = jax.nn.log_softmax(model.logits(hidden))
      own = jnp.take_along_axis(log_p, batch['label'][..., None], -1)[..., 0]
      return -(own * batch['mask']).sum() / batch['mask'].sum()

    return jax.value_and_grad(value)(params)

  @jax.jit
  def write(params: Any, ids: jax.Array, mask: jax.Array) -> jax.Array:
    model = nnx.merge(empty, params, copy=True)
    return greedy(model, ids, mask, length=4, end=99).ids

  return run, write


def leaves(prefix: str, value: jax.Array, gradient: Any) -> dict[str, np.ndarray]:
  named = {
    jax.tree_util.keystr(path, simple=True, separator='.'): leaf
    for path, leaf in jax.tree.leaves_with_path({'value': value, 'gradient': gradient})
  }
  return {f'{prefix}/{name}': np.asarray(leaf) for name, leaf in named.items()}


def main(path: str) -> None:
  params, arrays, key = weights(), batch(), jax.random.key(1)
  prompts = arrays['ids'], arrays['segment'] == 1
  run, write = program()
  found = leaves('one', *run(params, arrays, key))
  found['one/written'] = np.asarray(write(params, *prompts))
  found['devices'] = np.asarray(jax.device_count())
  for name, (shape, vocabulary, scan) in SETTINGS.items():
    mesh = Mesh(np.array(jax.devices()).reshape(shape), ('data', 'model'))
    given = opt_sharding.shardings(mesh, SIZES, params, vocabulary=vocabulary)
    rows = NamedSharding(mesh, opt_sharding.ROWS)
    split = jax.device_put(params, given)
    placed = jax.device_put((arrays, prompts), rows)
    run, write = program(scan_layers=scan)
    compiled = run.lower(split, placed[0], key).compile()
    value, gradient = compiled(split, placed[0], key)
    found |= leaves(name, value, gradient)
    found[f'{name}/written'] = np.asarray(write(split, *placed[1]))
    kernel = gradient['layers']['up_kernel']
    found[f'{name}/part'] = np.asarray(kernel.addressable_shards[0].data.shape)
    moved = COLLECTIVE.findall(compiled.as_text())
    found[f'{name}/moved'] = np.array([f'{what} {shape}' for shape, what in moved])
  np.savez(path, **found)


if __name__ == '__main__':
  main(sys.argv[1])
