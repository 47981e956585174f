"""Scores of translations against sacrebleu's and jiwer's own, and by hand."""

import math

import jiwer
import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from experiments.scores.translation import (
  Difference,
  bleu,
  character_error_rate,
  chrf,
  exact_match,
  multi_bleu,
  paired_bootstrap,
)

# sacrebleu's README and test/test_bleu.py
HYPOTHESES = [
  'The dog bit the man.',
  "It wasn't surprising.",
  'The man had just bitten him.',
]
SETS = [
  ['The dog bit the man.', 'It was not unexpected.', 'The man bit him first.'],
  ['The dog had bit the man.', 'No one was surprised.', 'The man had bitten the dog.'],
]
ALL = [bleu, multi_bleu, chrf, exact_match, character_error_rate]
BLEUS = [bleu, multi_bleu]

# Golden values


def test_readme_of_sacrebleu():
  score = bleu(HYPOTHESES, SETS)
  assert score.value == pytest.approx(48.530827, abs=1e-6)
  version = sacrebleu.__version__
  protocol = f'BLEU|nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}'
  assert score.signature == protocol
  assert multi_bleu(HYPOTHESES, SETS).value == pytest.approx(48.530827, abs=1e-6)
  assert multi_bleu(HYPOTHESES, SETS).signature == protocol.replace('exp', 'none')


@pytest.mark.parametrize(
  ('hypotheses', 'references', 'value'),
  [  # test/test_chrf.py, where beta does not matter
    (['a'], ['a'], 100),
    ([''], ['reference'], 0),
    (['a b c'], ['abc'], 100),
    (['a', 'b'], ['a', 'c'], 50),
    (['aa'], ['ab'], 25),
  ],
)
def test_chrf_of_sacrebleu(hypotheses, references, value):
  score = chrf(hypotheses, references)
  assert score.value == pytest.approx(value)
  assert score.signature.startswith('CHRF|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:')


# By hand: 5 of 6 words, 3 of 5 pairs, 2 of 4 and 1 of 3 longer n-grams match.
SHORT, FULL = 'the cat sat on a mat', 'the cat sat on the red mat'


def test_bleu_by_hand():
  matches = [5 / 6, 3 / 5, 2 / 4, 1 / 3]
  expected = 100 * math.exp(1 - 7 / 6) * math.prod(matches) ** 0.25
  for score in BLEUS:
    assert score([SHORT], [FULL]).value == pytest.approx(expected)
  # 2 of 5 pairs, 1 of 4 triples, none of 3.
  matches = [5 / 6, 2 / 5, 1 / 4, 0.5 / 3]
  expected = 100 * math.exp(1 - 7 / 6) * math.prod(matches) ** 0.25
  changed = 'the cat sat a on mat'
  assert bleu([changed], [FULL]).value == pytest.approx(expected)
  assert multi_bleu([changed], [FULL]).value == 0


@pytest.mark.parametrize('score', [*BLEUS, chrf])
def test_corners(score):
  assert score(['', '', ''], SETS).value == 0
  assert score(['x y z u v'], ['a b c d e']).value == 0
  assert score([FULL], [FULL]).value == pytest.approx(100)
  assert score(['', FULL], ['', FULL]).value == pytest.approx(100)
  assert score([''], ['']).value == 0


def test_too_short_for_four_words():
  assert multi_bleu(['a b c'], ['a b c']).value == 0
  assert bleu(['a b c'], ['a b c']).value == 0  # as sacrebleu, without effective order


def test_signs_are_words_of_their_own():
  assert multi_bleu(['a b c d.'], ['a b c d .']).value == pytest.approx(100)


WORDS = st.lists(st.sampled_from(['a', 'b', 'cat', 'ü.', ',']), max_size=12)
CORPUS = st.lists(st.tuples(WORDS.map(' '.join), WORDS.map(' '.join)), min_size=1)
METRICS = {
  bleu: sacrebleu.BLEU(),
  multi_bleu: sacrebleu.BLEU(smooth_method='none'),
  chrf: sacrebleu.CHRF(),
}


@pytest.mark.parametrize('score', METRICS)
@given(corpus=CORPUS)
def test_formulas_are_those_of_sacrebleu(score, corpus):
  hypotheses, references = map(list, zip(*corpus, strict=True))
  own = METRICS[score].corpus_score(hypotheses, [references]).score
  assert score(hypotheses, references).value == pytest.approx(own, abs=1e-9)


@given(corpus=CORPUS)
def test_character_errors_are_those_of_jiwer(corpus):
  hypotheses = [one for one, _ in corpus]
  references = [other + 'x' for _, other in corpus]
  own = 100 * jiwer.cer(references, hypotheses)
  score = character_error_rate(hypotheses, references)
  assert score.value == pytest.approx(own)


