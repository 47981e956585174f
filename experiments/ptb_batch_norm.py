"""Batch normalization of the recurrent term: the failure of Laurent et al. (2016).

  python -m experiments.ptb_batch_norm

trains a character-level language model without batch normalization and with it on the
whole pre-activation W x + U h (statistics by time step), at several learning rates, and
draws the cross-entropy against the rate. It is experiments.ptb with other defaults:
``--placement`` and ``--norm_scale`` choose what is normalized and how.

One seed, 2 min 46 s on two cores: after six epochs the training and validation
cross-entropies (nats a character) are, without and with it,

  rate 0.0003   3.10 3.07   3.03 3.00
  rate 0.003    1.99 1.97   1.85 1.82
  rate 0.03     1.38 1.49   1.36 1.51
  rate 0.3      38   51     2.14 2.19

As in the paper it is worse on validation where both do best, and still trains where the
rate is so high that the other diverges. Unlike there it is ahead at low rates.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from experiments import arms, config, ptb, runner, study
from experiments.config import by_flag, fill, flag, single, unused
from experiments.ptb_settings import VALUES

# The paper: three layers of 250 units, 20 epochs, batches of 32 and more, and a search
# over rate and momentum.
DEFAULTS: Mapping[str, Any] = {
  'seeds': 1,
  'layers': 2,
  'hidden': 64,
  'batch_size': 32,
  'unroll': 50,
  'init_scale': 0.0,
  'momentum': 0.9,
  'clip': 1e6,  # as good as none: it would hide that a rate is too high
  'decay_after': 1000,
  'num_epochs': 6,
  'placement': 'pre_activation',
}
_SELECT = 'applies to experiments.ptb; a grid here is of rates'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ptb.Config):
  """The flags of experiments.ptb, and several learning rates."""

  workdir: str = flag(
    'runs/ptb_batch_norm',
    'directory that holds a directory for every learning rate',
    config.named,
  )
  arms: tuple[str, ...] = config.again(ptb.Config, 'arms', ('baseline', 'batch_norm'))
  learning_rate: float = unused(None, '--learning_rates takes its place')
  learning_rates: tuple[float, ...] = flag(
    (0.0003, 0.003, 0.03, 0.3), 'learning rates that are tried', config.positive
  )
  tokens: str = config.again(ptb.Config, 'tokens', 'char')
  select: bool = unused(False, _SELECT)
  select_seeds: int | None = unused(None, _SELECT)
  select_epochs: int | None = unused(None, _SELECT)


def run(config: Config) -> pathlib.Path:
  """Trains all arms at all rates; ends with the table and the plot."""
  check(config)
  workdir = pathlib.Path(config.workdir)
  studies = [
    ptb.study_of(of_rate(config, rate, arm))
    for rate in config.learning_rates
    for arm in config.arms
  ]
  for own in studies:
    try:
      study.train(own)
    except runner.DivergedError as error:  # which is what is looked for
      print(f'{own.config.workdir}: {error}', file=sys.stderr)
  from experiments import curves, report  # matplotlib and scipy take seconds

  curves.against_rates([workdir], workdir / 'learning_rates.png')
  print(report.write_report([workdir], workdir))
  return workdir


def check(config: Config) -> None:
  """Refuses, before anything is filled in, what has no place here."""
  arms.check(config.arms, config.given())
  single(config)
  ptb.check(config)


def of_rate(config: Config, rate: float, arm: str) -> ptb.Config:
  """What experiments.ptb runs for one arm at one rate.

  The arm by itself, so that one that diverges does not end the others, but as it is
  beside them.
  """
  config = fill(config, {**DEFAULTS, 'batch_norm': ptb.default_mode(config)})
  own = ptb.of_arm(config, arm)
  fields = {f.name: getattr(own, f.name) for f in dataclasses.fields(ptb.Config)}
  fields['workdir'] = f'{config.workdir}/rate_{rate:g}'
  fields |= dict.fromkeys(set(config.given()) - set(arms.value_names(arm)), ())
  return ptb.Config(**{**fields, 'learning_rate': rate, 'arms': (arm,)})


def main() -> None:
  """Reads the flags and runs."""
  fields = {
    case: {name: DEFAULTS.get(name, value) for name, value in own.items()}
    for case, own in ptb.cases().items()
  }
  fields[''] |= DEFAULTS
  for own in fields.values():
    for name in ('workdir', 'learning_rate'):
      own.pop(name, None)
  config.launch(Config, run, by_flag(fields, VALUES))


if __name__ == '__main__':
  main()
