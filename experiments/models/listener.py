"""Speech to symbols, by attention: "Listen, Attend and Spell" (Chan et al., 2016).

Bidirectional layers that halve time on their way up, and a decoder of one layer whose
attention reads where it looked before (Chorowski et al., 2015).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models import softmax
from experiments.models.attention import AttentionLSTM, Location, Memory
from regularizers import nn
from regularizers.nn.cells import State

MERGES = 'concat', 'skip'


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Of a network.

  Attributes:
    features: size of a frame.
    target: ids of the target.
    embedding: size of the vector of an id.
    hidden: units of a layer; of each direction in the encoder.
    layers: of the encoder, all bidirectional.
    halvings: of time: before each of the last so many layers.
    merge: what becomes of two frames: ``'concat'``, one twice as wide (Chan et al.),
      or ``'skip'``, the first one (Chorowski et al.).
    attention: units of its layer.
    location: filters of the weights before; None: attention does not read them.
  """

  features: int
  target: int
  embedding: int
  hidden: int
  layers: int
  halvings: int
  merge: str
  attention: int
  location: Location | None

  def __post_init__(self) -> None:
    if self.halvings > self.layers:
      raise ValueError(f'{self.halvings} halvings in {self.layers} layers')
    if self.merge not in MERGES:
      raise ValueError(f'merge: expected one of {MERGES}, got {self.merge!r}')


def halved(
  frames: jax.Array, mask: jax.Array, merge: str
) -> tuple[jax.Array, jax.Array]:
  """Half as many frames ``[batch, ⌈time/2⌉, ...]``, and which of them are there.

  Args:
    frames: ``[batch, time, features]``; what stands in padding counts as 0.
    mask: ``[batch, time]``, where the frames of a sequence are its first ones.
    merge: see ``Sizes``.
  """
  if merge == 'skip':
    return frames[:, ::2], mask[:, ::2]
  batch, time, features = frames.shape
  frames = jnp.where(mask[..., None], frames, 0)
  frames = jnp.pad(frames, ((0, 0), (0, time % 2), (0, 0)))
  return frames.reshape(batch, -1, 2 * features), mask[:, ::2]


class Listener(nnx.Module):
  """The encoder; dropout is on what goes into a layer."""

  def __init__(
    self, sizes: Sizes, *, dropout: float, init_scale: float, rngs: nnx.Rngs
  ):
    """Draws the initial weights; see ``LAS``."""
    self.merge = sizes.merge
    self.halves = tuple(
      index >= sizes.layers - sizes.halvings for index in range(sizes.layers)
    )
    below = [sizes.features, *[2 * sizes.hidden] * (sizes.layers - 1)]
    widths = [
      2 * width if halves and sizes.merge == 'concat' else width
      for width, halves in zip(below, self.halves, strict=True)
    ]
    layer: dict[str, Any] = {'bidirectional': True, 'init_scale': init_scale or None}
    self.layers = nnx.List(
      nn.LSTM(width, sizes.hidden, **layer, rngs=rngs) for width in widths
    )
    self.dropout = nnx.Dropout(dropout)

  def __call__(
    self, frames: jax.Array, mask: jax.Array, **drop: Any
  ) -> tuple[jax.Array, jax.Array]:
    """``[batch, places, 2·hidden]`` and which of the places are there."""
    for halves, layer in zip(self.halves, self.layers, strict=True):
      if halves:
        frames, mask = halved(frames, mask, self.merge)
      frames, _ = layer(self.dropout(frames, **drop), mask=mask)
    return frames, mask


class LAS(nnx.Module):
  """Logits of the next target id, given the frames and the target before.

  The softmax layer reads the decoder's output and the context beside it.

  Example:
    >>> sizes = Sizes(5, 9, 8, 16, 2, 1, 'concat', 8, Location(2, 3))
    >>> model = LAS(sizes, rngs=nnx.Rngs(0))
    >>> frames, target = jnp.ones((2, 7, 5)), jnp.ones((2, 3), int)
    >>> memory = model.encode(frames, jnp.ones((2, 7), bool), deterministic=True)
    >>> hidden, weights = model.decode(memory, target, deterministic=True)
    >>> model.logits(hidden).shape, weights.shape
    ((2, 3, 9), (2, 3, 4))
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
      dropout: share dropped, of what goes into a layer and into the softmax layer.
      init_scale: weights are uniform in ±this; 0: N(0, 1) for the embeddings, by the
        size of a layer elsewhere (Glorot and Bengio, 2010).
      rngs: key ``params``.
    """
    table, kernel = softmax.initializers(init_scale)
    values = 2 * sizes.hidden
    self.listener = Listener(sizes, dropout=dropout, init_scale=init_scale, rngs=rngs)
    self.target = nnx.Embed(
      sizes.target, sizes.embedding, embedding_init=table, rngs=rngs
    )
    self.speller = AttentionLSTM(
      *(sizes.embedding, sizes.hidden, values, sizes.attention),
      location=sizes.location,
      kernel_init=kernel,
      rngs=rngs,
    )
    self.output = nnx.Linear(
      sizes.hidden + values, sizes.target, kernel_init=kernel, rngs=rngs
    )
    self.dropout = nnx.Dropout(dropout)

  def encode(
    self,
    frames: jax.Array,
    mask: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> Memory:
    """What the decoder attends to.

    Args:
      frames: ``[batch, time, features]``.
      mask: ``[batch, time]``, what is there; at least one of a row.
      deterministic: without dropout.
      rngs: key ``dropout``; needed with dropout.
    """
    drop: dict[str, Any] = {'deterministic': deterministic, 'rngs': rngs}
    values, mask = self.listener(frames, mask, **drop)
    return self.speller.attention.memory(self.dropout(values, **drop), mask)

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
      ``[batch, target, 3·hidden]`` and ``[batch, target, places]``.
    """
    drop: dict[str, Any] = {'deterministic': deterministic, 'rngs': rngs}
    fed = self.dropout(self.target(inputs), **drop)
    outputs, contexts, weights = self.speller(memory, fed)
    read = jnp.concatenate([outputs, contexts], axis=-1)
    return self.dropout(read, **drop), weights

  def start(self, memory: Memory) -> State:
    """The decoder's state before the first id."""
    return self.speller.initial(memory)

  def step(
    self, memory: Memory, state: State, inputs: jax.Array
  ) -> tuple[jax.Array, jax.Array, State]:
    """Logits ``[batch, V]``, weights ``[batch, places]`` and state after ids."""
    state, context, weights = self.speller.step(memory, state, self.target(inputs))
    read = jnp.concatenate([state[0], context], axis=-1)
    return self.logits(read), weights, state

  def logits(self, hidden: jax.Array) -> jax.Array:
    """``[..., target]``."""
    return softmax.logits(self.output, hidden)

  def affine(self) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias of the softmax layer, for losses of hidden states."""
    return softmax.affine(self.output)
