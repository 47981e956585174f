"""Machine translation: WMT English-German, other pairs of texts, and number names.

  python -m experiments.wmt

translates English names of numbers, word by word, to German ones, letter by letter,
in 1 min 46 s on two cores. Numbers without a fault, of 500 that are not in training:

  baseline             86.1 ± 3.0 %
  label_smoothing      90.9 ± 3.1 %   +4.8 [-0.8, +10.4]
  confidence_penalty   88.3 ± 3.3 %   +2.1 [+0.1, +4.1]
  unigram_smoothing    86.7 ± 3.2 %   +0.6 [-3.8, +5.0]

``--train_source``, ``--train_target`` and so on take files of sentences, ``--data_dir``
WMT'14 as tensorflow-datasets prepared it (its ``validation`` is newstest2013; splits
``newstest2012`` and ``newstest2013``, if prepared, are the paper's), and ``--decode
FILE`` translates the lines of a file by the first of ``--arms`` of a run that is done.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import optax
from flax import nnx

from experiments import (
  arms,
  config,
  runner,
  sequences_config,
  study,
  wmt_data,
  wmt_decode,
  wmt_results,
  wmt_samples,
)
from experiments.config import by_flag, fill, flag, refuse, steps, unused
from experiments.datasets.translations import Translations
from experiments.errors import InputError, needs
from experiments.evaluate import Row
from experiments.measures import BLEU, EXACT_MATCH
from experiments.models.seq2seq import Seq2Seq, Sizes
from experiments.state import State
from experiments.task import Model, Task
from experiments.translation import translation
from experiments.translator import Translator
from experiments.wmt_settings import ALL, DATASETS, GRID, SIZES, VALUES

ARMS = ('baseline', 'label_smoothing', 'unigram_smoothing', 'confidence_penalty')
KINDS = 'chars', 'words', 'pieces'


def _path(what: str) -> Any:
  return flag((), f'{what} (text): lines, .gz, .sgm or .xml')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(sequences_config.Config):
  """The common flags, and what is particular to translation."""

  dataset: str = flag(
    None,
    'numbers (embedded), text (files) or wmt14 (tensorflow-datasets); default: text '
    'with --train_source, wmt14 with --data_dir',
    config.one_of(*DATASETS),
  )
  arms: tuple[str, ...] = arms.compared(ARMS, 'batch_norm')
  batch_size: int = unused(None, '--batch_tokens takes its place')
  train_source: tuple[str, ...] = _path('training sources; several are joined')
  train_target: tuple[str, ...] = _path('training targets, as many')
  validation_source: tuple[str, ...] = _path('validation sources; several are joined')
  validation_target: tuple[str, ...] = _path('validation targets, as many')
  test_source: tuple[str, ...] = _path('test sources; further ones are sets by name')
  test_target: tuple[str, ...] = _path('test targets, as many')
  translator: tuple[str, ...] = flag(
    (),
    'whose references of XML files: the first of these that a file has; default: the '
    "file's first",
  )
  decode: str | None = flag(
    None,
    'file whose lines are translated by the first of --arms in --workdir; what that '
    'was trained with need not be said again, but for one of several --epsilon or so',
    config.named,
  )
  num_train: int = flag(
    None, 'training pairs that are kept, the first; 0: all', config.natural
  )
  longest: int = flag(
    None, 'characters beyond which a training pair is dropped', config.count
  )
  source_units: str = flag(None, 'what a source is cut into', config.one_of(*KINDS))
  target_units: str = flag(
    None,
    'what a target is cut into; not words, which do not say where blanks were',
    config.one_of(*(kind for kind in KINDS if kind != 'words')),
  )
  vocabulary: int = flag(None, 'word pieces of both languages', config.count)
  batch_tokens: int = flag(
    None, 'symbols of the longer side of a batch, with the padding', config.count
  )
  size: str = flag(None, 'sets what of the network is not given', config.one_of(*SIZES))
  hidden: int = flag(None, 'units of a layer', config.count)
  encoder_layers: int = flag(None, 'layers, the first bidirectional', config.count)
  decoder_layers: int = flag(None, 'layers, the first with attention', config.count)


def filled(config: Config) -> Config:
  """What is not given, by data set and size."""
  default = 'text' if config.train_source else 'wmt14' if config.data_dir else 'numbers'
  config = dataclasses.replace(config, dataset=config.dataset or default)
  config = fill(config, {**DATASETS[config.dataset], **ALL})
  return fill(config, SIZES[config.size])


def check(config: Config) -> None:
  """Refuses, before anything is filled in, what these data and arms cannot use."""
  arms.refuse(config.arms, 'batch_norm', 'the layers have none here')
  arms.check_dropout(config, config.arms, 'dropout')
  own = filled(config)
  if own.dataset != 'text':
    others = (*wmt_data.FILES, 'translator')
    refuse(config, others, 'applies to --dataset=text alone')
  if own.dataset != 'wmt14':
    refuse(config, ['data_dir'], 'applies to --dataset=wmt14 alone')
  if own.dataset == 'numbers':
    refuse(config, ['longest'], 'no name of a number is too long')
  pieces = 'pieces' in (own.source_units, own.target_units)
  if not pieces:
    refuse(config, ['vocabulary'], 'none of the units are word pieces')
  if pieces and not own.vocabulary:
    raise InputError('--vocabulary: expected the number of word pieces, got none')
  needs(
    *('sacrebleu', 'jiwer', 'safetensors'),
    *['sentencepiece'] * pieces,
    *['num2words'] * (own.dataset == 'numbers'),
  )


def run(config: Config) -> pathlib.Path:
  """Trains all arms, or goes on with them; ends with table, samples and plots.

  With ``decode`` it translates the lines of that file, and trains nothing.
  """
  if config.decode is not None:
    config = dataclasses.replace(config, workdir=filled(config).workdir)
    for line in wmt_decode.translated(config, _network):
      print(line)
    return pathlib.Path(config.workdir)
  check(config)
  workdir = study.run(study_of(filled(config)))
  print(wmt_samples.write(workdir))
  return workdir


def study_of(config: Config) -> study.Study:
  """What ``run`` trains and compares."""
  return study.Study(
    name='wmt',
    config=config,
    defaults=VALUES[config.dataset],
    grid=GRID,
    data=data,
    of_arm=arms.dropped,
    task=task,
    optimizer=optimizer,
    steps_per_epoch=steps_per_epoch,
    pictures=wmt_results.pictures,
    measure=EXACT_MATCH if config.dataset == 'numbers' else BLEU,
    chain=1,
    final=final,
    undecisive=('decode', 'translator', *wmt_data.FILES),
  )


def data(config: Config, final: bool) -> dict[int, Translations]:
  """The same for all seeds; validation is never trained on."""
  del final
  return dict.fromkeys(range(config.seeds), _loaded(config))


@functools.lru_cache(maxsize=2)
def _loaded(config: Config) -> Translations:
  return wmt_data.load(config)


def module(config: Config, dataset: Translations) -> Model:
  """Makes the network."""
  fields = dataclasses.asdict(config)
  return _network(fields, dataset.source.size, dataset.target.size)


def _network(config: Mapping[str, Any], source: int, target: int) -> Model:
  sizes = Sizes(
    source,
    target,
    embedding=config['embedding'],
    hidden=config['hidden'],
    encoder=config['encoder_layers'],
    decoder=config['decoder_layers'],
    attention=config['attention'],
  )

  def made(rngs: nnx.Rngs) -> nnx.Module:
    options = {name: config[name] for name in ('dropout', 'init_scale')}
    return Seq2Seq(sizes, **options, rngs=rngs)

  return made


def task(config: Config, datasets: Mapping[int, Translations]) -> Task:
  """Sources to targets."""
  return translation(
    module(config, datasets[0]),
    datasets,
    fused=config.loss == 'fused',
  )


def optimizer(
  config: Config, datasets: Mapping[int, Translations]
) -> optax.GradientTransformation:
  """Adam, its gradient bounded; the rate falls to zero as half a cosine."""
  num_steps = steps(config, steps_per_epoch(config, datasets[0]))
  rate = optax.cosine_decay_schedule(config.learning_rate, num_steps)
  return optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(rate))


def steps_per_epoch(config: Config, dataset: Translations) -> int:
  """Batches in a pass over the pairs."""
  return dataset.plans['train'].steps_per_epoch


def translator(config: Config, dataset: Translations) -> Translator:
  """The networks of a configuration, with its search."""
  lengths = dataset.stretch, dataset.longest
  units = dataset.source, dataset.target
  return Translator(module(config, dataset), *units, *lengths, config.search())


def final(
  config: Config,
  datasets: Mapping[int, Translations],
  job: runner.Job,
  state: State,
  split: str,
) -> list[Row]:
  """Scores of the translations; the trained network is kept for ``--decode``."""
  own = translator(config, datasets[0])
  if split == 'test':
    wmt_results.keep(own, config, job, state)
  return wmt_results.final(own, datasets[0], job, state, split)


def main() -> None:
  """Reads the flags and runs."""
  cases = {**SIZES, **DATASETS, '': ALL}
  config.launch(Config, run, by_flag(cases, VALUES))


if __name__ == '__main__':
  main()
