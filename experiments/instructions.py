"""Instruction tuning, after OPT-IML: tasks, three levels of generalisation, objectives.

  python -m experiments.instructions

makes 59 small tasks of 12 categories, trains a byte-level network of 1.9 million
weights on text, and tunes it on 45 of them, plainly, with label smoothing and with the
confidence penalty; 3 min 32 s on two cores. What is left out: examples of the same
tasks, five other tasks of their categories, and the categories comparison and sorting.
Score without demonstrations, one seed:

                        instances   tasks   categories
  untuned                   7.1      0.0       10.4
  baseline                 12.2      3.3       10.4
  label_smoothing          14.2      0.0       10.4
  confidence_penalty       14.1      0.0       10.4
  chance                    7.1      0.0       12.5

``--data_dir`` takes tasks of Super-NaturalInstructions, PromptSource, metaseq, MetaICL,
UnifiedSKG and FLAN's chains of thought (see ``datasets.instructions.read``),
``--checkpoint`` an OPT of Hugging Face's layout with its tokenizer in place of the
network that is trained on text; ``--export`` writes such checkpoints. `levels.md` in
--workdir is the table by level, `categories.md` that by category; `tasks.txt` says what
was read, and what training and evaluation have in common.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import optax
from flax import nnx

from experiments import (
  config,
  instruction_loading,
  instruction_results,
  opt_checkpoint,
  records,
  runner,
  study,
)
from experiments.config import by_flag, steps
from experiments.datasets.instructions import read
from experiments.datasets.instructions.tokens import Bytes, Pieces, Tokens
from experiments.errors import InputError
from experiments.evaluate import Row
from experiments.instruction_answers import Answering
from experiments.instruction_config import MIXING, Config, check, filled, idle
from experiments.instruction_data import Instructions
from experiments.instruction_settings import DATASETS, GRID, SIZES, VALUES
from experiments.instruction_task import instructions
from experiments.measures import SCORE
from experiments.models import opt
from experiments.models.opt_layers import Sizes
from experiments.state import State, weights_of
from experiments.task import Model, Task

_POSITIONS = 1024
_BYTES = Bytes()


def run(config: Config) -> pathlib.Path:
  """Trains on text, then all arms, or goes on with them; ends with the tables."""
  check(config)
  idle(config)
  config = filled(config)
  workdir = pathlib.Path(config.workdir)
  _loaded(config)  # what is at fault in it is told before anything is trained
  if config.length > (most := _sizes(config).positions):
    raise InputError(
      f'--length: expected up to {most}, what the network reads, got {config.length}'
    )
  study.train(base_study(config))
  study.run(study_of(config))
  own = _loaded(config)
  records.write_whole(workdir / 'tasks.txt', instruction_loading.told(own).encode())
  print(read.counts(own.collection, most=5))
  print(instruction_results.write(workdir, config.shots))
  return workdir


def base_study(config: Config) -> study.Study:
  """Trains on plain text, unless there is a checkpoint, and scores what comes out."""
  own = dataclasses.replace(
    config,
    workdir=str(pathlib.Path(config.workdir) / 'base'),
    arms=('baseline',),
    seeds=1,
    num_steps=1 if config.checkpoint else config.text_steps,
    learning_rate=1e-30 if config.checkpoint else config.learning_rate,
    select=False,
    select_seeds=None,
    select_epochs=None,
    text_share=1.0,
    export=False,
    # What mixes tasks is nothing to it: arms that differ in this may share it.
    **{name: getattr(Config, name) for name in MIXING},
  )
  return _study(own, 'instructions_base')


def study_of(config: Config) -> study.Study:
  """What ``run`` trains and compares."""
  return _study(config, 'instructions')


def _study(config: Config, name: str) -> study.Study:
  return study.Study(
    name=name,
    config=config,
    defaults=VALUES[config.dataset],
    grid=GRID,
    data=data,
    of_arm=lambda config, arm: config,
    task=task,
    optimizer=optimizer,
    steps_per_epoch=lambda config, dataset: 1,
    pictures=pictures,
    measure=SCORE,
    chain=1,
    final=final,
    undecisive=('cache_dir', 'export'),
  )


def data(config: Config, final: bool) -> dict[int, Instructions]:
  """The same for all seeds, whose order differs."""
  del final
  return dict.fromkeys(range(config.seeds), _loaded(config))


@functools.lru_cache(maxsize=4)
def _loaded(config: Config) -> Instructions:
  return instruction_loading.loaded(config, _tokens(config))


def _tokens(config: Config) -> Tokens:
  if not config.checkpoint:
    return _BYTES
  return _pieces(config.checkpoint, _sizes(config).vocabulary)


@functools.lru_cache(maxsize=1)
def _pieces(directory: str, size: int) -> Pieces:
  return Pieces(pathlib.Path(directory), size)


@functools.lru_cache(maxsize=1)
def _checkpoint(directory: str) -> opt_checkpoint.Checkpoint:
  return opt_checkpoint.read(pathlib.Path(directory))


def _sizes(config: Config) -> Sizes:
  if config.checkpoint:
    return _checkpoint(config.checkpoint).sizes
  own = SIZES[config.size]
  hidden = own['hidden']
  return Sizes(
    Bytes.size, _POSITIONS, hidden, own['layers'], hidden // 64 or 1, 4 * hidden
  )


def module(config: Config) -> Model:
  """Makes the network."""
  sizes = _sizes(config)
  options: dict[str, Any] = {
    'dropout': config.dropout,
    'remat': config.remat,
    'scan_layers': config.scan_layers,
  }

  def made(rngs: nnx.Rngs) -> nnx.Module:
    return opt.OPT(sizes, **options, rngs=rngs)

  return made


def task(config: Config, datasets: Mapping[int, Instructions]) -> Task:
  """From the parameters of the checkpoint, or of the training on text."""
  tokens = datasets[0].tokens
  return instructions(module(config), datasets, tokens.padding, _start(config))


def _start(config: Config) -> Any:
  if config.checkpoint:
    return _checkpoint(config.checkpoint).params
  if config.text_share == 1:
    return None
  return _base(config)


@functools.lru_cache(maxsize=1)
def _base(config: Config) -> Any:
  """The parameters that the training on text ended with."""
  own = base_study(config)
  job = study.job_of(own, 'baseline')
  return weights_of(runner.restored(job), 0)[0]


def optimizer(
  config: Config, datasets: Mapping[int, Instructions]
) -> optax.GradientTransformation:
  """Adam with OPT's moments and bound; the rate rises and falls linearly."""
  num_steps = steps(config, 1)
  warm = max(1, min(60, num_steps // 10))
  rate = optax.schedules.join_schedules(
    [
      optax.linear_schedule(0.0, config.learning_rate, warm),
      optax.linear_schedule(config.learning_rate, 0.0, max(1, num_steps - warm)),
    ],
    [warm],
  )
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b1=0.9, b2=0.95))


