"""What recurrent_sharded_test.py compares, on eight devices: run in a process.

recurrent_sharded_program.py OUT.npz
"""

import os
import sys

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
  '--xla_force_host_platform_device_count=8 '
  '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)

from typing import Any

import jax
import jax.numpy as jnp
import models
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_enable_x64', True)
ROWS = P('data')
# Device 1 holds no frame at all, device 2 a single one.
LENGTHS = np.array([6, 5, 0, 0, 1, 0, 6, 2, 3, 3, 6, 6, 4, 1, 2, 6])
SETTINGS: dict[str, dict[str, Any]] = {
  'sequence': {'mode': 'sequence', 'placement': 'input_to_hidden'},
  'hidden': {'mode': 'frame', 'placement': 'hidden_to_hidden'},
}


def problem(name: str, axis_name: str | None) -> tuple[Any, Any, Any]:
  """``value(params, stats, x, lengths)`` with outputs and statistics beside it."""
  options = models.placed(**SETTINGS[name], axis_name=axis_name)
  model = models.make('LSTM', bidirectional=name == 'sequence', batch_norm=options)
  run, params, stats = models.pure(model)

  def value(params: Any, x: jax.Array, lengths: jax.Array) -> Any:
    (outputs, _), new = run(params, stats, x, lengths=lengths)
    # A sum over sequences, so that devices' shares add up.
    total = (outputs**2 * (1 + outputs)).sum()
    if axis_name is not None:
      total = jax.lax.psum(total, axis_name)
    return total, (outputs, new)

  return value, params, stats


def leaves(prefix: str, tree: Any) -> dict[str, np.ndarray]:
  return {f'{prefix}/{i}': np.asarray(a) for i, a in enumerate(jax.tree.leaves(tree))}


def main(path: str) -> None:
  mesh = Mesh(np.array(jax.devices()), ('data',))
  x = jnp.asarray(models.features(batch=len(LENGTHS)))
  lengths = jnp.asarray(LENGTHS)
  found: dict[str, np.ndarray] = {'devices': np.asarray(jax.device_count())}
  for name in SETTINGS:
    value, params, _ = problem(name, None)
    both = jax.jit(jax.value_and_grad(value, has_aux=True))
    found |= leaves(f'{name}/one', both(params, x, lengths))
    split = [jax.device_put(a, NamedSharding(mesh, ROWS)) for a in (x, lengths)]
    found |= leaves(f'{name}/jit', both(params, *split))
    value, params, _ = problem(name, 'data')
    mapped = jax.shard_map(
      jax.value_and_grad(value, has_aux=True),
      mesh=mesh,
      in_specs=(P(), ROWS, ROWS),
      # What every device has in common: value, statistics, the gradients' sum.
      out_specs=((P(), (ROWS, P())), P()),
    )
    found |= leaves(f'{name}/map', jax.jit(mapped)(params, x, lengths))
  np.savez(path, **found)


if __name__ == '__main__':
  main(sys.argv[1])
