"""The table and the picture of experiments.codistillation_batches."""

import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments import records, report
from experiments.drawing import COLORS, saved, tidy

_HEADER = (
  'arm',
  'batch',
  'learning rate',
  'steps to target',
  'runs',
  'change %',
  'least',
)
_HOW_TO_READ = """\
Steps until an evaluation on validation shows a log-loss of {target:g} or less: the mean
over the runs that get there ± its standard error, how many do, of all, and the change
against the single models of the batch before (of the same batch for replicas). The
learning rate is the one of the fewest steps, chosen by the same runs; replicas take
that of the single models. With every replica on machines of its own, a step takes the
same time in all rows. "Least" is the mean of the least log-loss of a run."""


def write(
  single: Sequence[Any],
  end: Any,
  taught: Sequence[Any],
  target: float,
  path: pathlib.Path,
) -> str:
  """Writes ``table.md`` and ``steps.png``; returns the text for the terminal.

  Args:
    single: the point of the best rate of single models, by batch.
    end: the one of them at whose batch replicas were trained.
    taught: the points of the replicas.
    target: log-loss.
    path: directory.
  """
  rows = [
    _cells(point, before)
    for point, before in zip(single, [None, *single[:-1]], strict=True)
  ]
  rows += [_cells(point, end) for point in taught]
  notes = _HOW_TO_READ.format(target=target)
  plain, table = (
    '\n'.join([*report.aligned([_HEADER, *rows], markdown=markdown), '', notes, ''])
    for markdown in (False, True)
  )
  records.write_whole(path / 'table.md', table.encode())
  draw(single, taught, path / 'steps.png')
  return plain


def draw(single: Sequence[Any], taught: Sequence[Any], path: pathlib.Path) -> Figure:
  """Steps to the target against the batch, and what perfect scaling would be."""
  figure = Figure(figsize=(6, 4), layout='constrained')
  axis = figure.subplots()
  _bars(axis, single, 'single models', 'o-', COLORS[0])
  there = [point for point in single if point.reached.steps]
  if there:
    sizes = [point.arm.config.batch_size for point in single]
    first = there[0].reached.mean * there[0].arm.config.batch_size
    axis.plot(sizes, [first / size for size in sizes], ':', color=COLORS[0])
  for point, color in zip(taught, COLORS[1:], strict=False):
    _bars(axis, [point], point.arm.name, 's', color)
  axis.set_xscale('log', base=2)
  axis.set_yscale('log')
  axis.set_xlabel('batch of a model')
  axis.set_ylabel('steps to the target')
  tidy(axis)
  axis.legend(frameon=False)
  return saved(figure, path)


def _bars(axis: Any, points: Sequence[Any], label: str, style: str, color: str) -> None:
  points = [point for point in points if point.reached.steps]
  axis.errorbar(
    [point.arm.config.batch_size for point in points],
    [point.reached.mean for point in points],
    yerr=[point.reached.standard_error for point in points],
    fmt=style,
    color=color,
    label=label,
  )


def _cells(point: Any, before: Any | None) -> list[str]:
  own, config = point.reached, point.arm.config
  steps = f'{own.mean:.0f} ± {own.standard_error:.0f}' if own.steps else report.NOTHING
  change = report.NOTHING
  if before is not None and own.steps and before.reached.steps:
    change = f'{100 * (own.mean / before.reached.mean - 1):+.0f}'
  return [
    *(point.arm.name, str(config.batch_size), f'{config.learning_rate:g}', steps),
    *(f'{len(own.steps)}/{own.num_runs}', change, f'{own.least:.3f}'),
  ]