def test_character_errors_and_exact_matches():
  score = character_error_rate(['abc', '', ' süß '], ['abd', 'xy', 'süß'])
  assert score.value == pytest.approx(100 * 3 / 8)
  assert score.signature.startswith('cer|case:mixed|strip:yes|average:corpus|jiwer:')
  assert exact_match(['a', 'B', 'c ', ''], ['a', 'b', 'c', '']).value == 50


# Comparisons


def noisy(seed: int, share: float) -> list[str]:
  random = np.random.default_rng(seed)
  words = [list('abcdefgh') for _ in range(200)]
  return [' '.join(w for w in line if random.random() > share) for line in words]


REFERENCES = ['a b c d e f g h'] * 200


@pytest.mark.parametrize('score', ALL)
def test_the_better_one_is_better(score):
  one, other = (score(noisy(seed, seed / 10), REFERENCES) for seed in (1, 3))
  found = paired_bootstrap(one, other)
  assert found == paired_bootstrap(one, other)
  assert found != paired_bootstrap(one, other, seed=1)
  assert found.value == one.value - other.value
  assert found.low < found.value < found.high
  sign = -1 if score is character_error_rate else 1
  assert sign * found.low > 0
  assert sign * found.high > 0
  back = paired_bootstrap(other, one)
  assert back.low == pytest.approx(-found.high)
  assert paired_bootstrap(one, one) == Difference(0, 0, 0)


def test_intervals_of_a_mean_are_those_of_statistics():
  one = exact_match(noisy(0, 0.05), REFERENCES)
  none = exact_match([''] * 200, REFERENCES)
  found = paired_bootstrap(one, none, n=4000)
  share = one.value / 100
  half = 196 * math.sqrt(share * (1 - share) / 200)
  assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


def test_draws_are_those_of_sacrebleu():
  """Its formula on drawn sentences, one draw at a time."""
  hypotheses = noisy(1, 0.2)
  score = bleu(hypotheses, REFERENCES)
  rows = np.random.default_rng(0).integers(200, size=200)
  drawn = [hypotheses[row] for row in rows]
  own = sacrebleu.corpus_bleu(drawn, [REFERENCES]).score
  assert score.formula(score.counts[rows].sum(0)) == pytest.approx(own)


def test_what_cannot_be_compared():
  one = bleu(['a b'], ['a b'])
  with pytest.raises(ValueError, match=r'^different scores: BLEU.*exp.*, BLEU.*none'):
    paired_bootstrap(one, multi_bleu(['a b'], ['a b']))
  with pytest.raises(ValueError, match=r'^different sentences: 1, 2$'):
    paired_bootstrap(one, bleu(['a b', 'c'], ['a b', 'c']))


# What is wrong with the input

TRANSPOSED = [list(pair) for pair in zip(*SETS, strict=True)]
BAD = [
  (HYPOTHESES, SETS[0][:2], r'^references: expected 3, one a hypothesis, got 2$'),
  (HYPOTHESES, TRANSPOSED, r'^references: expected 3, .* got 2; is it \[sentence\]'),
  (HYPOTHESES, [*SETS, SETS[0][:1]], r'^references: expected 3, .* got 1'),
  ('abc', ['abc'], r"^hypotheses: expected a list of sentences, got 'abc'$"),
  (['abc'], 'abc', r"^references: expected a list of sentences, got 'abc'$"),
  (['abc', None], ['abc', 'b'], r'^hypotheses: expected a sentence, got None$'),
  (['abc'], [None], r'^references: expected a list of sentences, got None$'),
  (['abc', 'd'], ['abc', ['b']], r"^references: expected a list of sentences, got 'ab"),
  (['abc'], [[None]], r'^references: expected a sentence, got None$'),
  ([], [], r'^expected sentences, got none$'),
  ([], SETS, r'^references: expected 0'),
]


@pytest.mark.parametrize('score', ALL)
@pytest.mark.parametrize(('hypotheses', 'references', 'message'), BAD)
def test_bad_input(score, hypotheses, references, message):
  with pytest.raises(ValueError, match=message):
    score(hypotheses, references)


@pytest.mark.parametrize('score', [exact_match, character_error_rate])
def test_one_reference_only(score):
  with pytest.raises(ValueError, match=r'^references: expected one set, got 2$'):
    score(HYPOTHESES, SETS)


@pytest.mark.parametrize('empty', ['', '  '])
def test_an_empty_reference_has_no_error_rate(empty):
  with pytest.raises(ValueError, match=r'^reference 1 is empty: it has no error rate$'):
    character_error_rate(['a', 'b'], ['a', empty])
