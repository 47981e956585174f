"""An example as it is given to a model: instruction, demonstrations, input, answer.

After Iyer et al., 2022, appendix A: the instruction and the input end with a delimiter,
one of a small set, unless they end with a colon; demonstrations stand between the
instruction of a task and the example, or before the example where every example has
an instruction of its own.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from experiments.datasets.instructions.collection import (
  Demonstration,
  Example,
  InstructionTask,
)
from experiments.datasets.instructions.tokens import Tokens

DELIMITERS = (
  *('\nAnswer:', ' Answer:', '\nA:', ' A:', '\nOutput:', ' Output:'),
  *('\nanswer:', '\noutput:'),
)
SEPARATOR = '\n\n'
METAICL_SEPARATOR = '\n\n\n'  # of Min et al., 2022, and of the paper's runs with it
MOST_DEMONSTRATIONS = 5
LOSSES = 'target', 'suffix', 'full'


@dataclasses.dataclass(frozen=True)
class Prompt:
  """Texts in the order in which they are read.

  Attributes:
    parts: each with whether it is an answer; answers start with a blank. The last one
      is the answer of the example itself.
  """

  parts: tuple[tuple[str, bool], ...]

  @property
  def source(self) -> str:
    """What the model is given."""
    return ''.join(text for text, _ in self.parts[:-1])

  @property
  def target(self) -> str:
    """What it is to write, with a blank before it."""
    return self.parts[-1][0]


@dataclasses.dataclass(frozen=True)
class Encoded:
  """Ids, and which of them the loss counts.

  Attributes:
    ids: ``[length]``.
    counted: ``[length]``, of the ids as labels.
    shortened: ids that were cut off on the left.
  """

  ids: np.ndarray
  counted: np.ndarray
  shortened: int


def prompt(
  example: Example,
  demonstrations: Sequence[Demonstration] = (),
  *,
  instruction: str = '',
  delimiter: str = DELIMITERS[0],
  separator: str = SEPARATOR,
  output: str | None = None,
) -> Prompt:
  """The texts of an example.

  Args:
    example: what is asked.
    demonstrations: that are shown.
    instruction: one of the task's; not needed where the example has its own.
    delimiter: between what is asked and what is answered.
    separator: around demonstrations.
    output: in place of the first of the example's, such as one of its options.

  Example:
    >>> example = Example('1', 'abc', ('c',))
    >>> shown = Demonstration('pq', 'q')
    >>> print(prompt(example, [shown], instruction='Last letter?').source)
    Last letter?
    <BLANKLINE>
    pq
    Answer: q
    <BLANKLINE>
    abc
    Answer:
  """
  own = example.instruction
  parts: list[tuple[str, bool]] = []
  if instruction and not own:
    parts.append((instruction.strip() + (separator if demonstrations else '\n'), False))
  for shown in demonstrations:
    parts.append((_asked(shown.input, delimiter), False))
    parts.append((f' {shown.output.strip()}', True))
    parts.append((separator, False))
  text = f'{own.strip()}\n{example.input}' if own else example.input
  if parts or text.strip():  # else all of it is learned, and nothing is asked
    parts.append((_asked(text, delimiter), False))
  answer = example.outputs[0] if output is None else output
  parts.append((f' {answer.strip()}', True))
  return Prompt(tuple(parts))


def delimiter_of(random: np.random.Generator) -> str:
  """One of the set."""
  return DELIMITERS[random.integers(len(DELIMITERS))]


def shown(
  pool: Sequence[Demonstration],
  example: Example,
  count: int,
  random: np.random.Generator,
) -> list[Demonstration]:
  """Different ones of the pool of a task; never what is asked.

  Text that answers nothing, of an empty input, is shown nothing.
  """
  asked = _words(_of(example).input)
  found: dict[str, Demonstration] = {}
  # All of a pool of thousands are not compared for the few that are shown.
  for place in random.permutation(len(pool)) if count and asked else ():
    own = _words(pool[place].input)
    if own != asked:
      found.setdefault(own, pool[place])
    if len(found) == count:
      break
  return list(found.values())


def pool_of(
  task: InstructionTask, rows: Iterable[int], count: int
) -> list[Demonstration]:
  """What may be shown: the task's own demonstrations, and examples where they are few.

  Args:
    task: of which all of them are.
    rows: places of examples that may be shown.
    count: how many are to be shown; one more may be what is asked.
  """
  own = list(task.positive)
  return own if len(own) > count else own + [_of(task.examples[row]) for row in rows]


def _of(example: Example) -> Demonstration:
  asked = f'{example.instruction}\n{example.input}'.strip()
  return Demonstration(asked, example.outputs[0])


def _words(text: str) -> str:
  return ' '.join(text.split())


def zipf(exponent: float, most: int = MOST_DEMONSTRATIONS) -> np.ndarray:
  """Probabilities of 0, ..., ``most`` demonstrations: of k, ``(k + 1) ** -exponent``.

  Normalised over these, which gives the shares of Iyer et al., 2022.

  Example:
    >>> zipf(2.0).round(4).tolist()
    [0.6705, 0.1676, 0.0745, 0.0419, 0.0268, 0.0186]
  """
  weights = np.arange(1.0, most + 2) ** -exponent
  return weights / weights.sum()


def encoded(
  prompt: Prompt, tokens: Tokens, longest: int, loss: str = 'target'
) -> Encoded | None:
  """Ids of at most ``longest``; None where the answer alone is longer.

  What is too long loses its beginning, never of the answer.

  Args:
    prompt: the texts.
    tokens: turn them into ids.
    longest: most ids, with start and end.
    loss: what is counted: the last answer (``'target'``), all from the first answer
      on (``'suffix'``), or everything (``'full'``).
  """
  ids, counted = [], []
  seen = loss == 'full'
  last = len(prompt.parts) - 1
  for place, (text, answer) in enumerate(prompt.parts):
    own = tokens.encode(text)
    seen |= place == last or (answer and loss == 'suffix')
    ids += own
    counted += [seen] * len(own)
  end = [tokens.end]
  start = _start(tokens)
  answer_size = len(tokens.encode(prompt.target)) + 1
  room = longest - len(start)
  # Something has to come before the answer for it to be an answer to.
  if answer_size + (0 if start else 1) > room:
    return None
  cut = max(0, len(ids) + 1 - room)
  kept, counts = [*ids[cut:], *end], [*counted[cut:], True]
  return Encoded(
    np.array([*start, *kept], np.int32),
    np.array([*[False] * len(start), *counts], bool),
    cut,
  )


def source_ids(prompt: Prompt, tokens: Tokens, longest: int) -> list[int]:
  """What comes before the answer, as ``encoded`` has it: its last ids, after the start.

  Args:
    prompt: the texts.
    tokens: turn them into ids.
    longest: most ids, with the start.
  """
  start = _start(tokens)
  ids = [i for text, _ in prompt.parts[:-1] for i in tokens.encode(text)]
  return [*start, *ids[max(0, len(start) + len(ids) - longest) :]]


def _start(tokens: Tokens) -> list[int]:
  return [] if tokens.start is None else [tokens.start]


def _asked(text: str, delimiter: str) -> str:
  text = text.strip()
  return text if text.endswith(':') else text + delimiter
