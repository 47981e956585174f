"""What a decoder-only model has read: keys and values, and attention to them."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp

from experiments.models.parts import NEVER

KeysAndValues = tuple[jax.Array, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
  """By slots that are filled from the first on.

  Attributes:
    keys: of each layer, ``[batch, heads, length, size]``.
    values: the same.
    there: ``[batch, length]``, False for slots that are empty, or hold padding.
    position: ``[batch]``, of the next id.
    filled: slots, the same in all rows.
  """

  keys: tuple[jax.Array, ...]
  values: tuple[jax.Array, ...]
  there: jax.Array
  position: jax.Array
  filled: jax.Array

  @classmethod
  def empty(
    cls, layers: int, shape: tuple[int, int, int, int], dtype: jnp.dtype | type
  ) -> Self:
    """Of ``shape`` ``[batch, heads, length, size]``."""
    batch, _, length, _ = shape
    nothing = (jnp.zeros(shape, dtype),) * layers
    there, position = jnp.zeros((batch, length), bool), jnp.zeros(batch, jnp.int32)
    return cls(nothing, nothing, there, position, jnp.int32(0))

  def begun(self, read: Sequence[KeysAndValues], mask: jax.Array) -> Self:
    """With the first slots filled.

    Args:
      read: of each layer, keys and values ``[batch, width, heads, size]``.
      mask: ``[batch, width]``, what is there of them.
    """
    width = mask.shape[1]

    def put(old: jax.Array, new: jax.Array) -> jax.Array:
      return old.at[:, :, :width].set(new.swapaxes(1, 2))

    keys, values = zip(*read, strict=True)
    return dataclasses.replace(
      self,
      keys=tuple(map(put, self.keys, keys)),
      values=tuple(map(put, self.values, values)),
      there=self.there.at[:, :width].set(mask),
      position=mask.sum(1, dtype=jnp.int32),
      filled=jnp.int32(width),
    )

  def read(self, layer: int, new: KeysAndValues) -> KeysAndValues:
    """Keys and values of a layer with one more slot, of ``[batch, heads, size]``."""

    def put(old: jax.Array, new: jax.Array) -> jax.Array:
      one = new[:, :, None]
      return jax.lax.dynamic_update_slice_in_dim(old, one, self.filled, 2)

    return put(self.keys[layer], new[0]), put(self.values[layer], new[1])

  def grown(self) -> Self:
    """One slot is more, and there; keys and values are those of before."""
    slot = jnp.arange(self.there.shape[1]) == self.filled
    return dataclasses.replace(
      self,
      there=self.there | slot[None],
      position=self.position + 1,
      filled=self.filled + 1,
    )


def attend(queries: jax.Array, read: KeysAndValues, there: jax.Array) -> jax.Array:
  """``softmax(q · k) v`` of one new position over the slots that are there.

  Args:
    queries: ``[batch, heads, size]``, scaled.
    read: keys and values, ``[batch, heads, length, size]``.
    there: ``[batch, length]``.

  Returns:
    ``[batch, heads, size]``.
  """
  keys, values = read
  scores = jnp.einsum(
    'bhd,bhkd->bhk', queries, keys, preferred_element_type=jnp.float32
  )
  weights = jax.nn.softmax(jnp.where(there[:, None], scores, NEVER))
  return jnp.einsum('bhk,bhkd->bhd', weights.astype(values.dtype), values)
