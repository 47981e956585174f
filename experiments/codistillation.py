"""Codistillation: replicas that teach one another while they train.

  python -m experiments.codistillation

trains two replicas as processes of their own on a generated click log, beside single
models and the ensemble of two, four times each, in 1 min 32 s on two cores (the first
time some 20 s more, to make the log). Log-loss, and churn between retrains:

  baseline         0.5100 ± 0.0006   0.0471
  codistillation   0.5113 ± 0.0004   0.0327   -31 % [-38, -23]
  ensemble         0.5069 ± 0.0003   0.0319   -32 % [-40, -25]

Churn falls as in Anil et al. (2018), the log-loss does not. What replicas read depends
on timing, and the outcome with it: three repetitions gave -29, -32 and -29 % and log-
losses of 0.5114, 0.5111 and 0.5114. ``--exchange=local`` holds all replicas in one
process and is exact.

  python -m experiments.codistillation --replica=0 --num_replicas=2 --exchange_dir=DIR

is one replica of several jobs; without ``--replica``, the same command makes the table
once all are done, if they share the ``--workdir``.
"""

import dataclasses
import pathlib
from typing import Any

from experiments import codistillation_arms, config, launch, ptb_settings, signals
from experiments.codistillation_arms import ARMS, EXCHANGED, Arm
from experiments.codistillation_models import MODELS
from experiments.config import by_flag, fill, flag, refuse, single, unused
from experiments.errors import InputError
from experiments.progress import Progress
from experiments.replica_model import shard

DEFAULT_ARMS = ('baseline', 'codistillation', 'ensemble')
# Flags that some models alone take.
_OF_MODELS = {
  **dict.fromkeys(('embedding', 'buckets'), ('ctr', 'lm')),
  **dict.fromkeys(('image_size', 'width'), ('resnet',)),
  'unroll': ('lm',),
  'size': ('ptb',),
}
DATASETS = {name: tuple(model.defaults) for name, model in MODELS.items()}
_SELECT, _TAKEN = 'values are not chosen here', 'none of the arms takes it'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Config):
  """The common flags, and those of replicas."""

  model: str = flag('ctr', 'what is trained', config.one_of(*MODELS))
  dataset: str = flag(
    None,
    '; '.join(f'{" or ".join(own)} ({name})' for name, own in DATASETS.items())
    + '; default: the first, with --data_dir the first that is not embedded',
  )
  arms: tuple[str, ...] = flag(
    DEFAULT_ARMS,
    'what is compared: ' + ', '.join(f'{arm} ({text})' for arm, text in ARMS.items()),
  )
  seeds: int = flag(None, 'number of retrains', config.count)
  eval_every: int | None = flag(
    None,
    'steps between evaluations on validation; default: a twentieth of all',
    config.count,
  )
  log_every: int | None = flag(
    None,
    'steps that a training row averages over; default: a twentieth of all',
    config.count,
  )
  checkpoint_every: int | None = flag(
    None, 'steps between checkpoints; default: a quarter of all', config.count
  )
  vmap: bool = config.again(config.Config, 'vmap', True)
  select: bool = unused(False, _SELECT)
  select_seeds: int | None = unused(None, _SELECT)
  select_epochs: int | None = unused(None, _SELECT)
  epsilon: tuple[float, ...] = flag((), 'strength of label smoothing', config.share)
  weight: tuple[float, ...] = flag(
    (), 'weight of what peers or an ensemble teach', config.non_negative
  )
  threshold: tuple[float, ...] = unused((), _TAKEN)
  alpha: tuple[float, ...] = unused((), _TAKEN)
  rate: tuple[float, ...] = unused((), _TAKEN)
  num_replicas: int = flag(
    2, 'replicas that teach one another, and models of an ensemble', config.count
  )
  exchange: str = flag(
    'directory',
    'directory: replicas are processes, who read what is there; local: one process '
    'holds all, and all exchange at the same step',
    config.one_of('directory', 'local'),
  )
  exchange_every: int = flag(50, 'steps between exchanges', config.count)
  exchange_dir: str | None = flag(
    None, 'directory that replicas share; default: in --workdir', config.named
  )
  replica: int | None = flag(
    None,
    'trains this replica alone, from 0 on; default: all of them on this machine',
    config.natural,
  )
  data: str = flag(
    'disjoint',
    'what the replicas of codistillation see: disjoint parts, or the same',
    config.one_of('disjoint', 'same'),
  )
  burn_in: int = flag(None, 'steps before replicas teach', config.natural)
  ramp: int = flag(
    0, 'steps over which the weight grows after the burn-in', config.natural
  )
  kind: str = flag(
    'cross_entropy',
    'how predictions are drawn to those of the peers',
    config.one_of('cross_entropy', 'kl', 'reverse_kl', 'squared_logits'),
  )
  temperature: float = flag(1.0, 'divides the logits of both', config.positive)
  num_train: int = flag(
    None, 'training examples (tokens of a text) that are kept; 0: all', config.natural
  )
  cache_dir: str = flag(
    'runs/clicks', 'where click logs are kept as arrays (ctr)', config.named
  )
  hidden: tuple[int, ...] = flag(
    (), 'units of each layer; of resnet: blocks of each stage', config.count
  )
  embedding: int = flag(
    None, 'size of the vector of a category (ctr) or word piece (lm)', config.count
  )
  buckets: int = flag(
    None, 'vectors of each categorical column (ctr), word pieces (lm)', config.count
  )
  unroll: int = flag(None, 'time steps that gradients go back (lm)', config.count)
  image_size: int = flag(None, 'side of an image in pixels (resnet)', config.count)
  width: int = flag(None, 'channels of the first stage (resnet)', config.count)
  dropout: float = flag(None, 'share of units dropped', config.share)
  size: str = flag(
    None,
    'sets what of the network is not given (ptb)',
    config.one_of(*ptb_settings.SIZES),
  )


