"""How positions are cut into chunks, and the arguments of a loss with them.

What a loss takes is a tree of arrays, some with a row per position, some not, and of
distributions that hold both. `pack` sorts them, `Packing.unpack` puts together what
belongs to one chunk.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.categorical import Categorical
from regularizers.kernels.slices import Slices
from regularizers.linear import LinearCategorical


@dataclasses.dataclass(frozen=True)
class Rows:
  """Positions of a shape, taken in chunks; the last chunk may overlap."""

  shape: tuple[int, ...]
  slices: Slices

  @property
  def count(self) -> int:
    """How many positions there are."""
    return self.slices.length

  @property
  def num_chunks(self) -> int:
    """How many chunks there are."""
    return self.slices.count

  def fresh(self, index: jax.Array) -> jax.Array:
    """``[size]`` booleans: False for rows that the chunk before had."""
    return self.slices.fresh(index)

  def cut(self, array: jax.Array, index: jax.Array) -> jax.Array:
    """The chunk's rows of an array ``[count, ...]``."""
    if self.num_chunks == 1:
      return array
    return self.slices.cut(array, self.slices.start(index), 0)

  def add(self, whole: jax.Array, part: jax.Array, index: jax.Array) -> jax.Array:
    """``whole`` with the chunk's rows added, those that are fresh."""
    start = self.slices.start(index)
    fresh = self.fresh(index).reshape((-1,) + (1,) * (part.ndim - 1))
    part = jnp.where(fresh, part, 0.0).astype(whole.dtype)
    return self.slices.put(whole, self.slices.cut(whole, start, 0) + part, start, 0)

  def lies_in(self, array: Any, axis: int) -> bool:
    """Whether the array has the positions' axes, from ``axis`` on."""
    shape = jnp.shape(array)
    return shape[axis : axis + len(self.shape)] == self.shape and (
      len(shape) >= axis + len(self.shape)
    )

  def flat(self, array: jax.Array, axis: int = 0) -> jax.Array:
    """``[..., rest]`` or ``[peers, ..., rest]`` as ``[count, (peers,) rest]``."""
    array = jnp.asarray(array)
    rest = array.shape[axis + len(self.shape) :]
    rows = array.reshape(*array.shape[:axis], self.count, *rest)
    return jnp.moveaxis(rows, axis, 0)


@dataclasses.dataclass(frozen=True)
class Packing:
  """What `pack` took apart: the tree, and for every leaf how it is cut."""

  rows: Rows
  kinds: tuple[Any, ...]
  tree: Any

  def unpack(self, per_row: Any, shared: Any, index: jax.Array) -> Any:
    """The two trees of one chunk.

    Args:
      per_row: what `pack` gave, cut to the chunk.
      shared: what `pack` gave.
      index: number of the chunk, folded into keys.
    """
    leaves = [
      self._leaf(kind, own, common, index)
      for kind, own, common in zip(self.kinds, per_row, shared, strict=True)
    ]
    return jax.tree.unflatten(self.tree, leaves)

  def _leaf(self, kind: Any, per_row: Any, shared: Any, index: jax.Array) -> Any:
    if isinstance(kind, _Static):
      return kind.value
    if kind == 'rows':
      return per_row
    if kind == 'peers':
      return jnp.moveaxis(per_row, 0, 1)
    if kind == 'key':
      return jax.random.fold_in(shared, index)
    if kind == 'shared':
      return shared
    return LinearCategorical.from_rows(kind, per_row, shared)


def pack(
  rows: Rows, own: dict[str, Any], extra: dict[str, Any]
) -> tuple[Packing, list[Any], list[Any]]:
  """Takes the arguments of a loss apart.

  Args:
    rows: the positions.
    own: arrays that have a row per position.
    extra: keyword arguments of a loss, whose names are the user's.

  Returns:
    The packing, and for every leaf what has a row per position (first axis
    ``rows.count``) and what has not; None where there is nothing.
  """
  is_leaf = lambda x: isinstance(x, (Categorical, LinearCategorical))  # noqa: E731
  paths, tree = jax.tree_util.tree_flatten_with_path((own, extra), is_leaf=is_leaf)
  packed = [
    _pack_leaf(rows, path[1].key, leaf)
    if path[0].idx
    else ('rows', rows.flat(leaf), None)
    for path, leaf in paths
  ]
  kinds, per_row, shared = zip(*packed, strict=True) if packed else ((), (), ())
  return Packing(rows, tuple(kinds), tree), list(per_row), list(shared)


@dataclasses.dataclass(frozen=True)
class _Static:
  """An option, such as an axis, that is no array and stays none."""

  value: Any


def _pack_leaf(rows: Rows, name: str, leaf: Any) -> tuple[Any, Any, Any]:
  # A step is a number that changes; to others a user's function may ask `if`.
  if callable(leaf) or (isinstance(leaf, (int, str)) and name != 'step'):
    return _Static(leaf), None, None
  if isinstance(leaf, LinearCategorical) and leaf.shape == rows.shape:
    return leaf.to_rows()
  if isinstance(leaf, Categorical):
    leaf = leaf.log_probs()
  if name == 'key':
    return 'key', None, leaf
  # Of a single position, which has no axes, a number is no row.
  if rows.lies_in(leaf, 0) and jnp.ndim(leaf):
    return 'rows', rows.flat(leaf), None
  # A stack of peers has its axis in front of the positions'.
  if name == 'teacher' and rows.lies_in(leaf, 1):
    return 'peers', rows.flat(leaf, 1), None
  return 'shared', None, leaf
