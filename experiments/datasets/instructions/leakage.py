"""What training and evaluation tasks have in common: 13-grams, and where they are from.

Iyer et al. (2022, appendix A.3) look at every pair of tasks of which more than one
percent of the evaluation examples share 13 words in a row with a training example.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Set

from experiments.datasets.instructions.collection import (
  Collection,
  Example,
  InstructionTask,
)
from experiments.datasets.instructions.splits import Levels, Rows

WORDS, SHARE = 13, 0.01


@dataclasses.dataclass(frozen=True)
class Shared:
  """A pair of tasks that may know each other's answers.

  Attributes:
    train: id of the task that is trained on.
    evaluated: id of the other one.
    examples: share of the evaluated examples that have words in a row in common.
    origins: sources and addresses that both name.
  """

  train: str
  evaluated: str
  examples: float
  origins: tuple[str, ...]


def shared(collection: Collection, levels: Levels) -> list[Shared]:
  """Pairs with an origin or more than ``SHARE`` of the examples in common.

  A task's held-out examples are held against its other ones, too; that they are of one
  origin is not said.
  """
  seen = _where(collection, levels.train)
  found = []
  evaluated = {name: own for rows in levels.test.values() for name, own in rows.items()}
  for name, places in evaluated.items():
    task = collection.by_id[name]
    counts = collections.Counter(
      other for place in places for other in _others(task.examples[place], seen)
    )
    origins = {
      other: _origins(task) & _origins(collection.by_id[other])
      for other in levels.train
      if other != name
    }
    for other in levels.train:
      share = counts[other] / len(places) if places else 0.0
      common = tuple(sorted(origins.get(other, ())))
      if share > SHARE or common:
        found.append(Shared(other, name, share, common))
  return sorted(found, key=lambda own: (-own.examples, own.train, own.evaluated))


def grams(text: str, size: int = WORDS) -> Iterator[tuple[str, ...]]:
  """Words in a row, in lower case, without punctuation.

  Example:
    >>> list(grams('To be, or not', 3))
    [('to', 'be', 'or'), ('be', 'or', 'not')]
  """
  words = re.findall(r'\w+', text.lower())
  return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def _where(collection: Collection, rows: Rows) -> Mapping[int, Set[str]]:
  """Training tasks by the hash of 13 words."""
  found: dict[int, set[str]] = collections.defaultdict(set)
  for name, places in rows.items():
    task = collection.by_id[name]
    for gram in _of(task.examples[place] for place in places):
      found[gram].add(name)
  return found


def _others(example: Example, seen: Mapping[int, Set[str]]) -> set[str]:
  return {name for gram in _of([example]) for name in seen.get(gram, ())}


def _of(examples: Iterable[Example]) -> Iterator[int]:
  for example in examples:
    for text in (example.input, *example.outputs):
      yield from map(hash, grams(text))


def _origins(task: InstructionTask) -> set[str]:
  return {text.strip().lower() for text in (*task.sources, *task.urls) if text.strip()}
