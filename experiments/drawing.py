"""What all pictures share: colours, axes, and the file they become."""

import io
import math
import pathlib
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import records
from experiments.runs import Path, Run

# Told apart by the colour-blind too (Okabe and Ito 2008); the baseline is grey.
COLORS = (
  '#666666',
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#56B4E9',
  '#E69F00',
  '#000000',
)
_DPI = 120


def names(runs: Sequence[Run]) -> list[str]:
  """The arms, or the directories where arms alone would not tell runs apart."""
  unique = len({run.arm for run in runs}) == len(runs)
  return [run.arm if unique else str(run.path) for run in runs]


def panels(runs: Sequence[Run]) -> tuple[Figure, list[Axes]]:
  """One named panel a run, at most four beside one another, with the same axes."""
  columns = min(len(runs), 4)
  lines = math.ceil(len(runs) / columns)
  figure = Figure(figsize=(1 + 2.5 * columns, 0.5 + 2.4 * lines), layout='constrained')
  axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
  for index in range(len(runs), axes.size):
    axes.flat[index].remove()
    axes.flat[index - columns].tick_params(labelbottom=True)
  own = list(axes.flat[: len(runs)])
  for axis, label in zip(own, names(runs), strict=True):
    axis.set_title(label, loc='left', fontsize=10)
    tidy(axis)
  return figure, own


def tidy(axis: Axes) -> None:
  axis.spines[['top', 'right']].set_visible(False)
  axis.grid(axis='y', color='#dddddd', linewidth=0.6)
  axis.set_axisbelow(True)
  axis.tick_params(labelsize=9)


def saved(figure: Figure, path: Path | None) -> Figure:
  if path is not None:
    buffer = io.BytesIO()
    # Without the version of matplotlib: equal runs give equal files.
    figure.savefig(buffer, format='png', dpi=_DPI, metadata={'Software': None})
    records.write_whole(pathlib.Path(path), buffer.getvalue())
  return figure
