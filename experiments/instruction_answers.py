"""What a decoder-only model answers: free texts, and the best of options."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments.datasets.instructions import packing, prompts
from experiments.datasets.instructions.collection import Collection, options_of
from experiments.datasets.instructions.splits import Rows
from experiments.datasets.instructions.tokens import Tokens
from experiments.models import generation
from experiments.scores import instructions as scores
from experiments.task import PyTree

_ROWS, _WIDTH = 32, 64  # prompts side by side, and what their lengths are rounded to


@dataclasses.dataclass(frozen=True)
class Answer:
  """To one example.

  Attributes:
    task: its id.
    name: of the example.
    text: of the answer.
    exact: 0 or 100.
    rouge: in percent.
    chance: of being exact by a guess, percent; 0 where answers are free.
  """

  task: str
  name: str
  text: str
  exact: float
  rouge: float
  chance: float


@dataclasses.dataclass(frozen=True)
class Answering:
  """Networks of one form, with any weights.

  Attributes:
    graph: of the network: see ``opt.graph``.
    tokens: ids of text.
    positions: most ids of prompt and answer.
    longest: most ids of an answer.
    rule: by which options are ranked.
    separator: around demonstrations.
  """

  graph: Any
  tokens: Tokens
  positions: int
  longest: int
  rule: str = 'sum'
  separator: str = prompts.SEPARATOR

  def answers(
    self, params: PyTree, collection: Collection, rows: Rows, shots: int, seed: int = 0
  ) -> list[Answer]:
    """To all examples, in their order.

    Args:
      params: of the network.
      collection: of the tasks.
      rows: examples by task.
      shots: demonstrations, other ones of the task.
      seed: of their choice.
    """
    asked = list(self._asked(collection, rows, shots, seed))
    free = [i for i, own in enumerate(asked) if not own.options]
    ranked = [i for i, own in enumerate(asked) if own.options]
    texts = dict(
      zip(free, self._written(params, [asked[i] for i in free]), strict=True)
    )
    texts |= zip(ranked, self._ranked(params, [asked[i] for i in ranked]), strict=True)
    return [own.answered(texts[place]) for place, own in enumerate(asked)]

  def _asked(
    self, collection: Collection, rows: Rows, shots: int, seed: int
  ) -> Iterator['_Asked']:
    for name, places in rows.items():
      task = collection.by_id[name]
      # Of the task alone: what is shown does not depend on what else is asked.
      pool = prompts.pool_of(task, range(len(task.examples)), shots)
      said = task.instructions[0] if task.instructions else ''
      for place in places:
        example = task.examples[place]
        random = np.random.default_rng((seed, place, *name.encode()))
        shown = prompts.shown(pool, example, shots, random)
        made = functools.partial(
          prompts.prompt,
          example,
          shown,
          instruction=said,
          separator=self.separator,
        )
        outputs = example.outputs
        yield _Asked(name, example.name, outputs, options_of(task, example), made)

  def _written(self, params: PyTree, asked: Sequence['_Asked']) -> list[str]:
    room = self.positions - self.longest
    ids = [prompts.source_ids(own.made(), self.tokens, room) for own in asked]
    result = [''] * len(asked)
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    for begin in range(0, len(order), _ROWS):
      places = order[begin : begin + _ROWS]
      width = min(-(-len(ids[places[-1]]) // _WIDTH) * _WIDTH, room)
      batch = np.full((_ROWS, width), self.tokens.padding, np.int32)
      mask = np.zeros((_ROWS, width), bool)
      mask[:, 0] = True  # rows beyond the last prompt read one id
      for row, place in enumerate(places):
        size = len(ids[place])
        batch[row, :size], mask[row, :size] = ids[place], True
      found = jax.device_get(self._write(params, batch, mask))
      for row, place in enumerate(places):
        result[place] = self.tokens.decode(found.ids[row, : found.lengths[row]])
    return [text.strip() for text in result]

  def _ranked(self, params: PyTree, asked: Sequence['_Asked']) -> list[str]:
    pieces = [(own.made(output=o), o) for own in asked for o in own.options]
    conditional = self._log_probs(params, [made for made, _ in pieces])
    alone = [0.0] * len(pieces)
    if self.rule == 'pmi':
      bare = [
        prompts.Prompt((('Answer:', False), made.parts[-1])) for made, _ in pieces
      ]
      alone = self._log_probs(params, bare)
    result, place = [], 0
    for own in asked:
      part = slice(place, place + len(own.options))
      tokens = [len(self.tokens.encode(f' {o.strip()}')) + 1 for o in own.options]
      sizes = [len(o.strip().encode()) or 1 for o in own.options]
      best = scores.ranked(conditional[part], tokens, sizes, alone[part], self.rule)
      result.append(own.options[best])
      place = part.stop
    return result

  def _log_probs(self, params: PyTree, made: Sequence[prompts.Prompt]) -> list[float]:
    """Of the answers, with their ends."""
    length = self.positions
    encoded = [prompts.encoded(own, self.tokens, length + 1) for own in made]
    kept = [e for e in encoded if e is not None]
    rows = packing.rows_of([len(e.ids) - 1 for e in kept], length)
    found = [float('-inf')] * len(kept)
    for begin in range(0, len(rows), _ROWS // 4):
      own = rows[begin : begin + _ROWS // 4]
      pairs = [[(kept[i].ids, kept[i].counted) for i in row] for row in own]
      pairs += [[]] * (_ROWS // 4 - len(own))
      batch = packing.packed(pairs, length, self.tokens.padding)
      log_p = np.asarray(self._probable(params, dict(batch)), np.float64)
      for row, places in enumerate(own):
        for segment, place in enumerate(places, 1):
          found[place] = float(log_p[row][batch['segment'][row] == segment].sum())
    scored = iter(found)
    # An option that is longer than the network reads is never the best one.
    return [float('-inf') if e is None else next(scored) for e in encoded]

  @property
  def _allowed(self) -> np.ndarray:
    """Padding never comes: training knows that, too."""
    return np.arange(self.tokens.size) != self.tokens.padding

  @functools.cached_property
  def _write(self) -> Callable[..., generation.Written]:
    tokens = self.tokens

    @jax.jit
    def write(params: PyTree, ids: jax.Array, mask: jax.Array) -> generation.Written:
      model = nnx.merge(self.graph, params, copy=True)
      return generation.greedy(
        model,
        ids,
        mask,
        length=self.longest,
        end=tokens.end,
        padding=tokens.padding,
        allowed=jax.numpy.asarray(self._allowed),
      )

    return write

  @functools.cached_property
  def _probable(self) -> Callable[..., jax.Array]:
    @jax.jit
    def probable(params: PyTree, batch: dict[str, jax.Array]) -> jax.Array:
      model = nnx.merge(self.graph, params, copy=True)
      names = 'ids', 'segment', 'position', 'label', 'mask'
      allowed = jax.numpy.asarray(self._allowed)
      ids, segments, positions, labels, mask = (batch[name] for name in names)
      return generation.log_probs(
        model, ids, segments, positions, labels, mask, allowed=allowed
      )

    return probable


@dataclasses.dataclass(frozen=True)
class _Asked:
  task: str
  name: str
  outputs: tuple[str, ...]
  options: tuple[str, ...]
  made: Callable[..., prompts.Prompt]

  def answered(self, text: str) -> Answer:
    exact = scores.exact_match(text, self.outputs)
    rouge = scores.rouge_l(text, self.outputs)
    chance = 100 / len(self.options) if self.options else 0.0
    return Answer(self.task, self.name, text, exact, rouge, chance)
