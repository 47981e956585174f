"""What networks with a softmax layer have in common: how they begin and end."""

import jax
from flax import nnx

from regularizers.nn.initial import Initializer, symmetric


def initializers(scale: float) -> tuple[Initializer, Initializer]:
  """Of embeddings and of kernels: uniform in ±scale.

  With 0: N(0, 1), and by the size of a layer (Glorot and Bengio, 2010).
  """
  if scale:
    return symmetric(scale), symmetric(scale)
  return nnx.initializers.normal(1.0), nnx.initializers.glorot_uniform()


def logits(layer: nnx.Linear, hidden: jax.Array) -> jax.Array:
  """``[..., classes]`` of ``[..., hidden]``."""
  # Of two axes alone: else the kernel's gradient transposes all logits first.
  rows = layer(hidden.reshape(-1, hidden.shape[-1]))
  return rows.reshape(*hidden.shape[:-1], -1)


def affine(layer: nnx.Linear) -> tuple[jax.Array, jax.Array]:
  """Kernel and bias, for losses of hidden states."""
  kernel, bias = layer.kernel, layer.bias
  assert bias is not None  # as the layers are made
  return kernel[...], bias[...]
