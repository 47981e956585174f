"""A residual network of bottleneck blocks."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

EXPANSION = 4  # channels out of a block, by those of its 3x3 convolution
RESNET_50 = (3, 4, 6, 3)

# By fan-out, as He et al.'s own program has it.
_he = nnx.initializers.variance_scaling(2.0, 'fan_out', 'normal')
_output = nnx.initializers.normal(0.01)


def _conv(
  fan_in: int, fan_out: int, size: int, stride: int = 1, **options: Any
) -> nnx.Conv:
  # 'SAME' would pad an even image on one side only where the stride is 2.
  padding = (((size - 1) // 2,) * 2,) * 2
  return nnx.Conv(
    *(fan_in, fan_out, (size, size)),
    strides=stride,
    padding=padding,
    use_bias=False,
    kernel_init=_he,
    **options,
  )


_norm = functools.partial(nnx.BatchNorm, momentum=0.9, epsilon=1e-5)


class Bottleneck(nnx.Module):
  """1x1, 3x3 and 1x1 convolutions beside a shortcut; the stride is on the 3x3.

  The last scale is zero at first, so that the block starts as its shortcut (Goyal et
  al. 2017).
  """

  def __init__(self, fan_in: int, width: int, stride: int, **options: Any):
    """Draws the initial weights.

    Args:
      fan_in: channels of the input.
      width: channels of the 3x3 convolution.
      stride: of the 3x3 convolution and of the shortcut.
      **options: ``rngs`` and ``dtype`` of the layers.
    """
    fan_out = EXPANSION * width
    self.convs = nnx.List(
      [
        _conv(fan_in, width, 1, **options),
        _conv(width, width, 3, stride, **options),
        _conv(width, fan_out, 1, **options),
      ]
    )
    self.norms = nnx.List(
      [
        _norm(width, **options),
        _norm(width, **options),
        _norm(fan_out, scale_init=nnx.initializers.zeros, **options),
      ]
    )
    self.projects = stride != 1 or fan_in != fan_out
    if self.projects:
      self.projection = _conv(fan_in, fan_out, 1, stride, **options)
      self.projection_norm = _norm(fan_out, **options)

  def __call__(self, x: jax.Array, *, deterministic: bool) -> jax.Array:
    """``[n, height / stride, width / stride, 4 width]`` of ``[n, height, width, c]``.

    Args:
      x: the features.
      deterministic: with running statistics, which stay as they are.
    """
    shortcut = x
    if self.projects:
      shortcut = self.projection_norm(self.projection(x), deterministic)
    layers = list(zip(self.convs, self.norms, strict=True))
    for conv, norm in layers[:-1]:
      x = nnx.relu(norm(conv(x), deterministic))
    conv, norm = layers[-1]
    return nnx.relu(norm(conv(x), deterministic) + shortcut)


class ResNet(nnx.Module):
  """ResNet "v1.5": that of He et al. (2015), with strides on the 3x3 convolutions.

  ``ResNet(1000, RESNET_50, rngs=rngs)`` is the ResNet-50 of Goyal et al. (2017), with
  the initial weights named there.

  Example:
    >>> model = ResNet(10, (1,), width=4, rngs=nnx.Rngs(0))
    >>> images = jax.numpy.ones((2, 32, 32, 3))
    >>> logits = model(images, deterministic=False)  # moves the running statistics
    >>> model(images, deterministic=True).shape
    (2, 10)
  """

  def __init__(
    self,
    num_classes: int,
    stages: Sequence[int] = RESNET_50,
    *,
    width: int = 64,
    in_features: int = 3,
    dtype: Any = None,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights from ``rngs.params``.

    Args:
      num_classes: number of logits.
      stages: blocks of each stage; the second and later ones halve the image.
      width: channels of the first stage's 3x3 convolutions, doubled at each stage.
      in_features: channels of an image.
      dtype: of the activations; None: that of the images. Weights, statistics and
        logits are float32.
      rngs: key ``params``.
    """
    options: dict[str, Any] = {'rngs': rngs, 'dtype': dtype}
    self.stem = _conv(in_features, width, 7, 2, **options)
    self.stem_norm = _norm(width, **options)
    blocks, channels = [], width
    for stage, count in enumerate(stages):
      for block in range(count):
        stride = 2 if stage and not block else 1
        blocks.append(Bottleneck(channels, width << stage, stride, **options))
        channels = EXPANSION * (width << stage)
    self.blocks = nnx.List(blocks)
    self.output = nnx.Linear(channels, num_classes, kernel_init=_output, rngs=rngs)

  def __call__(
    self,
    images: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> jax.Array:
    """Logits ``[n, num_classes]``, float32, of ``images [n, height, width, channels]``.

    Args:
      images: normalised.
      deterministic: normalise by running statistics, not by those of the batch.
      rngs: not used; there is no dropout.
    """
    del rngs
    x = nnx.relu(self.stem_norm(self.stem(images), deterministic))
    x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
    for block in self.blocks:
      x = block(x, deterministic=deterministic)
    return self.output(jnp.mean(x, axis=(1, 2), dtype=jnp.float32))
