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
_GROUP = 32  # symbols whose best is looked at first


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
class _Found:
  """The ends of what was found, ``[batch, beam]`` each; fields as of `Hypotheses`.

  Attributes:
    places: in the beam, before the end symbol if it has one.
  """

  places: jax.Array
  lengths: jax.Array
  log_probs: jax.Array
  scores: jax.Array
  ended: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Search:
  """A search after ``steps`` ids; arrays of the beam are ``[batch, beam, ...]``.

  Attributes:
    steps: ids so far.
    symbols: ``[length, batch, beam]``, by the step that chose them.
    parents: ``[length, batch, beam]``, where in the beam of the step before.
    log_probs: of those that go on; below `_THERE`: there is none.
    coverage: the sum of their weights, ``[..., source]``.
    cache: of their model.
    found: those that ended, the best first.
  """

  steps: jax.Array
  symbols: jax.Array
  parents: jax.Array
  log_probs: jax.Array
  coverage: jax.Array
  cache: PyTree
  found: _Found


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
    step: ``cache, ids [batch·beam] -> (logits [batch·beam, V], weights
      [batch·beam, source], cache)``; without attention ``source`` is 0.
    cache: ``[batch, ...]`` each: that of the start, and of the source.
    beam: hypotheses kept.
    length: most ids, the end symbol among them.
    start: the first input; part of no hypothesis.
    end: the symbol that ends one.
    padding: what stands behind the end.
    allowed: ``[V]``, False for symbols that never come, as padding; they keep their
      share of the probability.
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
    last = jax.lax.dynamic_index_in_dim(
      search.symbols, jnp.maximum(search.steps - 1, 0), 0, keepdims=False
    )
    fed = jnp.where(search.steps == 0, start, last)
    logits, weights, cache = step(_flat(search.cache), fed.reshape(-1))
    logits = logits.reshape(*fed.shape, -1)
    coverage = search.coverage + weights.reshape(*fed.shape, -1)
    cache = jax.tree.map(lambda leaf: leaf.reshape(*fed.shape, *leaf.shape[1:]), cache)
    candidates = _best(search.log_probs, logits, allowed, 2 * beam)
    return rules.chosen(search, candidates, coverage, cache)

  first = _begun(step, cache, beam, length)
  last = jax.lax.while_loop(rules.unfinished, advance, first)
  return _told(last, _filled(last.found, rules.rest(last)), end, padding)


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
    self,
    search: _Search,
    candidates: tuple[jax.Array, jax.Array, jax.Array],
    coverage: jax.Array,
    cache: PyTree,
  ) -> _Search:
    """The search after one more id, of the candidates as of `_best`."""
    beam, count = self.beam, search.steps + 1
    best, parents, symbols = candidates
    ends = symbols == self.end
    # One that ends has to be among the best, not to be the best of those that end.
    ended = ends[:, :beam] & (best[:, :beam] > _THERE)
    scores = self.score(best[:, :beam], count, _rows(coverage, parents[:, :beam]))
    new = _Found(
      parents[:, :beam],
      jnp.full(scores.shape, count),
      best[:, :beam],
      jnp.where(ended, scores, NEVER),
      ended,
    )
    going = jnp.where(ends, NEVER, best)
    if beam == 1:  # greedy search is over at the end, whatever else might score
      going = jnp.where(ends[:, :1], NEVER, going)
    on, places = jax.lax.top_k(going, beam)
    parents, symbols = _rows(parents, places), _rows(symbols, places)

    def noted(rows: jax.Array, row: jax.Array) -> jax.Array:
      return jax.lax.dynamic_update_index_in_dim(rows, row, search.steps, 0)

    return _Search(
      count,
      noted(search.symbols, symbols),
      noted(search.parents, parents),
      on,
      _rows(coverage, parents),
      jax.tree.map(lambda leaf: _rows(leaf, parents), cache),
      _merged(search.found, new),
    )

  def rest(self, search: _Search) -> _Found:
    """Those that are cut off."""
    there = search.log_probs > _THERE
    scores = self.score(search.log_probs, search.steps, search.coverage)
    return _Found(
      jnp.broadcast_to(jnp.arange(self.beam, dtype=jnp.int32), there.shape),
      jnp.full(there.shape, search.steps),
      search.log_probs,
      jnp.where(there, scores, NEVER),
      jnp.zeros(there.shape, bool),
    )


def _begun(step: Step, cache: PyTree, beam: int, length: int) -> _Search:
  """One hypothesis without an id; the others of the beam are not there yet."""
  batch = len(jax.tree.leaves(cache)[0])

  def repeated(leaf: jax.Array) -> jax.Array:
    return jnp.repeat(leaf[:, None], beam, axis=1)

  cache = jax.tree.map(repeated, cache)
  shape = (batch, beam)
  fed = jax.ShapeDtypeStruct((batch * beam,), jnp.int32)
  _, weights, _ = jax.eval_shape(step, _flat(cache), fed)
  never, zeros = jnp.full(shape, NEVER), jnp.zeros(shape, jnp.int32)
  history = jnp.zeros((length, *shape), jnp.int32)
  return _Search(
    jnp.int32(0),
    *(history, history),
    never.at[:, 0].set(0.0),
    jnp.zeros((*shape, weights.shape[-1])),
    cache,
    _Found(zeros, zeros, never, never, jnp.zeros(shape, bool)),
  )


