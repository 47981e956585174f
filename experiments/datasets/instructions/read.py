"""A collection in a directory: what benchmarks hold, whatever wrote it.

DIRECTORY/BENCHMARK/...json   tasks of Super-NaturalInstructions
DIRECTORY/...json             the same, of a benchmark named by the directory
"""

import pathlib

from experiments.datasets.instructions import natural
from experiments.datasets.instructions.collection import Collection, InstructionTask
from experiments.errors import InputError


def read(directory: pathlib.Path, *, strict: bool = True) -> Collection:
  """All tasks below a directory.

  Args:
    directory: each directory in it is a benchmark; without one, it is one itself.
    strict: a file that cannot be read is an error, not left out and listed.

  Raises:
    InputError: there is no task, two have one name, or a file is at fault.
  """
  if not directory.is_dir():
    fault = 'is a file' if directory.exists() else 'is not there'
    raise InputError(f'{directory}: expected a directory of tasks: it {fault}')
  tasks: dict[str, InstructionTask] = {}
  skipped: list[str] = []
  for path in sorted(directory.rglob('*.json')):
    inner = path.relative_to(directory).parts
    benchmark = inner[0] if len(inner) > 1 else directory.name
    try:
      task = natural.read(path, benchmark)
      if task.id in tasks:
        raise InputError(f'{path}: a second task {task.id}')
    except InputError as error:
      if strict:
        raise
      skipped.append(str(error))
      continue
    tasks[task.id] = task
  if not tasks:
    raise InputError(f'{directory}: no task in any .json below it')
  return Collection(tuple(tasks[name] for name in sorted(tasks)), tuple(skipped))


def counts(collection: Collection) -> str:
  """A line a category: tasks and examples."""
  lines = []
  for benchmark, categories in collection.counts.items():
    tasks, examples = (sum(row[i] for row in categories.values()) for i in (0, 1))
    lines.append(f'{benchmark}: {tasks} tasks, {examples} examples')
    lines += [
      f'  {category}: {row[0]} tasks, {row[1]} examples'
      for category, row in sorted(categories.items())
    ]
  return '\n'.join(lines)
