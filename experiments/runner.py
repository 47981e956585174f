"""One run directory: started, stopped, gone on with, and finished.

    WORKDIR/ARM/config.json      what decides the outcome
    WORKDIR/ARM/record.jsonl     a header, then rows
    WORKDIR/ARM/timing.jsonl     how long it took
    WORKDIR/ARM/checkpoints/     the newest ones
    WORKDIR/ARM/predictions.npz  written at the end

A run that is killed and started again ends with the same bytes as an unbroken one in
config, record and predictions, and so in the table and the pictures made of them:
batches and keys are functions of seed and step, and the record is cut back to the step
of the checkpoint. The last checkpoint restores to the same bits, but orbax's files of
it hold times and the like; timing.jsonl differs, too.
"""

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import json
import pathlib
import platform
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

import regularizers as reg
from experiments import records, signals
from experiments.checkpoints import Checkpoints
from experiments.datasets import files
from experiments.errors import InputError
from experiments.evaluate import Row, evaluate
from experiments.progress import Progress
from experiments.state import State, init_state, stack
from experiments.task import Task
from experiments.train import NonFiniteError, training

_ADVICE = 'choose another --workdir, or remove it'
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')


@dataclasses.dataclass(frozen=True)
class Job:
  """What is trained in one run directory.

  Attributes:
    directory: of the run.
    config: whatever decides the outcome; goes into ``config.json``.
    about: experiment, dataset, arm and fingerprints of the data; into the header.
    task: what is trained.
    optimizer: of optax.
    losses: one a run, all of the same form.
    seeds: one a run.
    points: one a run, the values in which the losses differ; into its rows.
    num_steps: length of training.
    log_every: steps from training row to training row.
    eval_every: steps from evaluation to evaluation of ``splits``.
    checkpoint_every: steps between checkpoints.
    splits: those evaluated while training.
    vmap: the runs side by side.
    chain: most steps in a dispatch.
    early: name of what is least at the evaluation whose rows are final; empty: the
      final rows are of the last step.
    prepare: ``state -> state`` before the first step.
    between: ``state -> state`` after every dispatch: the same object where it changes
      nothing.
    between_every: steps at whose multiples ``between`` has to be called.
  """

  directory: pathlib.Path
  config: Mapping[str, Any]
  about: Mapping[str, Any]
  task: Task
  optimizer: optax.GradientTransformation
  losses: Sequence[reg.Loss]
  seeds: Sequence[int]
  points: Sequence[Mapping[str, float]]
  num_steps: int
  log_every: int
  eval_every: int
  checkpoint_every: int
  splits: Sequence[str] = ('validation',)
  vmap: bool = True
  chain: int = 8
  early: str = ''
  prepare: Callable[[State], State] | None = None
  between: Callable[[State], State] | None = None
  between_every: int | None = None

  @property
  def record(self) -> pathlib.Path:
    return self.directory / 'record.jsonl'


class DivergedError(InputError):
  """The loss or its gradient became infinite or NaN."""


@contextlib.contextmanager
def claimed(job: Job) -> Iterator[None]:
  """Makes the directory this process's own.

  Raises:
    InputError: it cannot be written, is in use, or holds another configuration.
  """
  with records.writing(job.directory):
    job.directory.mkdir(parents=True, exist_ok=True)
    lock = (job.directory / '.lock').open('w')
  with lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise InputError(f'{job.directory} is in use by another process') from error
    check(job.directory, job.config, job.about.get('data'))
    records.write_json(job.directory / 'config.json', dict(job.config))
    yield


def check(
  directory: pathlib.Path,
  config: Mapping[str, Any],
  data: Any = None,
  unknown: Collection[str] = (),
) -> None:
  """Whether the directory can be that of this run; changes nothing.

  Args:
    directory: of the run, or where it would be made.
    config: of the run.
    data: fingerprints; None: not known yet.
    unknown: the fields of ``config`` that are not known yet.

  Raises:
    InputError: it cannot be written, or holds another configuration or other data.
  """
  records.check_writable(directory)
  path = directory / 'config.json'
  if not path.exists():
    return
  try:
    files.check(path, whole=True)
    there = files.parsed(path.read_text('utf-8'))
  except ValueError as error:
    raise InputError(f'{path} is not JSON') from error
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error
  if not isinstance(there, dict):
    raise InputError(f'{path}: expected the fields of a configuration')
  here = json.loads(json.dumps(dict(config)))
  names = [n for n in {**here, **there} if here.get(n) != there.get(n)]
  differing = ', '.join(
    f'{n} ({there.get(n)!r}, now {here.get(n)!r})' for n in names if n not in unknown
  )
  if differing:
    raise InputError(f'{directory} holds another configuration: {differing}; {_ADVICE}')
  for header in records.read(directory / 'record.jsonl')[:1]:
    if data is not None and header.get('data') != data:
      raise InputError(f'{directory} was trained on other data; {_ADVICE}')


def finished(job: Job) -> bool:
  """Whether the final rows are there."""
  rows = records.read(job.record)
  return sum(bool(row.get('final')) for row in rows) == len(job.seeds)


