"""Causal attention among the examples of packed rows, and of a new id to a cache."""

import jax
import jax.numpy as jnp

_NEVER = -1e30  # finite: what sees nothing, as padding may, is not NaN


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
  places = jnp.arange(segments.shape[1])
  seen = segments[:, :, None] == segments[:, None, :]
  seen &= (places[:, None] >= places[None, :])[None]
  scores = jnp.einsum(
    'bqhd,bkhd->bhqk', queries, keys, preferred_element_type=jnp.float32
  )
  weights = jax.nn.softmax(jnp.where(seen[:, None], scores, _NEVER))
  return jnp.einsum('bhqk,bkhd->bqhd', weights.astype(values.dtype), values)


def cached_attention(
  queries: jax.Array, keys: jax.Array, values: jax.Array, there: jax.Array
) -> jax.Array:
  """The same of one new position over a cache.

  Args:
    queries: ``[batch, heads, size]``, scaled.
    keys: ``[batch, heads, length, size]``.
    values: the same.
    there: ``[batch, length]``, what counts of it.

  Returns:
    ``[batch, heads, size]``.
  """
  scores = jnp.einsum(
    'bhd,bhkd->bhk', queries, keys, preferred_element_type=jnp.float32
  )
  weights = jax.nn.softmax(jnp.where(there[:, None], scores, _NEVER))
  return jnp.einsum('bhk,bhkd->bhd', weights.astype(values.dtype), values)
