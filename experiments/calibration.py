"""Final rows that say what the probabilities are worth, and their table.

The temperature is the post-hoc control: fitted on validation, where the final training
left that out. Without it there is none, and no column of it.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import predictions, records, report, runner, study
from experiments.comparison import (
  Group,
  common_seeds,
  groups,
  paired_interval,
  verdict,
)
from experiments.datasets.dataset import Dataset
from experiments.evaluate import Row, evaluate, predict, rows
from experiments.runs import Run, Series, collect, finished
from experiments.scores import calibration as scores
from experiments.state import State, over_runs, stack

OUTSIDE = 'outside'  # the split of images that are of no class
KEPT = 0.8  # share of the examples in the column of the surest

# Heading and digits of what the rows say, by name.
COLUMNS = {
  'error': ('error %', 2),
  'nll': ('nll', 3),
  'ece': ('ece', 3),
  'brier': ('brier', 3),
  'best_temperature': ('T', 2),
  'nll_scaled': ('nll / T', 3),
  'ece_scaled': ('ece / T', 3),
  'brier_scaled': ('brier / T', 3),
  'error_kept': ('error of surest 80 %', 2),
  'entropy': ('entropy', 3),
  'outside_entropy': ('outside', 3),
  'outside_auroc': ('auroc', 3),
  'outside_auroc_scaled': ('auroc / T', 3),
}
PAIRED = 'nll_scaled'
NOTES = """\
How to read this. Error, nll (nats), ece (15 bins) and Brier score (0 to 2) are of the
test examples, means over the seeds ± their standard error. T is the temperature that
is best on validation; "/ T" is with the logits divided by it, so that the line of the
baseline is temperature scaling alone. The difference is that of "nll / T" to the
baseline's, seed by seed, with its 95 % t-interval: what an arm adds to the post-hoc
remedy. The error of the surest 80 % leaves out the fifth of the examples whose
likeliest class has the lowest probability. Entropy is that of the predictions on test,
outside that on images of no class; auroc is the chance that an image of no class has a
higher entropy than one of test. Differences are not corrected for the number of
arms."""


def with_outside(
  datasets: Mapping[int, Dataset], images: np.ndarray
) -> dict[int, Dataset]:
  """With a split of images that are of no class, whose labels mean nothing."""
  own = {'image': images, 'label': np.zeros(len(images), np.int32)}
  # Seeds that share a data set go on sharing it, and its fingerprint.
  distinct = {id(dataset): dataset for dataset in datasets.values()}
  extended = {
    key: dataclasses.replace(dataset, splits={**dataset.splits, OUTSIDE: own})
    for key, dataset in distinct.items()
  }
  return {seed: extended[id(dataset)] for seed, dataset in datasets.items()}


def run(own: study.Study) -> pathlib.Path:
  """A study whose final rows are ``final``; ends with the table of calibration too."""
  workdir = study.run(dataclasses.replace(own, final=final))
  print(write_report(workdir))
  return workdir


def final(
  config: Any,
  datasets: Mapping[int, Dataset],
  job: runner.Job,
  state: State,
  split: str,
) -> list[Row]:
  """Of ``Study.final``: on test, means, what a temperature makes of them, and files."""
  del config
  loss = stack(job.losses)
  if split != 'test':
    return evaluate(job.task, loss, state, split, job.vmap)
  splits = datasets[job.seeds[0]].splits
  names = [name for name in ('test', 'validation', OUTSIDE) if name in splits]
  logits = {name: predict(job.task, state, name, job.vmap) for name in names}
  labels = {name: np.asarray(splits[name]['label']) for name in names}
  predictions.write(job.directory, logits, labels)
  examples = {'label': np.stack([labels['test']] * len(job.seeds))}
  total = _statistics(
    job.task.objective, loss, state, jnp.asarray(logits['test']), examples
  )
  found = rows(state, split, total)
  for run, row in enumerate(found):
    own = {name: logits[name][run] for name in names}
    row.update(_row(own, labels))
  return found


@functools.partial(jax.jit, static_argnums=0)
def _statistics(
  objective: Any, loss: Any, state: State, logits: jax.Array, examples: Any
) -> Any:
  """As an evaluation takes them, of outputs that are there."""

  def one(args: Any) -> Any:
    loss, seed, logits, batch = args
    key = jax.random.key(seed)
    return objective(loss, logits, batch, step=state.step, key=key)[1]

  return over_runs(one, (loss, state.runs.seed, logits, examples), True)


def _row(
  logits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, float]:
  """What ``COLUMNS`` has beside the means, of one run."""
  test, true = logits['test'], labels['test']
  rejected = round((1 - KEPT) * len(true))
  row = {'error_kept': float(scores.rejection(test, true)[rejected])}
  if OUTSIDE in logits:
    inside, outside = scores.entropies(test), scores.entropies(logits[OUTSIDE])
    row['outside_entropy'] = float(outside.mean())
    row['outside_auroc'] = scores.auroc(inside, outside)
  if 'validation' in logits:
    scale = scores.temperature(logits['validation'], labels['validation'])
    cooled = scores.means((test / scale).astype(np.float32), true)
    row['best_temperature'] = scale
    row |= {f'{name}_scaled': cooled[name] for name in ('nll', 'ece', 'brier')}
    if OUTSIDE in logits:
      inside, outside = (scores.entropies(z / scale) for z in (test, logits[OUTSIDE]))
      row['outside_auroc_scaled'] = scores.auroc(inside, outside)
  return row


def pictures(directories: Sequence[pathlib.Path], workdir: pathlib.Path) -> None:
  """Figures 1 and 2 of Pereyra et al. (2017), and what validation says on the way."""
  from experiments import curves, plots  # matplotlib takes seconds

  plots.confidence_histogram(directories, workdir / 'confidence.png')
  curves.gradient_norms(directories, workdir / 'gradient_norm.png')
  rows = [row for run in collect(directories) for row in run.rows]
  if any(row['split'] == 'validation' for row in rows):
    curves.validation_curves(directories, workdir / 'validation.png')


def write_report(workdir: pathlib.Path) -> str:
  """Writes ``calibration.md`` and the pictures; returns the text for the terminal.

  Of all finished runs directly below ``workdir``.
  """
  from experiments import calibration_plots  # matplotlib takes seconds

  runs = finished(workdir)
  calibration_plots.write(runs, workdir)
  text = render(runs, markdown=True)
  records.write_whole(workdir / 'calibration.md', text.encode())
  return render(runs)


def render(runs: Sequence[Run], *, markdown: bool = False) -> str:
  """A table for each group of runs, as Markdown or as aligned text."""
  parts = []
  for group in groups(runs):
    title = f'Calibration, {group.name}'
    lines = report.aligned(_lines(group), markdown)
    parts += [f'## {title}' if markdown else title, '\n'.join(lines)]
  return '\n\n'.join([*parts, NOTES]) + '\n'


def _lines(group: Group) -> list[list[str]]:
  series = [series for run in group.finished for series in run.series]
  names = [
    n for n in COLUMNS if any(n in r for s in series for r in s.results.values())
  ]
  header = ['arm', *(COLUMNS[name][0] for name in names)]
  paired = PAIRED in names
  cells = [[own.name, *(_cell(own, name) for name in names)] for own in series]
  if not paired:
    return [header, *cells]
  place = header.index(COLUMNS[PAIRED][0]) + 1
  differences = [_difference(group, own) for own in series]
  header[place:place] = [f'vs. {group.reference} (95 %)', '']
  for line, two in zip(cells, differences, strict=True):
    line[place:place] = two
  return [header, *cells]


def _cell(series: Series, name: str) -> str:
  values = [float(r[name]) for r in series.results.values() if name in r]
  digits = COLUMNS[name][1]
  if not values:
    return report.NOTHING
  text = f'{np.mean(values):.{digits}f}'
  if len(values) > 1 and name in (
    'error',
    'nll',
    'ece',
    'brier',
    'best_temperature',
    PAIRED,
  ):
    error = np.std(values, ddof=1) / len(values) ** 0.5
    text += f' ± {error:.{digits}f}'
  return text


def _difference(group: Group, series: Series) -> list[str]:
  """Of ``PAIRED`` to the reference, and what it says."""
  baseline = group.baseline
  if baseline is None or series.run is baseline:
    return [report.NOTHING, '']
  theirs, ours = baseline.series[0].results, series.results
  seeds = [
    seed
    for seed in common_seeds(series.run, baseline)
    if PAIRED in ours[seed] and PAIRED in theirs[seed]
  ]
  if not seeds:
    return [report.NOTHING, '']
  values = [float(ours[s][PAIRED]) - float(theirs[s][PAIRED]) for s in seeds]
  text, interval = f'{np.mean(values):+.3f}', paired_interval(values)
  if interval:
    text += f' [{interval[0]:+.3f}, {interval[1]:+.3f}]'
  return [text, verdict(interval)]
