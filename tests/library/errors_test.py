"""Labels that are none, and what may be given; other bad input is in tests/faults."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import regularizers as reg

CE = reg.cross_entropy
Z, Y = jnp.zeros((2, 3)), jnp.array([0, 2])
CP = reg.confidence_penalty(0.1)(CE)
PLAIN = reg.confidence_penalty(0.1)(optax.softmax_cross_entropy_with_integer_labels)


@pytest.mark.parametrize(
  'loss',
  [CE, CP, reg.label_smoothing(0.1)(CE), reg.class_weights(jnp.ones(3))(CE), PLAIN],
  ids=str,
)
@pytest.mark.parametrize('label', [-100, -1, 3, 2**31 - 1])
def test_label_out_of_range_is_nan_in_its_row_alone(loss, label):
  losses = loss(Z, Y.at[1].set(label))
  assert jnp.isnan(losses).tolist() == [False, True]


def test_label_on_a_masked_class_is_nan():
  where = jnp.array([True, True, False])
  assert jnp.isnan(CE(Z, Y, where=where)).tolist() == [False, True]
  soft = jnp.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
  assert jnp.isnan(CE(Z, soft, where=where)).tolist() == [False, True]


def test_what_varies_from_step_to_step_may_always_be_given():
  extra = {'step': 1, 'teacher': Z, 'key': jax.random.key(0)}
  assert CP(Z, Y, **extra).shape == (2,)


def test_a_penalty_that_takes_any_keyword_gets_any():
  seen = {}

  def penalty(p, labels, **extra):
    seen.update(extra)
    return p.entropy()

  reg.add_penalty(penalty, 0.1)(CE)(Z, Y, anything=1)
  assert seen == {'anything': 1}


def test_64_bit_labels_do_not_wrap():
  labels = np.array([2**40, 2], np.int64)
  assert jnp.isnan(CE(Z, labels)).tolist() == [True, False]
