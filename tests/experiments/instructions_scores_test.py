"""Scores of answers to instructions."""

import numpy as np
import pytest
from rouge_score import rouge_scorer

from experiments.scores import instructions as scores


@pytest.mark.parametrize(
  ('prediction', 'references', 'exact', 'rouge'),
  [
    ('The cat.', ['the  cat'], 100, 100),
    ('cat', ['the cat'], 0, 200 / 3),
    ('b', ['a', 'B!'], 100, 100),
    ('', ['a'], 0, 0),
    ('日本', ['日本'], 100, 100),
    ('日本', ['日中'], 0, 50),
    ('cats running', ['cat run'], 0, 100),
  ],
)
def test_free_answers(prediction, references, exact, rouge):
  assert scores.exact_match(prediction, references) == exact
  assert scores.rouge_l(prediction, references) == pytest.approx(rouge)


def test_rouge_is_rouge_scores():
  oracle = rouge_scorer.RougeScorer(['rougeL'], use_stemmer=True)
  random = np.random.default_rng(0)
  words = ['a', 'the', 'dog', 'dogs', 'runs', 'fast', 'slowly', 'house']
  for _ in range(50):
    first, second = (' '.join(random.choice(words, 6)) for _ in range(2))
    expected = 100 * oracle.score(second, first)['rougeL'].fmeasure
    assert scores.rouge_l(first, [second]) == pytest.approx(expected)


@pytest.mark.parametrize(
  ('rule', 'expected'), [('sum', 0), ('per_token', 1), ('per_byte', 2), ('pmi', 3)]
)
def test_ranking(rule, expected):
  found = scores.ranked(
    [-2, -3, -4, -5], [1, 6, 4, 3], [1, 2, 9, 3], [-1, -1, -1, -9], rule
  )
  assert found == expected


@pytest.mark.parametrize('rule', scores.RULES)
def test_an_option_that_cannot_be_is_never_the_best(rule):
  never = -np.inf
  assert scores.ranked([never, -9], [1, 1], [1, 1], [never, -1], rule) == 1
  assert scores.ranked([never, never], [1, 1], [1, 1], [never, never], rule) == 0


def test_equal_options_and_nan():
  assert scores.ranked([-1.0, -1.0], [1, 1], [1, 1]) == 0
  with pytest.raises(ValueError, match=r'log_probs'):
    scores.ranked([-1.0, float('nan')], [1, 1], [1, 1])
  with pytest.raises(ValueError, match=r'unconditional'):
    scores.ranked([-1.0], [1], [1], rule='pmi')
  with pytest.raises(ValueError, match=r'rule'):
    scores.ranked([-1.0], [1], [1], rule='mean')


VALUES = {'a': [0.0, 100.0], 'b': [100.0], 'c': [0.0, 0.0, 30.0]}
CATEGORY = {'a': 'x', 'b': 'x', 'c': 'y'}


def test_means_are_of_tasks_then_categories():
  assert scores.macro(VALUES, CATEGORY) == pytest.approx((75 + 10) / 2)


def test_the_interval_covers_the_mean():
  low, high = scores.bootstrap(VALUES, CATEGORY)
  assert low < 42.5 < high
  assert (low, high) == scores.bootstrap(VALUES, CATEGORY)
  same = {'a': [50.0] * 9}
  assert scores.bootstrap(same, CATEGORY) == (50.0, 50.0)


def test_the_interval_has_its_width():
  """Of one task of n examples: 1.96 standard errors, to the noise of the draws."""
  random = np.random.default_rng(1)
  values = 100.0 * (random.random(400) < 0.3)
  low, high = scores.bootstrap({'a': values.tolist()}, CATEGORY, draws=4000)
  width = 2 * 1.96 * values.std() / 20
  assert high - low == pytest.approx(width, rel=0.08)


def test_a_line_of_tk_instruct():
  assert scores.prediction_line('t', 'i', 'in', ('a', 'b'), 'p') == {
    'Task': 't',
    'Instance': {'id': 'i', 'input': 'in', 'output': ['a', 'b']},
    'prediction': 'p',
  }
