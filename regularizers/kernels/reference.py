"""Row statistics written as the formulas are: the oracle of the fast kernels.

All functions take ``logits`` of shape ``[..., V]`` and reduce the last axis.
Autodiff through them is correct, but saves several arrays of that shape.
"""

import jax
import jax.numpy as jnp


def log_normalizer(logits: jax.Array) -> jax.Array:
  """log Σ exp z, in nats, ``[...]``."""
  return jax.nn.logsumexp(logits, axis=-1)


def entropy(logits: jax.Array) -> jax.Array:
  """−Σ p log p with 0 log 0 = 0, in nats, ``[...]``."""
  log_p = jax.nn.log_softmax(logits, axis=-1)
  finite = jnp.isfinite(log_p)
  # The inner `where` keeps the derivative of the masked branch finite.
  safe = jnp.where(finite, log_p, 0.0)
  return -jnp.sum(jnp.where(finite, jnp.exp(safe) * safe, 0.0), axis=-1)


def mean_logit(logits: jax.Array) -> jax.Array:
  """The plain mean of the logits of a row, ``[...]``."""
  return jnp.mean(logits, axis=-1)
