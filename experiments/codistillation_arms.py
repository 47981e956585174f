"""What the arms of experiments.codistillation train, as jobs, and their final rows."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import regularizers as reg
from experiments import churn, exchanging, launch, records, runner, signals
from experiments.codistillation_models import MODELS
from experiments.codistilled import codistilled, ensemble
from experiments.datasets.dataset import Dataset
from experiments.errors import InputError
from experiments.evaluate import Row, evaluate
from experiments.measures import LOG_LOSS
from experiments.progress import Progress
from experiments.replica_model import shard
from experiments.state import Run, State, stack
from experiments.task import PyTree, Task
from regularizers.exchange import Directory, ExchangeError, Peers

# What they are, in the order in which they are trained.
ARMS = {
  'baseline': 'single models on all the data',
  'double_batch': 'single models with twice the batch',
  'label_smoothing': 'single models with uniform smoothing',
  'unigram_smoothing': 'single models with smoothing by class frequency',
  'codistillation': 'replicas that teach one another',
  'same_data': 'such replicas that all see all the data',
  'ensemble': 'the mean prediction of as many single models',
  'distillation': 'models that such an ensemble teaches after its training',
}
EXCHANGED = ('codistillation', 'same_data')
CHAIN = 10  # divides the usual intervals of exchange: no dispatch is cut short
# Fields that decide what becomes of some arms alone, by arm.
_TEACHING = {'weight', 'temperature', 'burn_in', 'ramp', 'num_replicas'}
_OWN: Mapping[str, set[str]] = {
  **dict.fromkeys(EXCHANGED, _TEACHING | {'kind', 'exchange', 'exchange_every'}),
  'label_smoothing': {'epsilon'},
  'unigram_smoothing': {'epsilon'},
  'ensemble': {'num_replicas'},
  'distillation': {'weight', 'temperature', 'num_replicas'},
}
_SHARED = {
  *('model', 'dataset', 'seeds', 'batch_size', 'learning_rate'),
  *('eval_every', 'log_every', 'vmap', 'num_train', 'hidden', 'embedding'),
  *('buckets', 'dropout', 'size', 'unroll', 'image_size', 'width'),
}


@dataclasses.dataclass(frozen=True)
class Arm:
  """One arm of one command.

  Attributes:
    config: of the experiment, filled in.
    name: of the arm.
    data: of all replicas.
  """

  config: Any
  name: str
  data: Dataset

  @property
  def exchanged(self) -> bool:
    return self.name in EXCHANGED

  @property
  def num_steps(self) -> int:
    config = self.config
    if config.num_steps is not None:
      return int(config.num_steps)
    # All arms take the steps that a replica needs for its part of the data.
    return int(config.num_epochs * self.steps_per_epoch)

  @property
  def steps_per_epoch(self) -> int:
    part = shard(self.data, 0, self.config.num_replicas)
    return MODELS[self.config.model].steps_per_epoch(self.config, part)

  @property
  def directory(self) -> pathlib.Path:
    """Of its run; of one replica alone, if this process trains one."""
    workdir = pathlib.Path(self.config.workdir)
    if self.exchanged and self.config.replica is not None:
      return workdir / 'replicas' / f'{self.name}-{self.config.replica}'
    return workdir / self.name

  @property
  def seeds(self) -> list[int]:
    """Of the runs: that of replica r in retrain s is r * retrains + s."""
    config, retrains = self.config, self.config.seeds
    if self.exchanged and config.replica is not None:
      return list(range(config.replica * retrains, (config.replica + 1) * retrains))
    if self.exchanged or self.name == 'baseline':
      return list(range(config.num_replicas * retrains))
    return list(range(retrains))

  def base(self) -> Task:
    """The task without peers, on the data of each run."""
    config, count = self.config, self.config.num_replicas
    if self.name == 'double_batch':
      config = dataclasses.replace(config, batch_size=2 * config.batch_size)
    parts: dict[int, Dataset] = dict.fromkeys(range(count), self.data)
    if self.name == 'codistillation' and config.data == 'disjoint':
      parts = {index: shard(self.data, index, count) for index in parts}
    by_seed = {
      seed: parts[seed // config.seeds if self.exchanged else 0] for seed in self.seeds
    }
    return MODELS[config.model].task(config, by_seed)

  def loss(self) -> reg.Loss:
    """What it minimises."""
    config = self.config
    (weight,), (epsilon,) = config.weight, config.epsilon
    if self.name in EXCHANGED:
      schedule = reg.burn_in(weight, config.burn_in, config.ramp)
      transforms = [reg.codistillation(schedule, config.temperature, config.kind)]
    elif self.name == 'distillation':
      transforms = [reg.distillation(weight, config.temperature)]
    elif self.name == 'label_smoothing':
      transforms = [reg.label_smoothing(epsilon)]
    elif self.name == 'unigram_smoothing':
      labels = jnp.asarray(self.data.splits['train']['label'])
      prior = reg.unigram_prior(labels, self.data.num_classes)
      transforms = [reg.unigram_smoothing(epsilon, prior)]
    else:
      transforms = []
    return reg.chain(*transforms)(reg.cross_entropy)

  def decisive(self) -> dict[str, Any]:
    """What decides the outcome."""
    config = self.config
    names = _SHARED | _OWN.get(self.name, set())
    fields = {name: getattr(config, name) for name in sorted(names)}
    if self.name == 'codistillation':
      fields['data'] = config.data
    if self.name == 'double_batch':
      fields['batch_size'] = 2 * config.batch_size
    if self.exchanged and config.replica is not None:
      fields['replica'] = config.replica
    return {
      'experiment': 'codistillation',
      'arm': self.name,
      **fields,
      'num_steps': self.num_steps,
    }

  def job(self, task: Task, **more: Any) -> runner.Job:
    """Of ``task``."""
    config, seeds, num_steps = self.config, self.seeds, self.num_steps
    evaluations = max(1, num_steps // 20)
    return runner.Job(
      directory=self.directory,
      config=self.decisive(),
      about={
        'experiment': 'codistillation',
        'dataset': self.data.name,
        'arm': self.name,
        'data': self.data.fingerprint,
        'about': dict(self.data.about),
        'measure': LOG_LOSS.name,
      },
      task=task,
      optimizer=MODELS[config.model].optimizer(config, self.data),
      losses=[self.loss()] * len(seeds),
      seeds=seeds,
      points=[{}] * len(seeds),
      num_steps=num_steps,
      log_every=config.log_every or evaluations,
      eval_every=config.eval_every or evaluations,
      checkpoint_every=config.checkpoint_every or max(1, num_steps // 4),
      vmap=config.vmap,
      chain=CHAIN,
      **more,
    )


def complete(arm: Arm, progress: Progress, received: Sequence[int]) -> None:
  """Trains to the final rows, unless they are there."""
  base = arm.base()
  job = _job(arm, base)
  with runner.claimed(job):
    if runner.finished(job):
      progress.start(arm.name, job.num_steps * len(job.seeds))
      return
    state = None
    if arm.name != 'ensemble':
      state = _trained(arm, job, base, progress, received)
    with signals.at_once(received):  # what was trained is on the disk
      rows = _final(arm, job, base, state)
    runner.finish(job, rows)


def _final(arm: Arm, job: runner.Job, base: Task, state: State | None) -> list[Row]:
  """The final rows; without a state those of an ensemble."""
  taught = job.task is not base and state is not None
  if state is None:
    state = _assembled(arm, job)
  test = evaluate(job.task, stack(job.losses), state, 'test')
  task, state = (base, exchanging.served(state)) if taught else (job.task, state)
  found = churn.measured(task, state, 'test', arm.config.seeds)
  records.write_arrays(job.directory / 'churn.npz', **found.arrays())
  return _with_churn(arm, job, test, found)


def _job(arm: Arm, base: Task) -> runner.Job:
  config = arm.config
  count = config.num_replicas
  if arm.name == 'ensemble':
    return arm.job(ensemble(base, count))
  if arm.name == 'distillation':
    return arm.job(
      codistilled(base, count),
      prepare=lambda state: exchanging.with_peers(state, _teachers(arm)),
    )
  if not arm.exchanged:
    return arm.job(base)
  between = None
  if config.exchange == 'local':
    between = exchanging.local(base, count, config.exchange_every)
  return arm.job(
    codistilled(base, count - 1), between=between, between_every=config.exchange_every
  )


def _trained(
  arm: Arm, job: runner.Job, base: Task, progress: Progress, received: Sequence[int]
) -> State:
  config = arm.config
  if not arm.exchanged or config.exchange == 'local':
    return runner.train(job, progress, received)
  root = config.exchange_dir or f'{config.workdir}/exchange'
  path = pathlib.Path(root) / arm.name
  try:
    exchange = Directory(
      path, config.replica, config.num_replicas, config.exchange_every
    )
  except ExchangeError as error:
    raise InputError(str(error)) from error
  with exchange:
    log = job.directory / 'exchange.jsonl'
    begun = functools.partial(launch.await_others, exchange.all_there, received)
    between = exchanging.ThroughDirectory(base, exchange, log, begun)
    job = dataclasses.replace(job, between=between)
    return runner.train(job, progress, received)


def _members(arm: Arm) -> tuple[State, PyTree]:
  """The trained models of baseline, and what they give: ``[retrains, models, ...]``."""
  single = dataclasses.replace(arm, name='baseline')
  base = single.base()
  job = single.job(base)
  if not runner.finished(job):
    raise InputError(f'--arms: {arm.name} is made of the models of baseline')
  runner.check(job.directory, job.config, job.about['data'])
  state = runner.restored(job)
  return state, exchanging.grouped(base, state, arm.config.num_replicas)


def _teachers(arm: Arm) -> Peers:
  _, trees = _members(arm)
  steps = jnp.zeros((arm.config.seeds, arm.config.num_replicas), jnp.int32)
  return Peers(trees, steps)


def _assembled(arm: Arm, job: runner.Job) -> State:
  """The ensembles as the runs of a state, and their row of validation."""
  single, trees = _members(arm)
  retrains = arm.config.seeds
  own = jax.tree.map(lambda leaf: leaf[:retrains], single.runs.model_state)
  seeds = jnp.arange(retrains, dtype=jnp.int32)
  run = Run(seeds, trees, {'own': own, 'carried': {}}, {}, {}, jnp.full_like(seeds, -1))
  state = State(single.step, run)
  runner.begin(job)
  runner.append(job, evaluate(job.task, stack(job.losses), state, 'validation'))
  return state


def _with_churn(
  arm: Arm, job: runner.Job, rows: Sequence[Row], found: churn.Churn
) -> list[Row]:
  """The final rows, with the mean churn of each run against the other retrains."""
  retrains = arm.config.seeds
  bayes = arm.data.about.get('bayes_nll', {})
  couples = max(1, retrains * (retrains - 1) // 2)
  teaching, result = _teaching(arm, job), []
  for index, row in enumerate(rows):
    replica, retrain = divmod(index, retrains)
    own = (found.pairs == retrain).any(-1)
    own &= np.arange(len(own)) // couples == replica
    more = {}
    if own.any():
      more['churn'] = float(found.difference[own].mean())
      more['disagreement'] = 100 * float(found.disagreement[own].mean())
    if 'test' in bayes:
      more['excess'] = row['nll'] - bayes['test']
    more |= teaching.get(row['seed'], {})
    result.append({**row, **more})
  return result


def _teaching(arm: Arm, job: runner.Job) -> dict[int, dict[str, float]]:
  """By seed: for which share of training there were peers, and how stale they were."""
  if not arm.exchanged:
    return {}
  rows = [row for row in records.read(job.record)[1:] if row['split'] == 'train']
  found: dict[int, dict[str, float]] = {}
  for seed in job.seeds:
    own = [row for row in rows if row['seed'] == seed]
    ages = [row['staleness'] for row in own if 'staleness' in row]
    there = ['staleness' in row for row in own if row['step'] > arm.config.burn_in]
    found[seed] = {'staleness': float(np.mean(ages))} if ages else {}
    if there:
      found[seed]['taught'] = 100 * float(np.mean(there))
  return found


def merge(arm: Arm) -> None:
  """Makes one run of those that the replicas trained as processes of their own."""
  replicas = [
    dataclasses.replace(arm, config=dataclasses.replace(arm.config, replica=index))
    for index in range(arm.config.num_replicas)
  ]
  lines = [records.read(one.directory / 'record.jsonl') for one in replicas]
  header = dict(lines[0][0])
  header['seeds'] = [seed for own in lines for seed in own[0]['seeds']]
  header['config'] = {k: v for k, v in header['config'].items() if k != 'replica'}
  rows = sorted((row for own in lines for row in own[1:]), key=lambda row: row['step'])
  found = []
  for one in replicas:
    with records.arrays(one.directory / 'churn.npz') as arrays:
      found.append(churn.of_file(arrays))
  with records.writing(arm.directory):
    arm.directory.mkdir(parents=True, exist_ok=True)
  records.write_json(arm.directory / 'config.json', header['config'])
  records.write_arrays(arm.directory / 'churn.npz', **churn.joined(found).arrays())
  records.write_lines(arm.directory / 'record.jsonl', [header, *rows])