def _best(
  before: jax.Array, logits: jax.Array, allowed: jax.Array | None, count: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The most probable sequences, where in the beam, and of which symbol.

  Args:
    before: ``[batch, beam]``, log-probabilities so far.
    logits: ``[batch, beam, V]`` of the next symbol.
    allowed: ``[V]``, or None: all are.
    count: how many are looked for; at most ``beam · V``.
  """
  batch, beam, size = logits.shape
  # Computed once, though several passes read it.
  logits = jax.lax.optimization_barrier(logits)
  greatest = logits.max(-1)
  shares = jnp.log(jnp.exp(logits - greatest[..., None]).sum(-1))
  if allowed is not None:
    logits = jnp.where(allowed[None, None], logits, NEVER)

  def totals(values: jax.Array, parents: jax.Array | None = None) -> jax.Array:
    """Of logits of all hypotheses, or of these."""
    scales = before, greatest, shares
    if parents is not None:
      scales = jax.tree.map(lambda scale: _rows(scale, parents), scales)
    total, most, share = (scale[..., None] for scale in scales)
    return total + ((values - most) - share)

  groups = -(-size // _GROUP)
  if beam * groups < 2 * count:
    best, places = _top(totals(logits), count)
    return best, places // size, places % size
  # The greatest lie in as many groups, those of the greatest maxima.
  _, chosen = _top(totals(_maxima(logits)), count)
  chosen = jnp.sort(chosen)  # of equal ones the first is taken
  parents, starts = chosen // groups, chosen % groups * _GROUP
  symbols = starts[..., None] + jnp.arange(_GROUP)[None, None]
  rows = jnp.arange(batch)[:, None, None]
  values = logits[rows, parents[..., None], jnp.minimum(symbols, size - 1)]
  values = jnp.where(symbols < size, totals(values, parents), 2 * NEVER)
  best, places = _top(values, count)
  parents = jnp.take_along_axis(parents, places // _GROUP, 1)
  return best, parents, jnp.take_along_axis(symbols.reshape(batch, -1), places, 1)


def _top(totals: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
  """The greatest of a batch, and where they stand in all that it has."""
  found = jax.lax.top_k(totals.reshape(len(totals), -1), count)
  # Where a slice of them is used beside them XLA would sort all totals.
  best, places = jax.lax.optimization_barrier(found)
  return best, places


def _maxima(logits: jax.Array) -> jax.Array:
  """``[batch, beam, groups]``."""
  size = logits.shape[-1]
  whole = size - size % _GROUP
  maxima = logits[..., :whole].reshape(*logits.shape[:-1], -1, _GROUP).max(-1)
  if whole == size:
    return maxima
  rest = logits[..., whole:].max(-1, keepdims=True)
  return jnp.concatenate([maxima, rest], -1)


def _told(search: _Search, found: _Found, end: int, padding: int) -> Hypotheses:
  """What was found, from the ends back to the start."""
  there = found.scores > _THERE
  lengths = jnp.where(there, found.lengths, 0)
  ended = found.ended & there
  chosen = lengths - ended  # symbols before the end

  def back(
    places: jax.Array, noted: tuple[jax.Array, jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    step, symbols, parents = noted
    here = step < chosen
    ids = jnp.where(ended & (step == chosen), end, padding)
    ids = jnp.where(here, _rows(symbols, places), ids)
    return jnp.where(here, _rows(parents, places), places), ids

  steps = jnp.arange(len(search.symbols))
  noted = steps, search.symbols, search.parents
  _, ids = jax.lax.scan(back, found.places, noted, reverse=True)
  return Hypotheses(
    jnp.moveaxis(ids, 0, -1),
    lengths,
    jnp.where(there, found.log_probs, -jnp.inf),
    jnp.where(there, found.scores, -jnp.inf),
    ended,
  )


def _merged(one: _Found, other: _Found) -> _Found:
  """The best of both."""
  both = _joined(one, other)
  _, chosen = jax.lax.top_k(both.scores, one.scores.shape[1])
  return jax.tree.map(lambda leaf: _rows(leaf, chosen), both)


def _filled(found: _Found, cut: _Found) -> _Found:
  """The best that were cut off come behind those that ended."""
  both = _joined(found, cut)
  order = jnp.lexsort((-both.scores, ~both.ended))[:, : found.scores.shape[1]]
  return jax.tree.map(lambda leaf: _rows(leaf, order), both)


def _joined(one: _Found, other: _Found) -> _Found:
  return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), one, other)


def _rows(leaf: jax.Array, places: jax.Array) -> jax.Array:
  """``leaf[b, places[b]]`` for every b."""
  return leaf[jnp.arange(len(leaf))[:, None], places]


def _flat(tree: PyTree) -> PyTree:
  return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)
