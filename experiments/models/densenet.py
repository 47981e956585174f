"""A densely connected network (DenseNet)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models import parts

Moments = tuple[jax.Array, jax.Array]  # mean and variance, [channels] each

BLOCKS = 3
MOMENTUM, EPSILON = 0.9, 1e-5  # of the running statistics; of the variance

# By fan-out, N(0, 2 / (k² c_out)), as Huang et al.'s own program has it.
_he = nnx.initializers.variance_scaling(2.0, 'fan_out', 'normal')
# Torch's own for a matrix: uniform in ±1 / √fan-in. The bias is zero.
_output = nnx.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


def _kernel(size: int, fan_in: int, fan_out: int, rngs: nnx.Rngs) -> nnx.Param:
  return nnx.Param(_he(rngs.params(), (size, size, fan_in, fan_out), jnp.float32))


@dataclasses.dataclass(frozen=True)
class Mode:
  """How a call goes: with whose moments, and what is dropped.

  Attributes:
    deterministic: running moments, and nothing dropped.
    dropout: share dropped.
    rngs: key ``dropout``.
    axis_name: mesh axis that splits the batch.
    remat: normalised features are computed again for the gradient.
  """

  deterministic: bool
  dropout: float
  rngs: nnx.Rngs | None
  axis_name: str | None
  remat: bool

  def dropped(self, x: jax.Array) -> jax.Array:
    if self.deterministic or not self.dropout:
      return x
    if self.rngs is None:
      raise ValueError('rngs: expected key dropout, got None')
    return parts.dropped(x, self.dropout, self.rngs.dropout())

  def moments(self, x: jax.Array) -> Moments:
    """Of ``[channels, n, height, width]``, in two passes; the variance is over n."""
    mean = self._mean(x)
    return mean, self._mean((x - spread(mean, x)) ** 2)

  def _mean(self, x: jax.Array) -> jax.Array:
    mean = x.mean((1, 2, 3))
    return mean if self.axis_name is None else jax.lax.pmean(mean, self.axis_name)


def spread(vector: jax.Array, x: jax.Array) -> jax.Array:
  """One value a channel, in the shape of ``x``."""
  return jnp.broadcast_to(vector[:, None, None, None], x.shape)


class Running(nnx.Module):
  """Running mean and variance of channels; the variance is that over n."""

  def __init__(self, channels: int):
    self.mean = nnx.BatchStat(jnp.zeros(channels))
    self.var = nnx.BatchStat(jnp.ones(channels))

  def update(self, moments: Moments) -> None:
    for own, new in zip((self.mean, self.var), moments, strict=True):
      own[...] = MOMENTUM * own[...] + (1 - MOMENTUM) * jax.lax.stop_gradient(new)


class Norm(nnx.Module):
  """Scale and shift of normalised channels, then ReLU."""

  def __init__(self, channels: int):
    self.scale = nnx.Param(jnp.ones(channels))
    self.bias = nnx.Param(jnp.zeros(channels))

  def __call__(self, x: jax.Array, moments: Moments) -> jax.Array:
    return _rectified(x, *moments, self.scale[...], self.bias[...])


class NormConv(Norm):
  """The same, convolution and dropout."""

  def __init__(self, size: int, fan_in: int, fan_out: int, *, rngs: nnx.Rngs):
    super().__init__(fan_in)
    self.kernel = _kernel(size, fan_in, fan_out, rngs)

  def convolved(self, x: jax.Array, moments: Moments, mode: Mode) -> jax.Array:
    def layer(x: jax.Array, kernel: jax.Array, *norm: jax.Array) -> jax.Array:
      return _conv(_rectified(x, *norm), kernel)

    layer = jax.checkpoint(layer) if mode.remat else layer
    norm = (*moments, self.scale[...], self.bias[...])
    return mode.dropped(layer(x, self.kernel[...], *norm))


def _conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
  numbers = ('CNHW', 'HWIO', 'CNHW')
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), 'SAME', dimension_numbers=numbers
  )


def _rectified(x: Any, mean: Any, var: Any, scale: Any, bias: Any) -> jax.Array:
  factor = scale * jax.lax.rsqrt(var + EPSILON)
  unit = (x - spread(mean, x)) * spread(factor, x)
  return nnx.relu(unit + spread(bias, x))


def _halved(x: jax.Array) -> jax.Array:
  """Means of 2x2; an odd last row or column is left out, as in Torch."""
  channels, n, height, width = x.shape
  x = x[:, :, : height // 2 * 2, : width // 2 * 2]
  return x.reshape(channels, n, height // 2, 2, width // 2, 2).mean((3, 5))


class DenseBlock(nnx.Module):
  """Layers, and the running moments of all features that they normalise."""

  def __init__(
    self, width: int, layers: int, growth: int, bottleneck: bool, *, rngs: nnx.Rngs
  ):
    self.narrow, self.inner, self.wide = nnx.List(), nnx.List(), nnx.List()
    for layer in range(layers):
      fan_in = width + layer * growth
      if bottleneck:
        self.narrow.append(NormConv(1, fan_in, 4 * growth, rngs=rngs))
        self.inner.append(Running(4 * growth))
        fan_in = 4 * growth
      self.wide.append(NormConv(3, fan_in, growth, rngs=rngs))
    self.running = Running(width + layers * growth)

  def __call__(self, x: jax.Array, mode: Mode) -> tuple[jax.Array, Moments]:
    """All features, and the moments to normalise them with."""
    moments = self._moments(x, None, mode)
    for layer, wide in enumerate(self.wide):
      if self.narrow:
        y = self.narrow[layer].convolved(x, moments, mode)
        inner = self.inner[layer]
        if mode.deterministic:
          y = wide.convolved(y, (inner.mean[...], inner.var[...]), mode)
        else:
          own = mode.moments(y)
          inner.update(own)
          y = wide.convolved(y, own, mode)
      else:
        y = wide.convolved(x, moments, mode)
      moments = self._moments(y, moments, mode)
      x = jnp.concatenate([x, y])
    if not mode.deterministic:
      self.running.update(moments)
    return x, moments

  def _moments(self, new: jax.Array, before: Moments | None, mode: Mode) -> Moments:
    """Of the features so far: those before are as they were."""
    if mode.deterministic:
      count = len(new) + (0 if before is None else len(before[0]))
      return self.running.mean[:count], self.running.var[:count]
    own = mode.moments(new)
    if before is None:
      return own
    mean, var = (jnp.concatenate(pair) for pair in zip(before, own, strict=True))
    return mean, var


class DenseNet(nnx.Module):
  """The DenseNet of Huang et al. (2016) for small images: three dense blocks.

  A layer takes all that came before it in its block and adds ``growth`` channels:
  normalisation, ReLU, 3x3 convolution, dropout. Blocks are joined by normalisation,
  ReLU, 1x1 convolution, dropout and average pooling. With ``bottleneck`` a 1x1
  convolution to ``4 growth`` channels goes first, and ``reduction=0.5`` halves the
  channels between blocks: DenseNet-BC.

  All layers of a block normalise the same features, so their statistics are computed
  once and kept once a block; scales and shifts are a layer's own.

  Example:
    >>> model = DenseNet(10, depth=10, growth=4, dropout=0.2, rngs=nnx.Rngs(0))
    >>> images = jax.numpy.ones((2, 16, 16, 3))
    >>> rngs = nnx.Rngs(dropout=1)
    >>> logits = model(images, deterministic=False, rngs=rngs)  # moves the statistics
    >>> model(images, deterministic=True).shape
    (2, 10)
  """

  def __init__(
    self,
    num_classes: int,
    *,
    depth: int = 40,
    growth: int = 12,
    bottleneck: bool = False,
    reduction: float = 1.0,
    dropout: float = 0.0,
    channels: int = 3,
    remat: bool = False,
    axis_name: str | None = None,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights from ``rngs.params``.

    Args:
      num_classes: number of logits.
      depth: convolutions and the last matrix: 3n + 4, or 6n + 4 with bottlenecks.
      growth: channels that a layer adds.
      bottleneck: whether a 1x1 convolution goes before each 3x3 one.
      reduction: share of the channels that a transition keeps.
      dropout: share dropped after each convolution but the first.
      channels: of an image.
      remat: normalised features are computed again for the gradient, not kept.
      axis_name: mesh axis that splits the batch inside ``jax.shard_map``. Under
        ``jax.jit`` with a sharded batch statistics are those of all of it anyway.
      rngs: key ``params``.

    Raises:
      ValueError: a depth of another form.
    """
    per_layer = 2 if bottleneck else 1
    layers, rest = divmod(depth - BLOCKS - 1, BLOCKS * per_layer)
    if rest or layers < 1:
      form = f'{BLOCKS * per_layer}n + {BLOCKS + 1}'
      raise ValueError(f'depth: expected {form}, n at least 1, got {depth}')
    self.dropout, self.remat, self.axis_name = dropout, remat, axis_name
    width = 2 * growth if bottleneck else 16
    self.stem = _kernel(3, channels, width, rngs)
    blocks, transitions = [], []
    for block in range(BLOCKS):
      blocks.append(DenseBlock(width, layers, growth, bottleneck, rngs=rngs))
      width += layers * growth
      if block < BLOCKS - 1:
        kept = int(width * reduction)
        transitions.append(NormConv(1, width, kept, rngs=rngs))
        width = kept
    self.blocks = nnx.List(blocks)
    self.transitions = nnx.List(transitions)
    self.norm = Norm(width)
    self.output = nnx.Linear(width, num_classes, kernel_init=_output, rngs=rngs)

  def __call__(
    self,
    images: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> jax.Array:
    """Logits ``[n, num_classes]``, float32, of ``images [n, height, width, channels]``.

    Args:
      images: normalised; 8 x 8 at least is sensible.
      deterministic: normalise by running statistics and drop nothing.
      rngs: key ``dropout``; needed when dropout is on.
    """
    mode = Mode(deterministic, self.dropout, rngs, self.axis_name, self.remat)
    x = _conv(images.transpose(3, 0, 1, 2), self.stem[...])
    for index, block in enumerate(self.blocks):
      x, moments = block(x, mode)
      if index < BLOCKS - 1:
        x = _halved(self.transitions[index].convolved(x, moments, mode))
    return self.output(self.norm(x, moments).mean((2, 3)).T)
