"""Causal attention within the examples of packed rows."""

import jax
import jax.numpy as jnp

from experiments.models.parts import NEVER

_BLOCK, _MOST = 128, 8  # least queries of a block, most blocks


def packed_attention(
  queries: jax.Array, keys: jax.Array, values: jax.Array, segments: jax.Array
) -> jax.Array:
  """``softmax(q · k) v`` of a position over those before it in its segment, and itself.

  Args:
    queries: ``[batch, length, heads, size]``, scaled.
    keys: the same.
    values: the same.
    segments: ``[batch, length]``, equal within an example.

  Returns:
    ``[batch, length, heads, size]`` in the dtype of the values.
  """
  length = segments.shape[1]
  queries, keys, values = (x.swapaxes(1, 2) for x in (queries, keys, values))
  # Half of all pairs are of later keys: a block of queries leaves most of them out.
  size = max(_BLOCK, -(-length // _MOST))
  blocks = []
  for start in range(0, length, size):
    end = min(start + size, length)
    own = queries[:, :, start:end], keys[:, :, :end], values[:, :, :end]
    blocks.append(_block(*own, _seen(segments, start, end)))
  return jnp.concatenate(blocks, axis=2).swapaxes(1, 2)


def _seen(segments: jax.Array, start: int, end: int) -> jax.Array:
  """``[batch, keys, queries]`` of a block: in the same segment, and no later."""
  own = segments[:, start:end]
  places = jnp.arange(end)
  before = places[:, None] <= places[None, start:]
  return (segments[:, :end, None] == own[:, None]) & before[None]


def _block(
  queries: jax.Array, keys: jax.Array, values: jax.Array, seen: jax.Array
) -> jax.Array:
  """``[batch, heads, queries, size]``; queries are the last axis of the weights.

  So sums and maxima over keys are of whole rows. They are divided by their sum only
  where they are products: there are fewer of these.
  """
  scores = jnp.einsum(
    'bhkd,bhqd->bhkq', keys, queries, preferred_element_type=jnp.float32
  )
  scores = jnp.where(seen[:, None], scores, NEVER)
  greatest = jax.lax.stop_gradient(scores.max(2, keepdims=True))
  weights = jnp.exp(scores - greatest)
  total = weights.sum(2)[..., None]
  context = jnp.einsum(
    'bhkq,bhkd->bhqd',
    weights.astype(values.dtype),
    values,
    preferred_element_type=jnp.float32,
  )
  return (context / total).astype(values.dtype)
