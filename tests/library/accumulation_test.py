"""Microbatches add up to the whole batch."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sharded_problems as problems

import regularizers as reg

PARAMS, BATCH = problems.rows()
WHOLE = jax.value_and_grad(
  lambda params: reg.masked_mean(problems.row_losses(params, BATCH), BATCH['mask'])
)(PARAMS)


@pytest.mark.parametrize('count', [1, 4, 16])
def test_unequal_masks_give_the_gradient_of_the_whole_batch(count: int):
  """Of 4 microbatches one has no position at all, of 16 half of them."""
  parts = reg.microbatches(BATCH, count)
  value, gradient = reg.accumulate_gradients(problems.sums, PARAMS, parts)
  np.testing.assert_allclose(value, WHOLE[0], rtol=1e-6)
  np.testing.assert_allclose(gradient, WHOLE[1], rtol=1e-5, atol=1e-7)


def test_aux_is_added_up_and_types_are_kept():
  def with_aux(params: Any, batch: Any) -> Any:
    total, count = problems.sums(params['w'], batch)
    return (total, count), {'positions': count, 'squares': jnp.square(total)}

  params = {'w': PARAMS.astype(jnp.bfloat16), 'unused': jnp.ones(2)}
  parts = reg.microbatches(BATCH, 4)
  (value, aux), gradient = jax.jit(
    lambda p, b: reg.accumulate_gradients(with_aux, p, b, has_aux=True)
  )(params, parts)
  assert int(aux['positions']) == 8
  assert value.dtype == aux['squares'].dtype == jnp.float32
  assert gradient['w'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(gradient['unused'], 0)


def test_no_position_at_all_is_zero():
  parts = reg.microbatches(BATCH | {'mask': jnp.zeros(16)}, 2)
  value, gradient = reg.accumulate_gradients(problems.sums, PARAMS, parts)
  assert float(value) == 0
  np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
  ('gives', 'has_aux', 'message'),
  [
    (
      lambda s, n: s / n,
      False,
      '(sum, count), sum and count two scalars, got float32[]',
    ),
    (lambda s, n: (s, n, n), False, 'got (float32[], int32[], int32[])'),
    (lambda s, n: (s, n[None]), False, 'got (float32[], int32[1])'),
    (lambda s, n: ((s, n), {}), False, 'got ((float32[], int32[]), dict)'),
    (lambda s, n: None, False, 'got NoneType'),
    (lambda s, n: s / n, True, '((sum, count), aux), sum and count'),
    (lambda s, n: (s, n), True, 'got (float32[], int32[])'),
    (lambda s, n: ((s, n), {}, {}), True, 'got ((float32[], int32[]), dict, dict)'),
  ],
)
def test_what_a_loss_gives_is_a_sum_and_a_count(gives, has_aux: bool, message: str):
  def loss_fn(params: Any, batch: Any) -> Any:
    return gives(*problems.sums(params, batch))

  with pytest.raises(TypeError, match=f'^loss_fn: expected .*{re.escape(message)}'):
    reg.accumulate_gradients(
      loss_fn, PARAMS, reg.microbatches(BATCH, 2), has_aux=has_aux
    )


def test_errors():
  with pytest.raises(ValueError, match=r'\[16\].*multiple of 5'):
    reg.microbatches(BATCH, 5)
  with pytest.raises(ValueError, match='multiple of 0'):
    reg.microbatches(BATCH, 0)
  with pytest.raises(ValueError, match='one leading axis'):
    reg.accumulate_gradients(
      problems.sums, PARAMS, {'x': jnp.zeros((2, 3)), 'y': jnp.zeros((3, 3))}
    )
  with pytest.raises(NameError, match='not bound'):
    reg.accumulate_gradients(
      problems.sums, PARAMS, reg.microbatches(BATCH, 2), axis_name='data'
    )
