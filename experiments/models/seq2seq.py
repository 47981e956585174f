"""Encoder and decoder with attention, after Wu et al., 2016 ("GNMT")."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models import softmax
from experiments.models.attention import AttentionLSTM, Memory
from regularizers import nn

RESIDUAL_FROM = 2  # the third layer


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Of a network.

  Attributes:
    source: ids of the source.
    target: ids of the target.
    embedding: size of the vector of an id.
    hidden: units of a layer; of each direction in the first of the encoder.
    encoder: layers, the first one bidirectional.
    decoder: layers, the first one with attention.
    attention: units of its layer.
  """

  source: int
  target: int
  embedding: int
  hidden: int
  encoder: int
  decoder: int
  attention: int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """Where the decoder is: ``[batch, hidden]`` each, by layer."""

  first: tuple[jax.Array, ...]
  others: tuple[tuple[jax.Array, ...], ...]


class Seq2Seq(nnx.Module):
  """Logits of the next target id, given the source and the target before.

  Dropout is on what goes into a layer and what comes out of the last. From the third
  layer on a layer's input is added to its output.

  Example:
    >>> model = Seq2Seq(Sizes(30, 40, 8, 16, 3, 3, 8), rngs=nnx.Rngs(0))
    >>> source, target = jnp.ones((2, 7), int), jnp.ones((2, 5), int)
    >>> memory = model.encode(source, jnp.ones((2, 7), bool), deterministic=True)
    >>> hidden, weights = model.decode(memory, target, deterministic=True)
    >>> model.logits(hidden).shape, weights.shape
    ((2, 5, 40), (2, 5, 7))
    >>> logits, _, state = model.step(memory, model.start(memory), target[:, 0])
    >>> bool(jnp.allclose(logits, model.logits(hidden)[:, 0], atol=1e-5))
    True
  """

  def __init__(
    self,
    sizes: Sizes,
    *,
    dropout: float = 0.0,
    init_scale: float = 0.0,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights.

    Args:
      sizes: of the network.
      dropout: share dropped.
      init_scale: weights are uniform in ±this; 0: N(0, 1) for the embeddings, by the
        size of a layer elsewhere (Glorot and Bengio, 2010).
      rngs: key ``params``.
    """
    table, kernel = softmax.initializers(init_scale)
    layer: dict[str, Any] = {'init_scale': init_scale or None, 'rngs': rngs}
    hidden, embedding = sizes.hidden, sizes.embedding
    self.source = nnx.Embed(sizes.source, embedding, embedding_init=table, rngs=rngs)
    self.target = nnx.Embed(sizes.target, embedding, embedding_init=table, rngs=rngs)
    widths = [embedding, 2 * hidden, *[hidden] * sizes.encoder]
    self.encoder = nnx.List(
      nn.LSTM(widths[index], hidden, bidirectional=index == 0, **layer)
      for index in range(sizes.encoder)
    )
    values = widths[sizes.encoder]
    self.first = AttentionLSTM(
      *(embedding, hidden, values, sizes.attention), kernel_init=kernel, rngs=rngs
    )
    self.others = nnx.List(
      nn.LSTM(hidden + values, hidden, **layer) for _ in range(1, sizes.decoder)
    )
    self.output = nnx.Linear(hidden, sizes.target, kernel_init=kernel, rngs=rngs)
    self.dropout = nnx.Dropout(dropout)

  def encode(
    self,
    source: jax.Array,
    mask: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> Memory:
    """What the decoder attends to.

    Args:
      source: ``[batch, source]`` ids.
      mask: ``[batch, source]``, what is there; at least one of a row.
      deterministic: without dropout.
      rngs: key ``dropout``; needed with dropout.
    """
    drop: dict[str, Any] = {'deterministic': deterministic, 'rngs': rngs}
    frames = self.source(source)
    for index, layer in enumerate(self.encoder):
      outputs, _ = layer(self.dropout(frames, **drop), mask=mask)
      frames = _above(index, frames, outputs)
    return self.first.attention.memory(self.dropout(frames, **drop), mask)

  def decode(
    self,
    memory: Memory,
    inputs: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """What the softmax layer reads, and the attention's weights.

    Args:
      memory: of ``encode``.
      inputs: ``[batch, target]`` ids, the start symbol first.
      deterministic: without dropout.
      rngs: key ``dropout``; needed with dropout.

    Returns:
      ``[batch, target, hidden]`` and ``[batch, target, source]``.
    """
    drop: dict[str, Any] = {'deterministic': deterministic, 'rngs': rngs}
    fed = self.dropout(self.target(inputs), **drop)
    frames, contexts, weights = self.first(memory, fed)
    for index, layer in enumerate(self.others, 1):
      below = jnp.concatenate([self.dropout(frames, **drop), contexts], axis=-1)
      outputs, _ = layer(below)
      frames = _above(index, frames, outputs)
    return self.dropout(frames, **drop), weights

  def start(self, memory: Memory) -> State:
    """The decoder's state before the first id: zeros."""
    zeros = self.first.initial(memory)
    return State(zeros, (zeros,) * len(self.others))

  def step(
    self, memory: Memory, state: State, inputs: jax.Array
  ) -> tuple[jax.Array, jax.Array, State]:
    """Logits ``[batch, V]``, weights ``[batch, source]`` and state after ids."""
    first, context, weights = self.first.step(memory, state.first, self.target(inputs))
    frames, others = first[0], []
    for index, (layer, before) in enumerate(
      zip(self.others, state.others, strict=True), 1
    ):
      below = jnp.concatenate([frames, context], axis=-1)
      carry = tuple(part[None] for part in before)
      outputs, after = layer(below[:, None], carry)
      others.append(tuple(part[0] for part in after))
      frames = _above(index, frames, outputs[:, 0])
    return self.logits(frames), weights, State(first, tuple(others))

  def logits(self, hidden: jax.Array) -> jax.Array:
    """``[..., target]``."""
    return softmax.logits(self.output, hidden)

  def affine(self) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias of the softmax layer, for losses of hidden states."""
    return softmax.affine(self.output)


def _above(index: int, below: jax.Array, outputs: jax.Array) -> jax.Array:
  return outputs + below if index >= RESIDUAL_FROM else outputs
