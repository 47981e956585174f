"""Pictures of what probabilities are worth: reliability, entropy, rejection.

Every function returns the figure, for notebooks, and writes it if given a path. All
seeds of an arm are taken together.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import predictions
from experiments.drawing import COLORS, names, panels, saved, tidy
from experiments.runs import Path, Run
from experiments.scores import calibration as scores

_BINS = 40
_POINTS = 200  # along a curve


def write(runs: Sequence[Run], workdir: pathlib.Path) -> None:
  """All pictures, under their usual names."""
  reliability(runs, workdir / 'reliability.png')
  entropy_histogram(runs, workdir / 'entropy.png')
  rejection_curves(runs, workdir / 'rejection.png')


def reliability(runs: Sequence[Run], path: Path | None = None) -> Figure:
  """How often the models are right, by how sure they are: one panel an arm.

  Bars are the share that is right by confidence, where there are ten examples or more;
  on the diagonal, confidence is what it says. The line is the same with the logits
  divided by the temperature that is best on validation.
  """
  figure, axes = panels(runs)
  for index, (run, axis) in enumerate(zip(runs, axes, strict=True)):
    color = COLORS[index % len(COLORS)]
    logits, labels = _test(run)
    centre, share = _reliable(logits, labels)
    width = 1 / scores.NUM_BINS
    axis.bar(centre, share, width, color=color, alpha=0.5, edgecolor=color)
    axis.plot([0, 1], [0, 1], color='black', linewidth=0.8, linestyle=':')
    if (scaled := _scaled(run)) is not None:
      axis.plot(*_reliable(scaled, labels), color='black', marker='.', linewidth=1)
    axis.set(xlim=(0, 1), ylim=(0, 1))
  figure.supxlabel('probability of the likeliest class', fontsize=10)
  figure.supylabel('share that is right', fontsize=10)
  return saved(figure, path)


def entropy_histogram(runs: Sequence[Run], path: Path | None = None) -> Figure:
  """Entropy of the predictions on test, and on images of no class: one panel an arm."""
  figure, axes = panels(runs)
  for index, (run, axis) in enumerate(zip(runs, axes, strict=True)):
    color = COLORS[index % len(COLORS)]
    logits, _ = _test(run)
    edges = np.linspace(0, math.log(logits.shape[-1]), _BINS + 1)
    _shares(axis, logits, edges, fill=True, color=color, alpha=0.5, label='test')
    if predictions.has(run, 'outside_logits'):
      (outside,) = predictions.read(run, 'outside_logits')
      _shares(axis, _flat(outside), edges, color='black', label='of no class')
    axis.set_xlim(0, edges[-1])
  axes[0].legend(fontsize=8, frameon=False)
  figure.supxlabel('entropy of the prediction (nats)', fontsize=10)
  figure.supylabel('share of the images', fontsize=10)
  return saved(figure, path)


def rejection_curves(runs: Sequence[Run], path: Path | None = None) -> Figure:
  """Error of the examples that are left where the least sure ones are rejected."""
  figure = Figure(figsize=(6.5, 4), layout='constrained')
  axis = figure.subplots()
  for index, (run, label) in enumerate(zip(runs, names(runs), strict=True)):
    logits, labels = predictions.read(run, 'test_logits', 'test_labels')
    curves = np.array([scores.rejection(own, labels) for own in logits])
    places = np.unique(np.linspace(0, 0.95 * len(labels), _POINTS).astype(int))
    mean = curves.mean(0)[places]
    color = COLORS[index % len(COLORS)]
    axis.plot(places / len(labels), mean, color=color, label=label)
  axis.set(xlabel='share of rejected examples', ylabel='error of the others (%)')
  axis.set(xlim=(0, 0.95), ylim=(0, None))
  tidy(axis)
  axis.legend(fontsize=9, frameon=False)
  return saved(figure, path)


def _test(run: Run) -> tuple[np.ndarray, np.ndarray]:
  """Logits ``[runs * n, classes]`` and labels ``[runs * n]``."""
  logits, labels = predictions.read(run, 'test_logits', 'test_labels')
  return _flat(logits), np.tile(labels, len(logits))


def _flat(logits: np.ndarray) -> np.ndarray:
  return logits.reshape(-1, logits.shape[-1])


def _scaled(run: Run) -> np.ndarray | None:
  """The logits of test, each run's divided by its temperature, if there is one."""
  if not predictions.has(run, 'validation_logits'):
    return None
  logits, validation, labels = predictions.read(
    run, 'test_logits', 'validation_logits', 'validation_labels'
  )
  scales = [scores.temperature(own, labels) for own in validation]
  return _flat(logits / np.array(scales)[:, None, None]).astype(np.float32)


def _reliable(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Centres of the bins of confidence that have ten examples, and shares of right."""
  bins = scores.reliability(logits, labels)
  centres = (np.arange(scores.NUM_BINS) + 0.5) / scores.NUM_BINS
  enough = bins['count'] >= 10
  return centres[enough], bins['correct'][enough] / bins['count'][enough]


def _shares(axis: Axes, logits: np.ndarray, edges: np.ndarray, **style: Any) -> None:
  counts, _ = np.histogram(scores.entropies(logits), edges)
  axis.stairs(counts / len(logits), edges, **style)
