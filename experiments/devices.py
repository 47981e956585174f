"""One batch on several devices: a mesh with one axis, along which its examples lie.

The program is that of one device, and XLA splits it: a mean over the batch, that of
batch normalisation too, is over the examples of all devices, and the gradient is their
mean. What comes out differs from one device by rounding alone.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = 'data'
PyTree = Any


def mesh(batch_size: int) -> Mesh | None:
  """Over as many local devices as divide ``batch_size``; None: one has it all."""
  devices = jax.local_devices()
  counts = range(min(len(devices), batch_size), 0, -1)
  count = next(count for count in counts if batch_size % count == 0)
  return None if count == 1 else Mesh(np.array(devices[:count]), (AXIS,))


def split(tree: PyTree, mesh: Mesh | None, axis: int) -> PyTree:
  """Every array cut along ``axis``, one piece a device; as it is without a mesh."""
  if mesh is None:
    return tree
  return jax.device_put(tree, NamedSharding(mesh, P(*[None] * axis, AXIS)))


def everywhere(tree: PyTree, mesh: Mesh | None) -> PyTree:
  """Every array whole on every device; as it is without a mesh."""
  return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, P()))
