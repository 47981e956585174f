"""Pictures of runs: the paper's Figure 1, and a table as a picture.

Every function returns the figure, for notebooks, and writes it if given a path.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import predictions
from experiments.drawing import COLORS, panels, saved, tidy
from experiments.runs import Path, Run, collect

_ROW = 0.3  # of a table, and the space around it, in inches
_CAPTION_WIDTH = 8.0
_BINS = 50

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
  figure, axes = panels(runs)
  for index, (run, axis) in enumerate(zip(runs, axes, strict=True)):
    _histogram(axis, _probabilities(run), COLORS[index % len(COLORS)])
  figure.supxlabel('softmax probability of a class', fontsize=10)
  figure.supylabel('share of all probabilities', fontsize=10)
  return saved(figure, path)


def attention(
  weights: np.ndarray, source: Sequence[str], target: Sequence[str], path: Path | None
) -> Figure:
  """Where each symbol of a target looked in its source.

  Args:
    weights: ``[target, source]``.
    source: what stands at each place.
    target: what was written at each step.
    path: of the PNG file.
  """
  height, width = weights.shape
  figure = Figure(
    figsize=(2 + 0.3 * min(width, 60), 1.5 + 0.2 * min(height, 80)),
    layout='constrained',
  )
  axis = figure.subplots()
  axis.imshow(weights, cmap='Greys', vmin=0, vmax=1, aspect='auto')
  # Texts as they are: two dollars would be a formula, and mostly a broken one.
  axis.set_xticks(range(width), list(source), rotation=90, parse_math=False)
  axis.set_yticks(range(height), list(target), parse_math=False)
  axis.xaxis.tick_top()
  return saved(figure, path)


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
  return saved(figure, path)


def _probabilities(run: Run) -> np.ndarray:
  """All probabilities of a run in one row."""
  (probabilities,) = predictions.read(run, 'probabilities')
  return np.asarray(probabilities, np.float32).ravel()


def _histogram(axis: Axes, probabilities: np.ndarray, color: str) -> None:
  counts, edges = np.histogram(probabilities, _BINS, (0.0, 1.0))
  axis.stairs(counts / probabilities.size, edges, fill=True, color=color)
  axis.set_yscale('log')
  tidy(axis)


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
