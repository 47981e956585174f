"""Logits ``hidden @ kernel + bias``, a slice of classes at a time."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.kernels import tiles
from regularizers.kernels.tiles import Tile, Tiling


@dataclasses.dataclass(frozen=True)
class AffineLogits:
  """Computes a tile of logits; static, so that derivative rules can be keyed on it."""

  tiling: Tiling
  dtype: Any

  def __call__(
    self, inputs: dict[str, Any], where: jax.Array | None, tile: Tile
  ) -> jax.Array:
    kernel = tiles.carried(
      *(self.tiling.cut(inputs[name], tile) for name in ('kernel', 'wide_kernel'))
    )
    z = tiles.product(inputs['hidden'], kernel, self.dtype)
    if inputs['bias'] is not None:
      z = z + self.tiling.cut(inputs['bias'], tile)[None]
    z = finish(z, inputs)
    # After the cap, which would turn −inf into −cap.
    for mask in (tile.fresh, None if where is None else self.tiling.cut(where, tile)):
      z = z if mask is None else jnp.where(mask, z, -jnp.inf)
    return z


def finish(z: jax.Array, inputs: dict[str, Any]) -> jax.Array:
  """What comes after the affine map: soft cap, then temperature."""
  z = soft_cap(z, inputs['softcap'])
  return z if inputs['temperature'] is None else z / inputs['temperature']


def soft_cap(z: jax.Array, cap: Any) -> jax.Array:
  """c·tanh(z / c); ``z`` itself without a cap."""
  return z if cap is None else cap * jnp.tanh(z / cap)
