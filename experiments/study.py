"""Arms of one experiment: values chosen on validation, training, and the table.

WORKDIR/select/ARM   the grid of an arm's values, if they are to be chosen
WORKDIR/ARM          the arm itself: its final rows are those of the test split
WORKDIR/table.md     and pictures
"""

import dataclasses
import functools
import pathlib
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import regularizers as reg
from experiments import arms, predictions, records, runner, runs, signals
from experiments.arms import Setting, Variant
from experiments.config import VALUE_NAMES, Config, steps
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError
from experiments.evaluate import Row, evaluate, predict
from experiments.measures import ERROR, Measure
from experiments.progress import Progress
from experiments.state import State, stack
from experiments.task import Task

# Fields that do not decide what becomes of one arm; values do, where it takes them.
_UNDECISIVE = {
  *('workdir', 'data_dir', 'arms', 'checkpoint_every'),
  *('select', 'select_seeds', 'select_epochs', *VALUE_NAMES),
}


@dataclasses.dataclass(frozen=True)
class Study:
  """What an experiment is made of.

  Attributes:
    name: of the experiment.
    config: with the experiment's own defaults filled in.
    defaults: values of the arms, by ``part.name``.
    grid: values to choose from, by name.
    data: ``config, final -> data set by seed``; in the final training the validation
      examples may be among those of training.
    of_arm: ``config, arm -> config``, with what the arm changes in model and
      optimizer.
    task: ``config, data by seed -> task``.
    optimizer: ``config, data by seed -> optimizer``.
    steps_per_epoch: ``config, data of a seed -> steps``.
    pictures: ``directories of finished runs, workdir``: draws them.
    measure: what is compared, and the best of which is chosen.
    early: every epoch is evaluated, and the one that is best on validation counts, as
      if training had been stopped there; otherwise the last step.
    chain: most steps in a dispatch; 1 where batches differ in shape.
    final: ``config of the arm, data by seed, job, state, split -> final rows``; the
      default evaluates, and keeps the predictions.
    undecisive: fields of its own that do not decide what becomes of an arm.
  """

  name: str
  config: Config
  defaults: Mapping[str, float]
  grid: Mapping[str, Sequence[float]]
  data: Callable[[Any, bool], Mapping[int, Any]]
  of_arm: Callable[[Any, str], Config]
  task: Callable[[Any, Any], Task]
  optimizer: Callable[[Any, Any], optax.GradientTransformation]
  steps_per_epoch: Callable[[Any, Any], int]
  pictures: Callable[[Sequence[pathlib.Path], pathlib.Path], object]
  measure: Measure = ERROR
  early: bool = False
  chain: int = 8
  final: Callable[..., list[Row]] | None = None
  undecisive: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Stage:
  """Choosing on validation, or the final training.

  Attributes:
    study: of which it is a stage.
    config: the study's, maybe shortened.
    directory: its arms are below.
    final: the test split counts, not validation.
    variants: by arm; those of an arm that is yet to be chosen stand for it.
    unknown: by arm, the values that are yet to be chosen.
    datasets: by seed; none before they are loaded.
  """

  study: Study
  config: Config
  directory: pathlib.Path
  final: bool
  variants: Mapping[str, Sequence[Variant]]
  unknown: Mapping[str, Collection[str]] = dataclasses.field(default_factory=dict)
  datasets: Mapping[int, Dataset] = dataclasses.field(default_factory=dict)

  def loaded(self) -> 'Stage':
    """With its data."""
    datasets = self.study.data(self.config, self.final)
    return dataclasses.replace(self, datasets=datasets)

  @property
  def num_steps(self) -> int:
    return steps(self.config, self.steps_per_epoch)

  @property
  def steps_per_epoch(self) -> int:
    return self.study.steps_per_epoch(self.config, self.datasets[0])


def run(study: Study) -> pathlib.Path:
  """Trains all arms, or goes on with them; writes the table and the plots.

  Returns:
    The directory of the runs.
  """
  train(study)
  workdir = pathlib.Path(study.config.workdir)
  _report(study, workdir)
  return workdir


