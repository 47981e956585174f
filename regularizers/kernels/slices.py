"""How an axis is cut into slices that are taken one at a time.

`jax.jit` may have laid equal blocks of the axis on several devices. A slice then has
its share of every block, so that nobody needs what lies on a neighbour: a slice of
neighbours would be gathered, and the whole axis with it.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Slices:
  """An axis, ``size`` of it at a time; the last slice may overlap its neighbour.

  Attributes:
    length: of the axis.
    size: of a slice, the same share of every block.
    blocks: into how many equal parts the axis is cut beforehand.
  """

  length: int
  size: int
  blocks: int = 1

  @classmethod
  def over_devices(cls, length: int, size: int) -> 'Slices':
    """As many blocks as an even layout over the devices may have."""
    if size >= length:
      return cls(length, max(length, 1))
    blocks = math.gcd(length, _num_devices())
    return cls(length, blocks * max(size // blocks, 1), blocks)

  @property
  def count(self) -> int:
    """How many slices there are."""
    return -(-self.length // self.size)

  @property
  def disjoint(self) -> bool:
    """Whether no slice overlaps another."""
    return self.length % self.size == 0

  def start(self, index: jax.Array) -> jax.Array:
    """Where in a block the slice of an index starts."""
    width = self.size // self.blocks
    last = self.length // self.blocks - width
    return index * width if self.disjoint else jnp.minimum(index * width, last)

  def fresh(self, index: jax.Array) -> jax.Array:
    """``[size]`` booleans: False for what the slice before had."""
    width = self.size // self.blocks
    fresh = self.start(index) + jnp.arange(width) >= index * width
    return jnp.tile(fresh, self.blocks)

  def cut(self, array: jax.Array, start: jax.Array, axis: int) -> jax.Array:
    """The slice of an array that starts there."""
    parted, axis = self._parted(array, axis)
    width = self.size // self.blocks
    part = jax.lax.dynamic_slice_in_dim(parted, start, width, axis)
    return self._joined(part, axis)

  def put(
    self, array: jax.Array, part: jax.Array, start: jax.Array, axis: int
  ) -> jax.Array:
    """The array with another slice in the place of `cut`'s."""
    parted, inner = self._parted(array, axis)
    part, _ = self._parted(part, axis)
    out = jax.lax.dynamic_update_slice_in_dim(parted, part, start, inner)
    return self._joined(out, inner)

  def _parted(self, array: jax.Array, axis: int) -> tuple[jax.Array, int]:
    """With the axis as blocks and what a block holds, and where the latter is."""
    if self.blocks == 1:
      return array, axis
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    width = array.shape[axis] // self.blocks
    return array.reshape(*before, self.blocks, width, *after), axis + 1

  def _joined(self, array: jax.Array, axis: int) -> jax.Array:
    """Undoes `_parted`."""
    if self.blocks == 1:
      return array
    before, after = array.shape[: axis - 1], array.shape[axis + 1 :]
    return array.reshape(*before, self.blocks * array.shape[axis], *after)


def _num_devices() -> int:
  """Of all that an array seen here may lie on; inside `jax.shard_map` mostly one."""
  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.manual_axes:
    return jax.device_count()
  rest = [n for name, n in mesh.shape.items() if name not in mesh.manual_axes]
  return math.prod(rest)
