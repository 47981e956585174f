"""NIST's transcripts, and word errors counted as its program sclite does.

A line of a ``.trn`` file is ``words (speaker-utterance)``. In a reference ``{ a / b }``
stands for either, and ``@`` for nothing: the one that makes the fewest errors counts.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

SUBSTITUTION, GAP = 4, 3  # what sclite's alignment pays for them
NOTHING = '@'

_LINE = re.compile(r'(.*)\(([^()\s]+)\)\s*')


class Errors(NamedTuple):
  """Counts of words."""

  hits: int
  substitutions: int
  deletions: int
  insertions: int

  @property
  def words(self) -> int:
    """Of the reference."""
    return self.hits + self.substitutions + self.deletions

  @property
  def errors(self) -> int:
    """All of them."""
    return self.substitutions + self.deletions + self.insertions


@dataclasses.dataclass(frozen=True)
class _Network:
  """The ways to read a reference: words that lead from one node to a later one.

  Attributes:
    into: ``[(node, word)]`` by node; the word ``''`` is none.
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
  """The errors of a sentence, whatever its case.

  The alignment is the cheapest one, where a substitution costs 4 and what is inserted
  or deleted 3.

  Raises:
    ValueError: braces do not match.
  """
  said = hypothesis.lower().split()
  network = _network(reference.lower())
  table: list[list[tuple[int, Errors]]] = []
  for node, arcs in enumerate(network.into):
    row: list[tuple[int, Errors]] = []
    for place in range(len(said) + 1):
      ways = [] if node or place else [(0, Errors(0, 0, 0, 0))]
      if place:
        cost, before = row[place - 1]
        ways.append((cost + GAP, before._replace(insertions=before.insertions + 1)))
      for start, word in arcs:
        ways += _ways(table[start], place, word, said)
      row.append(min(ways, key=_key))
    table.append(row)
  return table[-1][-1][1]


def _ways(
  row: Sequence[tuple[int, Errors]], place: int, word: str, said: Sequence[str]
) -> list[tuple[int, Errors]]:
  """How a word of the reference is passed."""
  cost, before = row[place]
  if not word:
    return [(cost, before)]
  ways = [(cost + GAP, before._replace(deletions=before.deletions + 1))]
  if place:
    cost, before = row[place - 1]
    if word == said[place - 1]:
      ways.append((cost, before._replace(hits=before.hits + 1)))
    else:
      more = before._replace(substitutions=before.substitutions + 1)
      ways.append((cost + SUBSTITUTION, more))
  return ways


def _key(way: tuple[int, Errors]) -> tuple[int, int, int]:
  """Among the cheapest, the fewest errors, and the longest way through the network."""
  cost, errors = way
  return cost, errors.errors, -errors.words


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
        ends.append((end, ''))
        if place >= len(tokens):
          raise ValueError(f'braces do not match: {" ".join(tokens):.60}')
      node = network.node(*ends)
    elif tokens[place] != NOTHING:
      node = network.node((node, tokens[place]))
    place += 1
  return node, place
