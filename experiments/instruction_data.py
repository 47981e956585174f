"""Tasks and texts as what a model is trained on: mixed, prompted, packed."""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments.datasets.instructions import mixtures, packing, prompts
from experiments.datasets.instructions.collection import Collection, Demonstration
from experiments.datasets.instructions.prompts import Encoded
from experiments.datasets.instructions.splits import Levels, Rows
from experiments.datasets.instructions.tokens import Tokens
from experiments.errors import InputError

TEXT = 'text'  # the stream of plain text
_WINDOW = 512  # draws that are packed together
Batch = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Options:
  """How examples become rows.

  Attributes:
    length: of a row, ids.
    rows: of a batch.
    demonstrations: exponent of the number of demonstrations in training; 0: none.
    counted: by the loss: target, suffix or full.
  """

  length: int
  rows: int
  demonstrations: float = 0.0
  counted: str = 'target'

  @property
  def separator(self) -> str:
    """Around demonstrations: MetaICL's own where training has them."""
    return prompts.METAICL_SEPARATOR if self.demonstrations else prompts.SEPARATOR


@dataclasses.dataclass(frozen=True, eq=False)
class Instructions:
  """What one study trains on.

  Attributes:
    name: of the collection.
    collection: all tasks.
    levels: which examples are for what.
    tokens: ids of text.
    options: how examples become rows.
    shares: of each task, and of the stream of text.
    text: plain text, of which every part is learned.
    about: what else the records say.
  """

  name: str
  collection: Collection
  levels: Levels
  tokens: Tokens
  options: Options
  shares: Mapping[str, float]
  text: str = ''
  about: Mapping[str, object] = dataclasses.field(default_factory=dict)

  @property
  def num_classes(self) -> int:
    """Ids."""
    return self.tokens.size

  @functools.cached_property
  def splits(self) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Labels that count: of training, those of the first window."""
    train = [row.counted_labels for row in self.stream(0).window(0)]
    sides = {split: self.evaluation(split) for split in ('validation', 'test')}
    labels = {
      split: np.concatenate([e.ids[e.counted] for e in own])
      for split, own in sides.items()
    }
    labels['train'] = np.concatenate(train)
    return {split: {'label': own} for split, own in labels.items()}

  @functools.cached_property
  def fingerprint(self) -> str:
    """sha256 over texts, levels and shares."""
    digest = hashlib.sha256(self.text.encode())
    for task in self.collection.tasks:
      digest.update(repr(dataclasses.astuple(task)).encode())
    digest.update(repr((self.levels, sorted(self.shares.items()))).encode())
    return digest.hexdigest()

  @functools.cached_property
  def chunks(self) -> list[np.ndarray]:
    """The text in pieces that fill a row."""
    ids = np.array(self.tokens.encode(self.text), np.int32)
    size = self.options.length
    return [ids[i : i + size + 1] for i in range(0, len(ids) - size, size)]

  @property
  def counts(self) -> Mapping[str, int]:
    """Examples of each stream."""
    own = {task: len(rows) for task, rows in self.levels.train.items()}
    return {**own, TEXT: len(self.chunks)}

  @functools.cache  # noqa: B019  (lives as long as the program)
  def stream(self, seed: int) -> 'Stream':
    """Rows without end."""
    for name in self.shares:
      if not self.counts.get(name):
        fault = f'nothing to learn from in {name}'
        if name == TEXT:
          fault += (
            f': --text: expected more than {self.options.length} ids, the --length'
          )
        raise InputError(fault)
    return Stream(self, seed)

  def evaluation(self, split: str) -> list[Encoded]:
    """Examples without demonstrations, with the first instruction and delimiter."""
    levels = self.levels
    parts: Sequence[Rows] = (
      [levels.validation] if split == 'validation' else list(levels.test.values())
    )
    found = []
    for rows in parts:
      for name, places in rows.items():
        task = self.collection.by_id[name]
        first = task.instructions[0] if task.instructions else ''
        for place in places:
          made = prompts.prompt(task.examples[place], instruction=first)
          encoded = prompts.encoded(made, self.tokens, self.options.length + 1)
          found += [] if encoded is None else [encoded]
    if not found:
      raise InputError(
        f'{split}: no example: expected tasks of 4 examples or more to train on, with '
        f'answers that fit into the {self.options.length} ids of --length'
      )
    return found

  def batches(self, split: str, seed: int, start: int = 0) -> Iterator[Batch]:
    """Of training without end, else one pass."""
    if split == 'train':
      stream = self.stream(seed)
      while True:
        yield stream.batch(start)
        start += 1
    size, length = self.options.rows, self.options.length
    examples = self.evaluation(split)
    rows = packing.rows_of([len(e.ids) - 1 for e in examples], length)
    for place in range(0, len(rows), size):
      own = [[examples[i] for i in row] for row in rows[place : place + size]]
      own += [[]] * (size - len(own))
      yield _packed(own, length, self.tokens.padding)


@dataclasses.dataclass(frozen=True)
class Row:
  """Examples side by side, and the streams that they are of."""

  examples: tuple[Encoded, ...]
  streams: tuple[str, ...]

  @property
  def counted_labels(self) -> np.ndarray:
    return np.concatenate([e.ids[e.counted] for e in self.examples])


class Stream:
  """Rows of training, a function of the data, the seed and the place alone."""

  def __init__(self, data: Instructions, seed: int):
    """Nothing is drawn yet."""
    self._data, self._seed = data, seed
    self._draws = enumerate(mixtures.draws(data.shares, data.counts, seed))
    self._windows: list[list[Row]] = []
    self._pools: dict[str, list[Demonstration]] = {}
    self.dropped = 0  # examples whose answers alone are longer than a row

  def batch(self, step: int) -> Batch:
    """The rows of a step."""
    options = self._data.options
    own = self.rows((step + 1) * options.rows)[step * options.rows :]
    examples = [list(row.examples) for row in own]
    return _packed(examples, options.length, self._data.tokens.padding)

  def rows(self, count: int) -> list[Row]:
    """The first ``count`` of them."""
    while sum(map(len, self._windows)) < count:
      self.window(len(self._windows))
    return [row for window in self._windows for row in window][:count]

  def window(self, number: int) -> list[Row]:
    """Rows of draws that are packed together, in random order."""
    while len(self._windows) <= number:
      self._windows.append(self._next(len(self._windows)))
    return self._windows[number]

  def realised(self, steps: int) -> Mapping[str, int]:
    """How often each stream was drawn in the first ``steps`` batches."""
    rows = self.rows(steps * self._data.options.rows)
    return collections.Counter(name for row in rows for name in row.streams)

  def filled(self, steps: int) -> float:
    """Share of places that hold an id."""
    rows = self.rows(steps * self._data.options.rows)
    used = [len(e.ids) - 1 for row in rows for e in row.examples]
    return packing.efficiency(used, len(rows), self._data.options.length)

  def _next(self, number: int) -> list[Row]:
    found: list[tuple[str, Encoded]] = []
    while len(found) < _WINDOW:
      place, draw = next(self._draws)
      made = self._encoded(place, draw)
      if made is None:
        self.dropped += 1
        if self.dropped > 10 * _WINDOW and not found:
          raise InputError('--length: no answer of an example is shorter')
      else:
        found.append((draw.stream, made))
    lengths = [len(encoded.ids) - 1 for _, encoded in found]
    rows = packing.rows_of(lengths, self._data.options.length)
    order = np.random.default_rng((self._seed, number)).permutation(len(rows))
    return [
      Row(tuple(found[i][1] for i in rows[o]), tuple(found[i][0] for i in rows[o]))
      for o in order
    ]

  def _encoded(self, place: int, draw: mixtures.Draw) -> Encoded | None:
    data = self._data
    if draw.stream == TEXT:
      ids = data.chunks[draw.row]
      return Encoded(ids, np.arange(len(ids)) > 0, 0)
    random = np.random.default_rng((self._seed, place, 1))
    task = data.collection.by_id[draw.stream]
    rows = data.levels.train[draw.stream]
    example = task.examples[rows[draw.row]]
    count = 0
    if data.options.demonstrations:
      chances = prompts.zipf(data.options.demonstrations)
      count = int(random.choice(len(chances), p=chances))
    said = task.instructions
    made = prompts.prompt(
      example,
      prompts.shown(self._pool(draw.stream) if count else [], example, count, random),
      instruction=said[random.integers(len(said))] if said else '',
      delimiter=prompts.delimiter_of(random),
      separator=data.options.separator,
    )
    longest = data.options.length + 1
    return prompts.encoded(made, data.tokens, longest, data.options.counted)

  def _pool(self, name: str) -> list[Demonstration]:
    """Of what is trained on, the examples that are trained on too."""
    if name not in self._pools:
      task = self._data.collection.by_id[name]
      most = prompts.MOST_DEMONSTRATIONS
      self._pools[name] = prompts.pool_of(task, self._data.levels.train[name], most)
    return self._pools[name]


def _packed(rows: Sequence[Sequence[Encoded]], length: int, padding: int) -> Batch:
  pairs = [[(e.ids, e.counted) for e in row] for row in rows]
  return packing.packed(pairs, length, padding)
