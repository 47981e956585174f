"""Batches as functions of their arguments alone."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from experiments.datasets import batching
from experiments.errors import InputError

sizes = st.integers(1, 60)
seeds = st.integers(0, 2**40)


@hypothesis.given(size=sizes, batch_size=sizes, seed=seeds, epoch=st.integers(0, 5))
def test_an_epoch_visits_each_example_at_most_once(size, batch_size, seed, epoch):
  hypothesis.assume(batch_size <= size)
  steps = batching.steps_per_epoch(size, batch_size)
  batches = [
    batching.batch_indices(size, batch_size, seed, step)
    for step in range(epoch * steps, (epoch + 1) * steps)
  ]
  visited = np.concatenate(batches)
  assert visited.shape == (size // batch_size * batch_size,)
  assert len(set(visited.tolist())) == len(visited)
  assert visited.min() >= 0
  assert visited.max() < size
  if size % batch_size == 0:
    assert sorted(visited) == list(range(size))


@hypothesis.given(size=sizes, batch_size=st.integers(1, 80))
def test_evaluation_covers_each_example_once_with_static_shapes(size, batch_size):
  seen = []
  for rows, mask in batching.eval_batches(size, batch_size):
    assert rows.shape == mask.shape == (batch_size,)
    assert mask.dtype == bool
    assert rows.max() < size
    seen += rows[mask].tolist()
  assert seen == list(range(size))


def test_steps_can_be_taken_in_any_order():
  forwards = [batching.batch_indices(10, 3, 7, step) for step in range(9)]
  batching.epoch_permutation.cache_clear()
  backwards = [batching.batch_indices(10, 3, 7, step) for step in reversed(range(9))]
  np.testing.assert_array_equal(forwards, backwards[::-1])


def test_epochs_and_seeds_have_their_own_orders():
  orders = {
    tuple(batching.epoch_permutation(50, seed, epoch))
    for seed in range(5)
    for epoch in range(5)
  }
  assert len(orders) == 25


def test_the_order_is_the_same_under_every_numpy():
  order = batching.epoch_permutation(8, 1, 2)
  assert order.tolist() == [4, 6, 7, 3, 5, 0, 2, 1]


def test_a_cached_order_cannot_be_changed():
  with pytest.raises(ValueError, match='read-only'):
    batching.batch_indices(10, 5, 0, 0)[0] = 3


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda: batching.batch_indices(20, 21, 0, 0), '21 is more than the 20 training'),
    (lambda: batching.batch_indices(20, 0, 0, 0), 'expected at least 1, got 0'),
    (lambda: list(batching.eval_batches(20, -1)), 'expected at least 1, got -1'),
  ],
)
def test_bad_batch_sizes(call, message):
  with pytest.raises(InputError, match=f'batch_size: .*{message}'):
    call()
