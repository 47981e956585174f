"""Language modelling on the Penn Treebank, other text, and the embedded pydoc.

  python -m experiments.ptb

trains a small LSTM on 15,000 words of CPython's language reference, six arms, three
seeds each, in 2 min 19 s on two cores.
Perplexity on the test text where validation is best, and on validation there and at the
end:

  baseline              62.2 ± 0.9   66.9   74.6
  label_noise           60.5 ± 1.0   64.0   64.0
  label_smoothing       62.5 ± 0.7   67.2   72.9
  unigram_smoothing     49.9 ± 0.8   52.4   52.4
  confidence_penalty    61.2 ± 1.3   66.8   71.5
  generalized_entropy   63.3 ± 1.3   68.2   76.5

Unigram smoothing is decidedly better, the others are undecided. Their values were
chosen on validation; ``--select`` chooses them anew.

  python -m experiments.ptb --data_dir=DIR --size=large

is the Penn Treebank as in Pereyra et al. (2017), from ptb.{train,valid,test}.txt;
``--arms=baseline,batch_norm`` is Laurent et al. (2016). ``--size=small --unroll=35``
ends at a test perplexity of 113.7, with the penalty at 111.8 (``results/ptb``).
Validation and test are cut into ``--eval_streams`` parts, every token of which is
predicted once: perplexity is exp of the summed negative log-likelihood over their
number.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import optax
from flax import nnx

from experiments import arms, config, study
from experiments.config import by_flag, fill, flag, refuse
from experiments.datasets import corpus, pydoc, streams, text
from experiments.datasets.corpus import Corpus
from experiments.errors import InputError
from experiments.language import language_modelling
from experiments.measures import PERPLEXITY
from experiments.models.language_model import LanguageModel
from experiments.ptb_settings import (
  ALL,
  DATASETS,
  GRID,
  PLACEMENTS,
  SIZES,
  VALUES,
  values,
)
from experiments.task import Task
from regularizers import nn

ARMS = (
  'baseline',
  'label_noise',
  'label_smoothing',
  'unigram_smoothing',
  'confidence_penalty',
  'generalized_entropy',
)
UNITS = config.one_of(*corpus.UNITS)
MODES = ('none', 'frame', 'sequence')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Config):
  """The common flags, and what is particular to language models."""

  dataset: str = flag(
    None,
    'pydoc (embedded) or text; default: text with --data_dir',
    config.one_of(*DATASETS),
  )
  arms: tuple[str, ...] = arms.compared(ARMS, 'dropout')
  eval_every: int | None = flag(
    None, 'steps between evaluations on validation; default: an epoch', config.count
  )
  log_every: int | None = flag(
    None, 'steps that a training row averages over; default: an epoch', config.count
  )
  checkpoint_every: int | None = flag(None, 'steps between checkpoints', config.count)
  tokens: str = flag('word', 'what is predicted: word or char', UNITS)
  num_train: int | None = flag(
    None,
    'tokens of training that are kept; 0: all; default: all of a text, '
    f'{" or ".join(f"{n} {unit}s" for unit, n in pydoc.NUM_TRAIN.items())} of pydoc',
    config.natural,
  )
  min_count: int = flag(
    None, 'tokens that training has less often become <unk>', config.count
  )
  size: str = flag(None, 'sets what of the network is not given', config.one_of(*SIZES))
  layers: int = flag(None, 'number of recurrent layers', config.count)
  hidden: int = flag(None, 'units of a layer', config.count)
  embedding: int = flag(
    None, 'size of the vector of a token; default: --hidden', config.count
  )
  unroll: int = flag(None, 'time steps that gradients go back', config.count)
  dropout: float = flag(None, 'share of units dropped between the layers', config.share)
  init_scale: float = flag(
    None,
    'initial weights are uniform in +-this; 0: by the size of a layer',
    config.non_negative,
  )
  momentum: float = flag(None, 'momentum of the optimizer', config.share)
  clip: float = flag(None, 'bound on the norm of the gradient', config.positive)
  decay_after: int = flag(None, 'epochs before the learning rate falls', config.natural)
  decay_divisor: float = flag(
    None, 'what the learning rate is divided by in each epoch after', config.positive
  )
  eval_streams: int = flag(
    None, 'parts that validation and test are cut into; 1: all context', config.count
  )
  batch_norm: str = flag(
    None,
    'statistics of batch normalization, of arms with batch_norm if there are any, of '
    'all arms otherwise; default: frame with such an arm, none without',
    config.one_of(*MODES),
  )
  placement: str | None = flag(
    None,
    'what batch normalization normalizes',
    config.one_of(*PLACEMENTS),
  )
  norm_scale: float = flag(1.0, 'initial scale of what is normalized', config.positive)
  loss: str = flag(
    'dense',
    'dense, or fused: logits are not kept in memory',
    config.one_of('dense', 'fused'),
  )


def filled(config: Config) -> Config:
  """What is not given, by data set and size."""
  dataset = config.dataset or ('text' if config.data_dir else 'pydoc')
  config = dataclasses.replace(config, dataset=dataset)
  config = fill(config, {**DATASETS[dataset], **ALL})
  config = fill(config, SIZES[config.size])
  return fill(config, {'embedding': config.hidden, 'batch_norm': default_mode(config)})


def default_mode(config: Config) -> str:
  """The statistics of batch normalization where none are named."""
  return 'frame' if _normalized(config) else 'none'


def _normalized(config: Config) -> list[str]:
  """The arms that have batch normalization by name."""
  return [arm for arm in config.arms if 'batch_norm' in arms.parts(arm)]


def check(config: Config) -> None:
  """Refuses, before anything is filled in, what these data and arms cannot use."""
  if config.dataset == 'pydoc':
    refuse(config, ['data_dir'], 'applies to --dataset=text alone')
  if config.dataset == 'text' and not config.data_dir:
    raise InputError('--dataset=text: --data_dir says where it is')
  arms.refuse(config.arms, 'dropout', '--dropout is that of all arms')
  if _normalized(config) and config.batch_norm == 'none':
    raise InputError(f'--batch_norm=none: an arm is {_normalized(config)[0]}')
  normalized = _normalized(config) or (config.batch_norm or 'none') != 'none'
  if not normalized:
    reason = 'applies to --batch_norm or an arm batch_norm alone'
    refuse(config, ('placement', 'norm_scale'), reason)
  if normalized and config.batch_norm != 'sequence' and config.batch_size == 1:
    raise InputError('--batch_norm=frame: expected --batch_size of 2 or more, got 1')
  if config.placement in PLACEMENTS[2:] and config.batch_norm == 'sequence':
    raise InputError(
      f'--placement={config.placement}: applies to --batch_norm=frame alone'
    )


def run(config: Config) -> pathlib.Path:
  """Trains all arms, or goes on with them; ends with the table and the plots."""
  return study.run(study_of(config))


def study_of(config: Config) -> study.Study:
  """What ``run`` trains and compares."""
  check(config)
  config = filled(config)
  return study.Study(
    name='ptb',
    config=config,
    defaults=values(config.dataset, config.size),
    grid=GRID,
    data=data,
    of_arm=of_arm,
    task=task,
    optimizer=optimizer,
    steps_per_epoch=steps_per_epoch,
    pictures=pictures,
    measure=PERPLEXITY,
    early=True,
  )


def data(config: Config, final: bool) -> dict[int, Corpus]:
  """The same for all seeds; validation is never trained on."""
  del final
  if config.dataset == 'pydoc':
    loaded = pydoc.load(config.tokens, config.num_train, config.min_count)
  else:
    assert config.data_dir is not None  # see check
    loaded = text.load(
      config.data_dir, config.tokens, config.num_train or 0, config.min_count
    )
  return dict.fromkeys(range(config.seeds), loaded)


def of_arm(config: Config, arm: str) -> Config:
  """With batch normalization, or without."""
  if _normalized(config) and 'batch_norm' not in arms.parts(arm):
    config = dataclasses.replace(config, batch_norm='none')
  if config.batch_norm == 'none':
    config = dataclasses.replace(config, placement=None, norm_scale=1.0)
  return config


def task(config: Config, datasets: Mapping[int, Corpus]) -> Task:
  """A text to its next tokens."""

  def module(rngs: nnx.Rngs) -> nnx.Module:
    return LanguageModel(
      next(iter(datasets.values())).num_classes,
      config.embedding,
      config.hidden,
      config.layers,
      dropout=config.dropout,
      batch_norm=_batch_norm(config),
      init_scale=config.init_scale,
      rngs=rngs,
    )

  return language_modelling(
    module,
    datasets,
    batch_size=config.batch_size,
    unroll=config.unroll,
    eval_streams=config.eval_streams,
    fused=config.loss == 'fused',
  )


def _batch_norm(config: Config) -> nn.SequenceBatchNorm | None:
  if config.batch_norm == 'none':
    return None
  mode, placement = cast(Any, config.batch_norm), cast(Any, config.placement)
  length = config.unroll if mode == 'frame' else None
  return nn.SequenceBatchNorm(
    mode, placement, scale_init=config.norm_scale, max_length=length
  )


def optimizer(
  config: Config, datasets: Mapping[int, Corpus]
) -> optax.GradientTransformation:
  """SGD, its gradient bounded, its rate constant and then falling by epochs."""
  per_epoch = steps_per_epoch(config, next(iter(datasets.values())))

  def rate(step: jax.Array) -> jax.Array:
    falls = jax.numpy.maximum(step // per_epoch + 1 - config.decay_after, 0)
    return config.learning_rate / config.decay_divisor ** falls.astype('float32')

  return optax.chain(
    optax.clip_by_global_norm(config.clip),
    optax.sgd(rate, momentum=config.momentum or None),
  )


def steps_per_epoch(config: Config, dataset: Corpus) -> int:
  """Batches in a pass over the text."""
  size = len(dataset.splits['train']['label'])
  return streams.steps_per_epoch(size, config.batch_size, config.unroll)


def pictures(directories: Sequence[pathlib.Path], workdir: pathlib.Path) -> None:
  """Validation perplexity over time, and against the weights of the arms."""
  from experiments import curves  # matplotlib takes seconds

  curves.validation_curves(directories, workdir / 'validation.png')
  curves.against_values([workdir], workdir / 'weights.png')


def cases() -> dict[str, Mapping[str, Any]]:
  """What ``filled`` puts in, as the help of the flags tells it."""
  return {**SIZES, **DATASETS, '': ALL}


def main() -> None:
  """Reads the flags and runs."""
  config.launch(Config, run, by_flag(cases(), VALUES))


if __name__ == '__main__':
  main()