@functools.lru_cache(maxsize=1)
def _answering(
  sizes: Sizes,
  tokens: Tokens,
  positions: int,
  longest: int,
  rule: str,
  separator: str,
) -> Answering:
  """Compiled once for all arms."""
  return Answering(opt.graph(sizes), tokens, positions, longest, rule, separator)


def final(
  config: Config,
  datasets: Mapping[int, Instructions],
  job: runner.Job,
  state: State,
  split: str,
) -> list[Row]:
  """Scores by level."""
  positions = min(_sizes(config).positions, 2 * config.length)
  tokens = datasets[0].tokens
  answering = _answering(
    *(_sizes(config), tokens, positions, config.answer, config.ranking),
    separator=datasets[0].options.separator,
  )
  rows = instruction_results.final(
    answering, datasets, job, state, split, config.shots, config.free
  )
  if config.export and split == 'test':
    _exported(config, job, state)
  return rows


def _exported(config: Config, job: runner.Job, state: State) -> None:
  """Writes the networks with what a checkpoint of theirs brought, tokenizer and all."""
  source = config.checkpoint
  tokens = _BYTES
  special = {'pad_token_id': tokens.padding, 'eos_token_id': tokens.end}
  for index in range(len(job.seeds)):
    opt_checkpoint.write(
      job.directory / 'opt' / str(index),
      _sizes(config),
      weights_of(state, index)[0],
      config=_checkpoint(source).config if source else special,
      tokenizer=pathlib.Path(source) if source else None,
    )


def pictures(directories: Sequence[pathlib.Path], workdir: pathlib.Path) -> None:
  """Validation over time; that by level is of ``instruction_results``."""
  from experiments import curves  # matplotlib takes seconds

  curves.validation_curves(directories, workdir / 'validation.png')


def main() -> None:
  """Reads the flags and runs."""
  config.launch(Config, run, by_flag(DATASETS, VALUES))


if __name__ == '__main__':
  main()
