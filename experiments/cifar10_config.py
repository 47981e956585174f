"""Flags of experiments.cifar10, and what is put in for those left out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import arms, config
from experiments.config import fill, flag, refuse
from experiments.datasets import outside, shapes
from experiments.errors import InputError

ARMS = ('baseline', 'dropout', 'label_smoothing', 'confidence_penalty')
# What the user leaves out, by data set. The paper states neither momentum nor weight
# decay nor the rate of dropout for CIFAR-10: these are those of Huang et al. (2016).
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
  'shapes': {
    'workdir': 'runs/shapes',
    'arms': ARMS,
    'num_train': shapes.NUM_TRAIN,
    'label_noise': 0.1,
    'outside': 'textures',
    # Of seven tried, by the validation of the baseline and the time they take.
    'depth': 7,
    'growth': 16,
    'num_epochs': 40,
    'batch_size': 30,
    'learning_rate': 0.1,
    'dropout': 0.2,
    'seeds': 3,
  },
  'cifar10': {
    'workdir': 'runs/cifar10',
    # In the paper's table, all networks have dropout.
    'arms': ('dropout', *(f'dropout+{arm}' for arm in ARMS[2:])),
    'num_train': 0,
    'label_noise': 0.0,
    'outside': 'digits',
    'depth': 40,
    'growth': 12,
    'num_epochs': 300,
    'batch_size': 50,
    'learning_rate': 0.1,
    'dropout': 0.2,
    'seeds': 5,
  },
}
# The paper's choice for CIFAR-10 where it has the arm.
_VALUES = arms.values(epsilon=0.1, rate=0.1, weight=0.1, threshold=0.5, alpha=0.5)
VALUES: Mapping[str, Mapping[str, float]] = dict.fromkeys(
  DEFAULTS, {**_VALUES, 'confidence_threshold.weight': 1.0}
)
# The paper's.
GRID = {
  'epsilon': (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
  'weight': (0.1, 0.25, 0.5, 1.0, 1.5),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Config):
  """The common flags, and what is particular to small colour images."""

  dataset: str = flag(
    'shapes', 'shapes (embedded) or cifar10', config.one_of(*DEFAULTS)
  )
  arms: tuple[str, ...] = arms.compared(None, 'batch_norm')
  num_train: int = flag(
    None, 'number of training images, by seed; 0: all (cifar10)', config.natural
  )
  label_noise: float = flag(
    None, 'share of training labels replaced by another class', config.share
  )
  hold_out: bool = flag(
    False,
    'keep the validation images out of the final training too, so that a temperature '
    'can be fitted on them (cifar10)',
  )
  augment: bool = flag(False, 'training images are shifted and mirrored at random')
  outside: str = flag(
    None,
    'images of no class',
    config.one_of(*outside.NAMES),
  )
  depth: int = flag(None, 'layers of the network', config.count)
  growth: int = flag(None, 'channels that a layer adds', config.count)
  bottleneck: bool = flag(False, 'a 1x1 convolution before every 3x3 one (DenseNet-BC)')
  reduction: float = flag(
    None,
    'share of the channels that is kept between blocks; default: 1, or 0.5 with '
    '--bottleneck',
    config.positive,
  )
  remat: bool = flag(
    False, 'save memory: compute what is cheap again in the backward pass'
  )
  dropout: float = flag(
    None, 'share of units dropped in arms with dropout', config.share
  )
  momentum: float = flag(0.9, "momentum of the optimizer, Nesterov's", config.share)
  weight_decay: float = flag(
    1e-4, 'times the weights, added to the gradient', config.non_negative
  )
  decay_at: tuple[float, ...] = flag(
    (0.5, 0.75), 'shares of training after which the rate falls', config.share
  )
  decay: float = flag(
    0.1, 'what the learning rate is multiplied by at --decay_at', config.positive
  )


def filled(config: Config) -> Config:
  """What is not given, by data set."""
  own = dataclasses.replace(
    config,
    reduction=config.reduction or (0.5 if config.bottleneck else 1.0),
  )
  return fill(own, DEFAULTS[config.dataset])


def check(config: Config) -> None:
  """Refuses, before anything is filled in, what these data and arms cannot use.

  Raises:
    InputError: names the flag.
  """
  own = filled(config)
  if own.dataset == 'shapes':
    refuse(config, ('data_dir', 'hold_out'), 'applies to --dataset=cifar10 alone')
    if own.num_train == 0:
      raise InputError('--num_train: --dataset=shapes has no end; expected 1 or more')
  arms.refuse(own.arms, 'batch_norm', 'every network has it')
  arms.check_dropout(config, own.arms, 'dropout')
  if own.reduction > 1:
    raise InputError(f'--reduction: expected a share in (0, 1], got {own.reduction}')
  layers = 6 if own.bottleneck else 3
  if own.depth < 4 + layers or (own.depth - 4) % layers:
    raise InputError(
      f'--depth: expected {layers}n + 4 with n = 1, 2, ..., got {own.depth}'
    )
