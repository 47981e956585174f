"""Initial weights of recurrent layers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from regularizers.dtypes import widened
from regularizers.values import check_number

Initializer = Callable[..., Any]
"""``(key, shape, dtype) -> array``, as in `flax.nnx.initializers`."""


@dataclasses.dataclass(frozen=True)
class Initial:
  """What kernels and biases are drawn from.

  Attributes:
    kernel: of W, a gate at a time.
    recurrent: of U, a gate at a time.
    bias: of the bias, or of the β that takes its place.
    forget_bias: added to the second gate's bias.
  """

  kernel: Initializer
  recurrent: Initializer
  bias: Initializer
  forget_bias: float = 0.0

  def draw_bias(self, key: Any, shape: Any, dtype: Any) -> jax.Array:
    """A bias of all four gates of an LSTM, or one of whatever shape."""
    bias = self.bias(key, shape, dtype)
    if self.forget_bias:
      quarter = shape[0] // 4
      bias = bias.at[quarter : 2 * quarter].add(self.forget_bias)
    return jnp.asarray(bias)


def by_gate(
  init: Initializer, rngs: nnx.Rngs, shape: tuple[int, int], gates: int, dtype: Any
) -> jax.Array:
  """``[in, gates·H]`` of blocks ``[in, H]`` that are drawn each by itself."""
  wide = widened(dtype)  # bfloat16 has no orthogonal ones
  blocks = [init(rngs.params(), shape, wide) for _ in range(gates)]
  return jnp.concatenate(blocks, axis=1).astype(dtype)


def symmetric(scale: float) -> Initializer:
  """Uniform in [−scale, scale]."""
  check_number('init_scale', scale, above=True)

  def init(
    key: Any, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None
  ) -> jax.Array:
    del out_sharding  # which flax's layers hand to their initialisers
    return jax.random.uniform(key, shape, dtype, -scale, scale)

  return init


def choose_initial(
  init_scale: float | None,
  kernel_init: Initializer | None,
  recurrent_init: Initializer | None,
  bias_init: Initializer | None,
  forget_bias: float = 0.0,
) -> Initial:
  """The initialisers that a layer's arguments name.

  Raises:
    TypeError: a scale for all beside one of them.
    ValueError: a scale that is not > 0.
  """
  if init_scale is not None:
    if not (kernel_init is recurrent_init is bias_init is None):
      raise TypeError('expected init_scale or initialisers of their own, got both')
    uniform = symmetric(init_scale)
    return Initial(uniform, uniform, uniform, forget_bias)
  return Initial(
    kernel_init or nnx.initializers.glorot_uniform(),
    recurrent_init or nnx.initializers.orthogonal(),
    bias_init or nnx.initializers.zeros,
    forget_bias,
  )
