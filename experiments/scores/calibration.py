"""What probabilities are worth: calibration, temperature, rejection, unknown images.

Logits are ``[n, classes]``, labels ``[n]``; a natural logarithm throughout.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize  # type: ignore[import-untyped]
import scipy.special  # type: ignore[import-untyped]
import scipy.stats  # type: ignore[import-untyped]

from regularizers import metrics

TEMPERATURES = (0.01, 100.0)  # the range that is searched
NUM_BINS = 15


def means(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Error in percent, nll and entropy in nats, ece and Brier score."""
  return {name: float(value) for name, value in _means(logits, labels).items()}


@jax.jit
def _means(logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
  averages = {
    'nll': metrics.nll(logits, labels),
    'entropy': metrics.entropy(logits),
    'brier': metrics.brier(logits, labels),
  }
  right, count = metrics.accuracy(logits, labels)
  return {
    'error': 100 * (count - right) / count,
    **{name: total / n for name, (total, n) in averages.items()},
    'ece': metrics.ece(logits, labels, num_bins=NUM_BINS),
  }


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
  """The T for which the logits divided by T have the least nll.

  The nll is convex in 1/T. Where it falls up to an end of the range, as where every
  prediction is right, T is that end.

  Args:
    logits: of examples that the model was not trained on.
    labels: of the same.

  References:
    Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, 2017.
  """
  z = np.asarray(logits, np.float64)
  z = z - z.max(-1, keepdims=True)
  own = np.take_along_axis(z, np.asarray(labels)[:, None], -1)[:, 0]

  def slope(log_t: float) -> float:
    """Of the nll in 1/T."""
    p = scipy.special.softmax(z / np.exp(log_t), axis=-1)
    expected = (p * np.where(p > 0, z, 0)).sum(-1)  # 0 * -inf = 0
    return float((expected - own).mean())

  low, high = np.log(TEMPERATURES)
  if slope(low) <= 0:
    return TEMPERATURES[0]
  if slope(high) >= 0:
    return TEMPERATURES[1]
  return float(np.exp(scipy.optimize.brentq(slope, low, high, xtol=1e-10)))


def entropies(logits: np.ndarray) -> np.ndarray:
  """``[n]``, of each prediction."""
  z = np.asarray(logits, np.float64)
  found: np.ndarray = scipy.special.entr(scipy.special.softmax(z, axis=-1)).sum(-1)
  return found


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
  """The chance that an unknown value is above a known one; a tie is half a chance."""
  ranks = scipy.stats.rankdata(np.concatenate([known, unknown]))
  n, m = len(known), len(unknown)
  return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def rejection(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """``[n]``: error in percent where the k least sure examples are rejected, by k.

  The surest are those whose likeliest class has the highest probability; of equal ones
  the earlier goes first.
  """
  probabilities = scipy.special.softmax(np.asarray(logits, np.float64), axis=-1)
  order = np.argsort(probabilities.max(-1), kind='stable')
  wrong = (probabilities.argmax(-1) != labels)[order]
  kept = np.arange(len(wrong), 0, -1)
  found: np.ndarray = 100 * np.cumsum(wrong[::-1])[::-1] / kept
  return found


def reliability(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
  """By bins of confidence: sums of ``confidence`` and ``correct``, and ``count``."""
  given = jnp.asarray(logits), jnp.asarray(labels)
  bins = metrics.calibration_bins(*given, num_bins=NUM_BINS)
  names = ('confidence', 'correct', 'count')
  return {name: np.asarray(getattr(bins, name)) for name in names}
