"""Scores of recognised speech, with the protocol that they were computed by.

They are `translation.Score`s, so that ``paired_bootstrap`` compares them; characters
are scored by ``translation.character_error_rate``, and references with alternatives by
``trn``.
"""

import importlib.metadata
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.scores import formulas
from experiments.scores.translation import Score

_SILENCES = ('keep', 'merge', 'drop')


def word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
  """Fewest edits that make the references of the hypotheses, by words of the former.

  Args:
    hypotheses: ``n`` sentences, with blanks between words.
    references: what was said.

  Raises:
    ValueError: the numbers of sentences differ, or no word was said.
  """
  counts = _edits(hypotheses, references)
  return _score(counts, f'wer|case:mixed|average:corpus|{_version()}')


def phone_error_rate(
  hypotheses: Sequence[str],
  references: Sequence[str],
  fold: Mapping[str, str],
  silences: str = 'keep',
  silence: str = 'sil',
) -> Score:
  """The same by phones, once some of them are held for one and the same.

  Args:
    hypotheses: ``n`` utterances, with blanks between phones.
    references: what was said.
    fold: what each phone becomes, ``''`` for nothing; empty: they stay as they are.
    silences: ``'keep'``; ``'merge'`` neighbours; or ``'drop'`` all. Published results
      differ in this.
    silence: that phone, folded.

  Raises:
    ValueError: the numbers of utterances differ, there is no phone, or one in a
      reference is not known.
  """
  if silences not in _SILENCES:
    raise ValueError(f'silences: expected {" or ".join(_SILENCES)}, got {silences!r}')
  if fold and (unknown := set(' '.join(references).split()) - fold.keys()):
    raise ValueError(f'references: {min(unknown)} is no phone of the folding')

  def folded(text: str) -> str:
    phones = [phone for name in text.split() if (phone := fold.get(name, name))]
    if silences == 'drop':
      phones = [phone for phone in phones if phone != silence]
    if silences == 'merge':
      runs = ((phone, len(list(run))) for phone, run in itertools.groupby(phones))
      phones = [p for p, size in runs for _ in range(1 if p == silence else size)]
    return ' '.join(phones)

  counts = _edits([folded(one) for one in hypotheses], [folded(o) for o in references])
  kept = {phone for phone in fold.values() if phone}
  deleted = sorted(phone for phone in fold if not fold[phone])
  signature = f'map:{len(fold)}-{len(kept)}' if fold else 'map:none'
  signature += f'|del:{",".join(deleted) or "none"}|sil:{silences}'
  return _score(counts, f'per|{signature}|average:corpus|{_version()}')


def frame_protocol(num_classes: int) -> str:
  """What stands beside a frame error rate, the share of frames of another class."""
  return f'fer|classes:{num_classes}|frames:all'


def _edits(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
  """Errors and units of the reference, ``[n, 2]``."""
  import jiwer

  _check(hypotheses, references)
  counts = []
  for one, other in zip(hypotheses, references, strict=True):
    edits = jiwer.process_words(other, one)
    errors = edits.substitutions + edits.deletions + edits.insertions
    counts.append((errors, edits.hits + edits.substitutions + edits.deletions))
  return np.array(counts, np.float64)


def _check(hypotheses: Sequence, references: Sequence) -> None:
  for name, given in (('hypotheses', hypotheses), ('references', references)):
    if isinstance(given, str):
      raise ValueError(f'{name}: expected a list of them, got {given!r:.40}')
  if len(hypotheses) != len(references):
    raise ValueError(
      f'references: expected {len(hypotheses)}, one a hypothesis, got {len(references)}'
    )


def _score(counts: np.ndarray, signature: str) -> Score:
  if not counts.size or not counts[:, 1].any():
    raise ValueError('references: expected something that was said, got nothing')
  value = float(formulas.ratio(counts.sum(axis=0)))
  return Score(value, signature, counts, formulas.ratio)


def _version() -> str:
  return f'jiwer:{importlib.metadata.version("jiwer")}'
