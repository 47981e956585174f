"""Recurrent networks of several layers, one way or both."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from regularizers.dtypes import widened
from regularizers.nn import cells
from regularizers.nn.batch_norm import SequenceBatchNorm, check_options
from regularizers.nn.cells import State
from regularizers.nn.direction import Direction
from regularizers.nn.frames import as_features, as_mask, check_dtype, check_finite
from regularizers.nn.initial import Initializer, choose_initial
from regularizers.values import as_count, check_constant

Carry = Any
"""The state between two calls: an array h, or a pair (h, c) of an LSTM."""


class _Recurrent(nnx.Module):
  """Layers over layers of one kind of cell."""

  cell: ClassVar[cells.Cell]

  def __init__(
    self,
    in_features: int,
    hidden_features: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout_rate: float = 0.0,
    batch_norm: SequenceBatchNorm | None = None,
    init_scale: float | None = None,
    kernel_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    forget_bias: float = 0.0,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
  ):
    """Makes the layers, those of the first one first, forward before backward."""
    in_features = as_count('in_features', in_features)
    hidden_features = as_count('hidden_features', hidden_features)
    num_layers = as_count('num_layers', num_layers)
    check_constant('dropout_rate', dropout_rate, high=1.0)
    check_dtype('dtype', dtype)
    check_dtype('param_dtype', param_dtype)
    self._check_options(batch_norm, forget_bias)
    initial = choose_initial(
      init_scale, kernel_init, recurrent_init, bias_init, forget_bias
    )
    self.in_features, self.hidden_features = in_features, hidden_features
    self.num_layers, self.bidirectional = num_layers, bidirectional
    self.dtype, self.param_dtype = dtype, param_dtype
    ways = (False, True) if bidirectional else (False,)
    below = len(ways) * hidden_features
    self.directions = nnx.List(
      Direction(
        self.cell,
        below if layer else in_features,
        hidden_features,
        reverse=reverse,
        batch_norm=batch_norm,
        initial=initial,
        param_dtype=param_dtype,
        rngs=rngs,
      )
      for layer in range(num_layers)
      for reverse in ways
    )
    self.dropout = nnx.Dropout(dropout_rate)

  def __call__(
    self,
    features: jax.Array,
    carry: Carry = None,
    *,
    lengths: jax.Array | None = None,
    mask: jax.Array | None = None,
    deterministic: bool | None = None,
    use_running_average: bool | None = None,
    rngs: nnx.Rngs | jax.Array | None = None,
  ) -> tuple[jax.Array, Carry]:
    """Outputs of the last layer, and where every layer ended.

    Args:
      features: ``[batch, time, in]``, floating.
      carry: what an earlier call returned; default: `initial_carry`.
      lengths: ``[batch]``, integers in [0, time]: a sequence's frames are its first
        ones; or
      mask: ``[batch, time]``, booleans. What stands elsewhere changes nothing, not
        even as NaN: there the state stays as it is and outputs are 0, and a backward
        direction starts at a sequence's last frame. Traced lengths are not checked.
      deterministic: True switches dropout off; None leaves it to ``model.eval()``
        and ``model.train()``.
      use_running_average: the same for batch normalisation.
      rngs: key ``dropout``, or a key; needed when dropout is on.

    Returns:
      ``[batch, time, H]`` (``2·H`` if bidirectional: forward, then backward) and the
      carry after each sequence's last frame, each array of it ``[layers·directions,
      batch, H]``, float32 or wider; a backward direction's is that at the first frame.

    Raises:
      TypeError: inputs of the wrong type; lengths and mask together.
      ValueError: shapes that do not match; concrete lengths beyond the array; a
        valid frame that is not finite, in a call outside of `jax.jit`; dropout that is
        on without ``rngs``.
    """
    features = as_features(features, self.in_features)
    valid = as_mask(features.shape[:2], lengths, mask)
    check_finite(features, mask=valid)
    self._check_dropout(deterministic, rngs)
    if isinstance(rngs, jax.Array):  # else all layers would drop the same units
      rngs = nnx.Rngs(dropout=rngs)
    dtype = self.dtype or jnp.result_type(features.dtype, self.param_dtype)
    states = self._states(features.shape[0], dtype, carry)
    frames = features.swapaxes(0, 1)
    if valid is not None:
      valid = valid.T[..., None]
      frames = jnp.where(valid, frames, 0)
    last: list[State] = []
    ways = 2 if self.bidirectional else 1
    for layer in range(self.num_layers):
      if layer:
        frames = self.dropout(frames, deterministic=deterministic, rngs=rngs)
      outputs = []
      for index in range(layer * ways, (layer + 1) * ways):
        out, state = self.directions[index](
          frames, valid, states[index], dtype, use_running_average
        )
        outputs.append(out)
        last.append(state)
      frames = outputs[0] if ways == 1 else jnp.concatenate(outputs, axis=-1)
    ends = tuple(jnp.stack(arrays) for arrays in zip(*last, strict=True))
    return frames.astype(dtype).swapaxes(0, 1), self._as_carry(ends)

  def _check_dropout(self, deterministic: bool | None, rngs: Any) -> None:
    off = self.dropout.deterministic if deterministic is None else deterministic
    on = self.num_layers > 1 and 0 < self.dropout.rate < 1 and not off
    if on and rngs is None and self.dropout.rngs is None:
      raise ValueError(
        f'{type(self).__name__}: dropout is on, expected rngs= in the call (those of '
        'the constructor draw parameters alone); model.eval() switches it off'
      )

  def initial_carry(self, batch: int) -> Carry:
    """Zeros, as a call without carry starts from.

    Returns:
      ``[layers·directions, batch, H]``: a pair (h, c) of LSTMs, else one array h.
    """
    dtype = self.dtype or self.param_dtype
    return self._as_carry(self._zeros(batch, dtype))

  def _zeros(self, batch: int, dtype: Any) -> State:
    shape = (len(self.directions), batch, self.hidden_features)
    wide = widened(dtype)
    return (jnp.zeros(shape, wide),) * self.cell.states

  def _as_carry(self, state: State) -> Carry:
    return state if self.cell.states > 1 else state[0]

  def _states(self, batch: int, dtype: Any, carry: Carry) -> list[State]:
    """The state that each direction of each layer starts from."""
    zeros = self._zeros(batch, dtype)
    if carry is None:
      carry = zeros
    elif self.cell.states == 1 or not isinstance(carry, tuple | list):
      carry = (carry,)
    shapes = [jnp.shape(array) for array in carry]
    if shapes != [array.shape for array in zeros]:
      name = 'a pair (h, c) of arrays' if self.cell.states > 1 else 'an array'
      raise ValueError(
        f'carry: expected {name} {list(zeros[0].shape)}, that is [layers·directions, '
        f'batch, H], got {" and ".join(str(list(shape)) for shape in shapes)}'
      )
    arrays = [jnp.asarray(array).astype(zeros[0].dtype) for array in carry]
    return [tuple(array[i] for array in arrays) for i in range(len(self.directions))]

  def _check_options(
    self, batch_norm: SequenceBatchNorm | None, forget_bias: float
  ) -> None:
    name = type(self).__name__
    check_options('batch_norm', batch_norm)
    placement = None if batch_norm is None else batch_norm.placement
    if placement == 'pre_activation' and not self.cell.additive:
      raise ValueError(
        f"{name}: placement='pre_activation' normalises W·x + U·h, a sum that the "
        "candidate gate does not have: expected 'hidden_to_hidden' or another"
      )
    check_constant('forget_bias', forget_bias, low=-jnp.inf)
    if forget_bias and self.cell is not cells.LSTM:
      raise ValueError(f'{name} has no forget gate: got forget_bias={forget_bias!r}')


class LSTM(_Recurrent):
  """Long short-term memory, several layers, one way or both.

  i, f, g, o = W·x_t + b + U·h_{t−1};  c_t = σ(f)·c_{t−1} + σ(i)·tanh(g);
  h_t = σ(o)·tanh(c_t).

  The product W·x of all frames is computed at once, outside the recursion, and so is
  the gradient of U. Gates lie in the order i, f, g, o, as PyTorch's do.

  Args:
    in_features: size of a frame.
    hidden_features: H.
    num_layers: each takes the outputs of the one before, both directions'.
    bidirectional: whether each layer has a second part that goes backward.
    dropout_rate: of the outputs of all layers but the last, in training, as in
      PyTorch; never of what a unit carries from step to step. Zaremba et al. also drop
      the first layer's inputs and the last one's outputs: `flax.nnx.Dropout` around.
    batch_norm: what to normalise and how; default: nothing.
    init_scale: all kernels and biases uniform in [−s, s], as Zaremba et al. do; or
    kernel_init: of W, a gate at a time; default: Glorot's uniform.
    recurrent_init: of U, a gate at a time; default: orthogonal.
    bias_init: of biases, or of the β in their place; default: zeros.
    forget_bias: added to the forget gate's initial bias; 1 keeps states at first.
    dtype: of inputs of the products and of the outputs; default: what features and
      parameters promote to. States and statistics are float32 or wider.
    param_dtype: of the parameters.
    rngs: key ``params``.

  Raises:
    TypeError: an initialiser and ``init_scale``; a dtype that is not floating.
    ValueError: sizes that are not > 0; a rate outside [0, 1].

  References:
    Hochreiter, Schmidhuber, *Long Short-Term Memory*, 1997. Zaremba, Sutskever,
    Vinyals, *Recurrent Neural Network Regularization*, 2014. Laurent, Pereyra, Brakel,
    Zhang, Bengio, *Batch Normalized Recurrent Neural Networks*, 2015.

  Example:
    >>> norm = SequenceBatchNorm('sequence')
    >>> lstm = LSTM(3, 4, num_layers=2, batch_norm=norm, rngs=nnx.Rngs(0))
    >>> outputs, (h, c) = lstm(jnp.ones((2, 5, 3)), lengths=jnp.array([5, 2]))
    >>> outputs.shape, h.shape
    ((2, 5, 4), (2, 2, 4))
    >>> lstm.eval()  # running statistics, no dropout
    >>> more, carry = lstm(jnp.ones((2, 5, 3)), (h, c))
  """

  cell = cells.LSTM


class GRU(_Recurrent):
  """Gated recurrent units, several layers, one way or both.

  r, z = σ(W·x_t + b + U·h_{t−1});  n = tanh(W·x_t + b + r·(U·h_{t−1} + b'));
  h_t = (1 − z)·n + z·h_{t−1}, with the gates in the order r, z, n, as in PyTorch. The
  carry is one array h.

  Args and Raises: those of `LSTM`, except that there is no forget gate.

  References:
    Cho et al., *Learning Phrase Representations using RNN Encoder–Decoder for
    Statistical Machine Translation*, 2014.

  Example:
    >>> outputs, h = GRU(3, 4, bidirectional=True, rngs=nnx.Rngs(0))(
    ...   jnp.ones((2, 5, 3))
    ... )
    >>> outputs.shape, h.shape
    ((2, 5, 8), (2, 2, 4))
  """

  cell = cells.GRU


class SimpleRNN(_Recurrent):
  """Elman's network, several layers, one way or both.

  h_t = tanh(W·x_t + b + U·h_{t−1}). The carry is one array h.

  Args and Raises: those of `LSTM`, except that there is no forget gate.

  References:
    Elman, *Finding Structure in Time*, 1990.

  Example:
    >>> outputs, h = SimpleRNN(3, 4, rngs=nnx.Rngs(0))(jnp.ones((2, 5, 3)))
    >>> outputs.shape, h.shape
    ((2, 5, 4), (1, 2, 4))
  """

  cell = cells.SIMPLE