def train(job: Job, progress: Progress, received: Sequence[int] = ()) -> State:
  """Trains to the end, from the newest checkpoint on.

  Args:
    job: in a directory that is claimed.
    progress: shows the steps.
    received: signals so far; the first one ends the process, with a checkpoint.

  Raises:
    InputError: the loss is not finite, or the disk is full.
  """
  checkpoints = Checkpoints(job.directory / 'checkpoints')
  try:
    loss = stack(job.losses)
    state = init_state(job.task, loss, job.optimizer, job.seeds)
    state = state if job.prepare is None else job.prepare(state)
    state = checkpoints.restore(state, progress.say) or state
    start = int(state.step)
    records.cut_back(job.record, _header(job), start)
    progress.start(job.directory.name, start * len(job.seeds))
    return _train(job, loss, state, checkpoints, progress, received)
  except NonFiniteError as error:
    values = ''.join(f', {k} {v}' for k, v in job.points[error.run].items())
    raise DivergedError(f'{job.directory.name}: {error}{values}') from error
  finally:
    checkpoints.close()


def _train(
  job: Job,
  loss: reg.Loss,
  state: State,
  checkpoints: Checkpoints,
  progress: Progress,
  received: Sequence[int],
) -> State:
  began, step = time.monotonic(), int(state.step)
  for new_state, rows in states(job, loss, state):
    state = new_state
    progress.advance((int(state.step) - step) * len(job.seeds))
    step = int(state.step)
    last = step == job.num_steps
    if last or step % job.eval_every == 0:
      options = (job.task, loss, state)
      rows += [r for split in job.splits for r in evaluate(*options, split, job.vmap)]
    if rows:
      append(job, rows)
      seconds = round(time.monotonic() - began, 3)
      timing = {'step': step, 'seconds': seconds, 'runs': len(job.seeds)}
      records.append(job.directory / 'timing.jsonl', [timing])
    if last or received or step % job.checkpoint_every == 0:
      _save(checkpoints, step, state)
    if received:
      progress.say(f'stopped at step {step}; the same command goes on from there')
      signals.obey(received)
  return state


def states(job: Job, loss: reg.Loss, state: State) -> Iterator[tuple[State, list[Row]]]:
  """States and rows of training, as ``job.between`` leaves them."""
  stops = [job.eval_every, job.checkpoint_every]
  stops += [job.between_every] if job.between_every else []
  return training(
    job.task,
    loss,
    job.optimizer,
    state,
    num_steps=job.num_steps,
    log_every=job.log_every,
    stops=stops,
    chain=job.chain,
    vmap=job.vmap,
    between=job.between,
  )


def begin(job: Job) -> None:
  """Starts the record of a run that nothing is trained for."""
  records.cut_back(job.record, _header(job), 0)


def restored(job: Job) -> State:
  """The state at the end of a finished run.

  Raises:
    InputError: its checkpoint is gone or damaged.
  """
  template = init_state(job.task, stack(job.losses), job.optimizer, job.seeds)
  checkpoints = Checkpoints(job.directory / 'checkpoints')
  try:
    state = checkpoints.restore(template)
  finally:
    checkpoints.close()
  if state is None or int(state.step) != job.num_steps:
    raise InputError(
      f'{job.directory}: no checkpoint of step {job.num_steps}; remove the directory '
      'to train it anew'
    )
  return state


def finish(job: Job, rows: Sequence[Row]) -> None:
  """Writes the final rows, and leaves the newest checkpoint alone."""
  append(job, rows, final=True)
  directory = job.directory / 'checkpoints'
  if not directory.exists():
    return  # nothing was trained
  steps = [int(path.name) for path in directory.iterdir() if path.name.isdigit()]
  for step in sorted(steps)[:-1]:
    shutil.rmtree(directory / str(step), ignore_errors=True)


def best_rows(job: Job, split: str) -> list[Row]:
  """One a run: of ``split`` where ``job.early`` was least on validation.

  It also has what is early there, and at the end, on validation, and what it was in
  training up to there.
  """
  name, result = job.early, []
  rows = [row for row in records.read(job.record)[1:] if not row.get('final')]
  for seed, point in zip(job.seeds, job.points, strict=True):
    of_split: dict[str, dict[int, Row]] = {}
    for row in rows:
      if row['seed'] == seed and point.items() <= row.items():
        of_split.setdefault(row['split'], {})[row['step']] = row
    validation = of_split['validation']
    step = min(validation, key=lambda step: validation[step][name])
    train = [row for at, row in of_split['train'].items() if at <= step]
    more = {
      f'validation_{name}': validation[step][name],
      f'last_validation_{name}': validation[max(validation)][name],
      **({f'train_{name}': train[-1][name]} if train else {}),
    }
    result.append({**of_split[split][step], **more})
  return result


def append(job: Job, rows: Sequence[Row], **more: Any) -> None:
  """Adds rows, one a run or several times as many, to the record."""
  runs = len(job.seeds)
  labelled = [
    {**_first(row), **job.points[i % runs], **row, **more} for i, row in enumerate(rows)
  ]
  records.append(job.record, labelled)


def _first(row: Row) -> Row:
  return {name: row[name] for name in ('kind', 'step', 'split', 'seed')}


def _save(checkpoints: Checkpoints, step: int, state: State) -> None:
  leaves = jax.tree.leaves(jax.device_get(state.runs.params))
  if not all(np.isfinite(leaf).all() for leaf in leaves):
    raise InputError(f'the parameters are not finite at step {step}')
  checkpoints.save(step, state)


def _header(job: Job) -> dict[str, Any]:
  versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {
    'kind': 'header',
    **job.about,
    'objective': '; '.join(dict.fromkeys(str(loss) for loss in job.losses)),
    'seeds': list(dict.fromkeys(job.seeds)),
    'versions': {'python': platform.python_version(), **versions},
    'device': jax.devices()[0].device_kind,
    'config': dict(job.config),
  }
