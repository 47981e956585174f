"""What runs say together: means over seeds, and paired differences."""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import scipy.stats  # type: ignore[import-untyped]

from experiments import papers
from experiments.errors import InputError
from experiments.measures import MEASURES, Measure
from experiments.runs import BASELINE, DROPOUT, Run, Series

CONFIDENCE = 0.95
Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Comparison:
  """An arm and how it differs from the baseline; None is what is not known.

  Attributes:
    table: name of the table that the arm belongs to.
    arm: the arm, with its values.
    seeds: its seeds.
    mean: of the test error in percent, the test perplexity or the like.
    standard_error: of ``mean``, over the seeds.
    paired_seeds: the seeds that the difference is taken over.
    difference: mean of its figure minus the baseline's.
    interval: 95 % t-interval of ``difference``.
    verdict: 'better', 'worse', 'undecided', or '' without an interval.
    means: of what else the rows say, by name.
    published: what the paper prints, by heading.
  """

  table: str
  arm: str
  seeds: tuple[int, ...]
  mean: float
  standard_error: float | None
  paired_seeds: tuple[int, ...]
  difference: float | None
  interval: Interval | None
  verdict: str
  means: Mapping[str, float | None]
  published: Mapping[str, papers.Figure | None]


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs of one experiment on the same data: they make up one table."""

  name: str
  runs: tuple[Run, ...]

  @property
  def paper(self) -> papers.Table | None:
    """The paper's table of the same experiment and data set: of test errors."""
    if self.runs[0].split != 'test':
      return None
    size = str(self.runs[0].config.get('size', ''))
    return papers.table(self.runs[0].experiment, self.runs[0].dataset, size)

  @property
  def measure(self) -> Measure:
    return MEASURES[self.runs[0].measure]

  @property
  def finished(self) -> list[Run]:
    return [run for run in self.runs if run.finished]

  @property
  def reference(self) -> str:
    """The arm that the others are compared with: dropout where all of them have it."""
    dropped = all(DROPOUT in run.arm.split('+') for run in self.runs)
    return DROPOUT if dropped and len(self.runs) > 1 else BASELINE

  @property
  def baseline(self) -> Run | None:
    """The run that the others are compared with, if it is there and finished."""
    baselines = [run for run in self.finished if run.arm == self.reference]
    if len(baselines) > 1:
      raise InputError(
        f'{baselines[0].path} and {baselines[1].path} are both the {self.reference} of '
        f'{self.name}: report them apart'
      )
    return baselines[0] if baselines else None


def groups(runs: Sequence[Run]) -> list[Group]:
  """Splits runs into tables.

  Runs belong together if they are of one experiment, end on the same split, measure the
  same and have a seed in common whose data have the same fingerprint. Where that leaves
  an arm twice, each parent directory is a table of its own.
  """
  parts: list[list[Run]] = []
  for run in runs:
    joined = [part for part in parts if any(_same_data(run, other) for other in part)]
    parts = [part for part in parts if part not in joined]
    parts.append([*sum(joined, []), run])
  parts = [half for part in parts for half in _without_twins(part)]
  parts = [[run for run in runs if run in part] for part in parts]  # in table order
  parts.sort(key=lambda part: (_name(part[0]), str(part[0].path.parent)))
  names = Counter(_name(part[0]) for part in parts)
  return [
    Group(
      _name(part[0])
      if names[_name(part[0])] == 1
      else f'{_name(part[0])}, {os.path.commonpath([run.path.parent for run in part])}',
      tuple(part),
    )
    for part in parts
  ]


def table(runs: Sequence[Run]) -> list[Comparison]:
  """A line for every finished arm, the baseline of each table first."""
  return [
    _compare(group, series)
    for group in groups(runs)
    for run in group.finished
    for series in run.series
  ]


def common_seeds(run: Run, baseline: Run) -> list[int]:
  """Seeds that both were trained with, on the same data."""
  common = sorted(set(run.seeds) & set(baseline.seeds))
  return [seed for seed in common if run.data(seed) == baseline.data(seed)]


def paired_interval(differences: Sequence[float]) -> Interval | None:
  """The t-interval of their mean; None for fewer than two."""
  if len(differences) < 2:
    return None
  mean, error = _mean(differences), _standard_error(differences)
  quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
  assert error is not None
  return mean - quantile * error, mean + quantile * error


def verdict(interval: Interval | None, more_is_better: bool = False) -> str:
  """What the interval of a difference says."""
  if interval is None:
    return ''
  low, high = interval
  # No spread: errors are counts, and a few equal differences are no certainty.
  if high - low <= 1e-6:
    return 'undecided'
  if more_is_better:
    low, high = -high, -low
  if high < 0:
    return 'better'
  return 'worse' if low > 0 else 'undecided'


def _compare(group: Group, series: Series) -> Comparison:
  results = series.results
  name, published = group.measure.name, group.paper.columns if group.paper else {}
  figures = {seed: float(row[name]) for seed, row in results.items()}
  differences = _differences(group.baseline, series, figures, name)
  interval = paired_interval(list(differences.values()))
  return Comparison(
    table=group.name,
    arm=series.name,
    seeds=tuple(figures),
    mean=_mean(figures.values()),
    standard_error=_standard_error(figures.values()),
    paired_seeds=tuple(differences),
    difference=_mean(differences.values()) if differences else None,
    interval=interval,
    verdict=verdict(interval, group.measure.more_is_better),
    means={name: _mean_of(series, name) for name in group.measure.columns},
    published={head: own.get(series.run.arm) for head, own in published.items()},
  )


def _differences(
  baseline: Run | None, series: Series, figures: dict[int, float], name: str
) -> dict[int, float]:
  if baseline is None or series.run is baseline:
    return {}
  base = baseline.series[0].results
  return {
    seed: figures[seed] - float(base[seed][name])
    for seed in common_seeds(series.run, baseline)
  }


def _same_data(a: Run, b: Run) -> bool:
  if _name(a) != _name(b) or a.measure != b.measure:
    return False
  if a.same_data and b.same_data:  # even without a common seed
    return a.data(a.seeds[0]) == b.data(b.seeds[0])
  common = set(a.seeds) & set(b.seeds)
  return any(a.data(seed) == b.data(seed) for seed in common)


def _without_twins(part: list[Run]) -> list[list[Run]]:
  if max(Counter(run.arm for run in part).values()) == 1:
    return [part]
  parents: dict[str, list[Run]] = {}
  for run in part:
    parents.setdefault(str(run.path.resolve().parent), []).append(run)
  return list(parents.values())


def _name(run: Run) -> str:
  split = '' if run.split == 'test' else f', {run.split}'
  return f'{run.experiment} on {run.dataset}{split}'


def _mean(values: Iterable[float]) -> float:
  return float(np.mean(list(values)))


def _standard_error(values: Iterable[float]) -> float | None:
  array = np.array(list(values))
  if len(array) < 2:
    return None
  return float(np.std(array, ddof=1) / math.sqrt(len(array)))


def _mean_of(series: Series, name: str) -> float | None:
  results = series.results.values()
  if not all(isinstance(row.get(name), int | float) for row in results):
    return None
  return _mean(float(row[name]) for row in results)
