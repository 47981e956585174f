"""Scores of recognised speech, and sclite's counts of word errors."""

import importlib.metadata

import numpy as np
import pytest

from experiments.datasets.phones import FOLD_39
from experiments.scores import speech, translation, trn

JIWER = f'jiwer:{importlib.metadata.version("jiwer")}'


def distance(one: list[str], other: list[str]) -> int:
  """Edits, by the definition."""
  row = list(range(len(other) + 1))
  for i, unit in enumerate(one, 1):
    before, row = row, [i]
    for j, wanted in enumerate(other, 1):
      row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (unit != wanted)))
  return row[-1]


def sentences(seed: int, count: int, empty: bool) -> list[list[str]]:
  draw = np.random.default_rng(seed)
  sizes = draw.integers(0 if empty else 1, 9, count)
  return [[str(word) for word in draw.choice(list('abcd'), size)] for size in sizes]


def test_word_errors_are_edits():
  hypotheses, references = sentences(0, 50, True), sentences(1, 50, False)
  score = speech.word_error_rate(
    [' '.join(words) for words in hypotheses], [' '.join(words) for words in references]
  )
  errors = [distance(*pair) for pair in zip(hypotheses, references, strict=True)]
  assert score.counts[:, 0].tolist() == errors
  assert score.counts[:, 1].tolist() == [len(words) for words in references]
  assert score.value == pytest.approx(100 * sum(errors) / score.counts[:, 1].sum())
  assert score.signature == f'wer|case:mixed|average:corpus|{JIWER}'
  assert translation.paired_bootstrap(score, score).value == 0


@pytest.mark.parametrize(
  ('hypothesis', 'reference', 'silences', 'errors', 'phones'),
  [
    ('h# hv ao h#', 'h# hh aa h#', 'keep', 0, 4),
    ('h# q ao', 'h# aa q q', 'keep', 0, 2),  # q is deleted on both sides
    ('h# ao h#', 'h# ao kcl pau', 'keep', 1, 4),
    ('h# ao h#', 'h# ao kcl q pau', 'merge', 0, 3),
    ('aa aa', 'h# aa aa h#', 'merge', 2, 4),  # other neighbours stay two
    ('ao ao epi ao', 'h# aa pau aa h#', 'drop', 1, 2),
    ('h# �', 'h# aa', 'keep', 1, 2),
  ],
)
def test_phone_errors(hypothesis, reference, silences, errors, phones):
  score = speech.phone_error_rate([hypothesis], [reference], FOLD_39, silences)
  assert score.counts.tolist() == [[errors, phones]]
  expected = f'per|map:61-39|del:q|sil:{silences}|average:corpus|{JIWER}'
  assert score.signature == expected


def test_other_foldings():
  fold = {'vcl': 'sil', 'ix': 'ih', 'sil': 'sil', 'ih': 'ih'}
  score = speech.phone_error_rate(['vcl ix'], ['sil ih'], fold)
  assert (score.value, score.signature.split('|')[1:3]) == (0, ['map:4-2', 'del:none'])
  score = speech.phone_error_rate(['x q'], ['x y'], {})
  assert (score.value, score.signature.split('|')[1]) == (50, 'map:none')


@pytest.mark.parametrize(
  ('call', 'fault'),
  [
    (lambda: speech.word_error_rate(['a'], ['a', 'b']), 'expected 1, one a hypothesis'),
    (lambda: speech.word_error_rate('a', 'a'), 'expected a list of them'),
    (lambda: speech.word_error_rate([], []), 'something that was said'),
    (lambda: speech.word_error_rate(['a'], ['']), 'something that was said'),
    (lambda: speech.phone_error_rate(['aa'], ['zz'], FOLD_39), 'zz is no phone'),
    (
      lambda: speech.phone_error_rate(['aa'], ['aa'], {}, 'no'),
      'keep or merge or drop',
    ),
  ],
)
def test_faults(call, fault):
  with pytest.raises(ValueError, match=fault):
    call()


@pytest.mark.parametrize(
  ('hypothesis', 'reference', 'expected'),
  [
    ('a b c', 'A b C', (3, 0, 0, 0)),
    ('', 'a b', (0, 0, 2, 0)),
    ('a b', '', (0, 0, 0, 2)),
    ('a x', 'a { b / x } ', (2, 0, 0, 0)),
    ('a', '{ @ / b } a', (1, 0, 0, 0)),
    ('b a', '{ @ / b } a', (2, 0, 0, 0)),
    ('p q r', '{ a / p { b / q } / c } r', (3, 0, 0, 0)),
    ('a', '@', (0, 0, 0, 1)),
    # Three words more and three fewer cost less than five others.
    ('a b x y z', 'p q r a b', (2, 0, 3, 3)),
    ('x', 'a { b c / d }', (0, 1, 1, 0)),
    # As sclite counts what costs the same as fewer errors: (4, 3, 5, 1), (2, 5, 1, 0).
    ('d c b f c e f a', 'e b d a a a a c f d c a', (5, 0, 7, 3)),
    ('e f a f d a a', 'b b f a b b c { @ / b a / f d } b', (4, 2, 4, 1)),
  ],
)
def test_trn_counts(hypothesis, reference, expected):
  errors = trn.count(hypothesis, reference)
  assert tuple(errors) == expected
  assert errors.words == sum(expected[:3])
  assert errors.errors == sum(expected[1:])


def test_trn_agrees_with_edits():
  for one, other in zip(sentences(2, 50, True), sentences(3, 50, True), strict=True):
    errors = trn.count(' '.join(one), ' '.join(other))
    assert errors.words == len(other)
    assert errors.hits + errors.substitutions + errors.insertions == len(one)
    # Substitutions are dearer: there may be more errors than edits, not fewer.
    assert errors.errors >= distance(one, other)


@pytest.mark.parametrize('text', ['{ a / b', 'a }', '{ a { b }', '{'])
def test_trn_braces(text):
  with pytest.raises(ValueError, match='braces do not match'):
    trn.count('a', text)


def test_trn_lines():
  content = 'IT IS (not) SO (4T0c0201)\n\n(x_2)\n'
  assert trn.parse(content) == {'4t0c0201': 'IT IS (not) SO', 'x_2': ''}
  for broken, fault in (('a\n', 'line 1: expected words'), ('(a)\n(A)', 'line 2: a a')):
    with pytest.raises(ValueError, match=fault):
      trn.parse(broken)
