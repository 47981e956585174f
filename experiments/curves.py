"""Curves of runs: gradients and validation over time, results against a weight.

Every function returns the figure, for notebooks, and writes it if given a path.
"""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.drawing import COLORS, names, saved, tidy
from experiments.errors import InputError
from experiments.measures import MEASURES
from experiments.runs import BASELINE, SELECT, SWEPT, Path, Run, Series, collect

_LINES = ('-', '--', ':', '-.')  # once the colours are used up
_LABEL = 0.22  # height of a curve's name, in inches
_POINTS = 120  # at most so many along a curve: more is noise

# Label, steps [n] and figures [n, seeds].
Curve = tuple[str, np.ndarray, np.ndarray]


def gradient_norms(run_dirs: Iterable[Path], path: Path | None = None) -> Figure:
  """The norm of the gradient during training: Figure 2 of Pereyra et al. (2017).

  A curve is the mean over the seeds. The band around it goes from the smallest to
  the largest; there is none where more than six curves would hide each other. Long
  records are averaged over equal stretches of steps.

  Args:
    run_dirs: run directories, or directories of them at any depth, without what is in
      ``select`` there.
    path: of the PNG file.

  Raises:
    InputError: there is no run, or none with gradient norms.
  """
  curves = _curves(_trained(run_dirs), 'train', 'gradient_norm')
  if not curves:
    raise InputError('no run has a gradient norm in its training rows')
  figure = _drawn(curves, 'norm of the gradient')
  _label_curves(figure, curves)
  return saved(figure, path)


def validation_curves(run_dirs: Iterable[Path], path: Path | None = None) -> Figure:
  """What is compared (error, perplexity), on validation during training.

  Curves are as in ``gradient_norms``. The axis leaves out what is more than half
  above the best of all, but for the ends.

  Args:
    run_dirs: run directories, or directories of them at any depth, without what is in
      ``select`` there.
    path: of the PNG file.

  Raises:
    InputError: there is no run, or none that was evaluated while training.
  """
  runs = _trained(run_dirs)
  measure = MEASURES[runs[0].measure]
  name = measure.curve or measure.name
  alike = [run for run in runs if run.measure == measure.name]
  curves = _curves(alike, 'validation', name)
  if not curves:
    raise InputError(f'no run has {name} in rows of validation')
  figure = _drawn(curves, f'{name} on validation')
  means = [values.mean(axis=1) for _, _, values in curves]
  low = min(mean.min() for mean in means)
  ends = max(mean[-1] for mean in means)
  if low > 0 and 1.5 * low < max(mean.max() for mean in means):
    figure.axes[0].set_ylim(0.97 * low, max(1.5 * low, 1.05 * ends))
    figure.axes[0].yaxis.set_minor_formatter('{x:g}')
    figure.axes[0].tick_params(which='minor', labelsize=9)
  _label_curves(figure, curves)
  return saved(figure, path)


def against_values(run_dirs: Iterable[Path], path: Path | None = None) -> Figure | None:
  """The best on validation against the values of a grid; None where there is none.

  One panel a value (weight, epsilon, ...), one line an arm: the mean over its seeds,
  bars from the least to the largest. A dashed line is the baseline, if there is one of
  the same length.

  Args:
    run_dirs: run directories, or directories of them at any depth.
    path: of the PNG file.
  """
  runs = collect(run_dirs)
  grids = {name: lines for name in SWEPT if (lines := _grid(runs, name))}
  if not grids:
    return None
  width = 1 + 4.0 * len(grids)
  figure = Figure(figsize=(width, 4), layout='constrained')
  panels = figure.subplots(1, len(grids), sharey=True, squeeze=False)
  lengths = {run.config.get('num_steps') for run in runs if _varied(run)}
  base = [
    best
    for run in runs
    if run.arm == BASELINE and {run.config.get('num_steps')} == lengths
    for best in _bests(run.series[0])
  ]
  for (name, lines), axis in zip(grids.items(), panels.flat, strict=True):
    for index, (label, points) in enumerate(sorted(lines.items())):
      _draw_points(axis, label, points, COLORS[(index + 1) % len(COLORS)])
    if base:
      axis.axhline(np.mean(base), linestyle='--', color=COLORS[0], label=BASELINE)
    axis.set_xlabel(name)
    values = sorted({value for points in lines.values() for value in points})
    if values[0] > 0:
      axis.set_xscale('log')
      axis.set_xticks(values, [f'{value:g}' for value in values])
      axis.set_xticks([], minor=True)
    _tidy_with_legend(axis)
  panels[0, 0].set_ylabel(f'best {runs[0].measure} on validation')
  return saved(figure, path)


