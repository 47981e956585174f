"""Row statistics of logits that are never materialized: a scan over tiles of classes.

A tile is a slice of the class axis (see `Slices`), computed from hidden states and
kernel when it is needed and thrown away. The last tile may overlap its neighbour;
`Tile.fresh` tells which classes are new.
The derivative rules are scans over tiles themselves and compute the logits again, so
nothing but the inputs and O(rows) numbers is kept between forward and backward. JAX
transposes a slice inside a scan to an addition in place, hence no second gradient of
the kernel's size either.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from regularizers.collectives import fold
from regularizers.kernels.dense import apart, lowest_of, reciprocal_sum
from regularizers.kernels.slices import Slices

_TILES = 31
_SMALL = 2**16
# Tiles of `add_outer`, which keeps one at a time. Smaller ones, and an overlapping
# last one, take up to a sixth longer.
_PARTS = 5


def tile_size(num_rows: int, num_classes: int, tiles: int = _TILES) -> int:
  """Classes a tile: their share, more where that would be a tiny product.

  Args:
    num_rows: positions, all of them in every tile.
    num_classes: ``V``.
    tiles: about how many there are to be.

  Returns:
    A multiple of 8 (or ``V``), a divisor of ``V`` if one is near: then no class is
    computed twice.
  """
  wanted = max(num_classes // tiles, _SMALL // max(num_rows, 1), 8)
  if wanted >= num_classes:
    return num_classes
  near = range(8 * (wanted // 8), 3 * wanted // 4, -8)
  even = [size for size in near if num_classes % size == 0]
  return even[0] if even else 8 * (wanted // 8)


class Tile(NamedTuple):
  """A slice of the class axis.

  Attributes:
    start: where it starts (see `Slices.start`), a traced integer.
    fresh: ``[1, size]`` booleans, False for classes of the tile before; None if all
      tiles are disjoint.
  """

  start: jax.Array
  fresh: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Tiling:
  """How a class axis is cut."""

  slices: Slices

  @classmethod
  def of(cls, num_classes: int, size: int) -> 'Tiling':
    """Tiles of about a size, of which every device has its share."""
    return cls(Slices.over_devices(num_classes, size))

  @property
  def num_classes(self) -> int:
    """``V``."""
    return self.slices.length

  @property
  def size(self) -> int:
    """Classes a tile."""
    return self.slices.size

  def tile(self, index: jax.Array) -> Tile:
    """The tile of an index."""
    fresh = None if self.slices.disjoint else self.slices.fresh(index)[None]
    return Tile(self.slices.start(index), fresh)

  def cut(self, array: jax.Array, tile: Tile) -> jax.Array:
    """The tile's part of an array ``[..., V]``; one of a last axis 1 as it is."""
    if array.shape[-1] != self.num_classes:
      return array
    return self.slices.cut(array, tile.start, array.ndim - 1)

  def put(self, array: jax.Array, part: jax.Array, tile: Tile) -> jax.Array:
    """An array ``[..., V]`` with another part in the tile's place."""
    return self.slices.put(array, part, tile.start, array.ndim - 1)

  def fold(self, body: Callable[[Any, Tile], Any], init: Any) -> Any:
    """Repeats ``carry = body(carry, tile)`` over the tiles."""
    indices = jnp.arange(self.slices.count)
    if self.slices.count == 1:
      return body(init, self.tile(indices[0]))
    return fold(lambda carry, index: body(carry, self.tile(index)), init, indices)

  def lean_fold(self, body: Callable[[Any, Tile], Any], init: Any) -> Any:
    """The same; for the backward pass tiles are computed again, not kept."""
    return self.fold(jax.checkpoint(body, prevent_cse=False), init)


@jax.custom_jvp
def carried(array: jax.Array, wide: jax.Array) -> jax.Array:
  """The values of an array in the dtype of another, which takes its derivative.

  ``wide`` is the same array in float32: gradients of its parts are summed in
  float32, yet it is never computed, only the parts of the short array that are read.
  """
  return array.astype(wide.dtype)


