"""Beam search: the most probable sequences of a model that predicts id by id."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
Step = Callable[[PyTree, jax.Array], tuple[jax.Array, jax.Array, PyTree]]
NEVER = -1e30  # finite, so that no difference of two is NaN
_THERE = NEVER / 2
_GROUP = 64  # candidates whose best is looked at first


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hypotheses:
  """What was found, the best first.

  Attributes:
    ids: ``[batch, beam, length]``, the end symbol last, padding behind it.
    lengths: ``[batch, beam]``, with the end symbol; 0: there is no such hypothesis.
    log_probs: ``[batch, beam]``, nats.
    scores: ``[batch, beam]``, what they are ordered by.
    ended: ``[batch, beam]``; False: cut off at the greatest length.
  """

  ids: jax.Array
  lengths: jax.Array
  log_probs: jax.Array
  scores: jax.Array
  ended: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Search:
  """A search after ``steps`` ids; all arrays ``[batch, beam, ...]``.

  Attributes:
    steps: ids so far.
    ids: of those that go on.
    log_probs: of those; below `_THERE`: there is none.
    coverage: the sum of their weights, ``[..., source]``.
    cache: of their model.
    found: those that ended, the best first.
  """

  steps: jax.Array
  ids: jax.Array
  log_probs: jax.Array
  coverage: jax.Array
  cache: PyTree
  found: Hypotheses


def beam_search(
  step: Step,
  cache: PyTree,
  *,
  beam: int,
  length: int,
  start: int,
  end: int,
  padding: int = 0,
  allowed: jax.Array | None = None,
  mask: jax.Array | None = None,
  length_penalty: float = 0.0,
  coverage_penalty: float = 0.0,
) -> Hypotheses:
  """The ``beam`` best sequences that were found, by ``log p / lp + cp``.

  ``lp = ((5 + |y|) / 6)^length_penalty`` and ``cp = coverage_penalty · Σ_s
  log(min(Σ_t weights_ts, 1))``. Sequences that end leave the beam for a list of the
  best; the search is over where none in the beam can come to be among these.
  ``beam=1`` is greedy search, whatever the penalties. To be jitted by the caller.

  Args:
    step: ``cache, ids [batch·beam] -> (log_probs [batch·beam, V], weights
      [batch·beam, source], cache)``; without attention ``source`` is 0.
    cache: ``[batch, ...]`` each: that of the start, and of the source.
    beam: hypotheses kept.
    length: most ids, the end symbol among them.
    start: the first input; part of no hypothesis.
    end: the symbol that ends one.
    padding: what stands behind the end.
    allowed: ``[V]``, False for symbols that never come, as padding.
    mask: ``[batch, source]``, False for places where nothing is to be looked at.
    length_penalty: 0: long ones are as improbable as they are.
    coverage_penalty: of parts of the source that nothing looked at.

  References:
    Wu et al., 2016: "Google's neural machine translation system".
  """
  if beam < 1 or length < 1:
    raise ValueError(f'beam, length: expected 1 or more, got {beam}, {length}')
  if length_penalty < 0 or coverage_penalty < 0:
    raise ValueError('length_penalty, coverage_penalty: expected 0 or more')
  rules = _Rules(beam, length, end, mask, length_penalty, coverage_penalty)

  def advance(search: _Search) -> _Search:
    before = jax.lax.dynamic_index_in_dim(
      search.ids, jnp.maximum(search.steps - 1, 0), 2, keepdims=False
    )
    fed = jnp.where(search.steps == 0, start, before)
    log_p, weights, cache = step(_flat(search.cache), fed.reshape(-1))
    if allowed is not None:
      log_p = jnp.where(allowed[None], log_p, NEVER)
    totals = search.log_probs[..., None] + log_p.reshape(*fed.shape, -1)
    coverage = search.coverage + weights.reshape(*fed.shape, -1)
    cache = jax.tree.map(lambda leaf: leaf.reshape(*fed.shape, *leaf.shape[1:]), cache)
    return rules.chosen(search, totals, coverage, cache)

  first = _begun(step, cache, beam, length, padding)
  last = jax.lax.while_loop(rules.unfinished, advance, first)
  return _cleared(_filled(last.found, rules.rest(last)), padding)


@dataclasses.dataclass(frozen=True)
class _Rules:
  """What is kept, and when it is enough; attributes as of `beam_search`."""

  beam: int
  length: int
  end: int
  mask: jax.Array | None
  length_penalty: float
  coverage_penalty: float

  def score(self, log_probs: jax.Array, count: Any, coverage: jax.Array) -> jax.Array:
    mask = None if self.mask is None else self.mask[:, None]
    seen = jnp.sum(jnp.log(jnp.clip(coverage, 1e-6, 1.0)), -1, where=mask)
    return log_probs / self._penalty(count) + self.coverage_penalty * seen

  def _penalty(self, count: Any) -> Any:
    return ((5 + count) / 6) ** self.length_penalty

  def unfinished(self, search: _Search) -> jax.Array:
    """Whether any hypothesis can still come to be among the best."""
    # No score can be better than that of no more loss, at the greatest length, with
    # all of the source looked at.
    best = search.log_probs.max(1)
    better = best / self._penalty(self.length) > search.found.scores.min(1)
    return (search.steps < self.length) & (better & (best > _THERE)).any()

  def chosen(
    self, search: _Search, totals: jax.Array, coverage: jax.Array, cache: PyTree
  ) -> _Search:
    """The search after one more id, of candidates ``[batch, beam, V]``."""
    beam, count = self.beam, search.steps + 1
    best, parents, symbols = _best(totals, 2 * beam)
    ids = _rows(search.ids, parents)
    ids = jax.lax.dynamic_update_index_in_dim(ids, symbols, search.steps, 2)
    ends = symbols == self.end
    # One that ends has to be among the best, not to be the best of those that end.
    scores = self.score(best, count, _rows(coverage, parents))[:, :beam]
    ended = ends[:, :beam] & (best[:, :beam] > _THERE)
    new = Hypotheses(
      ids[:, :beam],
      jnp.full(scores.shape, count),
      best[:, :beam],
      jnp.where(ended, scores, NEVER),
      ended,
    )
    going = jnp.where(ends, NEVER, best)
    if beam == 1:  # greedy search is over at the end, whatever else might score
      going = jnp.where(ends[:, :1], NEVER, going)
    on, places = jax.lax.top_k(going, beam)
    parents = _rows(parents, places)
    return _Search(
      count,
      _rows(ids, places),
      on,
      _rows(coverage, parents),
      jax.tree.map(lambda leaf: _rows(leaf, parents), cache),
      _merged(search.found, new),
    )

  def rest(self, search: _Search) -> Hypotheses:
    """Those that are cut off."""
    there = search.log_probs > _THERE
    scores = self.score(search.log_probs, search.steps, search.coverage)
    return Hypotheses(
      search.ids,
      jnp.full(there.shape, search.steps),
      search.log_probs,
      jnp.where(there, scores, NEVER),
      jnp.zeros(there.shape, bool),
    )


def _begun(step: Step, cache: PyTree, beam: int, length: int, padding: int) -> _Search:
  """One hypothesis without an id; the others of the beam are not there yet."""
  batch = len(jax.tree.leaves(cache)[0])

  def repeated(leaf: jax.Array) -> jax.Array:
    return jnp.repeat(leaf[:, None], beam, axis=1)

  cache = jax.tree.map(repeated, cache)
  shape = (batch, beam)
  fed = jax.ShapeDtypeStruct((batch * beam,), jnp.int32)
  _, weights, _ = jax.eval_shape(step, _flat(cache), fed)
  never = jnp.full(shape, NEVER)
  ids = jnp.full((*shape, length), padding, jnp.int32)
  nothing = Hypotheses(
    ids, jnp.zeros(shape, jnp.int32), never, never, jnp.zeros(shape, bool)
  )
  coverage = jnp.zeros((*shape, weights.shape[-1]))
  return _Search(jnp.int32(0), ids, never.at[:, 0].set(0.0), coverage, cache, nothing)


def _best(totals: jax.Array, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The greatest of ``[batch, beam, V]``, where in the beam, and of which symbol."""
  batch, beam, size = totals.shape
  groups = -(-max(beam * size, count) // _GROUP)
  # Not to be computed once more for every look at it.
  flat = jax.lax.optimization_barrier(totals.reshape(batch, -1))
  behind = ((0, 0), (0, groups * _GROUP - beam * size))
  flat = jnp.pad(flat, behind, constant_values=NEVER * 2)
  if groups < 2 * count:
    best, places = jax.lax.top_k(flat, count)
  else:  # the greatest lie in as many groups, those of the greatest maxima
    grouped = flat.reshape(batch, groups, _GROUP)
    _, within = jax.lax.top_k(grouped.max(-1), count)
    within = jnp.sort(within)  # of equal ones the first is taken
    best, places = jax.lax.top_k(_rows(grouped, within).reshape(batch, -1), count)
    group = jnp.take_along_axis(within, places // _GROUP, 1)
    places = group * _GROUP + places % _GROUP
  parents = jnp.minimum(places // size, beam - 1)
  return best, parents, (places % size).astype(jnp.int32)


def _merged(one: Hypotheses, other: Hypotheses) -> Hypotheses:
  """The best of both."""
  both = _joined(one, other)
  _, chosen = jax.lax.top_k(both.scores, one.scores.shape[1])
  return jax.tree.map(lambda leaf: _rows(leaf, chosen), both)


def _filled(found: Hypotheses, cut: Hypotheses) -> Hypotheses:
  """The best that were cut off come behind those that ended."""
  both = _joined(found, cut)
  order = jnp.lexsort((-both.scores, ~both.ended))[:, : found.scores.shape[1]]
  return jax.tree.map(lambda leaf: _rows(leaf, order), both)


def _joined(one: Hypotheses, other: Hypotheses) -> Hypotheses:
  return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), one, other)


def _cleared(found: Hypotheses, padding: int) -> Hypotheses:
  """With nothing in the places that are empty, and padding behind the ends."""
  there = found.scores > _THERE
  lengths = jnp.where(there, found.lengths, 0)
  places = jnp.arange(found.ids.shape[-1])
  behind = places[None, None] >= lengths[..., None]
  return dataclasses.replace(
    found,
    ids=jnp.where(behind, padding, found.ids),
    lengths=lengths,
    log_probs=jnp.where(there, found.log_probs, -jnp.inf),
    scores=jnp.where(there, found.scores, -jnp.inf),
    ended=found.ended & there,
  )


def _rows(leaf: jax.Array, places: jax.Array) -> jax.Array:
  """``leaf[b, places[b]]`` for every b."""
  return leaf[jnp.arange(len(leaf))[:, None], places]


def _flat(tree: PyTree) -> PyTree:
  return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)
