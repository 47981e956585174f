"""One layer in one direction."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from regularizers.collectives import equally_varying
from regularizers.nn.batch_norm import BatchNorm, SequenceBatchNorm
from regularizers.nn.cells import Cell, State
from regularizers.nn.initial import Initial, by_gate
from regularizers.nn.normalized import recur_normalized
from regularizers.nn.scan import Recursion, product, recur


class Direction(nnx.Module):
  """Parameters of one layer in one direction, and its pass over time.

  Attributes:
    input_kernel: W, ``[in, gates·H]``.
    recurrent_kernel: U, ``[H, gates·H]``.
    bias: ``[gates·H]``, or None where the normalisation's β stands for it.
    recurrent_bias: ``[H]``, added to the last gate of U·h before that is reset; of
      GRUs alone.
    norm: the batch normalisation, or None.
  """

  def __init__(
    self,
    cell: Cell,
    in_features: int,
    hidden_features: int,
    *,
    reverse: bool,
    batch_norm: SequenceBatchNorm | None,
    initial: Initial,
    param_dtype: Any,
    rngs: nnx.Rngs,
  ):
    """Draws kernels gate by gate."""
    self.cell, self.reverse = cell, reverse
    sizes, width = (in_features, hidden_features), cell.gates * hidden_features
    kernel = by_gate(initial.kernel, rngs, sizes, cell.gates, param_dtype)
    sizes = (hidden_features, hidden_features)
    recurrent = by_gate(initial.recurrent, rngs, sizes, cell.gates, param_dtype)
    self.input_kernel = nnx.Param(kernel)
    self.recurrent_kernel = nnx.Param(recurrent)
    self.bias = self.recurrent_bias = self.norm = nnx.data(None)
    placement = None if batch_norm is None else batch_norm.placement
    beta = placement in ('input_to_hidden', 'pre_activation')
    if not beta:
      bias = initial.draw_bias(rngs.params(), (width,), param_dtype)
      self.bias = nnx.Param(bias)
    if not cell.additive:
      bias = initial.bias(rngs.params(), (hidden_features,), param_dtype)
      self.recurrent_bias = nnx.Param(bias)
    if batch_norm is not None:
      self.norm = BatchNorm(
        in_features if placement == 'layer_input' else width,
        batch_norm,
        use_bias=beta,
        bias_init=initial.draw_bias,
        param_dtype=param_dtype,
        rngs=rngs,
      )

  def __call__(
    self,
    features: jax.Array,
    valid: jax.Array | None,
    initial: State,
    dtype: Any,
    use_running_average: bool | None,
  ) -> tuple[jax.Array, State]:
    """Outputs ``[time, batch, H]`` and the last state.

    Args:
      features: ``[time, batch, in]``, 0 in padding.
      valid: ``[time, batch, 1]``, booleans, or None.
      initial: ``[batch, H]`` each, float32 or wider.
      dtype: of the inputs of the products.
      use_running_average: as in `BatchNorm`.
    """
    norm = self.norm
    placement = None if norm is None else norm.options.placement
    if norm is not None and placement == 'layer_input':
      features = norm.normalize(features, valid, use_running_average)
      features = _present(features, valid)
    inputs = product(features, self.input_kernel[...], dtype)
    if norm is not None and placement == 'input_to_hidden':
      inputs = norm.normalize(inputs, valid, use_running_average)
    if self.bias is not None:
      inputs += self.bias[...].astype(inputs.dtype)[None, None]
    arguments = (
      valid,
      inputs,
      self.recurrent_kernel[...],
      self._padded_bias(inputs),
      initial,
    )
    # On a mesh axis that splits the batch: the kernel's gradients are added up once.
    arguments = equally_varying(arguments)
    static = Recursion(self.cell, self.reverse, jnp.dtype(dtype))
    if norm is not None and norm.options.recurrent:
      outputs, last = recur_normalized(static, norm, use_running_average, *arguments)
    else:
      outputs, last = recur(static, *arguments)
    return _present(outputs, valid), last

  def _padded_bias(self, inputs: jax.Array) -> jax.Array | None:
    if self.recurrent_bias is None:
      return None
    bias = self.recurrent_bias[...].astype(inputs.dtype)
    return jnp.pad(bias, (inputs.shape[-1] - bias.size, 0))


def _present(frames: jax.Array, valid: jax.Array | None) -> jax.Array:
  """With 0 where no frame is."""
  return frames if valid is None else jnp.where(valid, frames, 0)
