"""A recurrent language model: embedding, recurrent layers, softmax layer."""

from typing import Any

import jax
from flax import nnx

from experiments.models import softmax
from regularizers import nn

Carry = Any  # a pytree of [rows, ...]


class LanguageModel(nnx.Module):
  """Logits of the next token, after Zaremba, Sutskever and Vinyals (2014).

  Dropout is on what goes into a layer and what comes out of the last, never on what
  goes from one time step to the next.

  Example:
    >>> import jax.numpy as jnp
    >>> model = LanguageModel(50, 8, 16, layers=2, rngs=nnx.Rngs(0))
    >>> tokens = jnp.zeros((4, 10), int)  # four streams, ten time steps
    >>> hidden, carry = model.hidden(tokens, model.carry(4), deterministic=True)
    >>> model.logits(hidden).shape
    (4, 10, 50)
    >>> hidden, carry = model.hidden(tokens, carry, deterministic=True)  # goes on
  """

  def __init__(
    self,
    num_tokens: int,
    embedding: int,
    hidden: int,
    layers: int,
    *,
    dropout: float = 0.0,
    batch_norm: nn.SequenceBatchNorm | None = None,
    init_scale: float = 0.0,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights from ``rngs.params``.

    Args:
      num_tokens: size of the vocabulary.
      embedding: size of the vector of a token.
      hidden: units of a recurrent layer.
      layers: number of recurrent layers.
      dropout: share dropped between layers in training.
      batch_norm: of the recurrent layers, see ``regularizers.nn``.
      init_scale: weights and biases are uniform in ±this; 0: N(0, 1) for the
        embedding, by the size of a layer elsewhere (Glorot and Bengio, 2010).
      rngs: key ``params``.
    """
    table, kernel = softmax.initializers(init_scale)
    bias = kernel if init_scale else nnx.initializers.zeros
    self.embedding = nnx.Embed(num_tokens, embedding, embedding_init=table, rngs=rngs)
    self.lstm = nn.LSTM(
      embedding,
      hidden,
      num_layers=layers,
      dropout_rate=dropout,
      batch_norm=batch_norm,
      init_scale=init_scale or None,
      rngs=rngs,
    )
    self.output = nnx.Linear(
      hidden, num_tokens, kernel_init=kernel, bias_init=bias, rngs=rngs
    )
    self.dropout = nnx.Dropout(dropout)

  def carry(self, rows: int) -> Carry:
    """The state before the first token: zeros."""
    return self.lstm.initial_carry(rows)

  def hidden(
    self,
    tokens: jax.Array,
    carry: Carry,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> tuple[jax.Array, Carry]:
    """What the softmax layer reads ``[rows, time, hidden]``, and the new state.

    Args:
      tokens: ``[rows, time]``.
      carry: the state that the call before left, or ``carry(rows)``.
      deterministic: without dropout, and with running statistics.
      rngs: key ``dropout``; needed with dropout.
    """
    drop: dict[str, Any] = {'deterministic': deterministic, 'rngs': rngs}
    inputs = self.dropout(self.embedding(tokens), **drop)
    outputs, carry = self.lstm(inputs, carry, use_running_average=deterministic, **drop)
    return self.dropout(outputs, **drop), carry

  def logits(self, hidden: jax.Array) -> jax.Array:
    """``[..., num_tokens]``."""
    return softmax.logits(self.output, hidden)

  def affine(self) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias of the softmax layer, for losses of hidden states."""
    return softmax.affine(self.output)
