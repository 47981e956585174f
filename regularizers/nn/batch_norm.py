"""Batch normalisation of sequences: statistics over the frames that are there."""

import dataclasses
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from regularizers.collectives import AxisName
from regularizers.dtypes import widened
from regularizers.nn.frames import as_features, as_mask, check_dtype, check_finite
from regularizers.nn.moments import Moments, moments
from regularizers.values import as_count, check_constant

Mode = Literal['sequence', 'frame']
Placement = Literal[
  'input_to_hidden', 'layer_input', 'hidden_to_hidden', 'pre_activation'
]


@dataclasses.dataclass(frozen=True)
class SequenceBatchNorm:
  """How to normalise: the option of `LSTM`, `GRU`, `SimpleRNN` and `BatchNorm`.

  ŷ = γ·(x − mean) / √(variance + ε) + β. A frozen value; every layer, and every
  direction of it, makes its own `BatchNorm` from it, with its own γ, β and statistics.

  Attributes:
    mode: 'sequence': one mean and variance per feature, pooled over all valid frames
      of all sequences. 'frame': one for each time step, over the sequences that
      have a frame there; nothing leaks from later frames, as language models need.
    placement: what a recurrent layer normalises.
      'input_to_hidden': W·x, for all gates; β takes the place of the bias.
      'layer_input': x itself, without β, for which the bias does.
      'hidden_to_hidden': U·h, without β, which W·x + b is added to.
      'pre_activation': W·x + U·h, what Laurent et al. tried first and found harmful;
      β takes the place of the bias; not for GRUs, whose candidate has no such sum.
      The last two run inside the recursion, hence with mode='frame' only.
    momentum: of the running statistics: running ← m·running + (1 − m)·batch.
    epsilon: ε > 0.
    scale_init: initial γ; Cooijmans et al. need 0.1 for 'hidden_to_hidden'.
    max_length: frames that a training batch may have, for mode='frame'.
    axis_name: mesh axis (or axes) that splits the batch inside `jax.shard_map`. Under
      `jax.jit` with sharded arrays statistics are those of the whole batch anyway.

  Raises:
    TypeError: no number where one belongs; an axis that is no name.
    ValueError: an unknown mode or placement, or an incompatible pair; numbers
      out of range; no ``max_length`` for mode='frame', or one for 'sequence'.

  References:
    Laurent, Pereyra, Brakel, Zhang, Bengio, *Batch Normalized Recurrent Neural
    Networks*, 2015. Cooijmans, Ballas, Laurent, Gülçehre, Courville, *Recurrent Batch
    Normalization*, 2017.

  Example:
    >>> print(SequenceBatchNorm('frame', max_length=35).placement)
    input_to_hidden
  """

  mode: Mode = 'sequence'
  placement: Placement = 'input_to_hidden'
  momentum: float = 0.99
  epsilon: float = 1e-5
  scale_init: float = 1.0
  max_length: int | None = None
  axis_name: AxisName | None = None

  def __post_init__(self) -> None:
    for name, known in (('mode', Mode), ('placement', Placement)):
      if getattr(self, name) not in get_args(known):
        raise ValueError(
          f'{name}: expected one of {", ".join(map(repr, get_args(known)))}, '
          f'got {getattr(self, name)!r}'
        )
    check_constant('momentum', self.momentum, high=1.0)
    check_constant('epsilon', self.epsilon, above=True)
    check_constant('scale_init', self.scale_init, low=-jnp.inf)
    _check_axis(self.axis_name)
    if self.recurrent and self.mode != 'frame':
      raise ValueError(
        f"placement={self.placement!r}: expected mode='frame', since the frames of a "
        f'sequence come one after the other, got {self.mode!r}'
      )
    if self.mode == 'frame':
      if self.max_length is None:
        raise ValueError(
          "mode='frame': expected max_length, the most frames of a training batch, "
          'got None'
        )
      object.__setattr__(self, 'max_length', as_count('max_length', self.max_length))
    if self.mode == 'sequence' and self.max_length is not None:
      raise ValueError(
        f"mode='sequence': expected no max_length, got {self.max_length!r}"
      )

  @property
  def recurrent(self) -> bool:
    """Whether it runs inside the recursion."""
    return self.placement in ('hidden_to_hidden', 'pre_activation')


