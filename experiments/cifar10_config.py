"""Flags of experiments.cifar10, and what is put in for those left out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import arms, config
from experiments.config import fill, flag
from experiments.datasets import outside, shapes
from experiments.errors import InputError

PARTS = [part for part in arms.PARTS if part != 'batch_norm']

# What the user leaves out, by data set. The paper states neither momentum nor weight
# decay nor the rate of dropout for CIFAR-10: these are those of Huang et al. (2016).
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
  'shapes': {
    'workdir': 'runs/shapes',
    'num_train': shapes.NUM_TRAIN,
    'label_noise': 0.1,
    'outside': 'textures',
    'depth': 10,
    'growth': 8,
    'num_epochs': 20,
    'batch_size': 50,
    'learning_rate': 0.1,
    'dropout': 0.2,
    'seeds': 3,
  },
  'cifar10': {
    'workdir': 'runs/cifar10',
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
ARMS: Mapping[str, tuple[str, ...]] = {
  'shapes': ('baseline', 'dropout', 'label_smoothing', 'confidence_penalty'),
  # In the paper's table, all networks have dropout.
  'cifar10': ('dropout', 'dropout+label_smoothing', 'dropout+confidence_penalty'),
}
# The paper's choice for CIFAR-10 where it has the arm.
VALUES: Mapping[str, Mapping[str, float]] = {
  name: {
    'label_smoothing.epsilon': 0.1,
    'unigram_smoothing.epsilon': 0.1,
    'label_noise.rate': 0.1,
    'confidence_penalty.weight': 0.1,
    'confidence_threshold.weight': 1.0,
    'confidence_threshold.threshold': 0.5,
    'confidence_annealed.weight': 0.1,
    'generalized_entropy.weight': 0.1,
    'generalized_entropy.alpha': 0.5,
  }
  for name in DEFAULTS
}
# The paper's.
GRID = {
  'epsilon': (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
  'weight': (0.1, 0.25, 0.5, 1.0, 1.5),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Config):
  """The common flags, and what is particular to small colour images."""

  dataset: str = flag('shapes', 'shapes (embedded) or cifar10', config.one_of(*ARMS))
  arms: tuple[str, ...] = flag(
    (), f'what is compared: {", ".join(PARTS)}, or some of them joined by +'
  )
  seeds: int = flag(None, 'number of runs an arm: seeds 0, 1, ...', config.count)
  vmap: bool = flag(False, 'train the runs of an arm side by side')
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
    f'images of no class: {", ".join(outside.NAMES)}',
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
  remat: bool = flag(False, 'save memory: compute what is cheap again going backwards')
  dropout: float = flag(None, 'share dropped in arms with dropout', config.share)
  momentum: float = flag(0.9, "of SGD, Nesterov's", config.share)
  weight_decay: float = flag(
    1e-4, 'times the weights, added to the gradient', config.non_negative
  )
  decay_at: tuple[float, ...] = flag(
    (0.5, 0.75), 'shares of training after which the rate falls', config.share
  )
  decay: float = flag(0.1, 'what it is multiplied by there', config.positive)


def filled(config: Config) -> Config:
  """What is not given, by data set."""
  own = dataclasses.replace(
    config,
    arms=config.arms or ARMS[config.dataset],
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
    for name in ('data_dir', 'hold_out'):
      if getattr(config, name):
        raise InputError(f'--{name} applies to --dataset=cifar10 alone')
    if own.num_train == 0:
      raise InputError('--num_train: --dataset=shapes has no end; expected 1 or more')
  arms.refuse(own.arms, 'batch_norm', 'every network has it')
  dropped = any('dropout' in arms.parts(arm) for arm in own.arms)
  if config.dropout is not None and not dropped:
    raise InputError('--dropout: none of --arms has dropout')
  if own.reduction > 1:
    raise InputError(f'--reduction: expected a share in (0, 1], got {own.reduction}')
  layers = 6 if own.bottleneck else 3
  if own.depth < 4 + layers or (own.depth - 4) % layers:
    raise InputError(
      f'--depth: expected {layers}n + 4 with n = 1, 2, ..., got {own.depth}'
    )
