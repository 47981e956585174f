"""Logits that are never built: the same losses as on logits that are."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
import transforms

import regularizers as reg
from regularizers.kernels import tiles
from regularizers.kernels.slices import Slices

pytestmark = pytest.mark.usefixtures('plainly_compiled')
CE = reg.cross_entropy
ROWS, WIDTH, CLASSES = 6, 3, 19
DRAW = np.random.default_rng(5)
HIDDEN = DRAW.normal(size=(ROWS, WIDTH))
KERNEL, BIAS = DRAW.normal(size=(WIDTH, CLASSES)), DRAW.normal(size=CLASSES)
Q = transforms.problem(ROWS, CLASSES).at(HIDDEN @ KERNEL + BIAS)
# One slice; slices of one class; a remainder; V/2 < slice < V; one class left over.
SIZES = (CLASSES, 1, 8, 13, CLASSES - 1)
PAIR = transforms.named('label_smoothing+confidence_penalty', 'many')


def inputs(dtype: Any = jnp.float32) -> tuple[jax.Array, ...]:
  return tuple(jnp.asarray(array, dtype) for array in (HIDDEN, KERNEL, BIAS))


def chain_rule(by_logits: np.ndarray) -> tuple[np.ndarray, ...]:
  """Gradients by hidden, kernel and bias."""
  return by_logits @ KERNEL.T, HIDDEN.T @ by_logits, by_logits.sum(0)


def close(got: Any, expected: Any, tolerance: float = 2e-6) -> None:
  for one, other in zip(got, expected, strict=True):
    scale = np.abs(other).max()
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * scale)


@transforms.each
def test_losses_and_gradients(case: transforms.Case):
  """Against the formulas in float64, with a remainder."""
  call = case.call(Q, jnp.float32)

  def total(*arrays: jax.Array) -> Any:
    losses = call(reg.LinearCategorical(*arrays, chunk_size=8))
    return losses.sum(), losses

  run = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))
  (_, losses), grads = run(*inputs())
  rows = case.rows(Q)
  np.testing.assert_allclose(losses, rows(Q.logits), rtol=2e-6, atol=2e-6)
  close(grads, chain_rule(oracles.gradient(rows, Q.logits)), 5e-6)


@PAIR
@pytest.mark.parametrize('size', SIZES)
def test_size_of_slices_changes_nothing(case: transforms.Case, size: int):
  with jax.enable_x64(True):
    call = case.call(Q)
    run = lambda *arrays: call(reg.LinearCategorical(*arrays, chunk_size=size))  # noqa: E731
    losses = jax.jit(run)(*inputs(jnp.float64))
  np.testing.assert_allclose(losses, case.reference(Q), rtol=1e-12)


@pytest.mark.parametrize(
  ('rows', 'classes'), [(1, 1), (704, 10000), (2048, 32000), (7, 50257), (10**6, 9)]
)
def test_chosen_slices_cover_every_class_once(rows: int, classes: int):
  slices = tiles.Tiling.of(classes, tiles.tile_size(rows, classes)).slices
  assert 1 <= slices.size <= classes
  assert (slices.count - 1) * slices.size < classes <= slices.count * slices.size
  if rows > 100 and classes > 1000:
    assert slices.size <= classes / 25


@pytest.mark.parametrize(
  ('length', 'size', 'blocks'), [(5, 3, 1), (12, 4, 2), (14, 4, 2)]
)
def test_slices_have_a_share_of_every_block(length: int, size: int, blocks: int):
  slices, array, seen = Slices(length, size, blocks), jnp.arange(length), []
  for index in range(slices.count):
    start = slices.start(jnp.asarray(index))
    part = slices.cut(array, start, 0)
    owners = np.bincount(part // (length // blocks), minlength=blocks)
    np.testing.assert_array_equal(owners, size // blocks)
    seen += np.asarray(part)[slices.fresh(jnp.asarray(index))].tolist()
    wide = slices.put(jnp.zeros((2, length), int), jnp.stack([part, -part]), start, 1)
    np.testing.assert_array_equal(wide[1], jnp.where(jnp.isin(array, part), -array, 0))
  assert sorted(seen) == list(range(length))


STATISTICS = {
  'log_normalizer': lambda p: p.log_normalizer(),
  'entropy': lambda p: p.entropy(),
  'mean_log_prob': lambda p: p.mean_log_prob(),
  'prior': lambda p: p.mean_log_prob(jnp.asarray(Q.prior, jnp.float32)),
  'dense labels': lambda p: p.log_prob(jnp.asarray(np.eye(CLASSES)[Q.labels])),
  'sum': lambda p: p.sum(lambda log_p, a: a * jnp.exp(2 * log_p), jnp.arange(19.0)),
}
OPTIONS: dict[str, dict[str, Any]] = {
  'plain': {},
  'softcap': {'softcap': 1.5},
  'where': {
    'where': jnp.isin(jnp.arange(CLASSES), Q.labels) | (jnp.arange(19) % 3 > 0)
  },
  'where of rows': {
    'where': jnp.asarray(
      (DRAW.random((ROWS, CLASSES)) < 0.7) | (np.eye(CLASSES)[Q.labels] > 0)
    )
  },
  'both': {'softcap': 1.5, 'where': jnp.arange(CLASSES) != (Q.labels[0] + 1) % 19},
}


@pytest.mark.parametrize(
  ('option', 'tempered'),
  [
    ('plain', False),
    ('softcap', True),
    ('where', False),
    ('where of rows', True),
    ('both', False),
    ('both', True),
  ],
)
def test_statistics(option: str, tempered: bool):
  """With cap, mask and temperature, values and gradients."""
  where = OPTIONS[option].get('where')
  cap = OPTIONS[option].get('softcap')

  def all_of(p: Any) -> Any:
    p = p.tempered(2.0) if tempered else p
    statistics = {n: f(p) for n, f in STATISTICS.items() if n != 'log_normalizer'}
    if not tempered:
      statistics['log_normalizer'] = p.log_normalizer()
    return statistics

  def linear(*arrays: jax.Array) -> Any:
    return all_of(reg.LinearCategorical(*arrays, cap, where=where, chunk_size=8))

  def dense(hidden: jax.Array, kernel: jax.Array, bias: jax.Array) -> Any:
    z = hidden @ kernel + bias[None]
    z = z if cap is None else cap * jnp.tanh(z / cap)
    return all_of(reg.Categorical(z, where))

  @functools.partial(jax.jit, static_argnums=0)
  def value_and_gradient(statistics: Any, *arrays: jax.Array) -> Any:
    values, pull = jax.vjp(statistics, *arrays)
    return values, pull(jax.tree.map(lambda a: jnp.arange(1.0, ROWS + 1), values))

  got, grads = value_and_gradient(linear, *inputs())
  expected, expected_grads = value_and_gradient(dense, *inputs())
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-6, atol=5e-6), got, expected
  )
  close(grads, expected_grads, 1e-5)


def test_impossible_classes():
  """A bias of −inf is a class of probability 0 with a gradient of 0."""
  hidden, kernel, bias = inputs()
  bias = bias.at[jnp.array([2, 18])].set(-jnp.inf)
  kept = np.setdiff1d(np.arange(CLASSES), [2, 18])
  labels = jnp.asarray(kept[:ROWS])
  loss = reg.confidence_penalty(0.3)(CE)

  def total(hidden, kernel, bias):
    return loss(reg.LinearCategorical(hidden, kernel, bias, chunk_size=2), labels).sum()

  run = jax.jit(jax.value_and_grad(total, (0, 1, 2)))
  value, grads = run(hidden, kernel, bias)
  few = jax.value_and_grad(
    lambda h, k, b: loss(h @ k + b[None], jnp.arange(ROWS)).sum(), (0, 1, 2)
  )(hidden, kernel[:, kept], bias[kept])
  np.testing.assert_allclose(value, few[0], rtol=2e-6)
  close((grads[0], grads[1][:, kept], grads[2][kept]), few[1])
  assert not grads[1][:, jnp.array([2, 18])].any()


def test_labels_out_of_range_and_masked():
  p = reg.LinearCategorical(*inputs(), where=jnp.arange(CLASSES) != 3)
  labels = jnp.array([-1, 19, 3, 0, 18, -100])
  assert jnp.isnan(CE(p, labels)).tolist() == [True, True, True, False, False, True]


def test_offset():
  """A bias of 1e4 costs the digits of the logits, no more."""
  hidden, kernel, _ = inputs()
  exact = jnp.round(hidden * 8) / 8, jnp.round(kernel * 8) / 8
  for statistic in (reg.entropy, lambda p: CE(p, jnp.asarray(Q.labels))):
    moved = statistic(reg.LinearCategorical(*exact, jnp.full(CLASSES, 16384.0)))
    np.testing.assert_allclose(
      moved, statistic(reg.LinearCategorical(*exact)), rtol=1e-6
    )


def test_positions_of_any_shape():
  hidden, kernel, _ = inputs()
  flat = reg.entropy(reg.LinearCategorical(hidden, kernel))
  for shape in ((2, 3), (1, 6), (6, 1, 1)):
    p = reg.LinearCategorical(hidden.reshape(*shape, WIDTH), kernel)
    np.testing.assert_allclose(p.entropy(), flat.reshape(shape), rtol=1e-6)
    assert p.log_probs().shape == (*shape, CLASSES)
  assert reg.LinearCategorical(hidden[0], kernel).entropy().shape == ()
  assert reg.LinearCategorical(hidden[:0], kernel).entropy().shape == (0,)


def test_short_inputs_are_summed_in_float32():
  """Products of bfloat16 are exact in float32, sums over 4,096 of them nearly so."""
  draw = np.random.default_rng(0)
  hidden = jnp.asarray(draw.normal(size=(4096, 8)), jnp.bfloat16)
  kernel = jnp.asarray(draw.normal(size=(8, 300)), jnp.bfloat16)
  labels = jnp.asarray(draw.integers(0, 300, 4096))
  loss = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))(CE)

  def total(hidden: jax.Array, kernel: jax.Array, size: int = 64) -> jax.Array:
    return loss(reg.LinearCategorical(hidden, kernel, chunk_size=size), labels).sum()

  run = jax.jit(jax.value_and_grad(total, (0, 1)))
  value, grads = run(hidden, kernel)
  exact = run(*map(jnp.float32, (hidden, kernel)))
  np.testing.assert_allclose(value, exact[0], rtol=1e-6)
  for got, expected in zip(grads, exact[1], strict=True):
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, expected.astype(jnp.bfloat16))


def test_derivatives_of_all_kinds():
  call = transforms.PAIR.call(Q, jnp.float32)
  hidden, kernel, bias = inputs()
  linear = lambda h: call(reg.LinearCategorical(h, kernel, bias, chunk_size=8)).sum()  # noqa: E731
  dense = lambda h: call(h @ kernel + bias[None]).sum()  # noqa: E731
  for derivative in (jax.jacfwd, jax.hessian):
    got, expected = (jax.jit(derivative(f))(hidden) for f in (linear, dense))
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def test_vmap_over_models():
  hidden, kernel, _ = inputs()
  kernels = jnp.stack([kernel, 2 * kernel])
  run = lambda k: reg.entropy(reg.LinearCategorical(hidden, k, chunk_size=8))  # noqa: E731
  mapped = jax.jit(jax.vmap(run))(kernels)
  expected = [reg.entropy(hidden @ k) for k in kernels]
  np.testing.assert_allclose(mapped, expected, rtol=2e-6)


TEACHERS = ('distillation', *(f'codistillation_{k}' for k in ('kl', 'squared_logits')))


@transforms.named(*TEACHERS)
@pytest.mark.parametrize('student', ['linear', 'dense'])
def test_a_teacher_may_be_linear(case: transforms.Case, student: str):
  weights = DRAW.normal(size=(WIDTH, CLASSES))
  q = dataclasses.replace(Q, teacher=HIDDEN @ weights)
  hidden, kernel, bias = inputs()
  p = reg.LinearCategorical(hidden, kernel, bias, chunk_size=8)
  teacher = reg.LinearCategorical(hidden, jnp.asarray(weights, jnp.float32))
  logits = p if student == 'linear' else jnp.asarray(Q.logits, jnp.float32)
  loss, labels = case.loss(q), jnp.asarray(Q.labels)
  dense = jnp.asarray(q.teacher, jnp.float32)

  @jax.jit
  def both(logits: Any, teacher: Any) -> Any:
    return [loss(logits, labels, teacher=t) for t in (teacher, [teacher, dense])]

  for got in both(logits, teacher):
    np.testing.assert_allclose(got, case.reference(q), rtol=5e-6)


def test_kl_divergence_of_two():
  hidden, kernel, bias = inputs()
  p = reg.LinearCategorical(hidden, kernel, bias, chunk_size=8)
  q = reg.LinearCategorical(hidden, 2 * kernel)
  expected = reg.kl_divergence(p.log_probs(), q.log_probs())
  for pair in ((p, q), (p, q.log_probs()), (p.log_probs(), q)):
    np.testing.assert_allclose(reg.kl_divergence(*pair), expected, rtol=5e-6)


def collision(p: reg.Distribution, labels: jax.Array) -> jax.Array:
  return p.sum(lambda log_p: jnp.exp(2 * log_p))


def test_a_penalty_of_the_users_own():
  loss = reg.add_penalty(collision, 0.5)(CE)
  labels = jnp.asarray(Q.labels)
  expected = oracles.cross_entropy(Q.logits, Q.labels) + 0.5 * (
    np.exp(2 * oracles.log_softmax(Q.logits))
  ).sum(-1)
  got = loss(reg.LinearCategorical(*inputs(), chunk_size=8), labels)
  np.testing.assert_allclose(got, expected, rtol=2e-6)


H, K, B = inputs()
ERRORS = {
  'width': (lambda: reg.LinearCategorical(H, K[1:]), ValueError, r'kernel: .*\[3, V\]'),
  'kernel of one axis': (lambda: reg.LinearCategorical(H, B), ValueError, 'kernel'),
  'bias': (lambda: reg.LinearCategorical(H, K, B[1:]), ValueError, r'bias: .*\[19\]'),
  'integers': (lambda: reg.LinearCategorical(H, K.astype(int)), TypeError, 'kernel'),
  'scalar': (lambda: reg.LinearCategorical(H[0, 0], K), ValueError, 'hidden'),
  'no chunk': (lambda: reg.LinearCategorical(H, K, chunk_size=0), ValueError, 'chunk'),
  'half': (
    lambda: reg.LinearCategorical(H, K, chunk_size=0.5),
    ValueError,
    'chunk_size',
  ),
  'softcap': (lambda: reg.LinearCategorical(H, K, softcap=-1.0), ValueError, 'softcap'),
  'where': (
    lambda: reg.LinearCategorical(H, K, where=jnp.ones(4, bool)),
    ValueError,
    'where',
  ),
  'plain loss': (
    lambda: reg.label_smoothing(0.1)(optax.softmax_cross_entropy)(
      reg.LinearCategorical(H, K), jnp.asarray(Q.labels)
    ),
    TypeError,
    'linear_loss',
  ),
  'teacher': (
    lambda: reg.distillation(1.0)(CE)(
      H @ K, jnp.asarray(Q.labels), teacher=reg.LinearCategorical(H[1:], K)
    ),
    ValueError,
    'teacher',
  ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_error_says_what_is_wrong(name: str):
  call, kind, words = ERRORS[name]
  with pytest.raises(kind, match=words):
    jax.eval_shape(call)
