"""From sums of counts ``[..., k]`` to percent ``[...]``, as sacrebleu has them."""

import numpy as np


def ratio(counts: np.ndarray) -> np.ndarray:
  """The first count by the second."""
  return 100 * counts[..., 0] / counts[..., 1]


def plain_bleu(counts: np.ndarray) -> np.ndarray:
  """0 if an order has no match."""
  return _bleu(counts, np.zeros(counts[..., 2:6].shape))


def smoothed_bleu(counts: np.ndarray) -> np.ndarray:
  """Orders without a match count as 1/2 match, then 1/4, and so on."""
  return _bleu(counts, 0.5 ** np.cumsum(counts[..., 2:6] == 0, axis=-1))


def _bleu(counts: np.ndarray, unmatched: np.ndarray) -> np.ndarray:
  """Of lengths of hypothesis and reference, and four matches and numbers of n-grams."""
  length, reference = counts[..., 0], counts[..., 1]
  matches, total = counts[..., 2:6], counts[..., 6:]
  positive = np.where(matches == 0, unmatched, matches)
  defined = (total > 0).all(-1) & (positive > 0).all(-1) & (matches > 0).any(-1)
  precision = np.where(np.expand_dims(defined, -1), positive, 1) / np.maximum(total, 1)
  brevity = np.minimum(0, 1 - reference / np.maximum(length, 1))
  value = np.exp(np.log(precision).mean(-1) + brevity)
  return 100 * np.where(defined, value, 0)


def chrf(counts: np.ndarray) -> np.ndarray:
  """F2 of precision and recall, each a mean over orders that both sides have."""
  triples = counts.reshape(*counts.shape[:-1], -1, 3)
  hypothesis, reference, matches = np.moveaxis(triples, -1, 0)
  orders = (hypothesis > 0) & (reference > 0)
  number = np.maximum(orders.sum(-1), 1)
  precision = (orders * matches / np.maximum(hypothesis, 1)).sum(-1) / number
  recall = (orders * matches / np.maximum(reference, 1)).sum(-1) / number
  below = 4 * precision + recall
  return 100 * 5 * precision * recall / np.where(below > 0, below, 1)
