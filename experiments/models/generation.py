"""What a decoder-only model writes, and how probable it finds what is written."""

import dataclasses

import jax
import jax.numpy as jnp

from experiments.models.cache import Cache
from experiments.models.opt import OPT


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Written:
  """What follows prompts.

  Attributes:
    ids: ``[batch, length]``, the end symbol last, padding behind it.
    lengths: ``[batch]``, with the end symbol.
    ended: ``[batch]``; False: cut off at the greatest length.
  """

  ids: jax.Array
  lengths: jax.Array
  ended: jax.Array


def greedy(
  model: OPT,
  ids: jax.Array,
  mask: jax.Array,
  *,
  length: int,
  end: int | jax.Array,
  padding: int | jax.Array = 0,
  allowed: jax.Array | None = None,
) -> Written:
  """The most probable id, again and again; to be jitted by the caller.

  A row is what it is in any batch, and padding on either side changes nothing.

  Args:
    model: reads and steps.
    ids: ``[batch, width]``, prompts.
    mask: ``[batch, width]``, what is there of them; at least one id of a row.
    length: most ids that are written, the end symbol among them; static.
    end: the symbol that ends a row.
    padding: what stands behind the end.
    allowed: ``[V]``, False for symbols that never come, as padding.

  Raises:
    ValueError: there are not as many positions as prompts and answers need.

  Example:
    >>> from flax import nnx
    >>> from experiments.models.opt_layers import Sizes
    >>> model = OPT(Sizes(40, 16, 8, layers=2, heads=2, ffn=32), rngs=nnx.Rngs(0))
    >>> write = nnx.jit(greedy, static_argnames='length')
    >>> prompts = jnp.array([[5, 6, 7], [0, 8, 9]])
    >>> write(model, prompts, prompts > 0, length=4, end=2).ids.shape
    (2, 4)
  """
  batch, width = ids.shape
  if length < 1:
    raise ValueError(f'length: expected 1 or more, got {length}')
  if width + length > model.sizes.positions:
    raise ValueError(
      f'prompts of {width} ids and {length} more: there are '
      f'{model.sizes.positions} positions'
    )

  def chosen(logits: jax.Array) -> jax.Array:
    if allowed is not None:
      logits = jnp.where(allowed[None], logits, -jnp.inf)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)

  def written(state: _Writing, best: jax.Array, cache: Cache) -> _Writing:
    """With one more id a row."""
    going, count = ~state.found.ended, state.count
    new = jnp.where(going, best, padding)[:, None]
    ids = jax.lax.dynamic_update_slice_in_dim(state.found.ids, new, count, 1)
    ended = state.found.ended | (best == end)
    found = Written(ids, state.found.lengths + going, ended)
    return _Writing(count + 1, found, cache)

  def unfinished(state: _Writing) -> jax.Array:
    return (state.count < length) & ~state.found.ended.all()

  def advance(state: _Writing) -> _Writing:
    before = jax.lax.dynamic_index_in_dim(
      state.found.ids, state.count - 1, 1, keepdims=False
    )
    logits, cache = model.step(state.cache, before)
    return written(state, chosen(logits), cache)

  nothing = Written(
    jnp.full((batch, length), padding, jnp.int32),
    jnp.zeros(batch, jnp.int32),
    jnp.zeros(batch, bool),
  )
  last, cache = model.prefill(model.start(batch, width + length - 1), ids, mask)
  first = _Writing(jnp.int32(0), nothing, cache)
  first = written(first, chosen(model.logits(last)), cache)
  return jax.lax.while_loop(unfinished, advance, first).found


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Writing:
  """After ``count`` ids."""

  count: jax.Array
  found: Written
  cache: Cache


def log_probs(
  model: OPT,
  ids: jax.Array,
  segments: jax.Array,
  positions: jax.Array,
  labels: jax.Array,
  mask: jax.Array,
  allowed: jax.Array | None = None,
) -> jax.Array:
  """log p of every label given the ids up to its place, in nats.

  All arrays are ``[batch, length]``, as those of a packed batch; rows are taken one by
  one, so that only one row's logits are there at a time. ``allowed`` ``[V]`` is False
  for symbols that never come.

  Returns:
    ``[batch, length]``, 0 where the mask is False.
  """
  hidden = model(ids, segments, positions, deterministic=True)

  def row(given: tuple[jax.Array, jax.Array]) -> jax.Array:
    hidden, labels = given
    logits = model.logits(hidden)
    if allowed is not None:
      logits = jnp.where(allowed[None], logits, -jnp.inf)
    log_p = jax.nn.log_softmax(logits)
    return jnp.take_along_axis(log_p, labels[:, None], axis=-1, mode='fill')[:, 0]

  return jnp.where(mask, jax.lax.map(row, (hidden, labels)), 0.0)