@carried.defjvp
def _carried_jvp(primals: Any, tangents: Any) -> Any:
  return carried(*primals), tangents[1]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def product(hidden: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
  """``hidden @ kernel`` of operands of a dtype, summed in float32 or wider.

  Args:
    hidden: ``[N, D]`` in the dtype of the sum, in which its gradient is summed too.
    kernel: ``[D, K]``.
    dtype: what both operands are rounded to; it loses nothing of either.
  """
  return dot(hidden.astype(dtype), kernel.astype(dtype), hidden.dtype)


@product.defjvp
def _product_jvp(dtype: Any, primals: Any, tangents: Any) -> Any:
  (hidden, kernel), (d_hidden, d_kernel) = primals, tangents
  wide = hidden.dtype
  out = dot(d_hidden, kernel.astype(wide), wide)
  return product(hidden, kernel, dtype), out + dot(hidden, d_kernel.astype(wide), wide)


def dot(a: jax.Array, b: jax.Array, dtype: Any) -> jax.Array:
  """``a @ b`` summed, and given, in a dtype."""
  return jnp.matmul(a, b, preferred_element_type=dtype)


def add_outer(total: jax.Array, hidden: jax.Array, dz: jax.Array) -> jax.Array:
  """``total + hidden.T @ dz`` in place, a tile at a time.

  Args:
    total: ``[D, V]``.
    hidden: ``[N, D]``.
    dz: ``[N, V]``.
  """
  num_classes = total.shape[1]
  tiling = Tiling.of(num_classes, tile_size(hidden.shape[0], num_classes, _PARTS))

  def body(total: jax.Array, tile: Tile) -> jax.Array:
    part = tiling.cut(dz, tile)
    if tile.fresh is not None:
      part = jnp.where(tile.fresh, part, 0.0)
    new = tiling.cut(total, tile) + dot(hidden.T, part, total.dtype)
    return tiling.put(total, new, tile)

  out: jax.Array = tiling.fold(body, total)
  return out


Logits = Callable[[Any, jax.Array | None, Tile], jax.Array]
"""``logits(inputs, where, tile) -> [N, size]``, −inf for classes that do not count."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def statistics(
  logits: Logits,
  tiling: Tiling,
  like: jax.ShapeDtypeStruct,
  inputs: Any,
  where: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Shift, log-sum and entropy of every row in one pass over the tiles.

  Args:
    logits: computes a tile.
    tiling: how the classes are cut.
    like: shape ``[N]`` and dtype of the results.
    inputs: what the logits are computed from, a pytree of floating arrays.
    where: mask of classes, ``[1, V]`` or ``[N, V]``.

  Returns:
    ``(shift, log_sum, entropy)``, each ``[N]``: the largest logit (a constant to the
    derivative), log Σ exp(z − shift), and −Σ p log p in nats (0 for a row without a
    possible class).
  """
  lowest = lowest_of(like.dtype)

  def body(carry: Any, tile: Tile) -> Any:
    shift, total, weighted = carry
    z = logits(inputs, where, tile)
    top = jnp.maximum(shift, z.max(-1))
    weights = jnp.exp(z - top[:, None])
    sums = weights.sum(-1)
    # Each reduction with an operand of its own; see kernels/dense.py.
    centred = jnp.maximum(z - apart(top, sums)[:, None], lowest)
    products = (weights * centred).sum(-1)
    scale = jnp.exp(shift - top)
    # Before the first finite logit total is 0, and the difference as large as can be.
    moved = jnp.where(total > 0, (shift - top) * total, 0.0)
    return top, total * scale + sums, scale * (weighted + moved) + products

  zeros = jnp.zeros(like.shape, like.dtype)
  start = (jnp.full(like.shape, lowest, like.dtype), zeros, zeros)
  shift, total, weighted = tiling.lean_fold(body, start)
  log_sum = jnp.log(total)
  entropy = log_sum - weighted * reciprocal_sum(log_sum)
  return shift, log_sum, jnp.where(total > 0, entropy, 0.0)


@statistics.defjvp
def _statistics_jvp(
  logits: Logits,
  tiling: Tiling,
  like: jax.ShapeDtypeStruct,
  primals: Any,
  tangents: Any,
) -> Any:
  (inputs, where), (d_inputs, _) = primals, tangents
  shift, log_sum, entropy = statistics(logits, tiling, like, inputs, where)

  def rule(
    d_inputs: Any,
    inputs: Any,
    shift: jax.Array,
    log_sum: jax.Array,
    entropy: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    offset = jnp.where(jnp.isneginf(log_sum), 0.0, entropy - log_sum)[:, None]

    def body(carry: Any, tile: Tile) -> Any:
      z, dz = jax.jvp(lambda i: logits(i, where, tile), (inputs,), (d_inputs,))
      weights = jnp.exp(z - shift[:, None])
      centred = jnp.maximum(z - shift[:, None], lowest_of(z.dtype))
      slope = weights * (offset + centred)
      return carry[0] + (weights * dz).sum(-1), carry[1] - (slope * dz).sum(-1)

    zeros = jnp.zeros_like(shift)
    sums = tiling.lean_fold(body, (zeros, zeros))
    scale = reciprocal_sum(log_sum)
    return sums[0] * scale, sums[1] * scale

  lean = jax.checkpoint(rule, prevent_cse=False)
  d_log_sum, d_entropy = lean(d_inputs, inputs, shift, log_sum, entropy)
  out = (shift, log_sum, entropy)
  return out, (jnp.zeros_like(shift), d_log_sum, d_entropy)
