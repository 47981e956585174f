"""Scores of translations, with the protocol that they were computed by.

All of them are sums of counts over sentences, put into a formula. A score keeps its
counts, so that two systems can be compared on resampled sentences.
"""

import dataclasses
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.scores import formulas

References = Sequence[str] | Sequence[Sequence[str]]
Formula = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Score:
  """A number and what it means.

  Attributes:
    value: in percent.
    signature: of the protocol; only numbers with the same one can be compared.
    counts: ``[sentences, k]``, what the formula needs of each sentence.
    formula: sums of counts ``[..., k]`` to percent ``[...]``.
  """

  value: float
  signature: str
  counts: np.ndarray = dataclasses.field(repr=False, compare=False)
  formula: Formula = dataclasses.field(repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Difference:
  """Between two systems, with its 95 % interval."""

  value: float
  low: float
  high: float


def bleu(hypotheses: Sequence[str], references: References) -> Score:
  """BLEU of a corpus by sacrebleu, with its defaults.

  Args:
    hypotheses: ``n`` sentences, detokenized.
    references: ``n`` sentences; or several sets of them, ``[set][sentence]``.

  Raises:
    ValueError: the numbers of sentences differ, or there are none.

  References:
    Post, "A Call for Clarity in Reporting BLEU Scores", 2018.
  """
  import sacrebleu

  return _by_sacrebleu(sacrebleu.BLEU(), hypotheses, references, formulas.smoothed_bleu)


def multi_bleu(hypotheses: Sequence[str], references: References) -> Score:
  """BLEU as Moses' multi-bleu.perl has it: 0 if no n-gram of some order matches.

  Its input is what sacrebleu's tokenizer 13a makes of the sentences, which are
  detokenized here as in ``bleu``. Arguments and errors as there.
  """
  import sacrebleu

  metric = sacrebleu.BLEU(smooth_method='none')
  return _by_sacrebleu(metric, hypotheses, references, formulas.plain_bleu)


def chrf(hypotheses: Sequence[str], references: References) -> Score:
  """chrF2 of a corpus by sacrebleu; arguments and errors as ``bleu``.

  References:
    Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015.
  """
  import sacrebleu

  return _by_sacrebleu(sacrebleu.CHRF(), hypotheses, references, formulas.chrf)


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
  """Share of sentences that are the reference, to the character.

  Raises:
    ValueError: the numbers of sentences differ, or there are none.
  """
  (references,) = _sets(hypotheses, references, most=1)
  pairs = zip(hypotheses, references, strict=True)
  counts = np.array([(one == other, 1) for one, other in pairs], np.float64)
  return _score(counts, 'exact|case:mixed|strip:no', formulas.ratio)


def character_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
  """Edits that make the references of the hypotheses, by characters of the references.

  Raises:
    ValueError: as ``exact_match``, or a reference is empty.
  """
  import jiwer

  (references,) = _sets(hypotheses, references, most=1)
  counts = []
  for row, (one, other) in enumerate(zip(hypotheses, references, strict=True)):
    if not other.strip():
      raise ValueError(f'reference {row} is empty: it has no error rate')
    edits = jiwer.process_characters(other, one)
    errors = edits.substitutions + edits.deletions + edits.insertions
    counts.append((errors, edits.hits + edits.substitutions + edits.deletions))
  version = importlib.metadata.version('jiwer')
  signature = f'cer|case:mixed|strip:yes|average:corpus|jiwer:{version}'
  return _score(np.array(counts, np.float64), signature, formulas.ratio)


def paired_bootstrap(
  score: Score, baseline: Score, n: int = 1000, seed: int = 0
) -> Difference:
  """How much better a system is than another on the same sentences.

  Args:
    score: of a system.
    baseline: of the other.
    n: how many times as many sentences are drawn, with replacement.
    seed: of the draws.

  Returns:
    ``score - baseline``, and the 2.5 % and 97.5 % quantiles of the draws.

  Raises:
    ValueError: the scores are of different protocols or numbers of sentences.

  References:
    Koehn, "Statistical Significance Tests for Machine Translation Evaluation", 2004.
  """
  if score.signature != baseline.signature:
    raise ValueError(f'different scores: {score.signature}, {baseline.signature}')
  size = len(score.counts)
  if size != len(baseline.counts):
    raise ValueError(f'different sentences: {size}, {len(baseline.counts)}')
  # RandomState's streams are frozen: the same draws under every numpy.
  random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
  draws = (random.randint(size, size=size) for _ in range(n))
  times = np.array([np.bincount(draw, minlength=size) for draw in draws], np.float64)
  differences = score.formula(times @ score.counts)
  differences = differences - baseline.formula(times @ baseline.counts)
  low, high = np.quantile(differences, [0.025, 0.975])
  return Difference(score.value - baseline.value, float(low), float(high))


def _sets(
  hypotheses: Sequence[str], references: References, most: int | None = None
) -> list[list[str]]:
  """The references as ``[set][sentence]``, checked."""
  _check('hypotheses', hypotheses)
  nested = not all(isinstance(reference, str) for reference in references)
  sets: Sequence[Any] = references if nested else [references]
  for one in sets:
    _check('references', one)
    if len(one) != len(hypotheses):
      transposed = nested and len(sets) == len(hypotheses)
      raise ValueError(
        f'references: expected {len(hypotheses)}, one a hypothesis, got {len(one)}'
        + '; is it [sentence][set]?' * transposed
      )
  if not hypotheses:
    raise ValueError('expected sentences, got none')
  if most is not None and len(sets) > most:
    raise ValueError(f'references: expected one set, got {len(sets)}')
  return [list(one) for one in sets]


def _check(name: str, sentences: Any) -> None:
  if isinstance(sentences, str) or not isinstance(sentences, Sequence):
    raise ValueError(f'{name}: expected a list of sentences, got {sentences!r:.40}')
  for sentence in sentences:
    if not isinstance(sentence, str):
      raise ValueError(f'{name}: expected a sentence, got {sentence!r:.40}')


def _score(counts: np.ndarray, signature: str, formula: Formula) -> Score:
  return Score(float(formula(counts.sum(axis=0))), signature, counts, formula)


def _by_sacrebleu(
  metric: Any, hypotheses: Sequence[str], references: References, formula: Formula
) -> Score:
  sets = _sets(hypotheses, references)
  # What its own significance tests call; sentence scores do not give chrF's counts.
  counts = metric._extract_corpus_statistics(list(hypotheses), sets)
  name = type(metric).__name__
  signature = f'{name}|{metric.get_signature()}'
  return _score(np.array(counts, np.float64), signature, formula)
