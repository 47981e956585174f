"""Flags of experiments.timit and experiments.wsj, and what they cannot be together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import arms, config, sequences_config
from experiments.config import fill, flag
from experiments.errors import InputError, needs
from experiments.models.listener import MERGES
from experiments.speech_settings import Defaults

ARMS = ('baseline', 'label_smoothing', 'unigram_smoothing', 'confidence_penalty')
FRAME_ARMS = ('baseline', 'batch_norm')
_OF_LAS = (
  *('embedding', 'halvings', 'merge', 'attention', 'filters', 'filter_width'),
  *('beam', 'length_penalty', 'coverage_penalty', 'init_scale'),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(sequences_config.Config):
  """The common flags, and what is particular to speech."""

  arms: tuple[str, ...] = flag(
    (), f'what is compared: {", ".join(arms.PARTS)}, or some of them joined by +'
  )
  manual_dir: str | None = flag(None, "directory of the LDC's corpus")
  cache_dir: str | None = flag(
    None,
    "where synthetic corpora and features are kept; default: with the user's caches",
  )
  skip_bad: bool = flag(
    False, 'leave out recordings that are missing or damaged, and say which'
  )
  speakers: int = flag(
    None, 'of training in the synthetic corpus, who say eight sentences', config.count
  )
  num_mel: int = flag(None, 'mel filters; deltas make it three times', config.count)
  batch_frames: int = flag(None, 'frames of a batch, with the padding', config.count)
  model: str = flag('las', 'las: sequences, by attention', config.one_of('las'))
  size: str = flag(None, 'sets what of the network is not given')
  hidden: int = flag(None, 'units of a layer, of each direction', config.count)
  layers: int = flag(None, 'bidirectional layers', config.count)
  halvings: int = flag(
    None, 'of time: before each of the last so many layers', config.natural
  )
  merge: str = flag(
    None,
    'what two frames become: concat, one of both, or skip, the first',
    config.one_of(*MERGES),
  )
  filters: int = flag(
    None, 'of the attention, for its weights before; 0: none', config.natural
  )
  filter_width: int = flag(None, 'places that a filter covers, odd', config.count)
  batch_norm: bool = flag(False, 'batch normalization in all arms')
  optimizer: str = flag(None, 'adam or sgd', config.one_of('adam', 'sgd'))
  momentum: float = flag(None, 'of sgd', config.share)
  decay_at: tuple[float, ...] = flag(
    None, 'shares of training after which the rate falls', config.share
  )
  decay: float = flag(None, 'what it is multiplied by there', config.positive)
  weight_decay: float = flag(
    None, 'times the weights, added to the gradient', config.non_negative
  )
  weight_noise: float = flag(
    None, 'standard deviation of noise on the weights', config.non_negative
  )
  noise_from: int = flag(None, 'first step that has that noise', config.natural)


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
  chosen: tuple[str, ...] = FRAME_ARMS if config.model == 'framewise' else ARMS
  if config.size == 'timit':  # as in the paper
    chosen = ('dropout', *(f'dropout+{arm}' for arm in ARMS[1:]))
  return fill(dataclasses.replace(config, arms=config.arms or chosen), own[config.size])


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
    arms.refuse(own.arms, 'batch_norm', '--model=framewise has it')
    if own.batch_norm:
      raise InputError('--batch_norm applies to --model=framewise alone')
  else:
    for name in _OF_LAS:
      if getattr(config, name) is not None:
        raise InputError(f'--{name} applies to --model=las alone')
    if own.dataset == 'fsdd':
      raise InputError('--model=framewise: nobody knows the times of phones in fsdd')
    if own.loss == 'fused':
      raise InputError('--loss=fused applies to --model=las alone')
  if config.batch_size is not None:
    raise InputError('--batch_size: --batch_frames takes its place')
  if config.dropout is not None and not any(map(dropped, own.arms)):
    raise InputError('--dropout: none of --arms has dropout')
  if own.filters and own.filter_width % 2 == 0:
    raise InputError(f'--filter_width: expected an odd number, got {own.filter_width}')
  if own.halvings > own.layers:
    raise InputError(
      f'--halvings: expected up to {own.layers}, the layers, got {own.halvings}'
    )
  for name, dataset in (
    *(('speakers', 'synthetic'), ('data_dir', 'fsdd'), ('left_out', 'fsdd')),
  ):
    if getattr(config, name, None) is not None and own.dataset != dataset:
      raise InputError(f'--{name} applies to --dataset={dataset} alone')
  if config.manual_dir and own.dataset in ('synthetic', 'fsdd'):
    raise InputError(f'--manual_dir: --dataset={own.dataset} has none')
  needs('jiwer')


def dropped(arm: str) -> bool:
  """Whether an arm has dropout."""
  return 'dropout' in arms.parts(arm)