def against_rates(run_dirs: Iterable[Path], path: Path | None = None) -> Figure:
  """Cross-entropy after the last step against the learning rate, by arm.

  One panel for training, one for validation; bars go from the least to the largest
  seed. A cross at the upper edge is a run that has no result: it diverged, or was
  stopped.

  Args:
    run_dirs: run directories, or directories of them at any depth.
    path: of the PNG file.
  """
  runs = collect(run_dirs)
  figure = Figure(figsize=(9, 4), layout='constrained')
  for axis, split in zip(figure.subplots(1, 2), ('train', 'validation'), strict=True):
    for index, arm in enumerate(dict.fromkeys(run.arm for run in runs)):
      points: dict[float, list[float]] = {}
      for run in runs:
        if run.arm == arm and run.finished:
          rate = float(run.config['learning_rate'])
          points.setdefault(rate, []).extend(_last(run, split))
      _draw_points(axis, arm, points, COLORS[index])
      rates = [run.config['learning_rate'] for run in runs if run.arm == arm]
      failed = [rate for rate in rates if rate not in points]
      heights = np.full(len(failed), 1 - 0.04 * index)
      edge = axis.get_xaxis_transform()
      axis.plot(failed, heights, 'x', color=COLORS[index], transform=edge)
    axis.set_xscale('log')
    axis.set_yscale('log')  # a run that diverges without a NaN leaves the others room
    axis.yaxis.set_minor_formatter('{x:g}')
    axis.set_xlabel('learning rate')
    axis.set_ylabel(f'cross-entropy, {split} (nats a token)')
    _tidy_with_legend(axis)
  return saved(figure, path)


def _last(run: Run, split: str) -> list[float]:
  """The last cross-entropy of each seed."""
  rows = [r for r in run.rows if r['split'] == split and not r.get('final')]
  return [row['nll'] for row in {row['seed']: row for row in rows}.values()]


def _draw_points(
  axis: Axes, label: str, points: dict[float, list[float]], color: str
) -> None:
  """Means over the seeds, and bars."""
  values = sorted(points)
  means = np.array([np.mean(points[value]) for value in values])
  low, high = (np.array([f(points[v]) for v in values]) for f in (min, max))
  bars = [means - low, high - means]
  style: dict[str, Any] = {'color': color, 'marker': 'o', 'markersize': 4}
  axis.errorbar(values, means, bars, label=label, capsize=2, **style)


def _tidy_with_legend(axis: Axes) -> None:
  tidy(axis)
  axis.legend(fontsize=9, frameon=False)


def _grid(runs: Sequence[Run], name: str) -> dict[str, dict[float, list[float]]]:
  """Best figures on validation by line and value, of runs that vary ``name``."""
  lines: dict[str, dict[float, list[float]]] = {}
  for run in runs:
    for series in run.series:
      setting = dict(series.setting)
      if name in setting and (bests := _bests(series)):
        value = setting.pop(name)
        others = ', '.join(f'{other} {v:g}' for other, v in setting.items())
        label = f'{run.arm} ({others})' if others else run.arm
        lines.setdefault(label, {}).setdefault(value, []).extend(bests)
  return lines


def _varied(run: Run) -> bool:
  """Whether the run is a grid."""
  return any(series.setting for series in run.series)


def _bests(series: Series) -> list[float]:
  """One a seed."""
  name = f'validation_{series.run.measure}'
  rows = series.results.values()
  return [float(row[name]) for row in rows if name in row]


def _trained(run_dirs: Iterable[Path]) -> list[Run]:
  """Without the values tried in ``select``, unless it is these that are asked for."""
  roots = [pathlib.Path(root) for root in run_dirs]

  def tried(run: Run) -> bool:
    below = [run.path.relative_to(r) for r in roots if run.path.is_relative_to(r)]
    return all(SELECT in path.parts for path in below)

  runs = collect(roots)
  return [run for run in runs if not tried(run)] or runs


