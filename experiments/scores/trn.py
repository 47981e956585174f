"""NIST's transcripts, and word errors counted as its program sclite does.

A line of a ``.trn`` file is ``words (speaker-utterance)``. In a reference ``{ a / b }``
stands for either, and ``@`` for nothing: what is nearest to the hypothesis counts.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple, Self

NOTHING = '@'
# What sclite's alignment pays for them, in thousandths.
SUBSTITUTION, GAP, _PASSED = 4000, 3000, 1
_JOIN = ''  # where alternatives meet

_LINE = re.compile(r'(.*)\(([^()\s]+)\)\s*')


class Errors(NamedTuple):
  """Counts of words."""

  hits: int = 0
  substitutions: int = 0
  deletions: int = 0
  insertions: int = 0

  @property
  def words(self) -> int:
    """Of the reference."""
    return self.hits + self.substitutions + self.deletions

  @property
  def errors(self) -> int:
    """All of them."""
    return self.substitutions + self.deletions + self.insertions


class _Way(NamedTuple):
  """An alignment up to a node and a word that is said."""

  cost: int
  errors: Errors

  def then(self, cost: int, **more: int) -> Self:
    """One step further."""
    counts = {name: getattr(self.errors, name) + more[name] for name in more}
    return self._replace(cost=self.cost + cost, errors=self.errors._replace(**counts))


@dataclasses.dataclass(frozen=True)
class _Network:
  """The ways to read a reference: words that lead from one node to a later one.

  Attributes:
    into: ``[(node, word)]`` by node: one word, or several ``_JOIN``.
  """

  into: list[list[tuple[int, str]]] = dataclasses.field(default_factory=lambda: [[]])

  def node(self, *arcs: tuple[int, str]) -> int:
    """A new one behind all others."""
    self.into.append(list(arcs))
    return len(self.into) - 1


def parse(content: str) -> dict[str, str]:
  """The words of each utterance.

  Raises:
    ValueError: a line has no name, or one that an other line has.
  """
  texts: dict[str, str] = {}
  for number, line in enumerate(content.splitlines(), 1):
    if not line.strip():
      continue
    match = _LINE.fullmatch(line)
    if match is None:
      raise ValueError(f'line {number}: expected words (name), found {line:.60}')
    words, name = match[1].strip(), match[2].lower()
    if name in texts:
      raise ValueError(f'line {number}: {name} a second time')
    texts[name] = words
  return texts


def count(hypothesis: str, reference: str) -> Errors:
  """The errors of a sentence, whatever its case, as sclite counts them.

  The alignment is the cheapest one, where a substitution costs 4 and what is inserted
  or deleted 3. Others may cost the same and have fewer errors; sclite's passes as few
  ``@`` as can be, and from its end on it prefers words that stand opposite each other
  to an insertion, and that to a deletion.

  Raises:
    ValueError: braces do not match.
  """
  said = hypothesis.lower().split()
  table: list[list[_Way]] = []
  for arcs in _network(reference.lower()).into:
    row: list[_Way] = []
    for _ in range(len(said) + 1):
      # The first one of those that cost the same.
      row.append(min(_ways(table, row, arcs, said), key=lambda way: way.cost))
    table.append(row)
  return table[-1][-1].errors


def _ways(
  table: Sequence[Sequence[_Way]],
  row: Sequence[_Way],
  arcs: Sequence[tuple[int, str]],
  said: Sequence[str],
) -> list[_Way]:
  """To a node, when as many words are said as its row has ways."""
  place = len(row)
  inserted = [row[-1].then(GAP, insertions=1)] if place else []
  if not arcs:
    return inserted or [_Way(0, Errors())]
  start, word = arcs[0]
  if word == _JOIN:  # what is inserted there has been inserted before
    return [table[start][place] for start, _ in arcs]
  before = table[start]
  if word == NOTHING:
    return [*inserted, before[place].then(_PASSED)]
  deleted = before[place].then(GAP, deletions=1)
  if not place:
    return [deleted]
  if word == said[place - 1]:
    opposite = before[place - 1].then(0, hits=1)
  else:
    opposite = before[place - 1].then(SUBSTITUTION, substitutions=1)
  return [opposite, *inserted, deleted]


def _network(text: str) -> _Network:
  tokens = text.split()
  network = _Network()
  _sequence(tokens, 0, 0, network, inside=False)
  return network


def _sequence(
  tokens: Sequence[str], place: int, node: int, network: _Network, *, inside: bool
) -> tuple[int, int]:
  """Reads up to ``/`` or ``}``; the node and place there."""
  while place < len(tokens) and not (inside and tokens[place] in {'/', '}'}):
    if tokens[place] == '}':
      raise ValueError(f'braces do not match: {" ".join(tokens):.60}')
    if tokens[place] == '{':
      ends: list[tuple[int, str]] = []
      start = node
      while not ends or tokens[place] == '/':
        end, place = _sequence(tokens, place + 1, start, network, inside=True)
        ends.append((end, _JOIN))
        if place >= len(tokens):
          raise ValueError(f'braces do not match: {" ".join(tokens):.60}')
      node = network.node(*ends)
    else:
      node = network.node((node, tokens[place]))
    place += 1
  return node, place
