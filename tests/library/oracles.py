"""Formulas in float64 numpy, as a textbook writes them: no trick of the library.

All of them are analytic, so that a complex step gives derivatives without the
cancellation of finite differences: Im f(z + ih)/h is exact to rounding at h = 1e-30.
"""

import decimal
from collections.abc import Callable

import numpy as np

Rows = Callable[[np.ndarray], np.ndarray]


def log_softmax(logits: np.ndarray) -> np.ndarray:
  centred = logits - logits.real.max(-1, keepdims=True)
  return centred - np.log(np.exp(centred).sum(-1, keepdims=True))


def log_normalizer(logits: np.ndarray) -> np.ndarray:
  top = logits.real.max(-1)
  return top + np.log(np.exp(logits - top[..., None]).sum(-1))


def cross_entropy(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Of integer labels ``[N]`` or of target distributions ``[V]`` or ``[N, V]``."""
  log_p = log_softmax(logits)
  if target.dtype.kind in 'iu':
    target = np.eye(logits.shape[-1])[target]
  return -(target * log_p).sum(-1)


def entropy(logits: np.ndarray) -> np.ndarray:
  log_p = log_softmax(logits)
  return -(np.exp(log_p) * log_p).sum(-1)


def kl(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
  return (np.exp(log_p) * (log_p - log_q)).sum(-1)


def skew_divergence(logits: np.ndarray, prior: np.ndarray, a: float) -> np.ndarray:
  """Meister et al.'s formula; the two ends are its limits."""
  log_p = log_softmax(logits)
  if a == 0:
    return kl(log_p, np.log(prior))
  if a == 1:
    return kl(np.log(prior), log_p)

  def g(q: np.ndarray) -> np.ndarray:
    return (q * np.log(q)).sum(-1)

  p = np.exp(log_p)
  mixed = (1 - a) * g(prior) + a * g(p) - g((1 - a) * prior + a * p)
  return mixed / (a * (1 - a))


def mean_teacher(teacher: np.ndarray, temperature: float, rank: int) -> np.ndarray:
  """Log of the teachers' probabilities, averaged if there is an axis of peers."""
  p = np.exp(log_softmax(teacher / temperature))
  return np.log(p if p.ndim == rank else p.mean(0))


def gradient(rows: Rows, logits: np.ndarray) -> np.ndarray:
  """Derivative of every row by its own logits, ``[N, V]``, by complex steps."""
  size = 1e-30
  columns = []
  for direction in np.eye(logits.shape[-1]):
    columns.append(rows(logits + 1j * size * direction).imag / size)
  return np.stack(columns, -1)


def directional_hessian(rows: Rows, logits: np.ndarray, along: np.ndarray):
  """∂/∂t gradient(z + t·along), by central differences; error about 1e-10."""
  h = 1e-5
  ahead, behind = (gradient(rows, logits + s * along) for s in (h, -h))
  return (ahead - behind) / (2 * h)


def third_derivative(rows: Rows, logits: np.ndarray, along: np.ndarray):
  """∂³/∂t³ rows(z + t·along), ``[N]``; error about 1e-6."""
  h = 1e-3
  slopes = [
    (gradient(rows, logits + s * along) * along).sum(-1)
    for s in (-2 * h, -h, 0, h, 2 * h)
  ]
  weights = np.array([-1, 16, -30, 16, -1]) / (12 * h**2)
  return np.tensordot(weights, np.stack(slopes), 1)


def exact_skew_divergence(logits: np.ndarray, prior: np.ndarray, alpha: float):
  """KL(u‖m)/α + KL(p‖m)/(1 − α) of one row in 60 digits; the limits at the ends."""
  number = decimal.Decimal
  with decimal.localcontext(prec=60):
    weights = [number(float(z)).exp() for z in logits]
    p = [w / sum(weights) for w in weights]
    u = [number(float(x)) for x in prior]
    u = [x / sum(u) for x in u]

    def divergence(a: list[decimal.Decimal], b: list[decimal.Decimal]):
      pairs = [(x, y) for x, y in zip(a, b, strict=True) if x > 0]
      if any(y == 0 for _, y in pairs):
        return number('Infinity')
      return sum(x * (x / y).ln() for x, y in pairs)

    if alpha in (0, 1):
      return float(divergence(p, u) if alpha == 0 else divergence(u, p))
    a = number(float(alpha))
    m = [(1 - a) * x + a * y for x, y in zip(u, p, strict=True)]
    return float(divergence(u, m) / a + divergence(p, m) / (1 - a))
