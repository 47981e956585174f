"""The loop: exact under interruption and chaining, one program for many runs."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

import regularizers as reg
from experiments import arms, mnist, task, train
from experiments.evaluate import evaluate, predict
from experiments.state import init_state, stack
from experiments.train import NonFiniteError, training

LOSSES = tiny.penalties(0.1, 0.1, 0.1)


def run(state, losses=LOSSES, **options):
  """The last state, and all rows."""
  options = {'num_steps': 20, 'log_every': 5, **options}
  all_rows = []
  for new, rows in training(tiny.TASK, stack(losses), tiny.OPTIMIZER, state, **options):
    state = new
    all_rows += rows
  return jax.device_get(state), all_rows


@pytest.fixture(scope='module')
def unbroken():
  return run(tiny.start(LOSSES))


@pytest.mark.parametrize('stops', [(1,), (3,), (7, 4)])
def test_steps_in_a_dispatch_change_no_bit(unbroken, stops):
  state, rows = run(tiny.start(LOSSES), stops=stops)
  tiny.assert_same_bits(state, unbroken[0])
  assert rows == unbroken[1]


@pytest.mark.parametrize('stop', [1, 5, 13, 19])
def test_interruption_changes_no_bit(unbroken, stop):
  steps = training(
    tiny.TASK,
    stack(LOSSES),
    tiny.OPTIMIZER,
    tiny.start(LOSSES),
    num_steps=20,
    log_every=5,
    stops=(stop,),
  )
  rows = []
  for state, new in steps:
    rows += new
    if int(state.step) == stop:
      break
  saved = jax.tree.map(jnp.asarray, jax.device_get(state))
  state, later = run(saved)
  tiny.assert_same_bits(state, unbroken[0])
  assert rows + later == unbroken[1]


def test_the_given_state_stays_as_it_is():
  state = tiny.start(LOSSES)
  before = jax.device_get(state)
  run(state)
  tiny.assert_same_bits(state, before)


def test_grid_of_weights_and_seeds_is_one_run_at_a_time():
  grid = list(itertools.product([0.0, 1.0], tiny.SEEDS[:2]))
  losses = tiny.penalties(*(weight for weight, _ in grid))
  seeds = tuple(seed for _, seed in grid)
  states = [
    run(tiny.start(losses, seeds), losses, num_steps=100, vmap=vmap)[0]
    for vmap in (True, False)
  ]
  for index, (loss, seed) in enumerate(zip(losses, seeds, strict=True)):
    alone, _ = run(tiny.start([loss], (seed,)), [loss], num_steps=100)
    for state in states:
      own = jax.tree.map(lambda leaf, index=index: leaf[index], state.runs)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[0], rtol=1e-5, atol=1e-6),
        (own.params, own.window),
        (alone.runs.params, alone.runs.window),
      )


def test_a_changed_weight_is_not_compiled_again():
  run(tiny.start(LOSSES))
  before = train._advance._cache_size()
  losses = tiny.penalties(0.3, 0.2, 0.1)
  run(tiny.start(losses), losses)
  assert train._advance._cache_size() == before


def test_rows_are_means_over_the_steps_since_the_last_row():
  _, every_step = run(tiny.start(LOSSES), num_steps=10, log_every=1)
  _, windows = run(tiny.start(LOSSES), num_steps=10, log_every=4)
  assert [row['step'] for row in windows[:: len(tiny.SEEDS)]] == [4, 8, 10]
  for name in ('loss', 'nll', 'entropy', 'error', 'brier', 'gradient_norm'):
    steps = [row[name] for row in every_step if row['seed'] == 1]
    expected = [np.mean(part) for part in (steps[:4], steps[4:8], steps[8:])]
    got = [row[name] for row in windows if row['seed'] == 1]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_loss_is_what_is_minimised():
  _, rows = run(tiny.start(LOSSES), num_steps=5)
  for row in rows:
    assert row['loss'] == pytest.approx(row['nll'] - 0.1 * row['entropy'], rel=1e-5)


def test_not_finite_names_the_step_and_the_seed():
  losses = tiny.penalties(0.1, 0.1, 0.1)
  optimizer = optax.sgd(lambda count: jnp.where(count < 6, 0.1, 1e38))
  state = init_state(tiny.TASK, stack(losses), optimizer, (2, 1, 0))
  seen = []
  with pytest.raises(NonFiniteError, match=r'step 8, seed 2') as caught:
    for new, _ in training(
      tiny.TASK, stack(losses), optimizer, state, num_steps=20, log_every=20, chain=3
    ):
      seen.append(int(new.step))
      assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new.runs.params))
  assert seen == [3, 6]
  assert caught.value.run == 0


def test_evaluation_is_that_of_the_whole_split(monkeypatch):
  state, _ = run(tiny.start(LOSSES))
  whole = evaluate(tiny.TASK, stack(LOSSES), state, 'test')
  logits = predict(tiny.TASK, state, 'test')
  assert logits.shape == (3, 34, tiny.CLASSES)
  monkeypatch.setattr(task, 'EVAL_BATCH_SIZE', 10)  # the last batch is padded
  np.testing.assert_allclose(
    predict(tiny.TASK, state, 'test'), logits, rtol=1e-5, atol=1e-6
  )
  parts = evaluate(tiny.TASK, stack(LOSSES), state, 'test')
  for seed in tiny.SEEDS:
    labels = tiny.dataset(seed).splits['test']['label']
    log_p = logits[seed] - np.logaddexp.reduce(logits[seed], axis=-1, keepdims=True)
    nll = -log_p[np.arange(34), labels].mean()
    expected = {
      'nll': nll,
      'loss': nll + 0.1 * (np.exp(log_p) * log_p).sum(-1).mean(),
      'error': 100 * (log_p.argmax(-1) != labels).mean(),
      'ece': float(reg.metrics.ece(jnp.asarray(logits[seed]), jnp.asarray(labels))),
    }
    for row in (whole[seed], parts[seed]):
      got = {name: row[name] for name in expected}
      assert got == pytest.approx(expected, rel=1e-4)


def test_evaluation_leaves_dropout_out():
  state, _ = run(tiny.start(LOSSES))
  first = predict(tiny.TASK, state, 'test')
  np.testing.assert_array_equal(first, predict(tiny.TASK, state, 'test'))


def test_golden_step_of_mnist():
  """What three steps of the default program do to seed 0."""
  config = mnist.filled(mnist.Config(seeds=1))
  data = mnist.data(config, True)
  config = mnist.of_arm(config, 'label_smoothing+confidence_penalty')
  chain = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.5))
  job_task, optimizer = mnist.task(config, data), mnist.optimizer(config, data)
  got = tiny.golden_rows(job_task, chain(reg.cross_entropy), optimizer)
  expected = [
    [1.389592, 2.423085, 2.088573, 5.679246],
    [1.463111, 2.464883, 2.043592, 5.663830],
    [1.405734, 2.277491, 1.867545, 8.451145],
  ]
  message = (
    'The MNIST task changed: other initial weights, data, order, loss or optimizer. '
    'Results in the repository were obtained with the old ones: measure them again, '
    'say so in CHANGELOG.md, then put the new numbers here.'
  )
  np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=message)


def test_names_joined_are_one_loss():
  """All that the other tests do not train."""
  arm = 'unigram_smoothing+confidence_threshold+generalized_entropy+label_noise'
  (variant,) = arms.variants(arm, {}, mnist.VALUES['digits'])
  setting = arms.Setting(jnp.full(tiny.CLASSES, 1 / 3), num_steps=5)
  losses = [arms.make_loss(arm, variant.values, setting) for _ in tiny.SEEDS]
  state, rows = run(tiny.start(losses), losses, num_steps=5)
  assert int(state.step) == 5
  assert all(np.isfinite(row['loss']) for row in rows)


def test_annealed_weights_are_one_program():
  setting = arms.Setting(jnp.full(tiny.CLASSES, 1 / 3), num_steps=10)
  variants = arms.variants('confidence_annealed', {'weight': (0.1, 0.5, 2.0)}, {})
  losses = [arms.make_loss('confidence_annealed', v.values, setting) for v in variants]
  _, rows = run(tiny.start(losses, (0, 0, 0)), losses, num_steps=10, log_every=1)
  for index, weight in enumerate((0.1, 0.5, 2.0)):
    for step, row in enumerate(rows[index::3]):
      expected = row['nll'] - weight * step / 10 * row['entropy']
      assert row['loss'] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_state_is_a_pytree_of_arrays():
  state = tiny.start(LOSSES)
  assert dataclasses.is_dataclass(state.runs)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
