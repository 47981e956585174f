"""What layers are made of: products, ReLU, layer norm, dropout."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Arrays = Mapping[str, jax.Array]
PARTS = ('kernel', 'bias')
EPSILON = 1e-5  # of layer norms
NEVER = -1e30  # a score of 0; finite, so that no difference of two is NaN


def affine(own: Arrays, name: str, inputs: jax.Array) -> jax.Array:
  """``inputs @ kernel + bias`` in the dtype of the inputs."""
  kernel, bias = (own[f'{name}_{part}'].astype(inputs.dtype) for part in PARTS)
  outputs = product(inputs, kernel)
  return outputs + jnp.broadcast_to(bias, outputs.shape)


@jax.custom_vjp
def relu(inputs: jax.Array) -> jax.Array:
  """max(x, 0), of which only what comes out is kept for the backward pass."""
  return jnp.maximum(inputs, 0)


def _relu_forward(inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
  outputs = relu(inputs)
  return outputs, outputs


def _relu_backward(outputs: jax.Array, above: jax.Array) -> tuple[jax.Array]:
  return (jnp.where(outputs > 0, above, jnp.zeros_like(above)),)


relu.defvjp(_relu_forward, _relu_backward)


def product(
  inputs: jax.Array, kernel: jax.Array, dtype: jnp.dtype | type | None = None
) -> jax.Array:
  """``inputs @ kernel`` of a kernel of two axes; in ``dtype`` if given."""
  # Of two axes alone: else the kernel's gradient transposes what comes from above.
  outputs = _product(inputs.reshape(-1, inputs.shape[-1]), kernel, dtype)
  return outputs.reshape(*inputs.shape[:-1], -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(rows: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
  return _dot(rows, kernel, 1, 0, dtype)


def _dot(a: jax.Array, b: jax.Array, i: int, j: int, dtype: Any = None) -> jax.Array:
  """Over axis ``i`` of the one and ``j`` of the other."""
  axes = (((i,), (j,)), ((), ()))
  return jax.lax.dot_general(a, b, axes, preferred_element_type=dtype)


def _forward(rows: jax.Array, kernel: jax.Array, dtype: Any) -> Any:
  return _dot(rows, kernel, 1, 0, dtype), (rows, kernel)


def _backward(dtype: Any, kept: Any, above: jax.Array) -> tuple[jax.Array, jax.Array]:
  rows, kernel = kept
  above = above.astype(rows.dtype)
  below = _dot(above, kernel, 1, 1)
  # XLA:CPU takes up to a quarter less time for factors that need no transposition,
  # and transposes the narrower one of the two sooner.
  barrier = jax.lax.optimization_barrier
  if rows.shape[1] <= above.shape[1]:
    return below, _dot(barrier(rows.T), above, 1, 0)
  return below, barrier(_dot(barrier(above.T), rows, 1, 0)).T


_product.defvjp(_forward, _backward)


def layer_norm(inputs: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
  """In float32 or wider, whatever the dtype of the inputs."""
  wide = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
  centred = wide - wide.mean(-1, keepdims=True)
  variance = (centred**2).mean(-1, keepdims=True)
  unit = centred * jax.lax.rsqrt(variance + EPSILON)
  full = functools.partial(jnp.broadcast_to, shape=unit.shape)
  return (unit * full(scale) + full(bias)).astype(inputs.dtype)


def dropped(inputs: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
  """With a share of it zero and the rest as much larger; all of it without a key."""
  if key is None or rate == 0:
    return inputs
  # Of 16 bits an element: what is drawn takes more time than what it is drawn for.
  *rows, width = inputs.shape
  words = jax.random.bits(key, (*rows, -(-width // 2)), jnp.uint32)
  halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(*rows, -1)
  kept = halves[..., :width] >= round(rate * 2**16)
  return jnp.where(kept, inputs / (1 - rate), jnp.zeros_like(inputs))
