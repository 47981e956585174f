"""Losses as values: printed, flattened, mapped over, changed without compiling."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import regularizers as reg

CE = reg.cross_entropy
PRIOR = jnp.full(3, 1 / 3)
Z = jnp.array([[2.0, 0.0, -1.0], [0.5, 0.0, 1.0]])
Y = jnp.array([0, 1])

PRINTED = {
  'cross_entropy': CE,
  'cross_entropy + 0.1·(CE(u, p) − CE(y, p))': reg.label_smoothing(0.1)(CE),
  'cross_entropy + 0.1·(V/(V−1)·(CE(u, p) − CE(y, p)))': reg.label_smoothing(
    0.1, exclude_target=True
  )(CE),
  'cross_entropy + 0.1·(CE(prior, p) − CE(y, p))': reg.unigram_smoothing(0.1, PRIOR)(
    CE
  ),
  'cross_entropy + 2·(−H(p))': reg.confidence_penalty(2)(CE),
  'cross_entropy + 2·(max(0, 1 − H(p)))': reg.confidence_penalty(2, 1.0)(CE),
  'cross_entropy + 1·(KL(u‖p)) + 2·(KL(p‖prior))': reg.chain(
    reg.forward_kl(1.0), reg.reverse_kl(2.0, PRIOR)
  )(CE),
  'cross_entropy + 1·(J[0.5](u, p))': reg.generalized_entropy(1.0, 0.5)(CE),
  'cross_entropy + 0.0001·(log²Z)': reg.z_loss(1e-4)(CE),
  'cross_entropy + 0.5·(T²·KL(teacher‖p), T=2)': reg.distillation(0.5, 2.0)(CE),
  'cross_entropy + 1·(CE(teacher, p))': reg.codistillation(1.0)(CE),
  'class_weight[y]·(cross_entropy)': reg.class_weights(jnp.ones(3))(CE),
  'label_noise[0.1, u](cross_entropy)': reg.label_noise(0.1)(CE),
  'safe_softmax_cross_entropy + 0.3·(−H(p))': reg.confidence_penalty(0.3)(
    optax.safe_softmax_cross_entropy
  ),
  'cross_entropy + array[2]·(−H(p))': reg.confidence_penalty(jnp.ones(2))(CE),
  'cross_entropy + polynomial_schedule[end_value=0.1, init_value=0, power=1, '
  'transition_begin=0, transition_steps=10](step)·(−H(p))': reg.confidence_penalty(
    optax.linear_schedule(0.0, 0.1, 10)
  )(CE),
}


@pytest.mark.parametrize('text', PRINTED)
def test_prints_what_is_minimised(text):
  assert str(PRINTED[text]) == text


def test_leaves_are_the_weights():
  loss = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.2, 0.9))(CE)
  assert sorted(jax.tree.leaves(loss)) == [0.1, 0.2, 0.9]
  scheduled = reg.confidence_penalty(optax.constant_schedule(1.0))(CE)
  assert jax.tree.leaves(scheduled) == []
  paths = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(loss)]
  assert '.weight' in paths


def test_survives_flattening():
  loss = reg.chain(reg.label_smoothing(0.1), reg.class_weights(jnp.ones(3)))(CE)
  again = jax.tree.map(lambda leaf: leaf, loss)
  assert str(again) == str(loss)
  np.testing.assert_array_equal(again(Z, Y), loss(Z, Y))


def test_equal_values_are_equal_and_frozen():
  assert reg.label_smoothing(0.1) == reg.label_smoothing(0.1)
  assert reg.label_smoothing(0.1) != reg.label_smoothing(0.2)
  assert reg.label_smoothing(0.1) != reg.unigram_smoothing(0.1, PRIOR)
  with pytest.raises(AttributeError):
    reg.label_smoothing(0.1).weight = 0.2
  with pytest.raises(AttributeError):
    reg.Categorical(Z).logits = Z


def test_arrays_are_equal_if_they_are_one():
  """So that a loss with a prior is hashable, and `jax.jit` takes it as it is."""
  first, again = (reg.unigram_smoothing(0.1, PRIOR)(CE) for _ in range(2))
  other = reg.unigram_smoothing(0.1, PRIOR + 0.0)(CE)
  assert first == again
  assert hash(first) == hash(again)
  assert first != other
  weighted = reg.class_weights(jnp.arange(3.0))(first)
  np.testing.assert_allclose(jax.jit(weighted)(Z, Y), weighted(Z, Y), rtol=1e-6)


def test_weights_have_gradients():
  def value(weight: jax.Array) -> jax.Array:
    return reg.confidence_penalty(weight)(CE)(Z, Y).sum()

  got = jax.grad(value)(0.0)
  np.testing.assert_allclose(got, -reg.entropy(Z).sum(), rtol=1e-6)


def test_terms_add_up_and_repeat_with_a_number():
  loss = reg.chain(
    reg.label_smoothing(0.1),
    reg.confidence_penalty(0.1),
    reg.confidence_penalty(0.2, threshold=1.0),
    reg.class_weights(jnp.array([1.0, 2.0, 3.0])),
  )(optax.softmax_cross_entropy_with_integer_labels)
  terms = reg.terms(loss)(Z, Y)
  assert list(terms) == [
    'softmax_cross_entropy_with_integer_labels',
    'label_smoothing',
    'confidence_penalty',
    'confidence_penalty_2',
  ]
  np.testing.assert_allclose(sum(terms.values()), loss(Z, Y), rtol=1e-6)


def test_a_penalty_gets_the_keywords_it_names():
  def penalty(p: reg.Distribution, labels: jax.Array, *, step: int) -> jax.Array:
    return step * p.entropy()

  loss = reg.add_penalty(penalty, 1.0)(CE)
  got = loss(Z, Y, step=2, key=None, teacher=Z)
  np.testing.assert_allclose(got, CE(Z, Y) + 2 * reg.entropy(Z), rtol=1e-6)
  with pytest.raises(TypeError, match='step'):
    loss(Z, Y)


def test_a_schedule_is_read_at_the_step():
  loss = reg.confidence_penalty(optax.linear_schedule(0.0, 1.0, 10))(CE)
  at = jax.jit(lambda step: loss(Z, Y, step=step))
  for step in (0, 5, 20):
    expected = CE(Z, Y) - min(step / 10, 1) * reg.entropy(Z)
    np.testing.assert_allclose(at(step), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
  'schedule',
  [reg.burn_in(1.0, 10), optax.linear_schedule(0.0, 1.0, 2, transition_begin=10)],
)
def test_a_step_may_be_unsigned(schedule: Callable[[jax.Array], jax.Array]):
  """As flax's `nnx.Optimizer` counts: 5 - 10 is not four thousand million."""
  loss = reg.confidence_penalty(schedule)(CE)
  for dtype in (np.uint8, jnp.uint32):
    for step, weight in ((5, 0.0), (20, 1.0)):
      expected = CE(Z, Y) - weight * reg.entropy(Z)
      for given in (dtype(step), jnp.asarray(step, dtype)):
        np.testing.assert_allclose(loss(Z, Y, step=given), expected, rtol=1e-6)
        assert reg.burn_in(1.0, 10)(given) == (step >= 10)


def test_no_gradient_flows_to_the_teacher():
  def value(teacher: jax.Array) -> jax.Array:
    return reg.distillation(1.0, 2.0)(CE)(Z, Y, teacher=teacher).sum()

  np.testing.assert_array_equal(jax.grad(value)(Z + 1.0), 0)
