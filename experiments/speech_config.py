"""Flags of experiments.timit and experiments.wsj, and what they cannot be together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import arms, config, sequences_config
from experiments.config import fill, flag, refuse, unused
from experiments.errors import InputError, needs
from experiments.models.listener import MERGES
from experiments.speech_settings import Defaults

_OF_LAS = (
  *('embedding', 'halvings', 'merge', 'attention', 'filters', 'filter_width'),
  *('beam', 'length_penalty', 'coverage_penalty', 'init_scale'),
)
_OF_DATASETS = {
  'synthetic': ('speakers',),
  'fsdd': ('data_dir', 'left_out'),
  **dict.fromkeys(('timit', 'wsj'), ('manual_dir',)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(sequences_config.Config):
  """The common flags, and what is particular to speech."""

  arms: tuple[str, ...] = arms.compared(None)
  batch_size: int = unused(None, '--batch_frames takes its place')
  manual_dir: str | None = flag(None, "directory of the LDC's corpus", config.named)
  cache_dir: str | None = flag(
    None,
    "where synthetic corpora and features are kept; default: with the user's caches",
    config.named,
  )
  skip_bad: bool = flag(
    False, 'leave out recordings that are missing or damaged, and say which'
  )
  speakers: int = flag(
    None,
    'speakers of training in the synthetic corpus, who say eight sentences each',
    config.count,
  )
  num_mel: int = flag(
    None,
    'mel filters; with deltas there are three times as many features',
    config.count,
  )
  batch_frames: int = flag(None, 'frames of a batch, with the padding', config.count)
  model: str = flag('las', 'las: sequences, by attention', config.one_of('las'))
  size: str = flag(None, 'sets what of the network is not given')
  hidden: int = flag(None, 'units of a layer, of each direction', config.count)
  layers: int = flag(None, 'bidirectional layers', config.count)
  halvings: int = flag(
    None,
    'how often time is halved: before each of the last so many layers',
    config.natural,
  )
  merge: str = flag(
    None,
    'what two frames become at a halving: concat, one of both, or skip, the first',
    config.one_of(*MERGES),
  )
  filters: int = flag(
    None, 'filters over the attention of the step before; 0: none', config.natural
  )
  filter_width: int = flag(None, 'places that a filter covers, odd', config.count)
  batch_norm: bool = flag(False, 'batch normalization in all arms')
  optimizer: str = flag(None, 'adam or sgd', config.one_of('adam', 'sgd'))
  momentum: float = flag(None, 'momentum of the optimizer (sgd)', config.share)
  decay_at: tuple[float, ...] = flag(
    None, 'shares of training after which the rate falls', config.share
  )
  decay: float = flag(
    None, 'what the learning rate is multiplied by at --decay_at', config.positive
  )
  weight_decay: float = flag(
    None, 'times the weights, added to the gradient', config.non_negative
  )
  weight_noise: float = flag(
    None, 'standard deviation of noise on the weights', config.non_negative
  )
  noise_from: int = flag(None, 'first step that has --weight_noise', config.natural)


Sizes = Mapping[str, Defaults]


def filled(config: Any, datasets: Defaults, sizes: Sizes) -> Any:
  """What is not given, by data set, model and size.

  Raises:
    InputError: the model has no such size.
  """
  config = fill(config, datasets[config.dataset])
  own = sizes[config.model]
  if config.size not in own:
    raise InputError(
      f'--size: expected one of {", ".join(own)} for --model={config.model}, '
      f'got {config.size!r}'
    )
  return fill(config, own[config.size])


def cases(datasets: Defaults, sizes: Sizes) -> Defaults:
  """What ``filled`` puts in, as the help of the flags tells it."""
  of_sizes = {
    f'{model} {size}': {
      name: fields[name] for name in fields if model == 'las' or name not in _OF_LAS
    }
    for model, own in sizes.items()
    for size, fields in own.items()
  }
  return {**datasets, **of_sizes}


def check(config: Any, datasets: Defaults, sizes: Sizes) -> None:
  """Refuses, before anything is filled in, what these data and arms cannot use."""
  own = filled(config, datasets, sizes)
  if own.model == 'las':
    arms.refuse(own.arms, 'batch_norm', '--model=las has none')
    refuse(config, ['batch_norm'], 'applies to --model=framewise alone')
  else:
    refuse(config, (*_OF_LAS, 'loss'), 'applies to --model=las alone')
    if own.dataset == 'fsdd':
      raise InputError('--model=framewise: nobody knows the times of phones in fsdd')
  arms.check_dropout(config, own.arms, 'dropout')
  if own.filters and own.filter_width % 2 == 0:
    raise InputError(f'--filter_width: expected an odd number, got {own.filter_width}')
  if own.halvings > own.layers:
    raise InputError(
      f'--halvings: expected up to {own.layers}, the layers, got {own.halvings}'
    )
  for name, used, reason in (
    ('momentum', own.optimizer == 'sgd', 'applies to --optimizer=sgd alone'),
    ('decay', own.decay_at, 'no --decay_at'),
    ('noise_from', own.weight_noise, 'no --weight_noise'),
    ('filter_width', own.filters, 'no --filters'),
    ('merge', own.halvings, 'no --halvings'),
  ):
    if not used:
      refuse(config, [name], reason)
  for dataset, names in _OF_DATASETS.items():
    if dataset in datasets and own.dataset != dataset:
      refuse(config, names, f'applies to --dataset={dataset} alone')
  needs('jiwer')
