"""How often which task is trained on.

The rate of a task is seqio's: ``min(scale · n, maximum) ** (1 / temperature)``. Iyer et
al. (2022) give every benchmark a share, and within it every task the rate
``min(n, 4096)``; streams of other text have shares of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.errors import InputError

CAP = 4096
# CrossFit, ExMix, FLAN, Super-NaturalInstructions, PromptSource, T5, UnifiedSKG.
OPT_IML_SHARES = {
  'crossfit': 0.04,
  'exmix': 0.02,
  'flan': 0.20,
  'super_natural_instructions': 0.25,
  'promptsource': 0.45,
  't5': 0.02,
  'unifiedskg': 0.02,
}
KINDS = 'proportional', 'uniform', 'temperature'


class Draw(NamedTuple):
  """One of a stream's examples, for the ``turn``-th time since the start."""

  stream: str
  row: int
  turn: int


def rate(
  count: float,
  *,
  scale: float = 1.0,
  maximum: float | None = None,
  temperature: float = 1.0,
) -> float:
  """Of a task with ``count`` examples.

  Example:
    >>> rate(3, scale=27, temperature=2.0)
    9.0
  """
  if temperature <= 0:
    raise ValueError(f'temperature: expected a number above 0, got {temperature}')
  size = scale * count if maximum is None else min(scale * count, maximum)
  return float(size ** (1 / temperature))


def flattened(mixture: Sequence[tuple[Any, float]]) -> dict[str, float]:
  """Rates of the tasks of a mixture of tasks and mixtures, as seqio has them.

  The members of a mixture share its own rate in proportion to theirs.

  Example:
    >>> flattened([([('a', 1), ('b', 1)], 1), ('c', 1)])
    {'a': 0.5, 'b': 0.5, 'c': 1.0}
  """
  rates: dict[str, float] = {}
  for member, own in mixture:
    inner = {member: 1.0} if isinstance(member, str) else flattened(member)
    total = sum(inner.values())
    for name, share in inner.items():
      rates[name] = rates.get(name, 0.0) + own * share / total
  return rates


def probabilities(
  counts: Mapping[str, Mapping[str, int]],
  *,
  kind: str = 'proportional',
  cap: int | None = CAP,
  temperature: float = 2.0,
  shares: Mapping[str, float] | None = None,
  extra: Mapping[str, float] | None = None,
) -> dict[str, float]:
  """Of every task and further stream; they sum to one.

  Args:
    counts: examples by benchmark and task.
    kind: of the rates within a benchmark: ``'proportional'`` to the examples up to
      the cap, the same for all (``'uniform'``), or proportional to the root
      (``'temperature'``).
    cap: examples of a task that count; None: all.
    temperature: of the root.
    shares: of benchmarks, which need not sum to one; None: by the rates of their
      tasks. Benchmarks of a share that are not there are an error.
    extra: share of the whole of each further stream, by name.

  Raises:
    InputError: a share of what is not there, or shares that leave nothing.
  """
  extra = dict(extra or {})
  rates: dict[str, dict[str, float]] = {}
  for benchmark, tasks in counts.items():
    rates[benchmark] = {
      name: 1.0
      if kind == 'uniform'
      else rate(n, maximum=cap, temperature=temperature if kind == 'temperature' else 1)
      for name, n in tasks.items()
    }
  outer = {name: sum(tasks.values()) for name, tasks in rates.items()}
  if shares is not None:
    outer = _shared(shares, outer)
  rest = 1 - sum(extra.values())
  if min([*extra.values(), rest], default=1) < 0 or rest <= 0:
    raise InputError(
      f'shares of further text: expected less than 1 in all, got {extra}'
    )
  total = sum(outer.values())
  mixture = [
    ([(name, own) for name, own in rates[benchmark].items()], rest * share / total)
    for benchmark, share in outer.items()
    if share
  ]
  return {**flattened(mixture), **{name: own for name, own in extra.items() if own}}


def draws(
  shares: Mapping[str, float], counts: Mapping[str, int], seed: int
) -> Iterator[Draw]:
  """Without end; all of a stream's examples come before one comes again.

  After any number of draws each stream had its share of them, but for rounding, which
  adds up over the streams before it (up to 8 draws of 16,000 with 50 streams). They are
  interleaved by grain, where a place is a function of the number alone.

  Args:
    shares: by stream, positive.
    counts: examples by stream, not 0.
    seed: of the order within the streams.
  """
  import grain  # takes a second

  names = list(shares)
  sources = [
    grain.MapDataset.range(counts[name])
    .shuffle(seed=(seed * 1_000_003 + place) % 2**32)
    .repeat()
    .map(lambda row, place=place: (place, row))
    for place, name in enumerate(names)
  ]
  weights = np.array([shares[name] for name in names], np.float64)
  mixed = grain.MapDataset.mix(sources, weights=list(weights / weights.sum()))
  turns = dict.fromkeys(names, 0)
  for number in range(len(mixed)):
    place, row = mixed[number]
    name = names[place]
    yield Draw(name, int(row), turns[name])
    turns[name] += 1


def _shared(
  shares: Mapping[str, float], outer: Mapping[str, float]
) -> dict[str, float]:
  unknown = [name for name in shares if name not in outer]
  if unknown:
    raise InputError(
      f'--shares: no benchmark {", ".join(unknown)}; there are {", ".join(outer)}'
    )
  if min(shares.values()) < 0 or not sum(shares.values()) > 0:
    raise InputError(f'--shares: expected numbers, 0 or more, got {dict(shares)}')
  return {name: shares.get(name, 0.0) for name in outer}
