"""Three levels of generalisation (Iyer et al., 2022, section 3.3).

Instances of tasks that are trained on, tasks of categories that are, and categories of
which nothing is.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets import files
from experiments.datasets.instructions.collection import Collection, InstructionTask
from experiments.errors import InputError

LEVELS = 'instances', 'tasks', 'categories'
Rows = Mapping[str, tuple[int, ...]]  # places of examples, by id of the task


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """What is not trained on.

  Attributes:
    categories: none of whose tasks is.
    tasks: ids, of other categories.
    excluded: ids of tasks that are neither trained on nor asked.
  """

  categories: tuple[str, ...]
  tasks: tuple[str, ...]
  excluded: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Levels:
  """Examples by what they are for; no example is in two of them.

  Attributes:
    train: of the tasks that are trained on.
    validation: other examples of these.
    test: by level.
  """

  train: Rows
  validation: Rows
  test: Mapping[str, Rows]


def drawn(collection: Collection, seed: int, *, categories: int, tasks: int) -> HeldOut:
  """So many categories, and tasks of the others, one a category.

  Raises:
    InputError: nothing would be left to train on.
  """
  random = np.random.default_rng(seed)
  by_category = _by_category(collection.tasks)
  names = sorted(by_category)
  if categories >= len(names):
    raise InputError(
      f'--held_out_categories: expected less than the {len(names)} there are'
    )
  order = [names[place] for place in random.permutation(len(names))]
  held, seen = order[:categories], order[categories:]
  able = [name for name in seen if len(by_category[name]) > 1]
  if tasks > len(able):
    raise InputError(
      f'--held_out_tasks: expected at most {len(able)}, one of each category that has '
      f'another, got {tasks}'
    )
  ids = [
    by_category[name][random.integers(len(by_category[name]))].id
    for name in able[:tasks]
  ]
  return HeldOut(tuple(sorted(held)), tuple(sorted(ids)))


def read(path: pathlib.Path, collection: Collection) -> HeldOut:
  """Of a JSON file, or of the lists of Super-NaturalInstructions.

  Args:
    path: ``{"categories": [...], "tasks": [...]}``, or a directory with
      test_tasks.txt and maybe dev_tasks.txt and excluded_tasks.txt, a name a line.
    collection: whose tasks these are; lists may name others, too.

  Raises:
    InputError: it is not such a file.
  """
  if path.is_dir():
    return _listed(path, collection)
  try:
    content = files.parsed(files.decode(files.read(path), path))
    lists: dict[str, Any] = {name: content[name] for name in ('categories', 'tasks')}
  except (ValueError, TypeError, KeyError) as error:
    raise InputError(f'{path}: expected {{"categories": [], "tasks": []}}') from error
  for name, own in lists.items():
    if not isinstance(own, list) or not all(isinstance(text, str) for text in own):
      raise InputError(f'{path}: {name}: expected a list of names')
  return HeldOut(tuple(lists['categories']), tuple(lists['tasks']))


def _listed(directory: pathlib.Path, collection: Collection) -> HeldOut:
  """Of the lists' tasks those that are there."""
  found: dict[str, list[str]] = {}
  ids: dict[str, list[str]] = {}
  for task in collection.tasks:
    ids.setdefault(task.name, []).append(task.id)
  for name in ('test', 'dev', 'excluded'):
    path = directory / f'{name}_tasks.txt'
    if path.exists() or name == 'test':
      names = files.decode(files.read(path), path).split()
      found[name] = [own for text in names for own in ids.get(text, ())]
  if not found['test']:
    raise InputError(f'{directory}: test_tasks.txt names no task that is there')
  tasks = [*found['test'], *found.get('dev', ())]
  return HeldOut((), tuple(tasks), tuple(found.get('excluded', ())))


