"""Replicas along an axis of a device mesh, in one process or many."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.exchange.peers import Peers, PyTree
from regularizers.exchange.stacked import (
  Stacked,
  check_counts,
  check_dtype,
  narrowed,
  take,
  widened,
)


@dataclasses.dataclass(frozen=True)
class Mesh(Stacked):
  """Exchange by collective permutation along an axis of replicas.

  Every leaf is a global array with a first axis of replicas that is sharded along
  ``axis_name``, one replica per slice. Other axes of the mesh are not used: replicas
  may be data-parallel or tensor-parallel within. All processes of
  `jax.distributed` call it at the same steps; if one of them dies, all end. For
  replicas that outlive each other, see `Directory`.

  Attributes:
    mesh: a `jax.sharding.Mesh`.
    axis_name: its axis of replicas.
    every: steps from exchange to exchange.
    dtype: floating leaves are rounded to it and sent as it; None: they are exact.

  Raises:
    ValueError: no such axis, one device along it, a ``dtype`` that is not floating, or
      a leaf of another length.

  References:
    Anil et al., 2018.

  Example:
    >>> mesh = jax.make_mesh((1, 1), ('replica', 'data'))
    >>> Mesh(mesh, 'replica')
    Traceback (most recent call last):
    ValueError: num_replicas: expected an integer of at least 2, got 1
  """

  mesh: jax.sharding.Mesh
  axis_name: str = 'replica'
  every: int = 50
  dtype: Any = None

  def __post_init__(self) -> None:
    if self.axis_name not in self.mesh.axis_names:
      raise ValueError(
        f'axis_name: {self.axis_name!r} is not one of {self.mesh.axis_names}'
      )
    check_counts(self.replicas, self.every)
    check_dtype(self.dtype)

  @property
  def replicas(self) -> int:
    return int(self.mesh.shape[self.axis_name])

  def init(self, tree: PyTree) -> Peers:
    """Nothing yet: ``[replicas, peers, ...]`` zeros, each where its copy will be.

    Raises:
      ValueError: a leaf without the axis of replicas.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree)):
      return super().init(tree)
    self._check(tree)
    # Where the copies will be: zeros of no place would lie on every device, whole.
    peers: Peers = take(self, jnp.int32(-1), tree)
    places = jax.tree.map(lambda leaf: leaf.sharding, peers.trees)
    return Peers(jax.jit(_zeros, out_shardings=places)(peers.trees), peers.steps)

  def swap(self, step: jax.Array, tree: PyTree) -> Peers:
    count, axis = self.replicas, self.axis_name
    spec: Any = jax.sharding.PartitionSpec

    def permuted(leaf: jax.Array) -> jax.Array:
      parts = [_from_peer(leaf, axis, count, shift) for shift in range(1, count)]
      return jnp.stack(parts, axis=1)

    def send(step: jax.Array, tree: PyTree) -> Peers:
      trees = jax.tree.map(permuted, narrowed(tree, self.dtype))
      steps = jnp.full((1, count - 1), step, jnp.int32)
      return Peers(widened(trees, tree), steps)

    # What the other axes split stays split: those that XLA may use as it likes are left
    # to it, along the explicit ones leaves are taken as they are.
    leaves = jax.tree.leaves(tree)
    structure: Any = jax.tree.structure(tree)
    splits = [tuple(jax.typeof(leaf).sharding.spec[1:]) for leaf in leaves]
    given = [spec(axis, *split) for split in splits]
    explicit = _explicit(self.mesh)
    if axis in explicit:
      places = [jax.sharding.NamedSharding(self.mesh, one) for one in given]
      reshard: Any = jax.reshard
      leaves = [reshard(*pair) for pair in zip(leaves, places, strict=True)]
    taken = jax.tree.unflatten(
      structure, [spec(axis, None, *split) for split in splits]
    )
    mapped = jax.shard_map(
      send,
      mesh=self.mesh,
      in_specs=(spec(), jax.tree.unflatten(structure, given)),
      out_specs=Peers(taken, spec(axis)),
      axis_names={axis, *explicit},
    )
    peers: Peers = mapped(step, jax.tree.unflatten(structure, leaves))
    return peers


def _from_peer(leaf: jax.Array, axis: str, count: int, shift: int) -> jax.Array:
  """What the device ``shift`` places further has."""
  pairs = [((i + shift) % count, i) for i in range(count)]
  out: jax.Array = jax.lax.ppermute(leaf, axis, pairs)  # type: ignore[no-untyped-call]
  return out


def _explicit(mesh: jax.sharding.Mesh) -> list[str]:
  kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
  return [name for name, kind in kinds if kind == jax.sharding.AxisType.Explicit]


def _zeros(tree: PyTree) -> PyTree:
  return jax.tree.map(jnp.zeros_like, tree)
