"""A decoder-only transformer in the shape of OPT."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models import opt_layers
from experiments.models.cache import Cache, attend
from experiments.models.opt_layers import Layers, Sizes
from experiments.models.parts import dropped, layer_norm, product

OFFSET = 2  # of the table of positions: nothing asks for what it begins with


class OPT(nnx.Module):
  """Logits of the next id, given those before it.

  Parameters are float32, and those of the layers stacked, ``[layers, ...]``, whatever
  the options are. Products are computed in ``dtype``; softmax and layer norms in
  float32. An id or position that is out of range gives NaN.

  Example:
    >>> model = OPT(Sizes(40, 16, 8, layers=1, heads=2, ffn=32), rngs=nnx.Rngs(0))
    >>> ids = jnp.array([[5, 6, 7, 8, 9, 0]])  # two examples and padding
    >>> segments = jnp.array([[1, 1, 1, 2, 2, 0]])
    >>> positions = jnp.array([[0, 1, 2, 0, 1, 0]])
    >>> run = nnx.jit(lambda model, *packed: model(*packed, deterministic=True))
    >>> hidden = run(model, ids, segments, positions)
    >>> model.logits(hidden).shape
    (1, 6, 40)

  References:
    Zhang et al., 2022: "OPT: Open pre-trained transformer language models".
  """

  def __init__(
    self,
    sizes: Sizes,
    *,
    dropout: float = 0.0,
    remat: bool = False,
    scan_layers: bool = False,
    dtype: jnp.dtype | type = jnp.float32,
    init_std: float = 0.02,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights.

    Args:
      sizes: of the network.
      dropout: share dropped of embeddings and of what layers add.
      remat: layers are computed again in the backward pass, and take less memory.
      scan_layers: one layer is compiled and repeated, not each compiled.
      dtype: of products.
      init_std: of the normal distribution of weights.
      rngs: key ``params``.
    """

    def drawn(*shape: int) -> nnx.Param[jax.Array]:
      return nnx.Param(init_std * jax.random.normal(rngs.params(), shape))

    self.embedding = drawn(sizes.vocabulary, sizes.word)
    self.position = drawn(OFFSET + sizes.positions, sizes.hidden)
    layers = opt_layers.initial(sizes, init_std, rngs)
    self.layers = nnx.Dict({name: nnx.Param(a) for name, a in layers.items()})
    self.norm_scale = self.norm_bias = nnx.data(None)
    if sizes.norm_before:
      self.norm_scale = nnx.Param(jnp.ones(sizes.hidden))
      self.norm_bias = nnx.Param(jnp.zeros(sizes.hidden))
    self.project_in = self.project_out = nnx.data(None)
    if sizes.word != sizes.hidden:
      self.project_in = drawn(sizes.word, sizes.hidden)
      self.project_out = drawn(sizes.hidden, sizes.word)
    self.sizes, self.dropout, self.dtype = sizes, dropout, dtype
    self.apply = Layers(sizes, dropout, remat, scan_layers)

  def __call__(
    self,
    ids: jax.Array,
    segments: jax.Array,
    positions: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
  ) -> jax.Array:
    """What the softmax layer reads, ``[batch, length, embedding]`` in ``dtype``.

    Args:
      ids: ``[batch, length]``.
      segments: ``[batch, length]``: ids see those before them of the same segment.
      positions: ``[batch, length]``, from 0 in each segment.
      deterministic: without dropout.
      rngs: key ``dropout``; needed with dropout.
    """
    key = None
    if self.dropout and not deterministic:
      if rngs is None:
        raise ValueError('rngs: dropout needs the key `dropout`')
      key = rngs.dropout()
    keys = (None, None) if key is None else jax.random.split(key)
    hidden = dropped(self._embedded(ids, positions), self.dropout, keys[0])
    return self._read(self.apply(self._layers(), hidden, segments, keys[1]))

  def logits(self, hidden: jax.Array) -> jax.Array:
    """``[..., vocabulary]``, float32."""
    kernel, _ = self.affine()
    return product(hidden, kernel, jnp.float32)

  def affine(self) -> tuple[jax.Array, None]:
    """Kernel and bias, of which there is none, for losses of hidden states."""
    return self.embedding[...].astype(self.dtype).T, None

  def start(self, batch: int, length: int) -> Cache:
    """Nothing read yet, and room for ``length`` ids a row."""
    sizes = self.sizes
    shape = (batch, sizes.heads, length, sizes.hidden // sizes.heads)
    return Cache.empty(sizes.layers, shape, self.dtype)

  def prefill(
    self, cache: Cache, ids: jax.Array, mask: jax.Array
  ) -> tuple[jax.Array, Cache]:
    """Reads the ids that come first.

    Args:
      cache: of ``start``.
      ids: ``[batch, width]``.
      mask: ``[batch, width]``, what is there, on whichever side; at least one of a row.

    Returns:
      What the softmax layer reads at the last id of each row, ``[batch, embedding]``.
    """
    positions = jnp.maximum(jnp.cumsum(mask, 1) - 1, 0)
    segments = mask.astype(jnp.int32)
    hidden = self._embedded(ids, positions)
    hidden, read = self.apply.filled(self._layers(), hidden, segments)
    last = ids.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
    hidden = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]
    return self._read(hidden), cache.begun(read, mask)

  def step(self, cache: Cache, ids: jax.Array) -> tuple[jax.Array, Cache]:
    """Logits ``[batch, vocabulary]`` after one more id ``[batch]`` a row."""
    after, hidden = cache.grown(), self._embedded(ids, cache.position)
    keys, values = [], []
    for layer, own in enumerate(opt_layers.each(self._layers())):
      queries, *new = self.apply.projected(own, hidden)
      read = cache.read(layer, (new[0], new[1]))
      context = attend(queries, read, after.there)
      hidden = self.apply.finished(own, hidden, context, None)
      keys.append(read[0])
      values.append(read[1])
    after = dataclasses.replace(after, keys=tuple(keys), values=tuple(values))
    return self.logits(self._read(hidden)), after

  def _layers(self) -> dict[str, jax.Array]:
    return {name: param[...] for name, param in self.layers.items()}

  def _embedded(self, ids: jax.Array, positions: jax.Array) -> jax.Array:
    words = jnp.take(self.embedding[...], ids, axis=0, mode='fill').astype(self.dtype)
    if self.project_in is not None:
      words = product(words, self.project_in[...].astype(self.dtype))
    places = jnp.take(self.position[...], positions + OFFSET, axis=0, mode='fill')
    return words + places.astype(self.dtype)

  def _read(self, hidden: jax.Array) -> jax.Array:
    """What the softmax layer reads of what the layers put out."""
    if self.norm_scale is not None and self.norm_bias is not None:
      hidden = layer_norm(hidden, self.norm_scale[...], self.norm_bias[...])
    if self.project_out is not None:
      hidden = product(hidden, self.project_out[...].astype(self.dtype))
    return hidden


def graph(sizes: Sizes, **options: Any) -> Any:
  """A network without parameters, for ``nnx.merge`` with them; options as of `OPT`."""
  return nnx.graphdef(nnx.eval_shape(lambda: OPT(sizes, rngs=nnx.Rngs(0), **options)))
