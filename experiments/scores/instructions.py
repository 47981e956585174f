"""How good answers to instructions are.

Free answers count as Super-NaturalInstructions counts them (Wang et al., 2022): exact
match and Rouge-L of texts in lower case without ASCII punctuation, articles kept. Where
there are options, that with the highest score is the answer.
"""

import functools
import re
import statistics
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

RULES = 'sum', 'per_token', 'per_byte', 'pmi'
_PUNCTUATION = str.maketrans('', '', string.punctuation)


def normalized(text: str) -> str:
  """Lower case, no ASCII punctuation, single blanks.

  Example:
    >>> normalized('The  Cat, the dog.')
    'the cat the dog'
  """
  return ' '.join(text.lower().translate(_PUNCTUATION).split())


def exact_match(prediction: str, references: Sequence[str]) -> float:
  """100 if it is one of the references, once both are normalized; else 0."""
  own = normalized(prediction)
  return 100.0 * any(own == normalized(reference) for reference in references)


def rouge_l(prediction: str, references: Sequence[str]) -> float:
  """The highest F1 of the longest common subsequence of stems, in percent.

  Of texts without an ASCII letter or digit, for which rouge_score finds no words, the
  words are their characters.

  Example:
    >>> round(rouge_l('the cats sat', ['a cat sat there']), 4)
    57.1429
  """
  own = normalized(prediction)
  best = 0.0
  for reference in references:
    other = normalized(reference)
    ascii_too = re.search(r'[a-z0-9]', own) or re.search(r'[a-z0-9]', other)
    score = _scorer(bool(ascii_too)).score(other, own)
    best = max(best, 100 * score['rougeL'].fmeasure)
  return best


def ranked(
  log_probs: Sequence[float],
  tokens: Sequence[int],
  sizes: Sequence[int],
  unconditional: Sequence[float] | None = None,
  rule: str = 'sum',
) -> int:
  """The best option; of equals the first.

  Args:
    log_probs: of each option given the prompt, in nats.
    tokens: of each option.
    sizes: of each option, bytes.
    unconditional: log-probabilities without the prompt, for ``'pmi'``.
    rule: ``'sum'``, ``'per_token'``, ``'per_byte'``, or ``'pmi'``, pointwise mutual
      information.

  Raises:
    ValueError: a score is NaN, or something for the rule is missing.

  Example:
    >>> ranked([-3.0, -4.0], [2, 4], [2, 4], rule='per_token')
    1
  """
  scores = np.asarray(log_probs, np.float64)
  if rule == 'pmi':
    if unconditional is None:
      raise ValueError("unconditional: needed for 'pmi'")
    # What cannot be is not: -inf less -inf would be no number.
    alone = np.asarray(unconditional, np.float64)
    scores = np.subtract(scores, alone, out=scores.copy(), where=scores != -np.inf)
  elif rule != 'sum':
    if rule not in RULES:
      raise ValueError(f'rule: expected one of {RULES}, got {rule!r}')
    scores = scores / np.asarray(tokens if rule == 'per_token' else sizes, np.float64)
  if np.isnan(scores).any():
    raise ValueError(f'log_probs: expected numbers, got {list(log_probs)}')
  return int(np.argmax(scores))


def macro(values: Mapping[str, Sequence[float]], category: Mapping[str, str]) -> float:
  """Mean over the examples of a task, its category's tasks, and the categories.

  Args:
    values: by task, one an example.
    category: by task.
  """
  by_category: dict[str, list[float]] = {}
  for task, own in values.items():
    by_category.setdefault(category[task], []).append(statistics.fmean(own))
  return statistics.fmean(statistics.fmean(own) for own in by_category.values())


def bootstrap(
  values: Mapping[str, Sequence[float]],
  category: Mapping[str, str],
  *,
  draws: int = 1000,
  seed: int = 0,
) -> tuple[float, float]:
  """95 % interval of ``macro`` over draws of the examples of each task."""
  random = np.random.default_rng(seed)
  means = {}
  for task, own in values.items():
    array = np.asarray(own, np.float64)
    places = random.integers(len(array), size=(draws, len(array)))
    means[task] = array[places].mean(1)
  found = [
    macro({task: [own[draw]] for task, own in means.items()}, category)
    for draw in range(draws)
  ]
  low, high = np.percentile(found, [2.5, 97.5])
  return float(low), float(high)


def protocol(
  *, free: str, rule: str, shots: int, longest: int, separator: str = ''
) -> str:
  """What a number means, in one line.

  Example:
    >>> protocol(free='exact', rule='sum', shots=0, longest=16)
    'options: sum of log p with end|free: exact, Super-NI, greedy, 16 ids|shots: 0'
    >>> protocol(free='exact', rule='sum', shots=2, longest=9, separator='..')[-39:]
    "shots: 2 of the same task, between '..'"
  """
  shown = f' of the same task, between {separator!r}' if shots else ''
  return (
    f'options: {rule} of log p with end|free: {free}, Super-NI, greedy, {longest} ids'
    f'|shots: {shots}{shown}'
  )


def prediction_line(
  task: str, name: str, text: str, outputs: Sequence[str], prediction: str
) -> dict[str, Any]:
  """A line of Tk-Instruct's predictions."""
  instance = {'id': name, 'input': text, 'output': list(outputs)}
  return {'Task': task, 'Instance': instance, 'prediction': prediction}


@functools.cache
def _scorer(words: bool) -> Any:
  from rouge_score import rouge_scorer  # loads nltk, which takes a second

  tokenizer = None if words else _Characters()
  return rouge_scorer.RougeScorer(['rougeL'], use_stemmer=True, tokenizer=tokenizer)


class _Characters:
  def tokenize(self, text: str) -> list[str]:
    return [letter for letter in text if not letter.isspace()]
