"""The fully connected network for clicks of Anil et al. (2018)."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.mlp import MLP

NUMBERS, CATEGORIES = 26, 26


class ClickNetwork(nnx.Module):
  """Numbers and the vectors of categories, fully connected layers, one logit.

  Example:
    >>> model = ClickNetwork((32, 16), buckets=100, embedding=4, rngs=nnx.Rngs(0))
    >>> inputs = {
    ...   'number': jnp.zeros((8, 26)),
    ...   'category': jnp.zeros((8, 26), jnp.int32),
    ... }
    >>> model(inputs, deterministic=True).shape
    (8, 2)
  """

  def __init__(
    self,
    hidden: Sequence[int],
    *,
    buckets: int,
    embedding: int,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights from ``rngs.params``.

    Args:
      hidden: sizes of the layers.
      buckets: vectors of each column of categories.
      embedding: their size.
      dropout: share of units dropped in training.
      rngs: key ``params``.
    """
    self.buckets = buckets
    draw = nnx.initializers.normal(0.1)
    shape = (CATEGORIES * buckets, embedding)
    self.vectors = nnx.Param(draw(rngs.params(), shape))
    features = NUMBERS + CATEGORIES * embedding
    self.layers = MLP(features, hidden, 1, dropout=dropout, rngs=rngs)

  def __call__(
    self,
    inputs: Mapping[str, jax.Array],
    *,
    deterministic: bool | None = None,
    rngs: nnx.Rngs | None = None,
  ) -> jax.Array:
    """Logits ``[..., 2]`` of no click, which is 0, and of a click.

    Args:
      inputs: ``number`` [..., 26] and ``category`` [..., 26].
      deterministic: whether dropout is off; None leaves it to ``model.eval()``.
      rngs: key ``dropout``; needed when dropout is on.
    """
    category = inputs['category']
    offsets = jnp.arange(CATEGORIES) * self.buckets
    rows = category + jnp.broadcast_to(offsets, category.shape)
    vectors = self.vectors[...][rows]
    flat = vectors.reshape(*category.shape[:-1], -1)
    features = jnp.concatenate([inputs['number'], flat], axis=-1)
    logit = self.layers(features, deterministic=deterministic, rngs=rngs)
    return jnp.concatenate([jnp.zeros_like(logit), logit], axis=-1)
