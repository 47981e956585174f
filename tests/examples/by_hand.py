"""The examples' loss written out in numpy and float64."""

import numpy as np


def losses(logits, labels, epsilon=0.0, weight=0.0, threshold=None) -> np.ndarray:
  """Cross-entropy of smoothed labels and confidence penalty, by position."""
  logits = np.asarray(logits).astype(np.float64)
  log_p = logits - logits.max(-1, keepdims=True)
  log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
  targets = (1 - epsilon) * np.eye(logits.shape[-1])[labels] + epsilon / log_p.shape[-1]
  entropy = -(np.exp(log_p) * log_p).sum(-1)
  penalty = -entropy if threshold is None else np.maximum(0, threshold - entropy)
  return -(targets * log_p).sum(-1) + weight * penalty
