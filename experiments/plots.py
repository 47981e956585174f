"""Pictures of runs: the paper's Figures 1 and 2, and a table as a picture.

Every function returns the figure, for notebooks, and writes it if given a path.
"""

import io
import math
import pathlib
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import records
from experiments.errors import InputError
from experiments.runs import Path, Run, Series, collect

# Told apart by the colour-blind too (Okabe and Ito 2008); the baseline is grey.
_COLORS = (
  '#666666',
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#56B4E9',
  '#E69F00',
  '#000000',
)
_LINES = ('-', '--', ':', '-.')  # once the colours are used up
_DPI = 120
_ROW = 0.3  # of a table, and the space around it, in inches
_CAPTION_WIDTH = 8.0
_LABEL = 0.22  # height of a curve's name, in inches
_BINS = 50
# What numpy.load raises for a file that is no archive, or not of that array.
_NOT_ARRAYS = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
_POINTS = 120  # at most so many along a curve: more is noise

Section = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def confidence_histogram(run_dirs: Iterable[Path], path: Path | None = None) -> Figure:
  """How often the models give which probability on the test split.

  Every class of every example counts, as in Figure 1 of Pereyra et al. (2017);
  the axis is logarithmic, as nearly all probabilities are close to 0.

  Args:
    run_dirs: run directories, or directories of them at any depth.
    path: of the PNG file.

  Raises:
    InputError: there is no run, or one without predictions.
  """
  runs = collect(run_dirs)
  columns = min(len(runs), 4)
  lines = math.ceil(len(runs) / columns)
  figure = Figure(figsize=(1 + 2.5 * columns, 0.5 + 2.4 * lines), layout='constrained')
  axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
  names = _names(runs)
  for index, (run, axis) in enumerate(zip(runs, axes.flat, strict=False)):
    _histogram(axis, _probabilities(run), _COLORS[index % len(_COLORS)])
    axis.set_title(names[index], loc='left', fontsize=10)
  for index in range(len(runs), axes.size):
    axes.flat[index].remove()
    axes.flat[index - columns].tick_params(labelbottom=True)
  figure.supxlabel('softmax probability of a class', fontsize=10)
  figure.supylabel('share of all probabilities', fontsize=10)
  return _saved(figure, path)


