"""What users hand to the linear forms beside hidden states and kernel."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import regularizers as reg

pytestmark = pytest.mark.usefixtures('plainly_compiled')
ROWS, WIDTH, CLASSES = 6, 3, 11
DRAW = np.random.default_rng(0)
CE = reg.cross_entropy
BOTH = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))(CE)


def draw(*shape: int) -> jax.Array:
  return jnp.asarray(DRAW.normal(size=shape), jnp.float32)


HIDDEN, KERNEL = draw(ROWS, WIDTH), draw(WIDTH, CLASSES)
LABELS = jnp.asarray(DRAW.integers(1, CLASSES, ROWS))
MASK = jnp.array([1.0, 0.0, 2.0, 0.5, 1.0, 1.0])
WHERE = jnp.arange(CLASSES) > 0


@pytest.mark.parametrize('name', ['weights', 'labels_', 'own', 'shared', 'rows'])
def test_names_of_keywords_are_the_users(name: str):
  """None of ours is overwritten by one of theirs."""
  array = jnp.arange(1.0, ROWS + 1)

  def weighted(logits: Any, labels: Any, **given: Any) -> Any:
    return CE(logits, labels) * given[name]

  got = reg.linear_loss(
    weighted, HIDDEN, KERNEL, LABELS, MASK, chunk_size=4, **{name: array}
  )
  expected = reg.masked_mean(CE(HIDDEN @ KERNEL, LABELS) * array, MASK)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


KINDS = ('cross_entropy', 'kl', 'reverse_kl', 'squared_logits')
TEACHER = draw(WIDTH, CLASSES)


@pytest.mark.parametrize('rows', [False, True], ids=['classes', 'rows_and_classes'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_mask_of_classes_masks_a_linear_teacher_too(kind: Any, rows: bool):
  loss = reg.codistillation(0.5, 2.0, kind)(CE)
  where = jnp.broadcast_to(WHERE, (ROWS, CLASSES)).at[0, 1].set(False)
  where, labels = (where if rows else WHERE), jnp.full(ROWS, 5)
  teacher = reg.LinearCategorical(HIDDEN, TEACHER)
  logits = HIDDEN @ TEACHER

  @jax.jit
  def all_ways(kernel: jax.Array) -> Any:
    student = reg.LinearCategorical(HIDDEN, kernel, where=where, chunk_size=4)
    mean = reg.linear_loss(
      loss, HIDDEN, kernel, labels, where=where, teacher=teacher, chunk_size=4
    )
    return (
      loss(HIDDEN @ kernel, labels, where=where, teacher=logits),
      loss(HIDDEN @ kernel, labels, where=where, teacher=teacher),
      loss(student, labels, teacher=teacher),
      loss(student, labels, teacher=[teacher, logits]),
      mean,
    )

  expected, *got, mean = all_ways(KERNEL)
  for losses in got:
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
  np.testing.assert_allclose(mean, expected.mean(), rtol=1e-5)


OF_TEN = [((2, 5), s) for s in ((11,), (5, 11), (2, 1, 11), (1, 5, 11), (2, 5, 11))]


@pytest.mark.parametrize(('positions', 'shape'), [*OF_TEN, ((1, CLASSES), (11,))])
def test_masks_of_classes_broadcast(positions: Any, shape: Any):
  hidden, labels = draw(*positions, WIDTH), jnp.full(positions, 3)
  where = jnp.asarray(DRAW.random(shape) < 0.7).at[..., 3].set(True)

  @jax.jit
  def both(kernel: jax.Array) -> Any:
    got = reg.linear_loss(BOTH, hidden, kernel, labels, where=where, chunk_size=4)
    return got, BOTH(hidden @ kernel, labels, where=where).mean()

  got, expected = both(KERNEL)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_options_that_are_no_arrays_stay_what_they_are():
  """Under jit too, where the value alone is computed."""
  dense = jax.nn.one_hot(LABELS, CLASSES)

  def own(logits: Any, labels: Any, *, flag: bool, kind: str, by: Any) -> Any:
    assert kind == 'a kind'
    return by(CE(logits, labels)) if flag else 0.0

  @jax.jit
  def values(kernel: jax.Array) -> Any:
    call = lambda loss, labels, **extra: reg.linear_loss(  # noqa: E731
      loss, HIDDEN, kernel, labels, MASK, chunk_size=4, **extra
    )
    return (
      call(optax.softmax_cross_entropy, dense, axis=-1),
      call(own, LABELS, flag=True, kind='a kind', by=jnp.square),
    )

  losses = CE(HIDDEN @ KERNEL, LABELS)
  for got, each in zip(values(KERNEL), (losses, losses**2), strict=True):
    np.testing.assert_allclose(got, reg.masked_mean(each, MASK), rtol=1e-6)


def test_no_positions_at_all():
  value, gradient = jax.value_and_grad(
    lambda kernel: reg.linear_loss(BOTH, HIDDEN[:0], kernel, LABELS[:0])
  )(KERNEL)
  assert value == 0
  np.testing.assert_array_equal(gradient, 0)


def test_one_position_without_axes():
  loss = reg.confidence_penalty(lambda step: 0.1 * step)(CE)
  run = jax.jit(functools.partial(reg.linear_loss, loss))
  got = run(HIDDEN[0], KERNEL, LABELS[0], step=2)
  expected = loss(HIDDEN[0] @ KERNEL, LABELS[0], step=2)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_no_gradient_flows_through_the_metrics():
  def nll(kernel: jax.Array) -> jax.Array:
    _, metrics = reg.linear_loss(BOTH, HIDDEN, kernel, LABELS, with_metrics=True)
    out: jax.Array = metrics['nll'][0]
    return out

  np.testing.assert_array_equal(jax.jit(jax.grad(nll))(KERNEL), 0)


@pytest.mark.parametrize('where', [None, WHERE], ids=['all', 'masked'])
def test_class_arrays_may_be_integers_and_booleans(where: Any):
  odd, three = jnp.arange(CLASSES) % 2 == 1, jnp.arange(CLASSES) << 1

  def phi(log_p: Any, odd: Any, number: Any) -> Any:
    return jnp.where(odd & True, jnp.exp(log_p) * (number >> 1), 0.0)

  p = reg.Categorical(HIDDEN @ KERNEL, where)
  expected = jnp.exp(p.log_probs())[:, 1::2] @ jnp.arange(1.0, CLASSES, 2)
  linear = reg.LinearCategorical(HIDDEN, KERNEL, where=where, chunk_size=4)
  for distribution in (p, linear):
    got = distribution.sum(phi, odd, three)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_kl_divergence_of_split_classes():
  """On a mesh of one device; the arithmetic of several is tested elsewhere."""
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ('model',))
  p, q = HIDDEN @ KERNEL, HIDDEN @ TEACHER
  spec = jax.sharding.PartitionSpec(None, 'model')

  def pairs(p: jax.Array, q: jax.Array) -> Any:
    one, two = (reg.ShardedCategorical(z, axis_name='model') for z in (p, q))
    return reg.kl_divergence(one, two), reg.kl_divergence(one, q)

  none = jax.sharding.PartitionSpec(None)
  split = jax.shard_map(pairs, mesh=mesh, in_specs=(spec, spec), out_specs=none)
  for got in jax.jit(split)(p, q):
    np.testing.assert_allclose(got, reg.kl_divergence(p, q), rtol=1e-5)


@pytest.mark.parametrize(
  'bad', [{'normalizer': jnp.ones(5)}, {'softcap': jnp.ones(CLASSES)}], ids=str
)
def test_numbers_are_numbers(bad: Any):
  with pytest.raises(ValueError, match='expected a'):
    reg.linear_loss(CE, HIDDEN, KERNEL, LABELS, **bad)


def test_counts_of_half_precision_losses_are_exact():
  """bfloat16 has no 303."""
  batches = {'x': jnp.ones((4, 303))}

  def loss_fn(params: jax.Array, batch: Any) -> Any:
    return (params * batch['x'].sum()).astype(jnp.bfloat16), batch['x'].size

  _, gradient = reg.accumulate_gradients(loss_fn, jnp.ones(()), batches)
  np.testing.assert_allclose(gradient, 1.0, rtol=1e-6)