def _check_axis(axis_name: Any) -> None:
  names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
  if axis_name is not None and not all(isinstance(name, str) for name in names):
    raise TypeError(f'axis_name: expected a name or a tuple of them, got {axis_name!r}')


def check_options(name: str, options: Any) -> None:
  """Raises TypeError unless they are a `SequenceBatchNorm`, or None."""
  if options is not None and not isinstance(options, SequenceBatchNorm):
    raise TypeError(f'{name}: expected SequenceBatchNorm, got {options!r}')


class BatchNorm(nnx.Module):
  """Batch normalisation of ``[batch, time, features]`` over valid frames.

  y = γ·(x − mean) / √(variance + ε) + β, with the moments of this batch in training
  and the running ones after ``model.eval()``. Moments are computed in two passes, in
  float32 or wider; variances, the running one too, are biased (divided by the count).
  A frame of which there is but one has variance 0 and becomes β; that of an empty step
  does too.

  The running statistics are the plain average of the first 1/(1 − momentum) batches
  and exponential from there on, so that a step that is seldom reached is not held at
  initial values. Fewer than two valid frames leave them as they are. In frame mode each
  step has its own; a step that training never reached, past ``max_length`` or not,
  takes those of the last one before it that it did.

  Attributes:
    scale: γ, ``[features]``.
    bias: β, ``[features]``, or None.
    mean: running mean, ``[features]``, or ``[max_length, features]`` in frame mode.
    var: running variance, shaped alike.
    updates: batches behind them, ``[1]`` or ``[max_length, 1]``.

  References:
    Laurent et al., 2015; Cooijmans et al., 2017 (see `SequenceBatchNorm`).

  Example:
    >>> norm = BatchNorm(2, rngs=nnx.Rngs(0))
    >>> x = jnp.array([[[1.0, 10.0], [3.0, 30.0]]])
    >>> print(norm(x).round(2))
    [[[-1. -1.]
      [ 1.  1.]]]
    >>> print(norm.mean[...], norm.var[...])
    [ 2. 20.] [  1. 100.]
  """

  def __init__(
    self,
    num_features: int,
    options: SequenceBatchNorm | None = None,
    *,
    use_bias: bool = True,
    bias_init: Any = nnx.initializers.zeros,
    param_dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
  ):
    """Makes γ, β and running statistics of mean 0 and variance 1.

    Args:
      num_features: size of a frame.
      options: mode, momentum, ε, …; its placement is not read here.
      use_bias: whether there is a β.
      bias_init: draws it.
      param_dtype: of γ and β; statistics are float32 or wider.
      rngs: key ``params``.
    """
    check_options('options', options)
    check_dtype('param_dtype', param_dtype)
    num_features = as_count('num_features', num_features)
    self.options = options or SequenceBatchNorm()
    self.num_features = num_features
    self.use_running_average = False
    scale = jnp.full(num_features, self.options.scale_init, param_dtype)
    self.scale = nnx.Param(scale)
    self.bias = nnx.data(None)
    if use_bias:
      self.bias = nnx.Param(bias_init(rngs.params(), (num_features,), param_dtype))
    steps = () if self.options.max_length is None else (self.options.max_length,)
    wide = widened(param_dtype)
    self.mean = nnx.BatchStat(jnp.zeros((*steps, num_features), wide))
    self.var = nnx.BatchStat(jnp.ones((*steps, num_features), wide))
    self.updates = nnx.BatchStat(jnp.zeros((*steps, 1), jnp.int32))

  def __call__(
    self,
    features: jax.Array,
    *,
    lengths: jax.Array | None = None,
    mask: jax.Array | None = None,
    use_running_average: bool | None = None,
  ) -> jax.Array:
    """Normalises, and in training updates the running statistics.

    Args:
      features: ``[batch, time, features]``.
      lengths: ``[batch]``, integers; or
      mask: ``[batch, time]``, booleans: the frames that are there. Default: all.
      use_running_average: overrides what ``train()`` and ``eval()`` set.

    Returns:
      ``[batch, time, features]`` of the dtype of the features; 0 in padding.

    Raises:
      TypeError, ValueError: as `LSTM` does; a batch longer than ``max_length`` in
        training.
    """
    features = as_features(features, self.num_features)
    valid = as_mask(features.shape[:2], lengths, mask)
    check_finite(features, mask=valid)
    turned = None if valid is None else valid.T[..., None]
    frames = features.swapaxes(0, 1)
    if turned is not None:
      frames = jnp.where(turned, frames, 0)
    out = self.normalize(frames, turned, use_running_average)
    if turned is not None:
      out = jnp.where(turned, out, 0)
    return out.astype(features.dtype).swapaxes(0, 1)

  def normalize(
    self,
    frames: jax.Array,
    valid: jax.Array | None,
    use_running_average: bool | None = None,
  ) -> jax.Array:
    """Normalises ``[time, batch, features]``; finite, and ``valid [time, batch, 1]``.

    Returns:
      The same shape, float32 or wider; of no meaning in padding.
    """
    frames = frames.astype(widened(frames.dtype))
    if self.evaluates(use_running_average):
      mean, variance = self.running(frames.shape[0])
    else:
      batch = self.of_batch(frames, valid)
      self.update(batch)
      mean, variance, _ = batch
    if self.options.mode == 'frame':
      mean, variance = mean[:, None], variance[:, None]
    else:
      mean, variance = mean[None, None], variance[None, None]
    return self.affine(frames, mean, variance)

  def evaluates(self, use_running_average: bool | None) -> bool:
    """Whether the running statistics are to be used."""
    if use_running_average is None:
      return self.use_running_average
    return use_running_average

  def of_batch(self, frames: jax.Array, valid: jax.Array | None) -> Moments:
    """The moments of ``[time, batch, features]``, per time step or over all."""
    axes = (1,) if self.options.mode == 'frame' else (0, 1)
    return moments(frames, valid, axes, self.options.axis_name)

  def of_step(self, frames: jax.Array, valid: jax.Array | None) -> Moments:
    """The moments of one step's ``[batch, features]``."""
    return moments(frames, valid, (0,), self.options.axis_name)

  def affine(
    self, frames: jax.Array, mean: jax.Array, variance: jax.Array
  ) -> jax.Array:
    """γ·(x − mean)/√(variance + ε) + β, of moments with the rank of the frames."""
    rank = (1,) * (frames.ndim - 1) + (-1,)
    factor = self.scale[...].reshape(rank) * jax.lax.rsqrt(
      variance + self.options.epsilon
    )
    out = (frames - mean) * factor
    return out if self.bias is None else out + self.bias[...].reshape(rank)

  def running(self, num_steps: int) -> tuple[jax.Array, jax.Array]:
    """The running moments, ``[features]``, or ``[num_steps, features]`` by frame."""
    mean, var = self.mean[...], self.var[...]
    if self.options.mode == 'sequence':
      return mean, var
    reached = self.updates[...][:, 0] > 0
    index = jnp.where(reached, jnp.arange(reached.size), 0)
    source = jax.lax.cummax(index)[jnp.minimum(jnp.arange(num_steps), index.size - 1)]
    return mean[source], var[source]

  def update(self, batch: Moments) -> None:
    """Takes the moments of a batch into the running ones."""
    batch = Moments(*map(jax.lax.stop_gradient, batch))
    steps = batch.mean.shape[0] if self.options.mode == 'frame' else None
    if steps is not None and steps > self.mean.shape[0]:
      raise ValueError(
        f'features: expected at most max_length = {self.mean.shape[0]} frames in '
        f'training, got {steps}'
      )
    enough = batch.frames > 1
    seen = self.updates[:steps]
    nth = 1 + seen.astype(batch.mean.dtype)
    share = jnp.where(enough, jnp.maximum(1 - self.options.momentum, 1 / nth), 0.0)
    for variable, new in ((self.mean, batch.mean), (self.var, batch.variance)):
      old = variable[:steps]
      mixed = old + share * (new - old)
      variable[...] = variable[...].at[:steps].set(mixed.astype(old.dtype))
    self.updates[...] = self.updates[...].at[:steps].add(enough.astype(seen.dtype))

  def set_view(self, use_running_average: bool | None = None) -> None:
    """What `flax.nnx.view` calls."""
    if use_running_average is not None:
      self.use_running_average = use_running_average
