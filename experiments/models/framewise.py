"""A class for every frame: the network of Laurent et al. (2016) for speech."""

import jax
from flax import nnx

from regularizers import nn


class Framewise(nnx.Module):
  """Bidirectional layers and a softmax layer, ``[batch, time, classes]``.

  Dropout is on what goes into a layer and what comes out of the last.

  Example:
    >>> model = Framewise(5, 8, 2, 3, rngs=nnx.Rngs(0))
    >>> frames, mask = jax.numpy.ones((2, 7, 5)), jax.numpy.ones((2, 7), bool)
    >>> model(frames, mask, deterministic=True).shape
    (2, 7, 3)
  """

  def __init__(
    self,
    features: int,
    hidden: int,
    layers: int,
    classes: int,
    *,
    batch_norm: nn.SequenceBatchNorm | None = None,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights: Glorot's, biases of 0.

    Args:
      features: size of a frame.
      hidden: units of each direction of a layer.
      layers: all bidirectional.
      classes: of a frame.
      batch_norm: of each layer; None: none.
      dropout: share dropped.
      rngs: key ``params``.
    """
    self.layers = nn.LSTM(
      *(features, hidden),
      num_layers=layers,
      bidirectional=True,
      dropout_rate=dropout,
      batch_norm=batch_norm,
      rngs=rngs,
    )
    self.dropout = nnx.Dropout(dropout)
    kernel = nnx.initializers.glorot_uniform()
    self.output = nnx.Linear(2 * hidden, classes, kernel_init=kernel, rngs=rngs)

  def __call__(
    self,
    frames: jax.Array,
    mask: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> jax.Array:
    """Logits of ``[batch, time, features]``, of no meaning where nothing is there.

    Args:
      frames: of the utterances.
      mask: ``[batch, time]``, what is there; the rest is not in the statistics of
        batch normalization either.
      deterministic: without dropout, and with the running statistics.
      rngs: key ``dropout``; needed with dropout.
    """
    frames = self.dropout(frames, deterministic=deterministic, rngs=rngs)
    outputs, _ = self.layers(
      frames,
      mask=mask,
      deterministic=deterministic,
      use_running_average=deterministic,
      rngs=rngs,
    )
    outputs = self.dropout(outputs, deterministic=deterministic, rngs=rngs)
    return self.output(outputs)
