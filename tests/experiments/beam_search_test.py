"""Beam search: exhaustive on toy models, and what it never returns."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.scores.beam_search import Hypotheses, beam_search

PADDING, START, END = 0, 1, 2
V, S, LENGTH = 5, 3, 4
ALLOWED = jnp.array([False, False, True, True, True])


def model(seed: int, batch: int = 3):
  """A second-order chain: ``(step, cache)``; log-probabilities by the last two ids."""
  draw = np.random.default_rng(seed)
  logits = 2 * draw.normal(size=(batch, V, V, V))
  logits[..., [PADDING, START]] = 9.0  # a model may well like what never comes
  table = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))
  looks = jnp.asarray(draw.dirichlet(np.ones(S), (batch, V)), jnp.float32)

  def step(cache, ids):
    row, before = cache
    return table[row, before, ids], looks[row, ids], (row, ids)

  return step, (jnp.arange(batch), jnp.zeros(batch, jnp.int32)), (table, looks)


def search(seed: int, batch: int = 3, **options) -> Hypotheses:
  step, cache, _ = model(seed, batch)
  options = {'beam': 4, 'length': LENGTH, 'allowed': ALLOWED, **options}
  run = functools.partial(beam_search, step, start=START, end=END, **options)
  return jax.device_get(jax.jit(run)(cache))


def every(seed: int, row: int, alpha: float, beta: float) -> list[tuple]:
  """``(score, log p, ids)`` of all sequences that end, the best first."""
  _, _, (table, looks) = model(seed)
  table, looks = np.asarray(table, np.float64), np.asarray(looks, np.float64)
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
  _, _, (table, _) = model(seed)
  before, last, ids = 0, START, []
  while len(ids) < LENGTH and last != END:
    scores = np.where(ALLOWED, table[row, before, last], -np.inf)
    before, last = last, int(scores.argmax())
    ids.append(last)
  return ids


@pytest.mark.parametrize('seed', range(8))
def test_a_beam_of_one_is_greedy(seed: int):
  found = search(seed, beam=1)
  for row in range(3):
    expected = greedy(seed, row)
    length = int(found.lengths[row, 0])
    assert found.ids[row, 0, :length].tolist() == expected
    assert bool(found.ended[row, 0]) == (expected[-1] == END)


@pytest.mark.parametrize('beam', [1, 2, 3, 16])
def test_what_is_never_returned(beam: int):
  for seed in range(5):
    found = search(seed, beam=beam, length=6, length_penalty=1.0)
    for ids, length, ended in zip(
      found.ids.reshape(-1, 6), found.lengths.flat, found.ended.flat, strict=True
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
  step, cache, _ = model(3)
  for row in range(3):
    own = jax.tree.map(lambda leaf: leaf[row : row + 1], cache)  # noqa: B023
    alone = beam_search(
      step, own, beam=2, length=LENGTH, start=START, end=END, allowed=ALLOWED
    )
    assert (alone.ids[0] == together.ids[row]).all()


def test_one_that_does_not_end_is_cut_off():
  never = ALLOWED.at[END].set(False)
  found = search(0, beam=2, allowed=never)
  assert (found.lengths == LENGTH).all()
  assert not found.ended.any()


@pytest.mark.parametrize(
  'wrong',
  [{'beam': 0}, {'length': 0}, {'length_penalty': -1}, {'coverage_penalty': -1}],
)
def test_bad_options(wrong: dict):
  with pytest.raises(ValueError, match='expected'):
    search(0, **wrong)