def train(study: Study) -> None:
  """Trains all arms, or goes on with them."""
  arms.check(study.config.arms, study.config.given())
  # A directory that does not fit is told before the data, which may take long, are
  # there, and one of other data before anything is trained.
  for stage in _stages(study):
    _check(stage)
  stages = [stage.loaded() for stage in _stages(study)]
  for stage in stages:
    _check(stage)
  final, *selection = stages
  with signals.noted() as received, Progress(sum(map(_steps, stages))) as progress:
    for arm, variants in final.variants.items():
      chosen = variants
      for stage in selection:
        if arm in stage.variants:
          grid = stage.variants[arm]
          _complete(stage, arm, grid, 'validation', progress, received)
          signals.obey(received)
          chosen = [_chosen(stage, arm, grid, progress)]
      _complete(final, arm, chosen, 'test', progress, received)
      signals.obey(received)


def _report(study: Study, workdir: pathlib.Path) -> None:
  """Of all arms in the directory, also those that an earlier command trained."""
  from experiments import report  # scipy and matplotlib take seconds

  directories = [run.path for run in runs.finished(workdir)]
  study.pictures(directories, workdir)
  print(report.write_report(directories, workdir))


def _complete(
  stage: Stage,
  arm: str,
  variants: Sequence[Variant],
  split: str,
  progress: Progress,
  received: Sequence[int],
) -> None:
  final = _scored
  if (own := stage.study.final) is not None:
    final = functools.partial(
      own, stage.study.of_arm(stage.config, arm), stage.datasets
    )
  complete(_job(stage, arm, variants), split, progress, received, final)


def _scored(job: runner.Job, state: State, split: str) -> list[Row]:
  """Means over the split, and the predictions on test in a file."""
  if split == 'test':
    logits = predict(job.task, state, split, job.vmap)
    batches = job.task.batches(split, job.seeds[0], 0)
    labels = np.concatenate([batch['label'][batch['mask']] for batch in batches])
    probabilities = np.asarray(jax.nn.softmax(logits), np.float32)
    path = job.directory / predictions.NAME
    records.write_arrays(path, probabilities=probabilities, labels=labels)
  return evaluate(job.task, stack(job.losses), state, split, job.vmap)


def complete(
  job: runner.Job,
  split: str,
  progress: Progress,
  received: Sequence[int] = (),
  final: Callable[[runner.Job, State, str], list[Row]] = _scored,
) -> None:
  """Trains to the final rows, which are those of ``split``, unless they are there."""
  with runner.claimed(job):
    if runner.finished(job):
      progress.start(job.directory.name, job.num_steps * len(job.seeds))
      return
    state = runner.train(job, progress, received)
    if job.early:
      runner.finish(job, runner.best_rows(job, split))
      return
    with signals.at_once(received):  # the trained state is on the disk
      rows = final(job, state, split)
    runner.finish(job, rows)


def job_of(study: Study, arm: str) -> runner.Job:
  """What ``train`` trains for an arm whose values are given."""
  stage = _stages(study)[0].loaded()
  return _job(stage, arm, stage.variants[arm])