def fewer(
  collection: Collection,
  levels: Levels,
  *,
  tasks: int = 0,
  categories: int = 0,
  seed: int = 0,
) -> Levels:
  """Less to train on; what is held out stays.

  The first tasks are among those of any larger number, drawn by the seed; categories
  are those of the most tasks (Iyer et al., 2022, tables 16 and 17).

  Args:
    collection: of all tasks.
    levels: of them.
    tasks: that are trained on; 0: all.
    categories: of which tasks are trained on; 0: all.
    seed: of the choice of tasks.

  Raises:
    InputError: there are not so many.
  """
  names = sorted(levels.train)
  if categories:
    groups = _by_category(collection.by_id[name] for name in names)
    _few('--train_categories', categories, len(groups))
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:categories]
    names = [task.id for name in largest for task in groups[name]]
  if tasks:
    _few('--train_tasks', tasks, len(names))
    order = np.random.default_rng(seed).permutation(sorted(levels.train))
    names = [str(name) for name in order if name in set(names)][:tasks]
  kept = set(names)

  def own(rows: Rows) -> Rows:
    return {name: places for name, places in rows.items() if name in kept}

  test = {**levels.test, 'instances': own(levels.test['instances'])}
  return Levels(own(levels.train), own(levels.validation), test)


def _few(flag: str, given: int, there: int) -> None:
  if given > there:
    raise InputError(f'{flag}: expected up to {there} that are there, got {given}')


def split(
  collection: Collection, held_out: HeldOut, *, seed: int, evaluated: int
) -> Levels:
  """The levels.

  Args:
    collection: of all tasks.
    held_out: what is not trained on.
    seed: of the choice of examples.
    evaluated: most test examples of a task, and as many of validation; of a task
      that is trained on at most a quarter.

  Raises:
    InputError: a name that is not there, or nothing left to train on.
  """
  _check(collection, held_out)
  train: dict[str, tuple[int, ...]] = {}
  validation: dict[str, tuple[int, ...]] = {}
  test: dict[str, dict[str, tuple[int, ...]]] = {level: {} for level in LEVELS}
  away = {*held_out.tasks, *held_out.excluded}
  # Nothing of a category is learned whose tasks are all held out.
  seen = {task.category for task in collection.tasks if task.id not in away}
  seen -= {*held_out.categories}
  for task in collection.tasks:
    if task.id in held_out.excluded:
      continue
    groups = _groups(task, np.random.default_rng((seed, *task.id.encode())))
    if task.category not in seen:
      test['categories'][task.id] = _rows(groups[:evaluated])[:evaluated]
    elif task.id in held_out.tasks:
      test['tasks'][task.id] = _rows(groups[:evaluated])[:evaluated]
    else:
      count = min(evaluated, len(groups) // 4)
      test['instances'][task.id] = _rows(groups[:count])[:evaluated]
      validation[task.id] = _rows(groups[count : 2 * count])[:evaluated]
      train[task.id] = _rows(groups[2 * count :])
  if not train:
    raise InputError(
      '--held_out_categories, --held_out_tasks: nothing is left to learn'
    )
  return Levels(train, validation, test)


def _check(collection: Collection, held_out: HeldOut) -> None:
  there = {task.category for task in collection.tasks}
  for name in held_out.categories:
    if name not in there:
      raise InputError(f'no category {name}; there are {", ".join(sorted(there))}')
  for name in (*held_out.tasks, *held_out.excluded):
    if name not in collection.by_id:
      first = collection.tasks[0].id
      raise InputError(f'no task {name}: expected BENCHMARK/NAME, such as {first}')


def _by_category(
  tasks: Iterable[InstructionTask],
) -> dict[str, list[InstructionTask]]:
  found: dict[str, list[InstructionTask]] = {}
  for task in tasks:
    found.setdefault(task.category, []).append(task)
  return found


def _groups(task: InstructionTask, random: np.random.Generator) -> list[list[int]]:
  """Examples in random order; those that ask the same stay together."""
  same: dict[tuple[str, str], list[int]] = {}
  for place, example in enumerate(task.examples):
    key = ' '.join(example.input.split()), example.instruction
    same.setdefault(key, []).append(place)
  groups = list(same.values())
  return [groups[place] for place in random.permutation(len(groups))]


def _rows(groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
  return tuple(place for group in groups for place in group)
