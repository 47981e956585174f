"""Replicas that are one stacked tree."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from regularizers.exchange import Local


def tree(count: int) -> Any:
  """A number of its own for each replica, in leaves of several types."""
  number = jnp.arange(1, count + 1)
  return {
    'layers': [(number / 3).reshape(count, 1) * jnp.ones((1, 2)), {'bias': number / 7}],
    'count': number,
    'flag': number == 2,
    'half': (number / 3).astype(jnp.float16),
    'key': jax.random.split(jax.random.key(0), count),
  }


def bits(leaf: jax.Array) -> np.ndarray:
  keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(leaf) if keys else leaf)


@pytest.mark.parametrize('traced', [False, True], ids=['eager', 'traced'])
@pytest.mark.parametrize('count', [2, 3])
def test_each_has_the_others_in_order(count: int, traced: bool):
  """At the multiples of ``every`` alone; replica i has i + 1, i + 2, ..., modulo n."""
  exchange, given = Local(count, every=5), tree(count)
  call = jax.jit(exchange.__call__) if traced else exchange
  first = exchange.init(given)
  np.testing.assert_array_equal(first.steps, -1)
  for step, taken_at in ((0, 0), (5, 5), (6, -1), (9, -1), (10, 10)):
    peers = call(step, given, first)
    np.testing.assert_array_equal(peers.steps, np.full((count, count - 1), taken_at))
    taken, own = jax.tree.leaves(peers.trees), jax.tree.leaves(given)
    for leaf, mine in zip(taken, own, strict=True):
      assert leaf.shape == (count, count - 1, *mine.shape[1:])
      assert leaf.dtype == mine.dtype
      if taken_at < 0:
        np.testing.assert_array_equal(bits(leaf), 0)
        continue
      for i in range(count):
        for shift in range(1, count):
          peer = bits(mine)[(i + shift) % count]
          np.testing.assert_array_equal(bits(leaf)[i, shift - 1], peer)


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16, jnp.float32])
def test_rounding(dtype: Any):
  """Of floating leaves to the nearest; all others as they are."""
  jax.config.update('jax_disable_most_optimizations', False)  # one might remove it
  exchange = Local(2, every=1, dtype=dtype)
  values = np.float32([[1.001, -1e6, 1 / 3], [np.nan, 1e-3, 65519]])
  given = {'w': values, 'n': jnp.array([2**24 + 1, 7]), 'b': jnp.array([True, False])}
  peers = exchange(3, given, exchange.init(given))
  with np.errstate(over='ignore'):
    expected = values[::-1, None].astype(dtype).astype(np.float32)
  np.testing.assert_array_equal(peers.trees['w'], expected)
  np.testing.assert_array_equal(peers.trees['n'], [[7], [2**24 + 1]])
  np.testing.assert_array_equal(peers.trees['b'], [[False], [True]])


def test_empty_tree():
  exchange = Local(2, every=2)
  peers = exchange(2, {}, exchange.init({}))
  assert peers.trees == {}
  np.testing.assert_array_equal(peers.steps, [[2], [2]])


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'num_replicas': 1}, 'num_replicas: expected an integer of at least 2, got 1'),
    ({'num_replicas': 2.0}, 'num_replicas'),
    (
      {'num_replicas': 2, 'every': 0},
      'every: expected an integer of at least 1, got 0',
    ),
    ({'num_replicas': 2, 'dtype': jnp.int8}, 'dtype: expected a floating type'),
  ],
)
def test_options(options: Any, message: str):
  with pytest.raises(ValueError, match=message):
    Local(**options)


@pytest.mark.parametrize('leaf', [np.zeros(3), np.zeros(()), 1.0], ids=str)
def test_leaf_without_the_axis(leaf: Any):
  exchange = Local(2, every=1)
  message = r"\['layer'\]\['w'\]: expected a first axis of 2 replicas"
  with pytest.raises(ValueError, match=message):
    exchange.init({'layer': {'w': leaf}})
  with pytest.raises(ValueError, match=message):
    exchange(1, {'layer': {'w': leaf}}, exchange.init({}))