def gradient_norms(run_dirs: Iterable[Path], path: Path | None = None) -> Figure:
  """The norm of the gradient during training: Figure 2 of Pereyra et al. (2017).

  A curve is the mean over the seeds. The band around it goes from the smallest to
  the largest; there is none where more than six curves would hide each other. Long
  records are averaged over equal stretches of steps.

  Args:
    run_dirs: run directories, or directories of them at any depth.
    path: of the PNG file.

  Raises:
    InputError: there is no run, or none with gradient norms.
  """
  runs = collect(run_dirs)
  names = _names(runs)
  curves = [
    (series.label.replace(run.arm, name, 1), *curve)
    for run, name in zip(runs, names, strict=True)
    for series in run.series
    if (curve := _curve(series))
  ]
  if not curves:
    raise InputError('no run has a gradient norm in its training rows')
  height = max(4.5, 1.0 + _LABEL * len(curves))
  figure = Figure(figsize=(8, height), layout='constrained')
  axis = figure.subplots()
  for index, (_, steps, norms) in enumerate(curves):
    color = _COLORS[index % len(_COLORS)]
    line = _LINES[index // len(_COLORS) % len(_LINES)]
    axis.plot(steps, norms.mean(axis=1), line, color=color, linewidth=1.6)
    if len(curves) <= 6:
      low, high = norms.min(axis=1), norms.max(axis=1)
      axis.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
  axis.set_yscale('log')
  axis.set_xlabel('training step')
  axis.set_ylabel('norm of the gradient')
  _tidy(axis)
  axis.margins(x=0.01)
  _label_ends(axis, [name for name, _, _ in curves], _LABEL / (height - 0.7))
  return _saved(figure, path)


def table_image(
  sections: Sequence[Section], path: Path | None = None, caption: str = ''
) -> Figure:
  """Tables as a picture, one below the other.

  Args:
    sections: title, header and rows of each; the first column is set flush left.
    path: of the PNG file.
    caption: one line below them.
  """
  figure = Figure()
  canvas = FigureCanvasAgg(figure)
  lines = sum(len(rows) + 2 for _, _, rows in sections)
  widths = [_widths(canvas, [header, *rows]) for _, header, rows in sections]
  width = max(sum(columns) + _ROW * (len(columns) + 1) for columns in widths)
  height = _ROW * (lines + len(sections) + 2)
  figure.set_size_inches(max(width, _CAPTION_WIDTH), height)
  top = height - _ROW
  for (title, header, rows), columns in zip(sections, widths, strict=True):
    _draw_table(figure, title, [header, *rows], columns, top)
    top -= _ROW * (len(rows) + 3)
  _write(figure, _ROW, _ROW, caption, color='#444444', fontsize=8)
  return _saved(figure, path)


def _probabilities(run: Run) -> np.ndarray:
  """All probabilities of a run in one row."""
  file = run.path / 'predictions.npz'
  try:
    with file.open('rb') as stream, np.load(stream, allow_pickle=False) as arrays:
      return np.asarray(arrays['probabilities'], np.float32).ravel()
  except FileNotFoundError as error:
    raise InputError(f'{file}: no such file; has the run finished?') from error
  except _NOT_ARRAYS as error:
    raise InputError(f"{file}: expected an array 'probabilities': {error}") from error


def _histogram(axis: Axes, probabilities: np.ndarray, color: str) -> None:
  counts, edges = np.histogram(probabilities, _BINS, (0.0, 1.0))
  axis.stairs(counts / probabilities.size, edges, fill=True, color=color)
  axis.set_yscale('log')
  _tidy(axis)


def _names(runs: Sequence[Run]) -> list[str]:
  """The arms, or the directories where arms alone would not tell runs apart."""
  unique = len({run.arm for run in runs}) == len(runs)
  return [run.arm if unique else str(run.path) for run in runs]


def _curve(series: Series) -> tuple[np.ndarray, np.ndarray] | None:
  """Steps ``[n]`` and norms ``[n, seeds]``: the steps that all seeds have."""
  by_seed: dict[int, dict[int, float]] = {}
  for row in series.rows:
    if row['split'] == 'train' and 'gradient_norm' in row:
      by_seed.setdefault(row['seed'], {})[row['step']] = row['gradient_norm']
  if not by_seed:
    return None
  steps = np.array(sorted(set.intersection(*map(set, by_seed.values()))))
  if not steps.size:
    return None
  norms = np.array([[by_seed[seed][step] for seed in by_seed] for step in steps])
  parts = np.array_split(np.arange(len(steps)), min(len(steps), _POINTS))
  return (
    np.array([steps[part].mean() for part in parts]),
    np.array([norms[part].mean(axis=0) for part in parts]),
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


def _widths(canvas: FigureCanvasAgg, lines: Sequence[Sequence[str]]) -> list[float]:
  """Widths of the columns in inches."""
  figure = canvas.figure
  widths = [0.0] * len(lines[0])
  for line in lines:
    for column, cell in enumerate(line):
      text = figure.text(0, 0, cell, fontsize=10, weight='bold')
      extent = text.get_window_extent(canvas.get_renderer()).width / figure.dpi
      widths[column] = max(widths[column], extent)
      text.remove()
  return widths


def _draw_table(
  figure: Figure,
  title: str,
  lines: Sequence[Sequence[str]],
  widths: Sequence[float],
  top: float,
) -> None:
  _write(figure, _ROW, top - _ROW / 2, title, fontsize=11, weight='bold')
  for number, line in enumerate(lines, 1):
    y, left = top - _ROW * (number + 0.5), _ROW
    for column, (cell, extent) in enumerate(zip(line, widths, strict=True)):
      weight = 'bold' if number == 1 else 'normal'
      if column == 0 or not lines[0][column]:
        _write(figure, left, y, cell, weight=weight)
      else:
        _write(figure, left + extent, y, cell, weight=weight, ha='right')
      left += extent + _ROW
  width, height = figure.get_size_inches()
  xs = (_ROW / width, (left - _ROW) / width)
  for number in (1, 2, len(lines) + 1):
    y = (top - _ROW * number) / height
    figure.add_artist(Line2D(xs, (y, y), color='black', linewidth=0.8))


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
  width, height = figure.get_size_inches()
  style = {'fontsize': 10, 'va': 'center', **style}
  figure.text(x / width, y / height, text, **style)


def _tidy(axis: Axes) -> None:
  axis.spines[['top', 'right']].set_visible(False)
  axis.grid(axis='y', color='#dddddd', linewidth=0.6)
  axis.set_axisbelow(True)
  axis.tick_params(labelsize=9)


def _saved(figure: Figure, path: Path | None) -> Figure:
  if path is not None:
    buffer = io.BytesIO()
    # Without the version of matplotlib: equal runs give equal files.
    figure.savefig(buffer, format='png', dpi=_DPI, metadata={'Software': None})
    records.write_whole(pathlib.Path(path), buffer.getvalue())
  return figure
