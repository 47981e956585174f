"""Flags of experiments.timit and experiments.wsj, and what they cannot be together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import arms, config
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
class Config(config.Config):
  """The common flags, and what is particular to speech."""

  arms: tuple[str, ...] = flag(
    (), f'what is compared: {", ".join(arms.PARTS)}, or some of them joined by +'
  )
  seeds: int = flag(None, 'number of runs an arm: seeds 0, 1, ...', config.count)
  manual_dir: str | None = flag(None, "directory of the LDC's corpus")
  cache_dir: str | None = flag(
    None,
    "where synthetic corpora and features are kept; default: with the user's caches",
  )
  vmap: bool = flag(False, 'train the runs of an arm side by side')
  skip_bad: bool = flag(
    False, 'leave out recordings that are missing or damaged, and say which'
  )
  speakers: int = flag(
    None, 'of training in the synthetic corpus, who say eight sentences', config.count
  )
  num_mel: int = flag(None, 'mel filters; deltas make it three times', config.count)
  batch_frames: int = flag(None, 'frames of a batch, with the padding', config.count)
  num_shapes: int = flag(None, 'most shapes of a batch', config.count)
  model: str = flag('las', 'las: sequences, by attention', config.one_of('las'))
  size: str = flag(None, 'sets the flags below')
  embedding: int = flag(None, 'size of the vector of a symbol', config.count)
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
  attention: int = flag(None, 'units of the attention', config.count)
  filters: int = flag(
    None, 'of the attention, for its weights before; 0: none', config.natural
  )
  filter_width: int = flag(None, 'places that a filter covers, odd', config.count)
  dropout: float = flag(
    None, 'share of units dropped in arms with dropout', config.share
  )
  batch_norm: bool = flag(False, 'batch normalization in all arms')
  init_scale: float = flag(
    None,
    'initial weights are uniform in +-this; 0: by the size of a layer',
    config.non_negative,
  )
  optimizer: str = flag(None, 'adam or sgd', config.one_of('adam', 'sgd'))
  momentum: float = flag(None, 'of sgd', config.share)
  clip: float = flag(None, 'bound on the norm of the gradient', config.positive)
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
  beam: int = flag(
    None,
    'hypotheses of the search; 1: the most probable symbol each time',
    config.count,
  )
  length_penalty: float = flag(
    None,
    'of the search: 0: long ones are as improbable as they are',
    config.non_negative,
  )
  coverage_penalty: float = flag(
    None, 'of the search, for frames that nothing looked at', config.non_negative
  )
  loss: str = flag(
    'dense',
    'dense, or fused: logits are not kept in memory',
    config.one_of('dense', 'fused'),
  )


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
