"""Plans of batches: every example once, fixed shapes, nothing stateful."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.datasets.buckets import SHAPES, Plan, Shape, padded
from experiments.errors import InputError


def lengths(size: int, longest: int = 60) -> tuple[np.ndarray, np.ndarray]:
  random = np.random.default_rng(size)
  source = random.integers(1, longest + 1, size)
  return source, np.clip(source + random.integers(-5, 6, size), 1, longest)


def check(plan: Plan, batches, source: np.ndarray, target: np.ndarray) -> None:
  """Every example once, in a batch of a known shape that it fits into."""
  seen = []
  for batch in batches:
    shape = Shape(len(batch.rows), batch.source_width, batch.target_width)
    assert shape in plan.shapes
    assert batch.rows.dtype == np.int32
    assert batch.mask.dtype == bool
    assert batch.mask[0]
    assert source[batch.rows].max() <= batch.source_width
    assert target[batch.rows].max() <= batch.target_width
    seen.append(batch.rows[batch.mask])
  np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(source)))


pairs = st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1)


@given(pairs, st.integers(1, 400), st.integers(0, 2**31), st.integers(0, 3))
def test_an_epoch_holds_every_example_once(drawn, tokens, seed, epoch):
  source, target = np.array(drawn).T
  plan = Plan(source, target, tokens)
  first = epoch * plan.steps_per_epoch
  steps = range(first, first + plan.steps_per_epoch)
  batches = [plan.batch(seed, step) for step in steps]
  check(plan, batches, source, target)
  assert len(plan.shapes) <= SHAPES
  for shape in plan.shapes:
    assert shape.rows == 1 or shape.rows * max(shape.source, shape.target) <= tokens
  cells = sum(len(b.rows) * (b.source_width + b.target_width) for b in batches)
  assert plan.waste == pytest.approx(1 - (source.sum() + target.sum()) / cells)


@given(pairs, st.integers(1, 400), st.integers(0, 50))
def test_shapes_do_not_depend_on_the_seed(drawn, tokens, step):
  source, target = np.array(drawn).T
  plan = Plan(source, target, tokens)
  one, other = plan.batch(0, step), plan.batch(1, step)
  assert one.rows.shape == other.rows.shape
  assert one[2:] == other[2:]
  np.testing.assert_array_equal(one.mask, other.mask)
  assert plan.shape(step) == (len(one.rows), *one[2:])


@given(pairs, st.integers(1, 400), st.lists(st.integers(0, 99), max_size=9))
def test_a_batch_depends_on_nothing_before_it(drawn, tokens, steps):
  source, target = np.array(drawn).T
  plan = Plan(source, target, tokens)
  for step in steps:
    fresh = Plan(source, target, tokens).batch(5, step)
    for one, other in zip(plan.batch(5, step), fresh, strict=True):
      np.testing.assert_array_equal(one, other)


def test_seeds_and_epochs_differ_in_rows_and_epochs_in_the_order_of_shapes():
  plan = Plan(*lengths(1000), 300)
  steps = np.arange(plan.steps_per_epoch)
  order = [plan.shape(step) for step in steps]
  again = [plan.shape(step + plan.steps_per_epoch) for step in steps]
  assert order != again
  assert sorted(order) == sorted(again)
  assert order != sorted(order)

  def rows(seed: int, epoch: int) -> list[list[int]]:
    first = epoch * plan.steps_per_epoch
    return [plan.batch(seed, first + step).rows.tolist() for step in steps]

  drawn = [rows(0, 0), rows(1, 0), rows(0, 1)]
  assert drawn[0] != drawn[1]
  assert sorted(map(sorted, drawn[0])) != sorted(map(sorted, drawn[1]))
  assert sorted(map(sorted, drawn[0])) != sorted(map(sorted, drawn[2]))


def test_an_evaluation_goes_by_length():
  source, target = lengths(500)
  plan = Plan(source, target, 200)
  batches = list(plan.evaluation())
  check(plan, batches, source, target)
  assert len(batches) == plan.steps_per_epoch
  widths = [batch.source_width for batch in batches]
  assert widths == sorted(widths)
  for batch in batches:
    total = (source + target)[batch.rows[batch.mask]]
    assert (np.diff(total) >= 0).all()


def test_shapes_of_another_plan():
  plan = Plan(*lengths(500), 200)
  source, target = lengths(37, longest=40)
  other = Plan(source, target, 200, plan.shapes)
  assert other.shapes == plan.shapes
  check(other, other.evaluation(), source, target)
  with pytest.raises(InputError, match=r'^example 1: 99 and 7 tokens fit into none of'):
    Plan(np.array([5, 99]), np.array([5, 7]), 200, plan.shapes)


@pytest.mark.parametrize(('size', 'tokens'), [(50, 100), (5000, 100), (5000, 1000)])
def test_little_is_wasted(size, tokens):
  source, target = lengths(size)
  plan = Plan(source, target, tokens)
  one_shape = 1 - (source + target).mean() / (source.max() + target.max())
  assert plan.waste < 0.5 * one_shape
  if size == 5000:
    assert plan.waste < 0.15


def test_one_length_is_one_shape_and_rows_are_shared_out_evenly():
  plan = Plan(np.full(1001, 8), np.full(1001, 10), 10 * 300)
  assert plan.shapes == (Shape(251, 8, 10),)  # 4 batches of 251, not of 300
  assert plan.steps_per_epoch == 4
  assert plan.waste == pytest.approx(3 / 1004)


def test_very_long_sequences_are_rows_of_their_own():
  plan = Plan(np.array([3, 5000]), np.array([3, 10_000]), 100)
  assert plan.shapes == (Shape(1, 3, 3), Shape(1, 5000, 10_000))


def test_many_different_lengths():
  source = np.arange(1, 3001)
  plan = Plan(source, source[::-1], 5000)
  check(plan, plan.evaluation(), source, source[::-1])
  assert len(plan.shapes) <= SHAPES


def test_bad_lengths():
  one = np.ones(3, int)
  for source, target in ((one, one[:2]), (one[:0], one[:0]), (one[None], one[None])):
    with pytest.raises(ValueError, match=r'^expected lengths \[n\], got'):
      Plan(source, target, 10)
  with pytest.raises(ValueError, match=r'^expected lengths of at least 1'):
    Plan(one, one - 1, 10)
  with pytest.raises(InputError, match=r'^--batch_tokens: expected at least 1, got 0'):
    Plan(one, one, 0)


def test_padding():
  found = padded([[5, 6], [], [7, 8, 9]], 3)
  assert found.dtype == np.int32
  assert found.tolist() == [[5, 6, 0], [0, 0, 0], [7, 8, 9]]
  assert padded([], 3).shape == (0, 3)
  with pytest.raises(InputError, match=r'^a sequence of 3 tokens, expected up to 2$'):
    padded([[1], [1, 2, 3]], 2)
