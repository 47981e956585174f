"""A densely connected network (DenseNet), with images' channels first inside."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.errors import InputError
from experiments.models import parts
from experiments.models.convolution import convolution

BLOCKS = 3
SIDE = 8  # of the smallest image
MOMENTUM, EPSILON = 0.9, 1e-5  # of the running statistics; beside the variance
Moments = tuple[jax.Array, jax.Array]  # mean and variance, [channels] each
Images = jax.Array  # [channels, n, height, width]

# By fan-out, N(0, 2 / (k² c_out)), as Huang et al.'s own program has it.
_he = nnx.initializers.variance_scaling(2.0, 'fan_out', 'normal')
# Torch's for a matrix: uniform between ±1 / √fan-in.
_output = nnx.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


@dataclasses.dataclass(frozen=True)
class Mode:
  """How a call goes: ``dropped`` is the identity in evaluation.

  Attributes:
    training: moments of the batch, which move the running ones, and dropout.
    dropout: share dropped.
    rngs: key ``dropout``.
    remat: what a convolution takes is computed again for the gradient, not kept.
  """

  training: bool
  dropout: float
  rngs: nnx.Rngs | None
  remat: bool

  def dropped(self, x: Images) -> Images:
    if not self.training or not self.dropout:
      return x
    if self.rngs is None:
      raise ValueError('rngs: expected a key to draw dropout from, got None')
    return parts.dropped(x, self.dropout, self.rngs.dropout())


class Running(nnx.Module):
  """Running mean and variance of channels; the variance is that over n, not n - 1."""

  def __init__(self, channels: int):
    self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
    self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))

  def moments(self, x: Images, first: int, mode: Mode) -> Moments:
    """Of channels ``first`` and on; in training those of ``x``, which move the own."""
    own = slice(first, first + len(x))
    if not mode.training:
      return self.mean[own], self.var[own]
    mean = x.mean((1, 2, 3))
    var = ((x - _spread(mean, x)) ** 2).mean((1, 2, 3))
    for running, new in ((self.mean, mean), (self.var, var)):
      moved = MOMENTUM * running[own] + (1 - MOMENTUM) * jax.lax.stop_gradient(new)
      running[...] = jax.lax.dynamic_update_slice(running[...], moved, (first,))
    return mean, var


class Norm(nnx.Module):
  """Scale and shift of normalised channels, then ReLU."""

  def __init__(self, channels: int):
    self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
    self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))

  def __call__(self, pieces: list[Images], moments: list[Moments]) -> Images:
    return _rectified(pieces, moments, self.scale[...], self.bias[...])


class NormConv(Norm):
  """The same, then convolution and dropout."""

  def __init__(self, size: int, fan_in: int, fan_out: int, *, rngs: nnx.Rngs):
    super().__init__(fan_in)
    self.kernel = _kernel(size, fan_in, fan_out, rngs)

  def convolved(
    self, pieces: list[Images], moments: list[Moments], mode: Mode
  ) -> Images:
    layer = jax.checkpoint(_norm_conv) if mode.remat else _norm_conv
    weights = self.scale[...], self.bias[...], self.kernel[...]
    return mode.dropped(layer(pieces, moments, *weights))


def _kernel(size: int, fan_in: int, fan_out: int, rngs: nnx.Rngs) -> nnx.Param:
  return nnx.Param(_he(rngs.params(), (size, size, fan_in, fan_out), jnp.float32))


def _norm_conv(
  pieces: list[Images],
  moments: list[Moments],
  scale: jax.Array,
  bias: jax.Array,
  kernel: jax.Array,
) -> Images:
  return convolution(_rectified(pieces, moments, scale, bias), kernel)


def _rectified(
  pieces: list[Images], moments: list[Moments], scale: jax.Array, bias: jax.Array
) -> Images:
  x = jnp.concatenate(pieces)
  mean, var = (jnp.concatenate(own) for own in zip(*moments, strict=True))
  factor = scale * jax.lax.rsqrt(var + EPSILON)
  unit = (x - _spread(mean, x)) * _spread(factor, x)
  return nnx.relu(unit + _spread(bias, x))


def _spread(channels: jax.Array, x: Images) -> Images:
  return jnp.broadcast_to(channels[:, None, None, None], x.shape)


def _halved(x: Images) -> Images:
  """Means of 2x2; an odd last row or column is left out, as Torch does."""
  channels, n, height, width = x.shape
  x = x[..., : height // 2 * 2, : width // 2 * 2]
  return x.reshape(channels, n, height // 2, 2, width // 2, 2).mean((3, 5))


def _kept(channels: int, reduction: float) -> int:
  kept = int(channels * reduction)
  if kept < 1:
    raise InputError(
      f'reduction: expected a share that keeps one of {channels} channels or more, '
      f'got {reduction}'
    )
  return kept


class DenseBlock(nnx.Module):
  """Layers, and the running moments of the features that they have in common."""

  def __init__(
    self, width: int, layers: int, growth: int, bottleneck: bool, *, rngs: nnx.Rngs
  ):
    narrow, inner, wide = [], [], []
    for fan_in in range(width, width + layers * growth, growth):
      if bottleneck:
        narrow.append(NormConv(1, fan_in, 4 * growth, rngs=rngs))
        inner.append(Running(4 * growth))
      between = 4 * growth if bottleneck else fan_in
      wide.append(NormConv(3, between, growth, rngs=rngs))
    self.narrow, self.inner = nnx.List(narrow), nnx.List(inner)
    self.wide = nnx.List(wide)
    self.running = Running(width + layers * growth)

  def __call__(self, x: Images, mode: Mode) -> tuple[list[Images], list[Moments]]:
    """What came in and what each layer adds, and what to normalise it with."""
    pieces, moments, count = [x], [self.running.moments(x, 0, mode)], len(x)
    for layer, wide in enumerate(self.wide):
      taken, of_taken = pieces, moments
      if self.narrow:
        taken = [self.narrow[layer].convolved(pieces, moments, mode)]
        of_taken = [self.inner[layer].moments(taken[0], 0, mode)]
      new = wide.convolved(taken, of_taken, mode)
      moments = [*moments, self.running.moments(new, count, mode)]
      pieces = [*pieces, new]
      count += len(new)
    return pieces, moments


class DenseNet(nnx.Module):
  """The DenseNet of Huang et al. (2016) for small images: three dense blocks.

  A layer takes all that came before it in its block and adds ``growth`` channels:
  normalisation, ReLU, 3x3 convolution, dropout. Between blocks there are normalisation,
  ReLU, 1x1 convolution, dropout and average pooling. With ``bottleneck`` a layer first
  makes ``4 growth`` channels by a 1x1 convolution, in the same way, and with
  ``reduction=0.5`` half the channels are kept between blocks: DenseNet-BC.

  The layers of a block normalise the same features: these have their moments computed
  once, and one running mean and variance. Scales and shifts are each layer's own. Under
  ``jax.jit`` a batch split over devices is normalised as a whole.

  Side by side under ``jax.vmap`` runs take longer on the CPU than one after the other.

  Example:
    >>> model = DenseNet(5, depth=7, growth=3, dropout=0.2, rngs=nnx.Rngs(0))
    >>> logits_of = nnx.jit(DenseNet.__call__, static_argnames='deterministic')
    >>> images, rngs = jax.numpy.ones((2, 8, 8, 3)), nnx.Rngs(dropout=1)
    >>> _ = logits_of(model, images, deterministic=False, rngs=rngs)  # moves statistics
    >>> logits_of(model, images, deterministic=True).shape
    (2, 5)
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
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights from ``rngs.params``.

    Args:
      num_classes: number of logits.
      depth: number of convolutions and of the matrix at the end.
      growth: channels that a layer adds.
      bottleneck: whether there is a 1x1 convolution before each 3x3 one.
      reduction: share of the channels kept between blocks.
      dropout: share dropped after each convolution but the first.
      channels: of an image.
      remat: less memory in training and more time: what the convolutions take is
        computed again for the gradient. XLA:CPU undoes most of it.
      rngs: key ``params``.

    Raises:
      InputError: a depth that is not 3n + 4, or 6n + 4 with bottlenecks; a reduction
        that keeps no channel.
    """
    of_layer = BLOCKS * (2 if bottleneck else 1)
    layers, rest = divmod(depth - BLOCKS - 1, of_layer)
    if rest or layers < 1:
      form = f'{of_layer}n + {BLOCKS + 1}'
      raise InputError(f'depth: expected {form} with n = 1, 2, ..., got {depth}')
    self.channels, self.dropout, self.remat = channels, dropout, remat
    width = 2 * growth if bottleneck else 16
    self.stem = _kernel(3, channels, width, rngs)
    blocks: list[DenseBlock] = []
    transitions = []
    for _ in range(BLOCKS):
      if blocks:
        kept = _kept(width, reduction)
        transitions.append(NormConv(1, width, kept, rngs=rngs))
        width = kept
      blocks.append(DenseBlock(width, layers, growth, bottleneck, rngs=rngs))
      width += layers * growth
    self.blocks, self.transitions = nnx.List(blocks), nnx.List(transitions)
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
      images: normalised; sides of 8 and more.
      deterministic: normalise by running statistics, and drop nothing.
      rngs: key ``dropout``; needed when dropout is on.

    Raises:
      InputError: images of another shape.
    """
    if (
      images.ndim != 4
      or images.shape[3] != self.channels
      or min(images.shape[1:3]) < SIDE
    ):
      raise InputError(
        f'images: expected [n, {SIDE} or more, {SIDE} or more, {self.channels}], '
        f'got {list(images.shape)}'
      )
    mode = Mode(not deterministic, self.dropout, rngs, self.remat)
    x = convolution(images.transpose(3, 0, 1, 2), self.stem[...])
    pieces, moments = self.blocks[0](x, mode)
    for block, transition in zip(self.blocks[1:], self.transitions, strict=True):
      pieces, moments = block(
        _halved(transition.convolved(pieces, moments, mode)), mode
      )
    return self.output(self.norm(pieces, moments).mean((2, 3)).T)
