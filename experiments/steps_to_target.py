"""How many steps it takes to a log-loss on validation."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.runs import Run


@dataclasses.dataclass(frozen=True)
class Reached:
  """When the runs of an arm were first seen at the target.

  Attributes:
    steps: of the first evaluation at or below it, one a run that gets there.
    num_runs: of all runs.
    num_steps: that each was trained for.
    least: mean over the runs of the least log-loss of each (nats).
  """

  steps: tuple[int, ...]
  num_runs: int
  num_steps: int
  least: float

  @property
  def mean(self) -> float:
    """Over those that reach it; NaN if none does."""
    return float(np.mean(self.steps)) if self.steps else float('nan')

  @property
  def standard_error(self) -> float:
    """Of the mean; NaN of fewer than two."""
    count = len(self.steps)
    return float(np.std(self.steps, ddof=1) / np.sqrt(count)) if count > 1 else np.nan

  @property
  def slowness(self) -> tuple[int, float]:
    """For comparisons: the more runs that do not get there, the slower."""
    return self.num_runs - len(self.steps), self.mean if self.steps else np.inf


def validation_curves(run: Run) -> dict[int, dict[int, float]]:
  """Log-loss by seed and step; nothing of a run that was evaluated once."""
  result: dict[int, dict[int, float]] = {}
  for row in run.rows:
    if row['split'] == 'validation' and not row.get('final'):
      result.setdefault(row['seed'], {})[row['step']] = row['nll']
  return result if all(len(values) > 1 for values in result.values()) else {}


def reached(curves: Mapping[int, Mapping[int, float]], target: float) -> Reached:
  """What `validation_curves` says of a target (nats)."""
  steps = [
    min(step for step, nll in values.items() if nll <= target)
    for values in curves.values()
    if min(values.values()) <= target
  ]
  last = max((max(values) for values in curves.values()), default=0)
  least = [min(values.values()) for values in curves.values()]
  return Reached(tuple(steps), len(curves), last, float(np.mean(least)))
