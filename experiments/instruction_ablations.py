"""What mixture, prompts and size do to instruction tuning: the ablations of OPT-IML.

  python -m experiments.instruction_ablations --data_dir=DIR

tunes the network of experiments.instructions with plain cross-entropy, once as its
flags say (`baseline`) and once for every variation, which changes what stands in
``VARIATIONS`` and nothing else. All start from the same network, trained on text, but
for those of another size. The values are the paper's where it has some (Iyer et al.,
2022, tables 4, 5, 7, 8 and 16 to 20). Without ``--data_dir`` the tasks are the
generated ones.

On the generated tasks and 21 real ones, with all variations but `medium`, two seeds of
150 steps took an hour of a core. Scores are near chance; nll of the answers, 2.55,
falls by 0.2 with uniform rates or a cap of 128 examples a task, and by 0.1 with even
shares of the benchmarks; it rises by 0.25 with half of plain text, by 0.14 where all
ids count, and by 0.29 in a network of a quarter of the units (results/instructions).
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import (
  config,
  instruction_config,
  instruction_loading,
  instruction_results,
  instructions,
  report,
  runner,
  signals,
  study,
)
from experiments.config import by_flag, flag, refuse, single, unused
from experiments.datasets.instructions.collection import InstructionTask
from experiments.errors import InputError
from experiments.instruction_settings import DATASETS, VALUES
from experiments.progress import Progress
from experiments.runs import BASELINE, finished

NAME, EVEN = 'instruction_ablations', 'even_shares'
VARIATIONS: Mapping[str, Mapping[str, Any]] = {
  'cap_128': {'cap': 128},
  'cap_512': {'cap': 512},
  'no_cap': {'cap': 0},
  'uniform': {'mixture': 'uniform'},
  'temperature': {'mixture': 'temperature'},
  EVEN: {'shares': ()},  # of the benchmarks that are there
  'tasks_8': {'train_tasks': 8},
  'tasks_24': {'train_tasks': 24},
  'categories_2': {'train_categories': 2},
  'categories_6': {'train_categories': 6},
  'zipf_4': {'demonstrations': 4.0},
  'zipf_4_suffix': {'demonstrations': 4.0, 'counted': 'suffix'},
  'zipf_2': {'demonstrations': 2.0},
  'zipf_2_suffix': {'demonstrations': 2.0, 'counted': 'suffix'},
  'full': {'counted': 'full'},
  'text_0': {'text_share': 0.0},
  'text_10': {'text_share': 0.1},
  'text_50': {'text_share': 0.5},
  'reasoning_1': {'streams': ('reasoning:0.01',)},
  'reasoning_4': {'streams': ('reasoning:0.04',)},
  'dialogue': {'streams': ('dialogue:0.005',)},
  'tiny': {'size': 'tiny'},
  'medium': {'size': 'medium'},
}
_FEWER = {'train_tasks', 'train_categories'}
_PLAIN = 'the loss is plain cross-entropy here'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(instruction_config.Config):
  """The flags of experiments.instructions, and the variations."""

  workdir: str = flag(
    'runs/instruction_ablations',
    'directory that holds a directory for every variation',
    config.named,
  )
  arms: tuple[str, ...] = unused((BASELINE,), '--variations takes its place')
  select: bool = unused(False, _PLAIN)
  select_seeds: int | None = unused(None, _PLAIN)
  export: bool = unused(False, 'experiments.instructions has it')
  variations: tuple[str, ...] = flag(
    None,
    'what is set beside the baseline; default: all but what would be the baseline '
    'again: one benchmark in even shares, say',
    config.one_of(*VARIATIONS),
  )


@dataclasses.dataclass(frozen=True)
class Variation:
  """One of them, and what it is measured against.

  Attributes:
    directory: has the name of the variation.
    config: what experiments.instructions would run.
    reference: the data of the baseline, which say that the runs belong together.
  """

  directory: pathlib.Path
  config: instruction_config.Config
  reference: str

  @functools.cached_property
  def job(self) -> runner.Job:
    """What is trained, under the name of the variation."""
    own = study.job_of(instructions.study_of(self.config), BASELINE)
    named = {'experiment': NAME, 'arm': self.directory.name}
    return dataclasses.replace(
      own,
      directory=self.directory,
      config={**own.config, **named},
      about={**own.about, **named, 'data': self.reference},
    )


def run(config: Config) -> pathlib.Path:
  """Trains all that is missing; ends with the tables."""
  config = filled(config)
  check(config)
  workdir = pathlib.Path(config.workdir)
  varied = {name: of_variation(config, name) for name in (BASELINE, *config.variations)}
  reference = instructions.data(varied[BASELINE], True)[0].fingerprint
  for own in {own.workdir: own for own in varied.values()}.values():
    study.train(instructions.base_study(own))
  variations = [
    Variation(workdir / name, own, reference) for name, own in varied.items()
  ]
  _train(variations)
  there = [own.path for own in finished(workdir)]  # of earlier commands, too
  print(report.write_report(there, workdir))
  print(instruction_results.write(workdir, config.shots, _notes(config)))
  return workdir


def filled(config: Config) -> Config:
  """With its variations."""
  instruction_config.check(config)
  given = VARIATIONS if config.variations is None else config.variations
  faults = {name: _fault(config, name) for name in given}
  if config.variations is None:
    names = tuple(name for name, fault in faults.items() if not fault)
    return dataclasses.replace(config, variations=names)
  for name, fault in faults.items():
    if fault:
      raise InputError(f'--variations: {name}: {fault}')
  return config


def _fault(config: Config, name: str) -> str:
  """Why a variation is the baseline once more; empty: it is not."""
  changes = VARIATIONS[name]
  if name == EVEN and len(_benchmarks(config)) < 2:
    return 'there is one benchmark'
  if 'size' in changes and config.checkpoint:
    return 'the network is that of --checkpoint'
  if _FEWER & {*changes}:
    tasks = _trained(config)
    categories = {task.category for task in tasks}
    there = {'train_tasks': len(tasks), 'train_categories': len(categories)}
    for field, count in changes.items():
      if count >= there[field]:
        return f'there are {there[field]} to train on'
  return ''


def check(config: Config) -> None:
  """Refuses what has no place here, or is given and changed."""
  single(config)
  varied = {field for name in config.variations for field in VARIATIONS[name]}
  instruction_config.idle(config, varied)
  for name in config.variations:
    if config.variations.count(name) > 1:
      raise InputError(f'--variations: {name} is there twice')
    refuse(config, [*VARIATIONS[name]], f'the variation {name} changes it')


def of_variation(config: Config, name: str) -> instruction_config.Config:
  """What experiments.instructions runs for a variation, or for the baseline."""
  names = [field.name for field in dataclasses.fields(instruction_config.Config)]
  changes = VARIATIONS.get(name, {})
  fields: dict[str, Any] = {key: getattr(config, key) for key in names} | dict(changes)
  if name == EVEN:
    fields['shares'] = tuple(f'{benchmark}:1' for benchmark in _benchmarks(config))
  if 'size' in changes:  # and so another network to start from
    fields['workdir'] = f'{config.workdir}/bases/{name}'
  return instruction_config.filled(instruction_config.Config(**fields))


def _notes(config: Config) -> list[str]:
  """What of the tables is not of the same examples."""
  fewer = [name for name in config.variations if _FEWER & {*VARIATIONS[name]}]
  if not fewer:
    return []
  names = ', '.join(fewer)
  return [f'Instances of {names}: of the tasks that were trained on there, not of all.']


def _benchmarks(config: Config) -> list[str]:
  return sorted({task.benchmark for task in _trained(config)})


def _trained(config: Config) -> list[InstructionTask]:
  """Tasks that the baseline is trained on."""
  own = instruction_config.filled(config)
  collection = instruction_loading.collection(own)
  levels = instruction_loading.levels(own, collection)
  return [collection.by_id[name] for name in levels.train]


def _train(variations: list[Variation]) -> None:
  total = sum(v.job.num_steps * len(v.job.seeds) for v in variations)
  with signals.noted() as received, Progress(total) as progress:
    for variation in variations:
      own = variation.config
      final = functools.partial(instructions.final, own, instructions.data(own, True))
      study.complete(variation.job, 'test', progress, received, final)
      signals.obey(received)


def main() -> None:
  """Reads the flags and runs."""
  fields = {
    case: {name: value for name, value in own.items() if name != 'workdir'}
    for case, own in DATASETS.items()
  }
  config.launch(Config, run, by_flag(fields, VALUES))


if __name__ == '__main__':
  main()
