"""Convolutions of small kernels, channels first: ``[channels, n, height, width]``.

On the CPU XLA's own convolution takes a multiple of the time of matrix products of its
size. There one product applies the k² matrices of the kernel, and what comes out is
shifted and added up. With few channels out, as in a dense network, that is cheap; so is
the gradient, for which the shifts of the few channels above are laid out side by side.
``python -m benchmarks.images`` measures both.
"""

import itertools

import jax
import jax.numpy as jnp

Pair = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """As large as the image, with zeros around it; the way depends on the backend.

  Args:
    x: ``[c_in, n, height, width]``.
    kernel: ``[k, k, c_in, c_out]``, k odd.

  Returns:
    ``[c_out, n, height, width]``.
  """
  return jax.lax.platform_dependent(x, kernel, cpu=shifted, default=plain)


def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """By XLA's convolution."""
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), 'SAME', dimension_numbers=('CNHW', 'HWIO', 'CNHW')
  )


def shifted(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """By one matrix product."""
  size, _, fan_in, fan_out = kernel.shape
  matrices = kernel.transpose(0, 1, 3, 2).reshape(-1, fan_in)
  products = (matrices @ x.reshape(fan_in, -1)).reshape(size**2, fan_out, *x.shape[1:])
  padded = _padded(products, size // 2)
  out = jnp.zeros((fan_out, *x.shape[1:]), x.dtype)
  for index, (row, column) in enumerate(_places(size)):
    out += _window(padded[index], row, column, x.shape)
  return out


def _shifted_gradients(x: jax.Array, kernel: jax.Array, above: jax.Array) -> Pair:
  size, _, fan_in, fan_out = kernel.shape
  padded = _padded(above, size // 2)
  windows = [_window(padded, *place, x.shape) for place in _places(size)]
  # The first matrix of the kernel saw what lies before; it gets the last shift.
  moved = jnp.stack(windows[::-1]).reshape(size**2 * fan_out, -1)
  below = kernel.transpose(2, 0, 1, 3).reshape(fan_in, -1) @ moved
  by_kernel = moved @ x.reshape(fan_in, -1).T
  by_kernel = by_kernel.reshape(size, size, fan_out, fan_in).transpose(0, 1, 3, 2)
  return below.reshape(x.shape), by_kernel


def _plain_gradients(x: jax.Array, kernel: jax.Array, above: jax.Array) -> Pair:
  return jax.vjp(plain, x, kernel)[1](above)


def _places(size: int) -> list[tuple[int, int]]:
  return list(itertools.product(range(size), range(size)))


def _padded(x: jax.Array, margin: int) -> jax.Array:
  return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(margin, margin)] * 2)


def _window(x: jax.Array, row: int, column: int, shape: tuple[int, ...]) -> jax.Array:
  return x[..., row : row + shape[-2], column : column + shape[-1]]


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Pair]:
  return convolution(x, kernel), (x, kernel)


def _backward(kept: Pair, above: jax.Array) -> Pair:
  # Not by differentiating what was chosen: that keeps something for every way.
  return jax.lax.platform_dependent(
    *kept, above, cpu=_shifted_gradients, default=_plain_gradients
  )


convolution.defvjp(_forward, _backward)
