"""What experiments.instructions learns from, as its flags say."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.datasets import files, pydoc
from experiments.datasets.directories import default_cache
from experiments.datasets.instructions import (
  generated,
  generated_streams,
  leakage,
  mixtures,
  read,
  splits,
)
from experiments.datasets.instructions.collection import Collection, InstructionTask
from experiments.datasets.instructions.tokens import Tokens
from experiments.errors import InputError
from experiments.instruction_config import Config, named
from experiments.instruction_data import TEXT, Instructions, Options

EXAMPLES = 400  # of a generated task


def loaded(config: Config, tokens: Tokens) -> Instructions:
  """Tasks, levels and rates."""
  own = collection(config)
  split = levels(config, own)
  further = _streams(config)
  both = Collection((*own.tasks, *further), own.skipped)
  streams = {task.id: tuple(range(len(task.examples))) for task in further}
  whole = dataclasses.replace(split, train={**split.train, **streams})
  return Instructions(
    name=config.dataset,
    collection=both,
    levels=whole,
    tokens=tokens,
    options=Options(config.length, config.rows, config.demonstrations, config.counted),
    shares=_shares(config, own, split, further),
    text=_text(config),
    about={
      'tasks': len(own.tasks),
      'trained': len(split.train),
      # Below --data_dir: where that is, is nothing to who reads the record.
      'skipped': [s.removeprefix(f'{config.data_dir}/') for s in own.skipped],
      **({'streams': named(config.streams, '--streams')} if further else {}),
      **_leakage(both, whole),
    },
  )


def levels(config: Config, own: Collection) -> splits.Levels:
  """What is for training and what is held out."""
  held, seed = _held_out(config, own), config.split_seed
  return splits.fewer(
    own,
    splits.split(own, held, seed=seed, evaluated=config.evaluated),
    tasks=config.train_tasks,
    categories=config.train_categories,
    seed=seed,
  )


def collection(config: Config) -> Collection:
  """The tasks, without the streams."""
  if config.dataset == 'natural':
    assert config.data_dir is not None
    return _read(pathlib.Path(config.data_dir), not config.lenient)
  return _read(generated.collection(_cache(config), seed=0, examples=EXAMPLES), True)


def told(data: Instructions) -> str:
  """What was read and left out, and what training and evaluation have in common."""
  found = [read.counts(data.collection)]
  for name, said in {
    'shared_origins': 'both in training and in evaluation: of',
    'shared_words': f'{leakage.WORDS} words in a row in common:',
  }.items():
    lines = data.about.get(name)
    assert isinstance(lines, list)
    found += [f'{said} {line}' for line in lines]
  return '\n'.join([*found, ''])


def _shares(
  config: Config,
  own: Collection,
  levels: splits.Levels,
  further: tuple[InstructionTask, ...],
) -> dict[str, float]:
  """Of every task, of the text and of the tasks of the streams."""
  if config.text_share == 1:
    return {TEXT: 1.0}
  rates: dict[str, Any] = {
    'kind': config.mixture,
    'cap': config.cap or None,
    'temperature': config.temperature,
  }
  counts = _by_benchmark(
    (own.by_id[name], len(rows)) for name, rows in levels.train.items()
  )
  streams = named(config.streams, '--streams')
  found = mixtures.probabilities(
    counts,
    shares=named(config.shares, '--shares') or None,
    extra={TEXT: config.text_share, **streams},
    **rates,
  )
  inner = _by_benchmark((task, len(task.examples)) for task in further)
  for name, tasks in inner.items():
    share = found.pop(name, 0.0)  # of none, nothing is drawn
    within = mixtures.probabilities({name: tasks}, **rates)
    found |= {task: share * rate for task, rate in within.items() if share}
  return found


def _by_benchmark(
  counted: Iterable[tuple[InstructionTask, int]],
) -> dict[str, dict[str, int]]:
  found: dict[str, dict[str, int]] = {}
  for task, count in counted:
    found.setdefault(task.benchmark, {})[task.id] = count
  return found


def _streams(config: Config) -> tuple[InstructionTask, ...]:
  """Tasks of the benchmarks that are streams of their own."""
  names = named(config.streams, '--streams')
  if not names:
    return ()
  if config.streams_dir:
    directory = pathlib.Path(config.streams_dir)
  else:
    directory = generated_streams.collection(_cache(config), seed=0)
  found = _read(directory, not config.lenient)
  there = [*found.counts]
  for name in names:
    if name not in there:
      raise InputError(f'--streams: no {name} in {directory}: only {", ".join(there)}')
  own = {task.id for task in collection(config).tasks}
  for task in found.tasks:
    if task.benchmark in names and task.id in own:
      raise InputError(f'--streams: {task.id} is a task already')
  return tuple(task for task in found.tasks if task.benchmark in names)


def _cache(config: Config) -> pathlib.Path:
  return pathlib.Path(config.cache_dir) if config.cache_dir else default_cache()


@functools.lru_cache(maxsize=4)
def _read(directory: pathlib.Path, strict: bool) -> Collection:
  return read.read(directory, strict=strict)


def _held_out(config: Config, own: Collection) -> splits.HeldOut:
  if config.held_out:
    return splits.read(pathlib.Path(config.held_out), own)
  if config.dataset == 'generated':
    ids = {task.name.split('_', 1)[1]: task.id for task in own.tasks}
    tasks = tuple(ids[name] for name in generated.HELD_OUT_TASKS)
    return splits.HeldOut(generated.HELD_OUT_CATEGORIES, tasks)
  return splits.drawn(
    own,
    config.split_seed,
    categories=config.held_out_categories,
    tasks=config.held_out_tasks,
  )


def _leakage(own: Collection, levels: splits.Levels) -> Mapping[str, Any]:
  """Pairs of tasks with much in common; each origin is said once."""
  found = leakage.shared(own, levels)
  origins = {text for pair in found for text in pair.origins}
  pairs = [pair for pair in found if pair.examples > leakage.SHARE]
  return {
    'shared_origins': sorted(origins),
    'shared_words': [
      f'{pair.evaluated} {pair.examples:.1%} in {pair.train}' for pair in pairs
    ],
  }


def _text(config: Config) -> str:
  if config.text:
    path = pathlib.Path(config.text)
    return files.decode(files.read(path), path)
  return '\n'.join(pydoc.splits()['train'])
