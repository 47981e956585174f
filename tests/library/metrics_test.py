"""Metrics and reductions: against numbers worked out by hand, and merged exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regularizers as reg
from regularizers import metrics

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])
LOGITS = jnp.log(jnp.asarray(PROBABILITIES))
LABELS = jnp.array([0, 2, 2])
ROWS = np.array([0.7, 0.4, 0.4])  # probabilities of the labels


def mean(average: metrics.Average) -> float:
  return float(average[0] / average[1])


def test_averages_by_hand():
  entropy = -(PROBABILITIES * np.log(PROBABILITIES)).sum(-1)
  squares = (PROBABILITIES - np.eye(3)[np.asarray(LABELS)]) ** 2
  close = pytest.approx
  assert mean(metrics.nll(LOGITS, LABELS)) == close(-np.log(ROWS).mean(), rel=1e-6)
  assert mean(metrics.entropy(LOGITS)) == close(entropy.mean(), rel=1e-6)
  assert mean(metrics.accuracy(LOGITS, LABELS)) == close(2 / 3)
  assert mean(metrics.brier(LOGITS, LABELS)) == close(squares.sum(-1).mean(), rel=1e-6)
  perplexity = metrics.perplexity(metrics.nll(LOGITS, LABELS))
  assert float(perplexity) == close(np.prod(ROWS) ** (-1 / 3), rel=1e-6)


@pytest.mark.parametrize('name', ['nll', 'accuracy', 'brier'])
def test_labels_may_be_distributions(name):
  measure = getattr(metrics, name)
  hard, soft = measure(LOGITS, LABELS), measure(LOGITS, jnp.eye(3)[LABELS])
  np.testing.assert_allclose(hard, soft, rtol=1e-6)


@pytest.mark.parametrize('name', ['nll', 'accuracy', 'brier', 'entropy'])
def test_batches_merge_to_the_whole(name, rng):
  logits = rng.normal(size=(4, 3, 6)).astype(np.float32)
  labels, mask = rng.integers(0, 6, (4, 3)), rng.random((4, 3)) < 0.6
  measured = jax.jit(getattr(metrics, name))

  def measure(rows: slice) -> metrics.Average:
    given = () if name == 'entropy' else (labels[rows],)
    return measured(logits[rows], *given, mask=mask[rows])

  whole, parts = measure(slice(None)), [measure(slice(0, 2)), measure(slice(2, 4))]
  np.testing.assert_allclose(whole, np.add(*map(np.asarray, parts)), rtol=1e-6)
  assert float(whole[1]) == mask.sum()


def test_a_masked_row_counts_nowhere():
  junk = LOGITS.at[1].set(jnp.array([jnp.nan, jnp.inf, 3.0]))
  mask = jnp.array([True, False, True])
  kept = jnp.array([0, 2])
  for measure in (metrics.nll, metrics.accuracy, metrics.brier):
    expected = measure(LOGITS[kept], LABELS[kept])
    np.testing.assert_allclose(measure(junk, LABELS, mask), expected, rtol=1e-6)
  got = metrics.calibration_bins(LOGITS, LABELS, mask)
  expected = metrics.calibration_bins(LOGITS[kept], LABELS[kept])
  jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_an_impossible_label_is_never_right():
  assert mean(metrics.accuracy(LOGITS, jnp.array([0, -1, 3]))) == pytest.approx(1 / 3)


def with_confidence(*confidences: float) -> jax.Array:
  return jnp.log(jnp.array([[c, 1 - c] for c in confidences]))


def test_ece_by_hand():
  logits = with_confidence(0.95, 0.85, 0.65, 0.62)
  labels = jnp.array([0, 1, 0, 0])  # right, wrong, right, right
  # Bins of width 0.1: |1 − 0.95|, |0 − 0.85|, |2 − 1.27|; over four rows.
  expected = (0.05 + 0.85 + 0.73) / 4
  got = metrics.ece(logits, labels, num_bins=10)
  assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(('confidence', 'bin'), [(0.5, 0), (0.75, 1), (1.0, 1)])
def test_bins_are_open_below_and_closed_above(confidence, bin):
  logits = jnp.array([[0.0, -jnp.inf]]) if confidence == 1 else with_confidence(0.5)
  if confidence == 0.75:
    logits = jnp.array([[jnp.log(3.0), 0.0]])
  count = metrics.calibration_bins(logits, jnp.array([0]), num_bins=2).count
  assert int(jnp.argmax(count)) == bin


def test_bins_merge_to_the_whole(rng):
  logits = rng.normal(size=(40, 3)).astype(np.float32)
  labels = rng.integers(0, 3, 40)
  bins = jax.jit(metrics.calibration_bins)
  whole = bins(logits, labels)
  merged = bins(logits[:20], labels[:20]).merge(bins(logits[20:], labels[20:]))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, merged)
  together = jax.jit(metrics.ece)(logits, labels)
  np.testing.assert_allclose(metrics.ece_of_bins(merged), together, rtol=1e-5)


def test_churn():
  other = jnp.log(jnp.asarray(PROBABILITIES[:, ::-1].copy()))
  churn = metrics.churn(LOGITS, other)
  distance = np.abs(PROBABILITIES - PROBABILITIES[:, ::-1]).mean()
  assert mean(churn.disagreement) == pytest.approx(2 / 3)
  assert mean(churn.absolute_difference) == pytest.approx(distance, rel=1e-6)
  same = metrics.churn(LOGITS, LOGITS + 5.0)
  assert mean(same.disagreement) == 0
  assert mean(same.absolute_difference) < 1e-6


def test_churn_of_two_classes_is_that_of_either():
  p, q = reg.bernoulli(jnp.array([0.3, -2.0])), reg.bernoulli(jnp.array([1.0, 0.5]))
  gap = np.abs(jax.nn.sigmoid(p.logits[:, 1]) - jax.nn.sigmoid(q.logits[:, 1]))
  average = metrics.churn(p, q).absolute_difference
  assert mean(average) == pytest.approx(gap.mean(), rel=1e-6)


@pytest.mark.parametrize(
  ('mask', 'total', 'average'),
  [
    (None, 10.0, 2.5),
    (np.array([[True, False], [True, True]]), 8.0, 8 / 3),
    (np.array([1.0, 0.5]), 1 + 1 + 3 + 2.0, 7 / 3),  # along the last axis
    (np.array([[2.0], [0.0]]), 6.0, 1.5),
    (np.zeros((2, 2)), 0.0, 0.0),
    (np.array(True), 10.0, 2.5),
  ],
)
def test_masked_reductions(mask, total, average):
  losses = jnp.array([[1.0, 2.0], [3.0, 4.0]])
  assert float(reg.masked_sum(losses, mask)) == pytest.approx(total)
  assert float(reg.masked_mean(losses, mask)) == pytest.approx(average)


def test_junk_under_the_mask_moves_neither_value_nor_gradient():
  loss = reg.chain(
    reg.label_smoothing(0.1), reg.confidence_penalty(0.3, threshold=1.0)
  )(reg.cross_entropy)
  mask = jnp.array([True, False, True])

  @jax.jit
  @jax.value_and_grad
  def value_and_slope(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return reg.masked_mean(loss(logits, labels), mask)

  clean = value_and_slope(LOGITS, LABELS)
  for junk, label in ((-1e4, 0), (1e30, -100), (0.0, 99)):
    dirty, labels = np.array(LOGITS), np.array(LABELS)
    dirty[1], labels[1] = [junk, 2.0, -junk], label
    got = value_and_slope(dirty, labels)
    jax.tree.map(np.testing.assert_array_equal, got, clean)


def test_a_row_without_classes_poisons_nothing():
  loss = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.3))(
    reg.cross_entropy
  )
  where = jnp.array([[True, True, True], [False, False, False], [True, True, True]])

  def value(logits: jax.Array) -> jax.Array:
    losses = loss(logits, LABELS, where=where)
    return reg.masked_mean(losses, jnp.array([True, False, True]))

  value, gradient = jax.jit(jax.value_and_grad(value))(LOGITS)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(gradient[1], 0)
