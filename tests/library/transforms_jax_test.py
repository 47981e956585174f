"""Under vmap, scan and remat, over grids of weights, and how often it is traced."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transforms

import regularizers as reg

Q = transforms.problem()
LOGITS = jnp.asarray(Q.logits, jnp.float32)
LABELS = jnp.asarray(Q.labels)
TINY = {'rtol': 1e-6, 'atol': 1e-6}


def axes(extra: dict[str, jax.Array]) -> dict[str, int | None]:
  """Which axis of each keyword is that of the positions."""
  found: dict[str, int | None] = {}
  for name, value in extra.items():
    found[name] = {0: None, 2: 0, 3: 1}[value.ndim]
  return found


def by_row(case: transforms.Case) -> Any:
  """The loss of one position, its axes, and its arguments."""
  loss, extra = case.loss(Q), case.extra(Q)

  def row(logits: jax.Array, label: jax.Array, extra: dict[str, Any]) -> jax.Array:
    return loss(logits, label, **extra)

  return row, (0, 0, axes(extra)), (LOGITS, LABELS, extra)


@transforms.named(
  'many',
  'label_smoothing+confidence_penalty',
  'label_smoothing_others',
  'class_weights(label_smoothing+threshold)',
  'codistillation_cross_entropy',
  'codistillation_squared_logits',
)
def test_vmap_over_positions(case: transforms.Case):
  row, in_axes, arguments = by_row(case)
  mapped = jax.jit(jax.vmap(row, in_axes))(*arguments)
  chex.assert_trees_all_close(mapped, jax.jit(case.call(Q))(LOGITS), **TINY)


def test_vmap_over_keys():
  """Noise under vmap draws as it does key by key."""
  loss = transforms.BY_NAME['label_noise(cross_entropy)'].loss(Q)
  keys = jax.random.split(jax.random.key(0), 3)
  draw = jax.jit(lambda key: loss(LOGITS, LABELS, key=key))
  mapped, single = jax.jit(jax.vmap(draw))(keys), np.stack([draw(key) for key in keys])
  assert not (single[0] == single[1]).all()
  chex.assert_trees_all_close(mapped, single, **TINY)


@transforms.named('distillation', 'class_weights(label_smoothing+threshold)')
def test_scan_and_remat_in_jit(case: transforms.Case):
  """Gradient of a rematerialised scan over positions."""
  loss, extra = case.loss(Q), case.extra(Q)

  @jax.checkpoint
  def body(carry: jax.Array, row: Any) -> tuple[jax.Array, jax.Array]:
    logits, label, teacher = row
    value = loss(logits, label, **({'teacher': teacher} if extra else {}))
    return carry + value, value

  @jax.jit
  def scanned(logits: jax.Array) -> tuple[Any, jax.Array]:
    rows = (logits, LABELS, extra.get('teacher', logits))
    total = lambda z: jax.lax.scan(body, jnp.zeros(()), (z, *rows[1:]))  # noqa: E731
    return jax.value_and_grad(total, has_aux=True)(logits)

  (total, values), slope = scanned(LOGITS)
  expected, pull = jax.vjp(case.call(Q), LOGITS)
  chex.assert_trees_all_close(values, expected, **TINY)
  chex.assert_trees_all_close(total, expected.sum(), **TINY)
  chex.assert_trees_all_close(slope, pull(jnp.ones_like(expected))[0], **TINY)


def scaled(loss: reg.Loss, factor: float) -> reg.Loss:
  """The same loss with every weight, prior and temperature multiplied."""
  return jax.tree.map(lambda leaf: jnp.float32(factor) * leaf, loss)


@transforms.named(
  'many',
  'threshold',
  'skew_0.5_prior',
  'distillation_peers',
  'codistillation_squared_logits',
  'class_weights(label_smoothing+threshold)',
  'label_noise(unigram_smoothing+confidence_penalty, prior)',
)
def test_grid_of_weights_equals_one_at_a_time(case: transforms.Case):
  extra = case.extra(Q)
  grid = [scaled(case.loss(Q), factor) for factor in (0.1, 0.75, 1.0)]
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *grid)
  value = jax.jit(lambda loss: loss(LOGITS, LABELS, **extra))
  mapped = jax.jit(jax.vmap(value))(stacked)
  single = np.stack([value(loss) for loss in grid])
  assert not np.allclose(single[0], single[2], rtol=1e-4)
  chex.assert_trees_all_close(mapped, single, **TINY)


@transforms.select(lambda case: bool(jax.tree.leaves(case.loss(Q))))
def test_a_changed_weight_is_not_traced_again(case: transforms.Case):
  traces = []

  @jax.jit
  def value(loss: reg.Loss, logits: jax.Array, extra: Any) -> jax.Array:
    traces.append(case.name)
    return loss(logits, LABELS, **extra).sum()

  for factor in (0.5, 1.0):
    value.lower(scaled(case.loss(Q), factor), LOGITS, case.extra(Q))
  assert len(traces) == 1


def test_one_compilation_for_a_grid_and_for_all_steps():
  @jax.jit
  @chex.assert_max_traces(1)
  def values(loss: reg.Loss, step: jax.Array) -> jax.Array:
    return jax.vmap(lambda one: one(LOGITS, LABELS, step=step))(loss)

  schedule = optax.linear_schedule(0.0, 1.0, 10)

  def stacked(*weights: float) -> reg.Loss:
    losses = [
      reg.chain(
        reg.label_smoothing(weight), reg.confidence_penalty(schedule, threshold=weight)
      )(reg.cross_entropy)
      for weight in weights
    ]
    return jax.tree.map(lambda *leaves: jnp.array(leaves), *losses)

  first = values(stacked(0.1, 0.9), jnp.asarray(2))
  again = values(stacked(0.9, 0.1), jnp.asarray(2))
  later = values(stacked(0.1, 0.9), jnp.asarray(8))
  chex.assert_trees_all_close(first, again[::-1], **TINY)
  assert not np.allclose(first, later)


def test_a_loss_is_a_pytree_of_its_weights():
  loss = transforms.PAIR.loss(Q)
  leaves, structure = jax.tree.flatten(loss)
  assert leaves == [0.1, 0.3]
  assert str(structure.unflatten([0.2, 0.4])) == str(loss).replace(
    '0.1', '0.2'
  ).replace('0.3', '0.4')
  paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(loss)]
  assert paths == ['.loss.weight', '.weight']


def test_distribution_is_a_pytree():
  p = reg.Categorical(LOGITS, jnp.arange(5) != 3)
  through = jax.jit(lambda p: p)(p)
  assert repr(through) == repr(p) == 'Categorical(float32[4, 5], where=…)'
  chex.assert_trees_all_close(through.entropy(), p.entropy())
  with pytest.raises(AttributeError, match='cannot assign'):
    p.logits = LOGITS
