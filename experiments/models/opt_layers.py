"""Layers of a decoder-only transformer, as functions of stacked parameters."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.cache import KeysAndValues
from experiments.models.packed_attention import packed_attention
from experiments.models.parts import Arrays, affine, dropped, layer_norm, relu

HALVES = ('attention', 'mlp')


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Of a network.

  Attributes:
    vocabulary: ids.
    positions: of the longest example.
    hidden: units of a layer.
    layers: how many.
    heads: of attention; they share the hidden units.
    ffn: units of a layer's inner one.
    embedding: size of the vector of an id, projected to ``hidden`` and back if it is
      another; None: it is the same.
    norm_before: layer norms are on what goes into a layer's halves and before the
      softmax layer; otherwise on what comes out of the halves.
  """

  vocabulary: int
  positions: int
  hidden: int
  layers: int
  heads: int
  ffn: int
  embedding: int | None = None
  norm_before: bool = True

  def __post_init__(self) -> None:
    if self.hidden % self.heads:
      raise ValueError(
        f'heads: expected a divisor of hidden {self.hidden}, got {self.heads}'
      )

  @property
  def word(self) -> int:
    """Size of the vector of an id."""
    return self.hidden if self.embedding is None else self.embedding


def initial(sizes: Sizes, std: float, rngs: nnx.Rngs) -> dict[str, jax.Array]:
  """N(0, std²), on what is added to the residual by √(2·layers) less; no biases.

  Kernels are ``[layers, inputs, outputs]``. The one of queries, keys and values has
  those of a head side by side: its outputs are ``[heads, 3, size]``.
  """
  layers, hidden, ffn = sizes.layers, sizes.hidden, sizes.ffn

  def kernel(scale: float, *shape: int) -> jax.Array:
    return std * scale * jax.random.normal(rngs.params(), (layers, *shape))

  added = (2 * layers) ** -0.5
  norms = {f'{half}_norm_scale': jnp.ones((layers, hidden)) for half in HALVES}
  biases = {
    **{f'{half}_norm_bias': (hidden,) for half in HALVES},
    'qkv_bias': (3 * hidden,),
    'out_bias': (hidden,),
    'up_bias': (ffn,),
    'down_bias': (hidden,),
  }
  return {
    **norms,
    **{name: jnp.zeros((layers, *shape)) for name, shape in biases.items()},
    'qkv_kernel': kernel(1.0, hidden, 3 * hidden),
    'out_kernel': kernel(added, hidden, hidden),
    'up_kernel': kernel(1.0, hidden, ffn),
    'down_kernel': kernel(added, ffn, hidden),
  }


def each(params: Arrays) -> list[dict[str, jax.Array]]:
  """The parameters of every layer, of stacked ones."""
  count = len(next(iter(params.values())))
  # The transpose of a split is one concatenation; that of an index is a sum.
  parts = {name: jax.lax.split(array, (1,) * count) for name, array in params.items()}
  return [{name: own[i][0] for name, own in parts.items()} for i in range(count)]


@dataclasses.dataclass(frozen=True)
class Layers:
  """How the layers are applied.

  Attributes:
    sizes: of the network.
    rate: share dropped of what a half adds, given a key.
    remat: a layer is computed again in the backward pass, not kept.
    scan: as one program of a layer, which is compiled once.
  """

  sizes: Sizes
  rate: float
  remat: bool
  scan: bool

  def __call__(
    self,
    params: Arrays,
    hidden: jax.Array,
    segments: jax.Array,
    key: jax.Array | None,
  ) -> jax.Array:
    """``[batch, length, hidden]`` of the same.

    Args:
      params: stacked.
      hidden: ``[batch, length, hidden]``.
      segments: ``[batch, length]``: an example sees itself alone.
      key: of the dropout; None: without.
    """

    def one(
      hidden: jax.Array, given: tuple[Arrays, jax.Array | None]
    ) -> tuple[jax.Array, None]:
      own, key = given
      queries, keys, values = self.projected(own, hidden)
      context = packed_attention(queries, keys, values, segments)
      return self.finished(own, hidden, context, key), None

    if self.remat:
      one = jax.checkpoint(one, prevent_cse=not self.scan)
    split = None if key is None else jax.random.split(key, self.sizes.layers)
    if self.scan:
      return jax.lax.scan(one, hidden, (params, split))[0]
    for index, own in enumerate(each(params)):
      hidden, _ = one(hidden, (own, None if split is None else split[index]))
    return hidden

  def filled(
    self, params: Arrays, hidden: jax.Array, segments: jax.Array
  ) -> tuple[jax.Array, list[KeysAndValues]]:
    """The same, and every layer's keys and values ``[batch, length, heads, size]``."""
    kept = []
    for own in each(params):
      queries, keys, values = self.projected(own, hidden)
      kept.append((keys, values))
      context = packed_attention(queries, keys, values, segments)
      hidden = self.finished(own, hidden, context, None)
    return hidden, kept

  def projected(self, own: Arrays, hidden: jax.Array) -> tuple[jax.Array, ...]:
    """Queries, scaled, keys and values of a layer, ``[..., heads, size]``."""
    if self.sizes.norm_before:
      hidden = normalized(own, 'attention', hidden)
    heads, size = self.sizes.heads, self.sizes.hidden // self.sizes.heads
    outputs = affine(own, 'qkv', hidden)
    outputs = outputs.reshape(*hidden.shape[:-1], heads, 3, size)
    queries, keys, values = (outputs[..., i, :] for i in range(3))
    return queries * size**-0.5, keys, values

  def finished(
    self, own: Arrays, hidden: jax.Array, context: jax.Array, key: jax.Array | None
  ) -> jax.Array:
    """What a layer puts out, of its input and what its attention read."""
    keys = (None, None) if key is None else jax.random.split(key)
    before = self.sizes.norm_before
    outputs = affine(own, 'out', context.reshape(hidden.shape))
    hidden = hidden + dropped(outputs, self.rate, keys[0])
    if not before:
      hidden = normalized(own, 'attention', hidden)
    inner = normalized(own, 'mlp', hidden) if before else hidden
    outputs = affine(own, 'down', relu(affine(own, 'up', inner)))
    hidden = hidden + dropped(outputs, self.rate, keys[1])
    return hidden if before else normalized(own, 'mlp', hidden)


def normalized(own: Arrays, half: str, inputs: jax.Array) -> jax.Array:
  """The layer norm of a half of a layer."""
  names = f'{half}_norm_scale', f'{half}_norm_bias'
  return layer_norm(inputs, *(own[name] for name in names))
