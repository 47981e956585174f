"""Beam search: exhaustive on toy models, and what it never returns."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.scores import beam_search as beam_module
from experiments.scores.beam_search import Hypotheses, beam_search

PADDING, START, END = 0, 1, 2
V, S, LENGTH = 5, 3, 4
ALLOWED = np.array([False, False, True, True, True])
NEVER_END = np.array([False, False, False, True, True])


def model(seed: int, batch: int = 3) -> tuple[np.ndarray, np.ndarray]:
  """A second-order chain: log-probabilities by the last two ids, and where it looks."""
  draw = np.random.default_rng(seed)
  logits = 2 * draw.normal(size=(batch, V, V, V))
  logits[..., [PADDING, START]] = 9.0  # a model may well like what never comes
  looks = draw.dirichlet(np.ones(S), (batch, V))
  table = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))
  return np.asarray(table), looks.astype(np.float32)


@functools.cache  # of all models
def program(**options):
  def step(cache, ids):
    table, looks, before = cache
    rows = jnp.arange(len(ids))
    return table[rows, before, ids], looks[rows, ids], (table, looks, ids)

  @jax.jit
  def run(table, looks, allowed, mask):
    cache = table, looks, jnp.zeros(len(table), jnp.int32)
    special = {'start': START, 'end': END, 'allowed': allowed, 'mask': mask}
    return beam_search(step, cache, **special, **options)

  return run


def search(
  seed: int,
  batch: int = 3,
  *,
  allowed=ALLOWED,
  mask=None,
  padded=0,
  rows=None,
  **options,
) -> Hypotheses:
  table, looks = model(seed, batch)
  looks = np.pad(looks, ((0, 0), (0, 0), (0, padded)))
  if rows is not None:
    table, looks = table[rows], looks[rows]
  run = program(**{'beam': 4, 'length': LENGTH, **options})
  return jax.device_get(run(table, looks, allowed, mask))


def every(seed: int, row: int, alpha: float, beta: float) -> list[tuple]:
  """``(score, log p, ids)`` of all sequences that end, the best first."""
  table, looks = (array.astype(np.float64) for array in model(seed))
  found = []
  for count in range(LENGTH):
    for body in itertools.product((3, 4), repeat=count):
      ids, before, last, total, seen = (*body, END), 0, START, 0.0, np.zeros(S)
      for symbol in ids:
        total += table[row, before, last, symbol]
        seen += looks[row, last]
        before, last = last, symbol
      penalty = beta * np.log(np.minimum(seen, 1)).sum()
      score = total / ((5 + len(ids)) / 6) ** alpha + penalty
      found.append((score, total, ids))
  return sorted(found, reverse=True)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(('alpha', 'beta'), [(0, 0), (1, 0), (0.6, 0.2), (0, 1)])
def test_a_beam_that_holds_all_is_exhaustive(seed: int, alpha: float, beta: float):
  found = search(seed, beam=16, length_penalty=alpha, coverage_penalty=beta)
  for row in range(3):
    expected = every(seed, row, alpha, beta)
    count = min(len(expected), int(found.ended[row].sum()))
    assert count >= 8
    # Only the best is promised: the search ends when no other can be better.
    for place in range(count):
      score, total, ids = expected[place]
      np.testing.assert_allclose(found.scores[row, place], score, rtol=1e-5)
      np.testing.assert_allclose(found.log_probs[row, place], total, rtol=1e-5)
      length = found.lengths[row, place]
      assert tuple(found.ids[row, place, :length]) == ids


def greedy(seed: int, row: int) -> list[int]:
  table, _ = model(seed)
  before, last, ids = 0, START, []
  while len(ids) < LENGTH and last != END:
    scores = np.where(ALLOWED, table[row, before, last], -np.inf)
    before, last = last, int(scores.argmax())
    ids.append(last)
  return ids


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('penalty', [0.0, 30.0])
def test_a_beam_of_one_is_greedy(seed: int, penalty: float):
  found = search(seed, beam=1, length_penalty=penalty)
  for row in range(3):
    expected = greedy(seed, row)
    length = int(found.lengths[row, 0])
    assert found.ids[row, 0, :length].tolist() == expected
    assert bool(found.ended[row, 0]) == (expected[-1] == END)


@pytest.mark.parametrize(('beam', 'most'), [(1, 6), (3, 6), (32, 3)])
def test_what_is_never_returned(beam: int, most: int):
  for seed in range(5):
    # So strong that what was never there would look as if it had been.
    found = search(seed, beam=beam, length=most, length_penalty=3.0)
    for ids, length, ended in zip(
      found.ids.reshape(-1, most), found.lengths.flat, found.ended.flat, strict=True
    ):
      body, behind = ids[:length], ids[length:]
      assert not {PADDING, START} & set(body.tolist())
      assert (behind == PADDING).all()
      assert (body == END).sum() == ended
      assert not ended or body[-1] == END
    there = found.lengths > 0
    assert there[:, 0].all()
    assert (np.diff(np.where(found.ended, found.scores, -9e9), axis=1) <= 0).all()
    for row, own in enumerate(found.ids):
      texts = [tuple(ids) for ids in own[there[row]]]
      assert len(set(texts)) == len(texts)


def test_a_larger_beam_is_not_worse_here():
  scores = [search(0, beam=beam).log_probs[:, 0] for beam in (1, 2, 16)]
  assert (np.diff(np.stack(scores), axis=0) >= -1e-6).all()


def test_rows_do_not_see_one_another():
  together = search(3, batch=3, beam=2)
  for row in range(3):
    alone = search(3, beam=2, rows=[row])
    assert (alone.ids[0] == together.ids[row]).all()


def test_one_that_does_not_end_is_cut_off():
  found = search(0, beam=2, allowed=NEVER_END)
  assert (found.lengths == LENGTH).all()
  assert not found.ended.any()


def test_those_that_are_cut_off_are_in_order():
  """The more probable one is not the better one, if it looks at less."""
  found = search(0, beam=8, length=3, allowed=NEVER_END, coverage_penalty=5.0)
  assert (found.lengths == 3).all()
  assert (np.diff(found.log_probs) > 0).any(1).all()
  assert (np.diff(found.scores) <= 0).all()


def test_what_ended_comes_before_what_is_cut_off():
  """Also where coverage makes its score the lower one."""
  found = search(4, beam=16, length=3, coverage_penalty=5.0)
  cut = ~found.ended & (found.lengths > 0)
  order = np.where(found.ended, 0, np.where(cut, 1, 2))
  assert (np.diff(order) >= 0).all()
  worst = np.where(found.ended, found.scores, np.inf).min(1)
  best = np.where(cut, found.scores, -np.inf).max(1)
  assert (worst < best).any()
  for kind in (found.ended, cut):
    for row in range(3):
      assert (np.diff(found.scores[row][kind[row]]) <= 0).all()


@pytest.mark.parametrize(
  ('beam', 'alpha', 'beta'),
  [(1, 1.0, 0.0), (1, 0.0, 2.0), (3, 0.0, 0.0), (3, 0.6, 0.2), (3, 0.0, 2.0)],
)
def test_it_ends_early_where_none_can_be_better(
  monkeypatch: pytest.MonkeyPatch, beam: int, alpha: float, beta: float
):
  options = {'beam': beam, 'length_penalty': alpha, 'coverage_penalty': beta}
  taken: list[int] = []
  unfinished = beam_module._Rules.unfinished

  def counted(rules, state):
    jax.debug.callback(lambda steps: taken.append(int(steps)), state.steps)
    return unfinished(rules, state)

  def unhurried(rules, state):
    return state.steps < 9

  found, steps = {}, []
  for name, rule in (('early', counted), ('late', unhurried)):
    monkeypatch.setattr(beam_module._Rules, 'unfinished', rule)
    program.cache_clear()
    for seed in range(4):
      found[name, seed] = search(seed, length=9, **options)
      jax.effects_barrier()
      steps.append(max(taken, default=9))
      taken.clear()
  program.cache_clear()
  assert min(steps) < 9
  for seed in range(4):
    jax.tree.map(
      np.testing.assert_array_equal, found['early', seed], found['late', seed]
    )


def test_it_goes_on_for_one_that_is_better_by_its_length():
  """Where two have ended, and the one that goes on is not yet as good as they."""
  probabilities = np.full((1, V, V, V), 1e-9, np.float32)
  probabilities[0, 0, START, [END, 4, 3]] = 0.4, 0.35, 0.25
  path = [START, 3, 3, 4, 4, END]
  for symbols in (*zip(path, path[1:], path[2:], strict=False), (START, 4, END)):
    probabilities[(0, *symbols)] = 1.0
  run = program(beam=2, length=5, length_penalty=1.0)
  found = run(np.log(probabilities), np.zeros((1, V, S), np.float32), ALLOWED, None)
  assert found.ids[0].tolist() == [path[1:], [4, END, 0, 0, 0]]
  scores = np.log([0.25, 0.35]) / [10 / 6, 7 / 6]
  np.testing.assert_allclose(found.scores[0], scores, rtol=1e-5)


def test_padded_places_cost_nothing():
  options = {'length_penalty': 1.0, 'coverage_penalty': 0.3}
  expected = search(0, **options)
  mask = np.arange(S + 2)[None] < np.full((3, 1), S)
  padded = search(0, padded=2, mask=mask, **options)
  np.testing.assert_array_equal(padded.ids, expected.ids)
  np.testing.assert_allclose(padded.scores, expected.scores, rtol=1e-6)


@pytest.mark.parametrize('size', [5, 97, 3000, 3072])
@pytest.mark.parametrize('kind', ['continuous', 'with ties', 'some never come'])
def test_the_best_of_many(size: int, kind: str):
  """The groups in which they are looked for change nothing, not even with ties."""
  draw = np.random.default_rng(size)
  logits = draw.normal(size=(3, 4, size)).astype(np.float32)
  before = draw.normal(size=(3, 4)).astype(np.float32)
  allowed = None
  if kind == 'with ties':
    logits[:] = np.round(logits[:, :1])
    before[:] = before[:, :1]
  if kind == 'some never come':
    allowed = draw.random(size) < 0.6
  best = jax.jit(beam_module._best, static_argnums=3)
  values, parents, symbols = best(before, logits, allowed, 8)

  greatest = logits.max(-1, keepdims=True)
  shares = np.log(np.exp(logits - greatest).sum(-1, keepdims=True))
  totals = before[..., None] + ((logits - greatest) - shares)
  if allowed is not None:
    totals = np.where(allowed, totals, np.float32(beam_module.NEVER))
  totals = totals.reshape(3, -1)
  order = np.argsort(-totals, axis=1, kind='stable')[:, :8]
  np.testing.assert_array_equal(parents, order // size)
  np.testing.assert_array_equal(symbols, order % size)
  expected = np.take_along_axis(totals, order, 1)
  np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
  'wrong',
  [{'beam': 0}, {'length': 0}, {'length_penalty': -1}, {'coverage_penalty': -1}],
)
def test_bad_options(wrong: dict):
  with pytest.raises(ValueError, match='expected'):
    search(0, **wrong)
