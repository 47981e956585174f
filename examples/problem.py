"""The small deterministic problems and the two-layer network of the examples."""

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, jax.Array]


def blobs(num_classes: int = 3, size: int = 64) -> tuple[jax.Array, jax.Array]:
  """Overlapping clouds of points in the plane: inputs ``[n, 2]`` and labels ``[n]``."""
  random = np.random.default_rng(0)
  labels = random.integers(0, num_classes, size, np.int32)
  angle = 2 * np.pi * labels / num_classes
  centers = np.stack([np.cos(angle), np.sin(angle)], -1)
  inputs = centers + 0.4 * random.normal(size=(size, 2))
  return jnp.asarray(inputs, jnp.float32), jnp.asarray(labels)


def sequences(size: int = 16, length: int = 9) -> tuple[jax.Array, jax.Array]:
  """Counting modulo 7 in unequal lengths: tokens ``[n, t]`` and mask ``[n, t]``.

  Padding is −1, which is no class.
  """
  random = np.random.default_rng(0)
  start, stride = random.integers(0, 7, (2, size, 1))
  lengths = random.integers(3, length + 1, (size, 1))
  position = np.arange(length)[None]
  mask = position < lengths
  tokens = np.where(mask, (start + stride * position) % 7, -1)
  return jnp.asarray(tokens, jnp.int32), jnp.asarray(mask)


def init(num_classes: int, width: int = 16, seed: int = 0) -> Params:
  """Initial weights of `logits`."""
  keys = jax.random.split(jax.random.key(seed))
  return {
    'hidden': jax.random.normal(keys[0], (2, width)),
    'kernel': jax.random.normal(keys[1], (width, num_classes)) / width**0.5,
  }


def logits(params: Params, inputs: jax.Array) -> jax.Array:
  """A network of one hidden layer."""
  return jnp.tanh(inputs @ params['hidden']) @ params['kernel']