def _job(stage: Stage, arm: str, variants: Sequence[Variant]) -> runner.Job:
  study, num_steps = stage.study, stage.num_steps
  config = study.of_arm(stage.config, arm)
  seeds, dataset = list(stage.datasets), stage.datasets[0]
  # A training row is cheap, an evaluation is not, a checkpoint even less.
  rows, evaluations = max(1, num_steps // 60), max(1, num_steps // 12)
  splits = ['validation', 'test'] if study.early and stage.final else ['validation']
  if study.early:
    rows = evaluations = min(num_steps, stage.steps_per_epoch)
  settings = {seed: _setting(stage.datasets[seed], num_steps) for seed in seeds}
  points = [(variant, seed) for variant in variants for seed in seeds]
  losses = [arms.make_loss(arm, v.values, settings[seed]) for v, seed in points]
  return runner.Job(
    directory=stage.directory / arm,
    config=_decisive(study, config, arm, variants, num_steps),
    about={
      'experiment': study.name,
      'dataset': dataset.name,
      'arm': arm,
      'data': _fingerprints(stage.datasets),
      **({'about': dict(dataset.about)} if dataset.about else {}),
      **({'measure': study.measure.name} if study.measure != ERROR else {}),
    },
    task=study.task(config, stage.datasets),
    optimizer=study.optimizer(config, stage.datasets),
    losses=losses,
    seeds=[seed for _, seed in points],
    points=[v.swept for v, _ in points],
    num_steps=num_steps,
    log_every=config.log_every or rows,
    eval_every=config.eval_every or evaluations,
    checkpoint_every=config.checkpoint_every or max(1, num_steps // 3),
    splits=[split for split in splits if split in dataset.splits],
    vmap=config.vmap,
    chain=study.chain,
    early=study.measure.name if study.early else '',
  )


def _setting(dataset: Dataset, num_steps: int) -> Setting:
  labels = jnp.asarray(dataset.splits['train']['label'])
  return Setting(reg.unigram_prior(labels, dataset.num_classes), num_steps)


def _fingerprints(datasets: Mapping[int, Dataset]) -> str | dict[str, str]:
  """One for all seeds, or one by seed."""
  by_seed = {str(seed): dataset.fingerprint for seed, dataset in datasets.items()}
  first, *others = set(by_seed.values())
  return by_seed if others else first


def _decisive(
  study: Study,
  config: Config,
  arm: str,
  variants: Sequence[Variant],
  num_steps: int | None,
) -> dict[str, Any]:
  """What decides the outcome of an arm: where it differs, another arm was trained."""
  fields = dataclasses.asdict(config)
  without = {*_UNDECISIVE, *study.undecisive}
  decisive = {name: fields[name] for name in fields if name not in without}
  for name in arms.value_names(arm):
    values = [
      value
      for variant in variants
      for key, value in variant.values.items()
      if key.endswith(f'.{name}')
    ]
    decisive[name] = list(dict.fromkeys(values))
  return {'experiment': study.name, 'arm': arm, **decisive, 'num_steps': num_steps}


def _stages(study: Study) -> list[Stage]:
  """The final training, and before it, if it is asked for, the choice of values."""
  config, workdir = study.config, pathlib.Path(study.config.workdir)
  variants = _variants(study, config.given())
  if not config.select:
    return [Stage(study, config, workdir, True, variants)]
  grids = _variants(study, {**study.grid, **config.given()})
  grids = {arm: grid for arm, grid in grids.items() if len(grid) > 1}
  if not grids:
    raise InputError('--select: none of --arms has values to choose from')
  variants.update({arm: grid[:1] for arm, grid in grids.items()})
  unknown = {arm: grid[0].swept for arm, grid in grids.items()}
  shorter = dataclasses.replace(
    config,
    seeds=config.select_seeds or config.seeds,
    num_epochs=config.select_epochs or config.num_epochs,
    num_steps=None if config.select_epochs else config.num_steps,
  )
  return [
    Stage(study, config, workdir, True, variants, unknown),
    Stage(study, shorter, workdir / runs.SELECT, False, grids),
  ]


def _variants(
  study: Study, given: Mapping[str, Sequence[float]]
) -> dict[str, list[Variant]]:
  return {arm: arms.variants(arm, given, study.defaults) for arm in study.config.arms}


def _check(stage: Stage) -> None:
  """Whether all directories can be those of this command, so far as is known by now."""
  study, loaded = stage.study, bool(stage.datasets)
  num_steps = stage.num_steps if loaded else stage.config.num_steps
  for arm, variants in stage.variants.items():
    config = study.of_arm(stage.config, arm)
    unknown = {*stage.unknown.get(arm, ())} | (set() if num_steps else {'num_steps'})
    runner.check(
      stage.directory / arm,
      _decisive(study, config, arm, variants, num_steps),
      _fingerprints(stage.datasets) if loaded else None,
      unknown,
    )


def _chosen(
  stage: Stage, arm: str, variants: Sequence[Variant], progress: Progress
) -> Variant:
  """The variant that is best on validation; of equals, the first."""
  measure, means = stage.study.measure, {}
  rows = records.read(stage.directory / arm / 'record.jsonl')
  final = [row for row in rows if row.get('final')]
  for index, variant in enumerate(variants):
    own = [row for row in final if variant.swept.items() <= row.items()]
    means[index] = statistics.fmean(row[measure.name] for row in own)
  choose = max if measure.more_is_better else min
  index = choose(means, key=means.__getitem__)
  best = variants[index]
  text = ', '.join(f'{name} {value:g}' for name, value in best.swept.items())
  value = f'{means[index]:.2f}{measure.unit}'
  progress.say(f'{arm}: {text} chosen, validation {measure.name} {value}')
  return dataclasses.replace(best, swept={})


def _steps(stage: Stage) -> int:
  """Steps of all runs."""
  count = sum(map(len, stage.variants.values())) * len(stage.datasets)
  return count * stage.num_steps
