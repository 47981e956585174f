"""Flags of experiments.instructions, and what of them does not go together."""

import dataclasses
import math
from collections.abc import Collection, Sequence

from experiments import arms, config
from experiments.config import fill, flag, refuse, unused
from experiments.datasets.instructions import mixtures, prompts
from experiments.errors import InputError, needs
from experiments.instruction_settings import DATASETS, SIZES
from experiments.scores.instructions import RULES

# Flags of what is mixed in which shares, and shown how.
MIXING = (
  *('mixture', 'cap', 'temperature', 'shares', 'streams', 'streams_dir'),
  *('train_tasks', 'train_categories', 'demonstrations', 'counted'),
)
ARMS = ('baseline', 'label_smoothing', 'confidence_penalty')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Config):
  """The common flags, and what is particular to instructions."""

  dataset: str = flag(
    None,
    'generated (embedded) or natural (--data_dir, in any form that is read); default: '
    'natural with --data_dir',
    config.one_of(*DATASETS),
  )
  arms: tuple[str, ...] = arms.compared(ARMS, 'batch_norm', 'dropout')
  batch_size: int = unused(None, '--rows takes its place')
  num_epochs: int | None = unused(None, '--num_steps takes its place: tasks are drawn')
  select_epochs: int | None = unused(None, 'tasks are drawn: there are no epochs')
  cache_dir: str | None = flag(
    None,
    "where generated tasks are kept; default: with the user's caches",
    config.named,
  )
  lenient: bool = flag(False, 'files that cannot be read are listed and left out')
  checkpoint: str | None = flag(
    None, 'directory of an OPT to tune, with its tokenizer', config.named
  )
  held_out: str | None = flag(
    None,
    'JSON of held-out categories and tasks, or directory of *_tasks.txt',
    config.named,
  )
  held_out_categories: int = flag(
    2, 'categories of which nothing is trained on', config.natural
  )
  held_out_tasks: int = flag(
    3, 'held-out tasks of other categories, one each', config.natural
  )
  split_seed: int = flag(0, 'seed by which what is held out is drawn', config.natural)
  mixture: str = flag(
    'proportional', 'rates of the tasks of a benchmark', config.one_of(*mixtures.KINDS)
  )
  cap: int = flag(
    mixtures.CAP, 'most examples of a task that its rate counts; 0: all', config.natural
  )
  temperature: float = flag(
    2.0,
    'of --mixture=temperature: rates are sizes to the power of 1 / this',
    config.positive,
  )
  shares: tuple[str, ...] = flag(
    (),
    'shares of benchmarks, name:number; others have none; those of OPT-IML: '
    + ','.join(f'{name}:{share}' for name, share in mixtures.OPT_IML_SHARES.items()),
  )
  text: str | None = flag(
    None, 'file of plain text; default: the embedded one', config.named
  )
  text_share: float = flag(0.05, 'share of plain text in tuning', config.probability)
  streams: tuple[str, ...] = flag(
    (),
    'further benchmarks, by their share of the whole: reasoning:0.01,dialogue:0.005',
  )
  streams_dir: str | None = flag(
    None, 'directory of what --streams names; default: embedded ones', config.named
  )
  train_tasks: int = flag(0, 'tasks that are trained on; 0: all', config.natural)
  train_categories: int = flag(
    0, 'categories that are trained on, the largest; 0: all', config.natural
  )
  text_steps: int = flag(None, 'steps on plain text before tuning', config.count)
  demonstrations: float = flag(
    0.0,
    'exponent of the number of demonstrations in training; 0: none',
    config.non_negative,
  )
  counted: str = flag(
    'target',
    'what the loss counts: the last answer (target), all from the first answer on '
    '(suffix), or everything (full)',
    config.one_of(*prompts.LOSSES),
  )
  shots: tuple[int, ...] = flag((0, 2), 'demonstrations in evaluation', config.natural)
  ranking: str = flag(
    'sum',
    'log-probability by which options are ranked: its sum, by token, by byte, or '
    'less that without the prompt (pmi)',
    config.one_of(*RULES),
  )
  free: str = flag(None, 'score of free answers', config.one_of('exact', 'rouge'))
  size: str = flag(
    None, 'size of the network where there is no --checkpoint', config.one_of(*SIZES)
  )
  length: int = flag(None, 'ids of a row', config.count)
  rows: int = flag(None, 'rows of a batch', config.count)
  answer: int = flag(None, 'most ids of an answer', config.count)
  evaluated: int = flag(None, 'most test examples of a task', config.count)
  export: bool = flag(
    False,
    "write each network to ARM/opt in Hugging Face's layout, by number of the run",
  )
  dropout: float = flag(0.0, 'share of units dropped', config.share)
  remat: bool = flag(False, 'save memory: compute layers again in the backward pass')
  scan_layers: bool = flag(False, 'compile one layer and repeat it')


def filled(config: Config) -> Config:
  """What is not given, by data set."""
  name = config.dataset or ('natural' if config.data_dir else 'generated')
  config = dataclasses.replace(config, dataset=name)
  return fill(config, DATASETS[name])


def check(config: Config) -> None:
  """Refuses what does not go together."""
  arms.refuse(config.arms, 'batch_norm', 'the layers have none here')
  arms.refuse(config.arms, 'dropout', '--dropout is that of all arms')
  own = filled(config)
  if own.dataset == 'natural' and not config.data_dir:
    raise InputError('--dataset=natural: --data_dir says where it is')
  if own.dataset == 'generated':
    refuse(config, ['data_dir'], 'applies to --dataset=natural alone')
  if own.answer >= own.length:
    raise InputError(
      f'--answer: expected less than {own.length}, the --length, got {own.answer}'
    )
  named(config.shares, '--shares')
  if own.text_share == 1:
    raise InputError('--text_share: expected less than 1: text alone tunes nothing')
  if own.text_share + sum(named(config.streams, '--streams').values()) >= 1:
    raise InputError('--streams: expected less than 1 in all, with --text_share')
  for shots in config.shots:
    if config.shots.count(shots) > 1:
      raise InputError(f'--shots: {shots} is there twice')
  if config.checkpoint:
    refuse(config, ['size', 'text_steps'], 'the network is that of --checkpoint')
  if config.held_out or own.dataset == 'generated':
    reason = 'applies to --data_dir without --held_out alone'
    refuse(config, ['held_out_categories', 'held_out_tasks'], reason)
  needs('jinja2', 'num2words', 'rouge_score', 'yaml')
  needs(*['tokenizers'] * bool(config.checkpoint))


def idle(config: Config, varied: Collection[str] = ()) -> None:
  """Refuses what says nothing beside the others, or beside the flags that vary."""
  if not config.streams and 'streams' not in varied:
    refuse(config, ['streams_dir'], 'applies to --streams alone')
  if config.mixture != 'temperature' and 'mixture' not in varied:
    refuse(config, ['temperature'], 'applies to --mixture=temperature alone')


def named(texts: Sequence[str], flag: str) -> dict[str, float]:
  """Numbers by name, of ``name:number``."""
  found: dict[str, float] = {}
  for text in texts:
    name, _, number = text.rpartition(':')
    try:
      value = float(number)
    except ValueError:
      value = math.nan
    if not name or not 0 <= value < math.inf:
      raise InputError(f'{flag}: expected name:number, 0 or more, got {text!r}')
    if name in found:
      raise InputError(f'{flag}: {name} is there twice')
    found[name] = value
  return found