def filled(config: Config) -> Config:
  """What is not given, by model and data set."""
  own = DATASETS[config.model]
  rules = MODELS[config.model].data_dir
  takers = [name for name in own if rules[name] != 'refused'] or own
  dataset = config.dataset or (takers if config.data_dir else own)[0]
  if dataset not in own:
    raise InputError(
      f'--dataset: expected one of {", ".join(own)} with --model={config.model}, '
      f'got {dataset!r}'
    )
  rule = rules[dataset]
  if rule == 'refused':
    reason = f'applies to --dataset={" or ".join(takers)} alone'
    refuse(config, ['data_dir'], reason)
  if rule == 'needed' and not config.data_dir:
    raise InputError(f'--dataset={dataset}: --data_dir says where it is')
  config = dataclasses.replace(config, dataset=dataset)
  config = fill(config, {'workdir': workdir(dataset)})
  defaults = dict(MODELS[config.model].defaults[dataset])
  values = {name: defaults.pop(name) for name in ('weight', 'epsilon', 'hidden')}
  missing: dict[str, Any] = {
    name: value if isinstance(value, tuple) else (value,)
    for name, value in values.items()
    if not getattr(config, name)
  }
  return fill(dataclasses.replace(config, **missing), defaults)


def workdir(dataset: str) -> str:
  """Where the runs are if nothing else is said."""
  return f'runs/codistillation_{dataset.replace("/", "_")}'


def check(config: Config) -> None:
  """Refuses what makes no sense."""
  for arm in config.arms:
    if arm not in ARMS:
      raise InputError(f'--arms: unknown arm {arm!r}; choose from {", ".join(ARMS)}')
    if config.arms.count(arm) > 1:
      raise InputError(f'--arms: {arm} is there twice')
  if config.num_replicas < 2:
    raise InputError(f'--num_replicas: expected 2 or more, got {config.num_replicas}')
  single(config)
  for name, models in _OF_MODELS.items():
    if config.model not in models:
      refuse(config, [name], f'applies to --model={" or ".join(models)} alone')
  if config.model in ('ptb', 'lm') and len({*config.hidden}) > 1:
    sizes = ', '.join(map(str, config.hidden))
    raise InputError(
      f'--hidden: expected layers of one size with --model={config.model}, got {sizes}'
    )
  if config.exchange != 'directory':
    refuse(config, ['replica'], 'applies to --exchange=directory alone')
  if config.replica is not None:
    if config.replica >= config.num_replicas:
      raise InputError(
        f'--replica: expected 0 to {config.num_replicas - 1}, got {config.replica}'
      )
    if not {*config.arms} & {*EXCHANGED}:
      raise InputError(f'--replica: none of --arms is {" or ".join(EXCHANGED)}')


def run(config: Config) -> pathlib.Path:
  """Trains all arms, or goes on with them; ends with the table and the plots.

  With ``replica`` it trains that one of the arms that have replicas, and ends.
  """
  check(config)
  given, config = config, filled(config)
  data = MODELS[config.model].data(config)
  shard(data, 0, config.num_replicas)  # before anything is trained: there are enough
  order = [arm for arm in ARMS if arm in config.arms]
  arms = [Arm(config, name, data) for name in order]
  if config.replica is not None:
    arms = [arm for arm in arms if arm.exchanged]
  path = pathlib.Path(config.workdir)
  own = [arm for arm in arms if not launched(arm)]
  total = sum(arm.num_steps * len(arm.seeds) for arm in own if arm.name != 'ensemble')
  with signals.noted() as received, Progress(total, config.replica) as progress:
    for arm in arms:
      if launched(arm):
        launch.replicas(given, config, arm.name, progress, received)
        signals.obey(received)
        codistillation_arms.merge(arm)
      else:
        codistillation_arms.complete(arm, progress, received)
      signals.obey(received)
  if config.replica is None:
    report(path)
  else:
    names = ', '.join(arm.name for arm in arms)
    print(
      f'replica {config.replica} of {names} has ended; when all have, the same command '
      'without --replica makes the table'
    )
  return path


def launched(arm: Arm) -> bool:
  """Whether processes of their own train the arm's replicas."""
  config = arm.config
  return arm.exchanged and config.exchange == 'directory' and config.replica is None


def report(workdir: pathlib.Path) -> None:
  """Of all arms in the directory, also those that an earlier command trained."""
  from experiments import codistillation_report  # matplotlib takes seconds

  print(codistillation_report.write(workdir))


def cases() -> dict[str, dict[str, Any]]:
  """What ``filled`` puts in, as the help of the flags tells it."""
  return {
    dataset: {'workdir': workdir(dataset), **own}
    for model in MODELS.values()
    for dataset, own in model.defaults.items()
  }


def main() -> None:
  """Reads the flags and runs."""
  config.launch(Config, run, by_flag(cases(), {}))


if __name__ == '__main__':
  main()
