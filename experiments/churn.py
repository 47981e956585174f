"""Prediction churn: how far models differ that were trained in the same way.

Two retrains differ in the seed: first weights, order of the data, dropout. Their churn
is the share of examples of which they predict another class, and the mean total
variation ½ Σ|p − q|; for two classes that is the absolute difference of the
probability, which Anil et al. (2018) report.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import outputs
from experiments.state import State
from experiments.task import Task

DRAWS = 2000
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Churn:
  """Of pairs of retrains, example by example.

  Attributes:
    pairs: ``[pairs, 2]``, which retrains.
    difference: ``[pairs, examples]``, total variation.
    disagreement: ``[pairs, examples]``, 1 where the likeliest classes differ.
  """

  pairs: np.ndarray
  difference: np.ndarray
  disagreement: np.ndarray

  def arrays(self) -> dict[str, np.ndarray]:
    """For a file."""
    return dataclasses.asdict(self)


def measured(task: Task, state: State, split: str, retrains: int) -> Churn:
  """Of all pairs of retrains of the same replica.

  Args:
    task: its outputs are logits.
    state: run ``r * retrains + s`` is replica r of retrain s.
    split: what is predicted.
    retrains: their number.
  """
  runs = np.arange(len(state.runs.seed)).reshape(-1, retrains)
  couples = [(a, b) for row in runs for a, b in itertools.combinations(row, 2)]
  if not couples:
    empty = np.zeros((0, 0), np.float32)
    return Churn(np.zeros((0, 2), np.int32), empty, empty)
  first, second = (np.array(side) for side in zip(*couples, strict=True))
  parts = [
    _compared(logits, first, second, mask)
    for logits, mask in outputs(task, state, split)
  ]
  difference, disagreement = (
    np.concatenate(side, axis=1) for side in zip(*parts, strict=True)
  )
  pairs = np.stack([first % retrains, second % retrains], axis=1).astype(np.int32)
  return Churn(pairs, difference, disagreement)


def _compared(
  logits: jax.Array, first: np.ndarray, second: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  apart = [
    np.asarray(part)[:, mask]
    for part in _differences(logits, jnp.asarray(first), jnp.asarray(second))
  ]
  return apart[0].astype(np.float32), apart[1].astype(np.uint8)


@jax.jit
def _differences(
  logits: jax.Array, first: jax.Array, second: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Pair by pair: all of them at once may be more than the memory holds."""

  def one(pair: Any) -> tuple[jax.Array, jax.Array]:
    p, q = (jax.nn.softmax(logits[index]) for index in pair)
    other = jnp.argmax(p, -1) != jnp.argmax(q, -1)
    return jnp.abs(p - q).sum(-1) / 2, other

  difference, other = jax.lax.map(one, (first, second))
  return difference, other


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean and its bootstrap interval."""

  mean: float
  low: float
  high: float

  def __str__(self) -> str:
    return f'{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]'


def estimate(values: np.ndarray, pairs: np.ndarray) -> Estimate:
  """The mean over pairs and examples; retrains and examples are drawn anew.

  Retrains, not pairs: pairs that have one in common are not independent.
  """
  draws = _draws(values, pairs, _weights(values.shape[1]))
  return _interval(float(values.mean()), draws)


def change(
  ours: tuple[np.ndarray, np.ndarray],
  theirs: tuple[np.ndarray, np.ndarray],
) -> Estimate:
  """Our mean over theirs, minus 1; both of the same examples.

  Args:
    ours: values ``[pairs, examples]`` and pairs ``[pairs, 2]``.
    theirs: likewise.
  """
  weights = _weights(ours[0].shape[1])
  theirs_drawn = _draws(*theirs, weights, seed=1)  # retrains of their own
  theirs_drawn[theirs_drawn == 0] = np.nan  # no churn, no change of it
  draws = _draws(*ours, weights) / theirs_drawn
  mean = float(ours[0].mean() / max(theirs[0].mean(), np.finfo(float).tiny))
  return _interval(mean - 1, draws - 1)


def _weights(examples: int) -> np.ndarray:
  """``[examples, draws]``, how often each example is drawn."""
  random = np.random.default_rng([0, 0])
  return random.poisson(1.0, (examples, DRAWS)).astype(np.float32)


def _draws(
  values: np.ndarray, pairs: np.ndarray, weights: np.ndarray, seed: int = 0
) -> np.ndarray:
  """``[draws]`` means; NaN where one retrain alone was drawn, or no example."""
  drawn = np.maximum(weights.sum(0), 1)
  by_pair = values.astype(np.float32) @ weights / drawn  # [pairs, draws]
  retrains = int(pairs.max()) + 1
  random = np.random.default_rng([seed, 1])
  counts = random.multinomial(retrains, np.full(retrains, 1 / retrains), DRAWS).T
  of_pair = counts[pairs[:, 0]] * counts[pairs[:, 1]]
  means = np.full(DRAWS, np.nan)
  some = (of_pair.sum(0) > 0) & (weights.sum(0) > 0)
  np.divide((by_pair * of_pair).sum(0), of_pair.sum(0), out=means, where=some)
  return means


def _interval(mean: float, draws: np.ndarray) -> Estimate:
  tail = 100 * (1 - LEVEL) / 2
  low, high = np.nanpercentile(draws, [tail, 100 - tail])
  return Estimate(mean, float(low), float(high))


def joined(parts: Sequence[Churn]) -> Churn:
  """Of several replicas, that have the same retrains."""
  return Churn(
    *(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS)
  )


def of_file(arrays: Any) -> Churn:
  """What ``arrays`` gave."""
  return Churn(*(arrays[name] for name in _FIELDS))


_FIELDS: Sequence[str] = [field.name for field in dataclasses.fields(Churn)]