def _curves(runs: Sequence[Run], split: str, name: str) -> list[Curve]:
  """Labels, steps ``[n]`` and figures ``[n, seeds]`` of all settings."""
  return [
    (series.label.replace(run.arm, label, 1), *curve)
    for run, label in zip(runs, names(runs), strict=True)
    for series in run.series
    if (curve := _curve(series, split, name))
  ]


def _drawn(curves: Sequence[Curve], title: str) -> Figure:
  height = max(4.5, 1.0 + _LABEL * len(curves))
  figure = Figure(figsize=(8, height), layout='constrained')
  axis = figure.subplots()
  for index, (_, steps, values) in enumerate(curves):
    color = COLORS[index % len(COLORS)]
    line = _LINES[index // len(COLORS) % len(_LINES)]
    axis.plot(steps, values.mean(axis=1), line, color=color, linewidth=1.6)
    if len(curves) <= 6:
      low, high = values.min(axis=1), values.max(axis=1)
      axis.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
  axis.set_yscale('log')
  axis.set_xlabel('training step')
  axis.set_ylabel(title)
  tidy(axis)
  axis.margins(x=0.01)
  return figure


def _label_curves(figure: Figure, curves: Sequence[Curve]) -> None:
  gap = _LABEL / (figure.get_size_inches()[1] - 0.7)
  _label_ends(figure.axes[0], [name for name, _, _ in curves], gap)


def _curve(
  series: Series, split: str, name: str
) -> tuple[np.ndarray, np.ndarray] | None:
  """Steps ``[n]`` and figures ``[n, seeds]``: the steps that all seeds have."""
  by_seed: dict[int, dict[int, float]] = {}
  for row in series.rows:
    if row['split'] == split and name in row and not row.get('final'):
      by_seed.setdefault(row['seed'], {})[row['step']] = row[name]
  if not by_seed:
    return None
  steps = np.array(sorted(set.intersection(*map(set, by_seed.values()))))
  if not steps.size:
    return None
  values = np.array([[by_seed[seed][step] for seed in by_seed] for step in steps])
  parts = np.array_split(np.arange(len(steps)), min(len(steps), _POINTS))
  return (
    np.array([steps[part].mean() for part in parts]),
    np.array([values[part].mean(axis=0) for part in parts]),
  )


def _label_ends(axis: Axes, names: Sequence[str], gap: float) -> None:
  """Writes the name of every curve behind its end, none on another."""
  low, high = np.log(axis.get_ylim())
  data = [(np.asarray(line.get_xdata()), line.get_ydata()) for line in axis.lines]
  ends = [(float(x[-1]), float(np.asarray(y)[-1])) for x, y in data]
  heights = [(np.log(end[1]) - low) / (high - low) for end in ends]
  places = _spread(heights, gap)
  for name, line, end, place in zip(names, axis.lines, ends, places, strict=True):
    axis.annotate(
      name,
      xy=end,
      xytext=(1.05, place),
      textcoords='axes fraction',
      color=line.get_color(),
      va='center',
      fontsize=10,
      arrowprops={
        'arrowstyle': '-',
        'color': line.get_color(),
        'linewidth': 0.6,
        'relpos': (0, 0.5),
        'shrinkA': 2,
      },
    )


def _spread(heights: Sequence[float], gap: float) -> list[float]:
  """Moves heights apart to at least ``gap``, in their order, as little as need be."""
  order = np.argsort(heights, kind='stable')
  # Blocks of neighbours that touch: each is centred on the mean of its heights.
  blocks: list[list[int]] = []
  for index in order:
    blocks.append([int(index)])
    while len(blocks) > 1 and _overlap(blocks[-2], blocks[-1], heights, gap):
      last = blocks.pop()
      blocks[-1] += last
  result = [0.0] * len(heights)
  for block in blocks:
    for index, height in zip(block, _places(block, heights, gap), strict=True):
      result[index] = height
  return result


def _places(block: Sequence[int], heights: Sequence[float], gap: float) -> np.ndarray:
  half = gap * (len(block) - 1) / 2
  centre = float(np.mean([heights[index] for index in block]))
  centre = min(max(centre, half), max(1 - half, half))  # within the axes
  return centre + np.linspace(-half, half, len(block))


def _overlap(
  lower: Sequence[int], upper: Sequence[int], heights: Sequence[float], gap: float
) -> bool:
  below, above = _places(lower, heights, gap), _places(upper, heights, gap)
  return bool(above[0] - below[-1] < gap)
