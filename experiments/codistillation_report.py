"""The tables and pictures of experiments.codistillation."""

import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments import churn, curves, records, report
from experiments.drawing import COLORS, saved, tidy
from experiments.runs import BASELINE, Run, finished
from experiments.steps_to_target import reached, validation_curves

NOTHING = report.NOTHING
_HEADER = (
  *('arm', 'churn (95 %)', 'vs. baseline %', 'disagree % (95 %)'),
  *('steps to the log-loss of the baseline', 'of all', 'with teachers'),
)
HOW_TO_READ = """\
Churn and disagreement are those of pairs of retrains of the same replica; intervals
are of a bootstrap over retrains and test examples. "Vs. baseline" is the relative
change of churn. Steps are those until an evaluation on validation shows the baseline's
mean log-loss at its end, the mean over the runs that reach it, of all runs; "with
teachers" adds the steps of the models that were trained before."""


def write(workdir: pathlib.Path) -> str:
  """Writes the tables and the pictures; returns the text for the terminal."""
  runs = finished(workdir)
  directories = [run.path for run in runs]
  text = report.write_report(directories, workdir)
  rows = [_cells(run, runs) for run in runs]
  table = report.aligned([_HEADER, *rows], markdown=True)
  own = '\n'.join([*table, '', HOW_TO_READ, ''])
  path = workdir / 'table.md'
  records.write_whole(path, f'{path.read_text("utf-8")}\n{own}'.encode())
  curves.validation_curves(
    [run.path for run in runs if validation_curves(run)], workdir / 'validation.png'
  )
  if any(of_run(run) for run in runs):
    churn_and_loss(runs, workdir / 'churn.png')
  plain = '\n'.join(
    [*report.aligned([_HEADER, *rows], markdown=False), '', HOW_TO_READ]
  )
  return f'{text}\n{plain}\n'


def of_run(run: Run) -> churn.Churn | None:
  """What ``churn.npz`` holds; None where it holds no pair."""
  path = run.path / 'churn.npz'
  if not path.exists():
    return None
  with records.arrays(path) as arrays:
    found = churn.of_file(arrays)
  return found if len(found.pairs) else None


def churn_and_loss(runs: Sequence[Run], path: pathlib.Path) -> Figure:
  """Log-loss against churn, one point an arm: down and left is better."""
  figure = Figure(figsize=(6, 4), layout='constrained')
  axis = figure.subplots()
  for run, color in zip(runs, COLORS * len(runs), strict=False):
    if (found := of_run(run)) is None:
      continue
    (series,) = run.series
    losses = [row['nll'] for row in series.results.values()]
    spread = np.std(losses, ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else 0.0
    own = churn.estimate(found.difference, found.pairs)
    axis.errorbar(
      own.mean,
      np.mean(losses),
      xerr=[[max(0.0, own.mean - own.low)], [max(0.0, own.high - own.mean)]],
      yerr=spread,
      fmt='o',
      color=color,
      label=run.arm,
    )
  axis.set_xlabel('churn: mean total variation between retrains')
  axis.set_ylabel('log-loss on test')
  tidy(axis)
  axis.legend(frameon=False)
  return saved(figure, path)


def _cells(run: Run, runs: Sequence[Run]) -> list[str]:
  found = of_run(run)
  baseline = next((one for one in runs if one.arm == BASELINE), None)
  base = of_run(baseline) if baseline and baseline is not run else None
  changed = NOTHING
  if found and base:
    ours, theirs = (found.difference, found.pairs), (base.difference, base.pairs)
    own = churn.change(ours, theirs)
    changed = f'{100 * own.mean:+.0f} [{100 * own.low:+.0f}, {100 * own.high:+.0f}]'
  disagree = NOTHING
  if found:
    share = churn.estimate(100 * found.disagreement.astype(float), found.pairs)
    disagree = f'{share.mean:.2f} [{share.low:.2f}, {share.high:.2f}]'
  size = str(churn.estimate(found.difference, found.pairs)) if found else NOTHING
  return [run.arm, size, changed, disagree, *_steps(run, baseline)]


def _steps(run: Run, baseline: Run | None) -> list[str]:
  """Until the baseline's log-loss, how many runs get there, and with the teachers'."""
  if baseline is None or not validation_curves(run):
    return [NOTHING] * 3
  ends = [values[max(values)] for values in validation_curves(baseline).values()]
  own = reached(validation_curves(run), float(np.mean(ends)))
  count = f'{len(own.steps)}/{own.num_runs}'
  if not own.steps:
    return [NOTHING, count, NOTHING]
  before = baseline.config['num_steps'] if run.arm == 'distillation' else 0
  return [f'{own.mean:.0f}', count, f'{own.mean + before:.0f}']
