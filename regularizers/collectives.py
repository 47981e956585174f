"""What the rest of the package asks of a mesh axis inside `jax.shard_map`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

AxisName = str | tuple[str, ...]
"""A mesh axis, or several that are taken as one."""


def axis_size(axis_name: AxisName) -> int:
  """Number of devices along the axis.

  Raises:
    NameError: no such axis is bound here.
  """
  try:
    return int(jax.lax.axis_size(axis_name))
  except NameError:
    raise NameError(
      f'axis_name: {axis_name!r} is not bound here: call this inside jax.shard_map '
      'over a mesh that has this axis'
    ) from None


def total(tree: Any, axis_name: AxisName) -> Any:
  """The sum over the devices along the axis."""
  axis_size(axis_name)
  return jax.lax.psum(tree, axis_name)  # type: ignore[no-untyped-call]


def largest(array: jax.Array, axis_name: AxisName) -> jax.Array:
  """The largest over the devices along the axis, a constant to the derivative."""
  constant = jax.lax.stop_gradient(array)
  out: jax.Array = jax.lax.pmax(constant, axis_name)  # type: ignore[no-untyped-call]
  return out


def axes_of(kind: Any) -> tuple[str, ...]:
  """The mesh axes along which an array of this type may differ between devices."""
  manual = getattr(kind, 'manual_axis_type', None)  # what jax 0.10 calls it
  if manual is not None:
    return tuple(manual.varying)
  return tuple(getattr(kind, 'vma', None) or ())


def varying(tree: Any, axis_name: AxisName) -> Any:
  """The same numbers, of which every device along the axis has its own copy.

  The derivative by such a copy is this device's share alone; by a number that all
  devices have in common, `jax.shard_map` adds the shares up at once.
  """
  names = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)
  axis_size(names)

  def cast(array: Any) -> Any:
    common = tuple(name for name in names if name not in axes_of(jax.typeof(array)))
    return jax.lax.pcast(array, common, to='varying') if common else array

  return jax.tree.map(cast, tree)


@dataclasses.dataclass(frozen=True)
class Blocks:
  """Classes split over a mesh axis: device i holds those from i·size on.

  Attributes:
    axis_name: the mesh axis.
    num_classes: of all devices, padding at the end not counted.
    size: classes that a device holds, padding included.
    count: devices along the axis.
  """

  axis_name: AxisName
  num_classes: int
  size: int
  count: int

  @classmethod
  def of(cls, axis_name: AxisName, num_classes: int | None, size: int) -> 'Blocks':
    """Blocks of the bound axis; ``num_classes`` is by default what they can hold.

    Raises:
      NameError: no such axis is bound here.
      ValueError: too many classes for the blocks, or few enough for one of several.
    """
    count = axis_size(axis_name)
    low, high = 1 if count == 1 else size + 1, count * size
    num_classes = high if num_classes is None else num_classes
    if not low <= num_classes <= high:
      raise ValueError(
        f'num_classes: expected {low} to {high} for {size} classes on each of '
        f'{count} devices, got {num_classes}'
      )
    return cls(axis_name, num_classes, size, count)

  @property
  def padded(self) -> bool:
    """Whether the last blocks hold more than the classes."""
    return self.num_classes != self.size * self.count

  def start(self) -> jax.Array:
    """The first class that this device holds."""
    start: jax.Array = jax.lax.axis_index(self.axis_name) * self.size
    return start

  def real(self) -> jax.Array:
    """``[size]``: which of this device's classes are no padding."""
    return self.start() + jnp.arange(self.size) < self.num_classes

  def own(self, array: jax.Array, name: str) -> jax.Array:
    """This device's part of ``[..., V]``; what is that part already, or ``[..., 1]``.

    Raises:
      ValueError: a last axis of any other size.
    """
    last = array.shape[-1] if array.ndim else 1
    whole = self.size * self.count
    if last in (1, self.size):
      return array
    if last not in (self.num_classes, whole):
      raise ValueError(
        f'{name}: expected all {self.num_classes} classes or the {self.size} of this '
        f'device on the last axis, got {list(array.shape)}'
      )
    unpadded = [(0, 0)] * (array.ndim - 1)
    array = jnp.pad(array, [*unpadded, (0, whole - last)])
    return jax.lax.dynamic_slice_in_dim(array, self.start(), self.size, axis=-1)

  def total(self, values: jax.Array) -> jax.Array:
    """The sum over all devices."""
    out: jax.Array = total(values, self.axis_name)
    return out

  def class_sum(self, values: jax.Array) -> jax.Array:
    """Σ_k values_k over the classes of all devices, ``[...]``."""
    return self.total(self.own(values, 'values').sum(-1))

  def class_value(self, values: jax.Array, labels: jax.Array) -> jax.Array:
    """values[labels], ``[...]``, of whatever class where a label is out of range."""
    index, mine = self.locate(jnp.clip(labels, 0, self.num_classes - 1))
    return self.total(jnp.where(mine, self.own(values, 'values')[index], 0.0))

  def locate(self, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A valid label's place among this device's classes, and whether it is there."""
    # A type with a sign, since it falls below 0 on the later devices.
    index = labels.astype(jnp.int32) - self.start()
    mine = (index >= 0) & (index < self.size)
    return jnp.clip(index, 0, self.size - 1), mine

  def before(self, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of a number per device over the devices before this one, and over all."""
    masses = jax.lax.all_gather(mass, self.axis_name)  # [n, ...]
    earlier = jnp.arange(self.count) < jax.lax.axis_index(self.axis_name)
    return jnp.tensordot(earlier.astype(masses.dtype), masses, 1), masses.sum(0)


def fold(body: Callable[[Any, Any], Any], init: Any, indices: jax.Array) -> Any:
  """Repeats ``carry = body(carry, index)``.

  Inside `jax.shard_map` a carry starts as a number that all devices have in common
  and becomes one that differs: `jax.lax.scan` wants that said beforehand.
  """
  if jax.sharding.get_abstract_mesh().manual_axes:
    kinds = jax.eval_shape(body, init, indices[0])
    init = jax.tree.map(lambda a, kind: varying(a, axes_of(kind)), init, kinds)
  carry, _ = jax.lax.scan(lambda c, i: (body(c, i), None), init, indices)
  return carry


def equally_varying(tree: Any) -> Any:
  """The same numbers, all of them varying over every axis that one of them does.

  For functions with a derivative of their own: the derivative by a number that all
  devices have in common is then added up over the devices outside of it.
  """
  leaves = jax.tree.leaves(tree)
  axes = {axis for leaf in leaves for axis in axes_of(jax.typeof(leaf))}
  return varying(tree, tuple(sorted(axes))) if axes else tree
