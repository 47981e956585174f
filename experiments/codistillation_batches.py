"""Codistillation where a larger batch no longer helps: the first claim of Anil et al.

  python -m experiments.codistillation_batches

trains single models with growing batches, each at the learning rate that takes it to
the target in the fewest steps. With as many machines as a batch needs, a step takes the
same time whatever the batch: steps are time. At the batch whose doubling saves less
than ``--gain``, replicas with that batch each teach one another.

On the embedded digits it takes 4 min 47 s on two cores. Batches of 8, 16, ... 512 take
246, 135, 94, 59, 44, 36 and 35 steps to a log-loss of 0.2 on validation; at 256,
codistillation takes 43 and replicas with the same data 39, so it does not help here.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import codistillation, codistillation_arms, config, signals
from experiments.codistillation_arms import EXCHANGED, Arm
from experiments.codistillation_models import MODELS
from experiments.config import by_flag, fill, flag, unused
from experiments.errors import InputError
from experiments.progress import Progress
from experiments.runs import BASELINE, collect
from experiments.steps_to_target import Reached, reached, validation_curves

DEFAULTS: Mapping[str, Any] = {
  'seeds': 4,
  'num_steps': 400,
  'eval_every': 5,
  'burn_in': 30,
}
_ONE = 'replicas are in one process here'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(codistillation.Config):
  """The flags of experiments.codistillation, and those of the sweep."""

  workdir: str = flag(
    'runs/codistillation_batches',
    'directory that holds a directory for every batch',
    config.named,
  )
  model: str = config.again(codistillation.Config, 'model', 'mnist')
  eval_every: int | None = flag(
    None, 'steps between evaluations on validation', config.count
  )
  arms: tuple[str, ...] = flag(
    EXCHANGED, 'what is trained at the batch whose doubling stops helping'
  )
  exchange: str = flag(
    'local', 'one process holds all replicas', config.one_of('local')
  )
  exchange_dir: str | None = unused(None, _ONE)
  replica: int | None = unused(None, _ONE)
  weight: tuple[float, ...] = config.again(codistillation.Config, 'weight', (0.3,))
  exchange_every: int = config.again(codistillation.Config, 'exchange_every', 5)
  batch_size: int = unused(None, '--batch_sizes takes its place')
  learning_rate: float = unused(None, '--learning_rates takes its place')
  batch_sizes: tuple[int, ...] = flag(
    (8, 16, 32, 64, 128, 256, 512),
    'sizes of a batch, each the double of the last',
    config.count,
  )
  learning_rates: tuple[float, ...] = flag(
    (0.02, 0.05, 0.1, 0.2, 0.5),
    'learning rates that are tried with each batch',
    config.positive,
  )
  target: float = flag(
    0.2, 'log-loss on validation that is to be reached', config.positive
  )
  gain: float = flag(
    0.15, 'share of the steps that doubling the batch has to save', config.share
  )


@dataclasses.dataclass(frozen=True)
class Point:
  """An arm at one batch, and when it reached the target."""

  arm: Arm
  reached: Reached


def run(config: Config) -> pathlib.Path:
  """Trains all that is missing; ends with the table and the plot."""
  check(config)
  config = fill(config, DEFAULTS)
  first = _at(config, config.batch_sizes[0], config.learning_rates[0])
  data = MODELS[config.model].data(first)
  grid = {
    batch: [
      Arm(_at(config, batch, rate), BASELINE, data) for rate in config.learning_rates
    ]
    for batch in config.batch_sizes
  }
  single = Arm(first, BASELINE, data)
  count = len(config.batch_sizes) * len(config.learning_rates) + len(config.arms)
  total = count * single.num_steps * len(single.seeds)
  with signals.noted() as received, Progress(total) as progress:
    for arms in grid.values():
      for arm in arms:
        codistillation_arms.complete(arm, progress, received)
    best = [
      min((_point(arm, config.target) for arm in arms), key=_slowness)
      for arms in grid.values()
    ]
    end = best[plateau([point.reached for point in best], config.gain)]
    taught = [dataclasses.replace(end.arm, name=name) for name in config.arms]
    for arm in taught:
      codistillation_arms.complete(arm, progress, received)
  from experiments import codistillation_batches_report  # matplotlib takes seconds

  workdir = pathlib.Path(config.workdir)
  points = [_point(arm, config.target) for arm in taught]
  print(codistillation_batches_report.write(best, end, points, config.target, workdir))
  return workdir


def check(config: Config) -> None:
  """Refuses what makes no sense."""
  pairs = zip(config.batch_sizes, config.batch_sizes[1:], strict=False)
  if len(config.batch_sizes) < 2 or any(2 * a != b for a, b in pairs):
    raise InputError('--batch_sizes: expected two or more, each the double of the last')
  for arm in config.arms:
    if arm not in EXCHANGED:
      raise InputError(f'--arms: expected {" or ".join(EXCHANGED)}, got {arm!r}')
  codistillation.check(config)


def plateau(results: Sequence[Reached], gain: float) -> int:
  """Index of the first batch whose doubling saves less than ``gain`` of the steps.

  Raises:
    InputError: there is none among them.
  """
  for index, (one, double) in enumerate(zip(results, results[1:], strict=False)):
    (missing, steps), (more, fewer) = one.slowness, double.slowness
    if not missing and (more or fewer > (1 - gain) * steps):
      return index
  raise InputError(
    '--batch_sizes: doubling helps up to the last of them, or the target is not '
    'reached: add larger ones, or change --target'
  )


def _at(config: Config, batch: int, rate: float) -> codistillation.Config:
  """What experiments.codistillation runs with one batch and rate."""
  names = [field.name for field in dataclasses.fields(codistillation.Config)]
  given: dict[str, Any] = {name: getattr(config, name) for name in names}
  given |= {'batch_size': batch, 'learning_rate': rate}
  given['workdir'] = f'{config.workdir}/batch_{batch}/rate_{rate:g}'
  return codistillation.filled(codistillation.Config(**given))


def _point(arm: Arm, target: float) -> Point:
  (run,) = collect([arm.directory])
  return Point(arm, reached(validation_curves(run), target))


def _slowness(point: Point) -> tuple[int, float]:
  return point.reached.slowness


def main() -> None:
  """Reads the flags and runs."""
  own = {'workdir', 'weight', 'batch_size', 'learning_rate', 'num_epochs', *DEFAULTS}
  fields = {
    case: {name: value for name, value in fields.items() if name not in own}
    for case, fields in codistillation.cases().items()
  }
  config.launch(Config, run, by_flag({**fields, '': DEFAULTS}, {}))


if __name__ == '__main__':
  main()
