"""Scores of probabilities, against what they are by definition."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from experiments.scores import calibration


@pytest.fixture
def examples(rng) -> tuple[np.ndarray, np.ndarray]:
  """Logits that are twice too sure, and labels."""
  logits = rng.normal(size=(300, 5)).astype(np.float32)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  labels = np.array([rng.choice(5, p=row / row.sum()) for row in p.astype(float)])
  return 2 * logits, labels


def log_p(logits: np.ndarray) -> np.ndarray:
  z = logits.astype(float)
  return z - np.log(np.exp(z).sum(-1, keepdims=True))


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
  return float(-log_p(logits)[np.arange(len(labels)), labels].mean())


def test_means_by_definition(examples):
  logits, labels = examples
  found = calibration.means(logits, labels)
  p = np.exp(log_p(logits))
  top, right = p.max(-1), p.argmax(-1) == labels
  bins = np.ceil(15 * top).astype(int)
  gaps = [abs(right[bins == b].sum() - top[bins == b].sum()) for b in range(1, 16)]
  expected = {
    'error': 100 * (1 - right.mean()),
    'nll': nll(logits, labels),
    'entropy': scipy.stats.entropy(p, axis=-1).mean(),
    'brier': ((p - np.eye(5)[labels]) ** 2).sum(-1).mean(),
    'ece': sum(gaps) / len(labels),
  }
  assert found == pytest.approx(expected, rel=2e-6)
  reliable = calibration.reliability(logits, labels)
  assert reliable['count'].sum() == 300
  assert reliable['correct'].sum() == right.sum()


def test_temperature_is_where_the_nll_is_least(examples):
  logits, labels = examples
  found = calibration.temperature(logits, labels)
  best = scipy.optimize.minimize_scalar(
    lambda t: nll(logits / t, labels), bounds=(0.1, 10), options={'xatol': 1e-9}
  )
  assert found == pytest.approx(best.x, rel=1e-6)
  assert 1.6 < found < 2.4  # they were twice too sure
  # Scale of the logits, an offset of each row and a huge one of all change nothing.
  assert calibration.temperature(7 * logits, labels) == pytest.approx(7 * found)
  shifted = logits.astype(float) + np.arange(300)[:, None] + 1e4
  assert calibration.temperature(shifted, labels) == pytest.approx(found, rel=1e-6)


def test_temperature_at_the_ends_of_its_range(examples):
  logits, _ = examples
  low, high = calibration.TEMPERATURES
  assert calibration.temperature(logits, logits.argmax(-1)) == pytest.approx(
    low, rel=1e-9
  )
  assert calibration.temperature(logits, logits.argmin(-1)) == high


def test_temperature_of_classes_that_are_masked(examples):
  logits, labels = examples
  own = labels < 4
  masked = np.where(np.arange(5) == 4, -np.inf, logits)
  expected = calibration.temperature(logits[own, :4], labels[own])
  assert calibration.temperature(masked[own], labels[own]) == pytest.approx(expected)


def test_rejection_by_definition(examples):
  logits, labels = examples
  p = np.exp(log_p(logits))
  order = np.argsort(p.max(-1), kind='stable')
  wrong = (p.argmax(-1) != labels)[order]
  expected = [100 * wrong[k:].mean() for k in range(len(wrong))]
  np.testing.assert_allclose(calibration.rejection(logits, labels), expected)


def test_of_equally_sure_answers_the_earlier_is_rejected_first(rng):
  labels = rng.integers(0, 3, 60)
  sure = np.arange(60) % 3 == 0
  order = [*np.flatnonzero(~sure), *np.flatnonzero(sure)]
  expected = [100 * (labels[order[k:]] != 0).mean() for k in range(60)]
  logits = sure[:, None] * np.array([1.0, 0.0, 0.0])
  found = calibration.rejection(logits, labels)
  np.testing.assert_allclose(found, expected)


def test_auroc_counts_pairs(rng):
  known, unknown = rng.integers(0, 6, 30), rng.integers(2, 9, 20)
  pairs = itertools.product(known, unknown)
  wins = [1.0 if b > a else 0.5 if a == b else 0.0 for a, b in pairs]
  found = calibration.auroc(known, unknown)
  assert found == pytest.approx(np.mean(wins))
  statistic = scipy.stats.mannwhitneyu(unknown, known).statistic
  assert found == pytest.approx(statistic / 600)


def test_entropies():
  logits = np.array([[0.0, 0.0], [1e4, 0.0], [-np.inf, 3.0]])
  np.testing.assert_allclose(calibration.entropies(logits), [math.log(2), 0, 0])
