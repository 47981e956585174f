"""Pictures of recognisers: where they look over time, and their errors by arm."""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from experiments import records
from experiments.comparison import groups
from experiments.drawing import COLORS, names, saved, tidy
from experiments.runs import Path, collect

FRAME = 0.01  # seconds


def attention(run_dirs: Iterable[Path], path: Path | None = None) -> Figure | None:
  """Where the first seed of each arm looks in one utterance of the test.

  Args:
    run_dirs: run directories, or directories of them at any depth.
    path: of the PNG file.

  Returns:
    The figure; None where no run has attention.
  """
  runs = [run for run in collect(run_dirs) if (run.path / 'attention.npz').exists()]
  if not runs:
    return None
  columns = min(len(runs), 2)
  lines = math.ceil(len(runs) / columns)
  size = (1 + 4.5 * columns, 0.5 + 4.0 * lines)
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots(lines, columns, squeeze=False)
  for axis, run, label in zip(axes.flat, runs, names(runs), strict=False):
    with records.arrays(run.path / 'attention.npz') as arrays:
      weights, symbols = arrays['weights_0'], arrays['symbols_0']
    stride = FRAME * 2 ** int(run.config['halvings'])
    count, places = weights.shape
    end = places * stride
    axis.imshow(
      weights,
      cmap='Greys',
      vmin=0,
      vmax=weights.max(),
      aspect='auto',
      interpolation='nearest',
      extent=(0, end, count - 0.5, -0.5),
    )
    axis.set_yticks(range(count), list(symbols), fontsize=7)
    axis.set_title(label, loc='left', fontsize=10)
  for axis in axes.flat[len(runs) :]:
    axis.remove()
  figure.supxlabel('seconds', fontsize=10)
  return saved(figure, path)


def errors(run_dirs: Iterable[Path], path: Path | None = None) -> Figure:
  """The error of each arm: its seeds, their mean and its standard error.

  Args:
    run_dirs: run directories of one experiment, or directories of them.
    path: of the PNG file.
  """
  group = groups(collect(run_dirs))[0]
  series = [own for run in group.finished for own in run.series]
  figure = Figure(figsize=(7, 1 + 0.45 * len(series)), layout='constrained')
  axis = figure.subplots()
  for place, own in enumerate(series):
    values = [row[group.measure.name] for row in own.results.values()]
    color = COLORS[place % len(COLORS)]
    axis.plot(values, [place] * len(values), 'o', color=color, alpha=0.4, markersize=4)
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if values[1:] else 0.0
    axis.errorbar(np.mean(values), place, xerr=error, fmt='D', color=color, capsize=4)
  axis.set_yticks(range(len(series)), [own.label for own in series])
  axis.set_ylim(len(series) - 0.5, -0.5)
  axis.set_xlabel(group.measure.heading)
  tidy(axis)
  axis.grid(axis='x', color='#dddddd', linewidth=0.6)
  return saved(figure, path)
