"""What instruction tuning learns from: benchmarks of categories of tasks of examples.

The words are those of Iyer et al., 2022: "OPT-IML: Scaling language model instruction
meta learning through the lens of generalization". Readers of the formats in which tasks
are given away make these; nothing here knows where they came from.
"""

import collections
import dataclasses
import functools
from collections.abc import Mapping, Sequence

MOST_LABELS, LEAST_EACH = 4, 5


@dataclasses.dataclass(frozen=True)
class Example:
  """One thing that a task asks.

  Attributes:
    name: which no other example of the task has.
    input: what is asked, without the instruction.
    outputs: right answers, at least one; the first is what is trained on.
    options: what the answer is chosen from; empty: it is free.
    instruction: which this example alone has, of tasks whose instruction is in every
      example; empty: one of the task's.
  """

  name: str
  input: str
  outputs: tuple[str, ...]
  options: tuple[str, ...] = ()
  instruction: str = ''


@dataclasses.dataclass(frozen=True)
class Demonstration:
  """An example that is shown with the instruction, with why its output is as it is."""

  input: str
  output: str
  explanation: str = ''


@dataclasses.dataclass(frozen=True, eq=False)
class InstructionTask:
  """Examples of one kind.

  Attributes:
    name: which no other task of the benchmark has.
    benchmark: whose task it is.
    category: of the benchmark's, or of the file that gives them.
    instructions: what is to be done, said in one or several ways; empty: the examples
      say it.
    examples: in the order of the file.
    positive: demonstrations of the task itself; empty: they are drawn from examples.
    negative: demonstrations of what is wrong.
    sources: data sets the examples were made from, for the report of leakage.
    urls: where those were.
  """

  name: str
  benchmark: str
  category: str
  instructions: tuple[str, ...]
  examples: tuple[Example, ...]
  positive: tuple[Demonstration, ...] = ()
  negative: tuple[Demonstration, ...] = ()
  sources: tuple[str, ...] = ()
  urls: tuple[str, ...] = ()

  @property
  def id(self) -> str:
    """Which no other task of any benchmark has."""
    return f'{self.benchmark}/{self.name}'


@dataclasses.dataclass(frozen=True)
class Collection:
  """Tasks by id, in the order of their ids.

  Attributes:
    tasks: all of them.
    skipped: what a lenient reader left out, one line each, with file and reason.
  """

  tasks: tuple[InstructionTask, ...]
  skipped: tuple[str, ...] = ()

  @functools.cached_property
  def by_id(self) -> Mapping[str, InstructionTask]:
    """The same tasks."""
    return {task.id: task for task in self.tasks}

  @property
  def counts(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
    """Tasks and examples, by benchmark and category."""
    found: dict[str, dict[str, list[int]]] = collections.defaultdict(dict)
    for task in self.tasks:
      row = found[task.benchmark].setdefault(task.category, [0, 0])
      row[0] += 1
      row[1] += len(task.examples)
    return found


def options_of(task: InstructionTask, example: Example) -> tuple[str, ...]:
  """What an answer is chosen from: the example's own options, else the task's labels.

  A task has labels where its examples have few different answers, each several times;
  empty: answers are free.
  """
  if example.options:
    return example.options
  return _labels(task)


@functools.lru_cache(maxsize=4096)
def _labels(task: InstructionTask) -> tuple[str, ...]:
  answers = [example.outputs for example in task.examples]
  if any(len(own) > 1 for own in answers):
    return ()
  counts = collections.Counter(own[0] for own in answers)
  few = 2 <= len(counts) <= MOST_LABELS
  return tuple(sorted(counts)) if few and min(counts.values()) >= LEAST_EACH else ()
