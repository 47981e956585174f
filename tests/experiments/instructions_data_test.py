"""Instruction tuning's data: tokens, prompts, mixtures, packing."""

import json
import re

import numpy as np
import pytest

from experiments.datasets.instructions import (
  mixtures,
  packing,
  prompts,
  splits,
)
from experiments.datasets.instructions.collection import (
  Collection,
  Demonstration,
  Example,
  InstructionTask,
)
from experiments.datasets.instructions.tokens import Bytes, Pieces
from experiments.errors import InputError
from experiments.instruction_data import TEXT, Instructions, Options

TOKENS = Bytes()


def task(name: str, category: str = 'c', count: int = 40, **more) -> InstructionTask:
  examples = tuple(
    Example(f'{name}-{i}', f'{name} asks {i}', (f'answer {i}',)) for i in range(count)
  )
  return InstructionTask(name, 'own', category, (f'Do {name}.',), examples, **more)


@pytest.mark.parametrize('text', ['', 'naïve 日本', 'a\nb\t\0', '🙂'])
def test_bytes(text):
  ids = TOKENS.encode(text)
  assert len(ids) == len(text.encode())
  assert TOKENS.decode([*ids, TOKENS.end, 77]) == text
  assert TOKENS.decode([TOKENS.padding, *ids]) == text


def test_half_a_letter_is_no_error():
  assert TOKENS.decode(TOKENS.encode('é')[:1]) == '�'


def test_no_tokenizer(tmp_path):
  with pytest.raises(InputError, match=r'no tokenizer'):
    Pieces(tmp_path, 10)
  (tmp_path / 'tokenizer.json').write_text('{')
  with pytest.raises(InputError, match=r'not a tokenizer'):
    Pieces(tmp_path, 10)


def pieces(directory, size):
  import tokenizers
  from tokenizers.models import WordLevel

  words = {'<pad>': 0, '</s>': 1, 'a': 2, 'b': 3}
  made = tokenizers.Tokenizer(WordLevel(words, unk_token='<pad>'))
  made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  made.save(str(directory / 'tokenizer.json'))
  config = {'pad_token_id': 0, 'bos_token_id': 1, 'eos_token_id': 1}
  (directory / 'config.json').write_text(json.dumps(config))
  return Pieces(directory, size)


def test_pieces(tmp_path):
  own = pieces(tmp_path, 8)
  assert own.encode('a b') == [2, 3]
  assert own.decode([3, 2, 1, 2]) == 'b a'
  assert (own.padding, own.start, own.end, own.size) == (0, 1, 1, 8)
  with pytest.raises(InputError, match=r'4 ids, the network 3'):
    Pieces(tmp_path, 3)


@pytest.mark.parametrize(
  ('count', 'options', 'expected'),
  [  # seqio's own golden numbers
    (3, {'scale': 27}, 81),
    (3, {'scale': 27, 'temperature': 2}, 9),
    (3, {'scale': 27, 'temperature': 0.5, 'maximum': 50.5}, 2550.25),
    (10, {'temperature': 0.7}, 26.8269579528),
    (10_000, {'maximum': 4096}, 4096),
  ],
)
def test_rates_are_seqios(count, options, expected):
  assert mixtures.rate(count, **options) == pytest.approx(expected, rel=1e-11)


def test_nested_mixtures_are_seqios():
  ab = [('a', 1), ('b', 1)]
  assert mixtures.flattened([(ab, 1), ('c', 1)]) == {'a': 0.5, 'b': 0.5, 'c': 1}
  nested = mixtures.flattened([(ab, 1), ('c', 1), ('a', 1)])
  assert nested == {'a': 1.5, 'b': 0.5, 'c': 1}


COUNTS = {'x': {'a': 100, 'b': 10_000}, 'y': {'c': 400}}


@pytest.mark.parametrize(
  ('options', 'expected'),
  [
    ({'cap': None}, {'a': 100 / 10_500, 'b': 10_000 / 10_500, 'c': 400 / 10_500}),
    ({'cap': 300}, {'a': 100 / 700, 'b': 300 / 700, 'c': 300 / 700}),
    ({'kind': 'uniform'}, {'a': 1 / 3, 'b': 1 / 3, 'c': 1 / 3}),
    (
      {'kind': 'temperature', 'cap': None},
      {'a': 10 / 130, 'b': 100 / 130, 'c': 20 / 130},
    ),
    (
      {'cap': 300, 'shares': {'x': 1, 'y': 3}},
      {'a': 1 / 16, 'b': 3 / 16, 'c': 3 / 4},
    ),
    (
      {'cap': 300, 'shares': {'x': 0.2}, 'extra': {'text': 0.5}},
      {'a': 1 / 8, 'b': 3 / 8, 'text': 0.5},
    ),
  ],
)
def test_probabilities(options, expected):
  found = mixtures.probabilities(COUNTS, **options)
  assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'shares': {'z': 1}}, 'no benchmark z'),
    ({'shares': {'x': -1, 'y': 1}}, '0 or more'),
    ({'shares': {'x': 0, 'y': 0}}, '0 or more'),
    ({'extra': {'text': 1.0}}, 'less than 1'),
  ],
)
def test_shares_that_cannot_be(options, message):
  with pytest.raises(InputError, match=message):
    mixtures.probabilities(COUNTS, **options)


def test_draws_keep_the_shares_and_exhaust_a_stream():
  shares, counts = {'a': 0.7, 'b': 0.2, 'c': 0.1}, {'a': 500, 'b': 7, 'c': 3}
  stream = mixtures.draws(shares, counts, seed=3)
  found = [next(stream) for _ in range(300)]
  for length in (10, 50, 300):
    for name, share in shares.items():
      count = sum(draw.stream == name for draw in found[:length])
      assert abs(count - share * length) <= 1
  rows = [draw.row for draw in found if draw.stream == 'b']
  assert [draw.turn for draw in found if draw.stream == 'b'] == [*range(len(rows))]
  for start in range(0, len(rows) - 6, 7):
    assert sorted(rows[start : start + 7]) == [*range(7)]
  again = mixtures.draws(shares, counts, seed=3)
  assert found == [next(again) for _ in range(300)]
  other = mixtures.draws(shares, counts, seed=4)
  assert found != [next(other) for _ in range(300)]


def test_prompt_of_a_task():
  own, shown = task('t'), [Demonstration('p', 'q'), Demonstration('r:', 's')]
  made = prompts.prompt(own.examples[3], shown, instruction='Do t. ', delimiter=' A:')
  assert made.source == 'Do t.\n\np A: q\n\nr: s\n\nt asks 3 A:'
  assert made.target == ' answer 3'


def test_an_instruction_of_an_example_stands_behind_the_demonstrations():
  example = Example('1', 'x', ('y',), instruction='Only this:')
  made = prompts.prompt(example, [Demonstration('p', 'q')], instruction='Do t.')
  assert made.source == 'p\nAnswer: q\n\nOnly this:\nx\nAnswer:'


@pytest.mark.parametrize(
  ('loss', 'expected'),
  [('target', ' d\1'), ('suffix', ' b\n\nc\nA: d\1'), ('full', None)],
)
def test_what_the_loss_counts(loss, expected):
  example = Example('1', 'c', ('d',))
  made = prompts.prompt(
    example, [Demonstration('a', 'b')], instruction='I', delimiter='\nA:'
  )
  found = prompts.encoded(made, TOKENS, 100, loss)
  text = made.source + made.target + '\1'
  counted = text if expected is None else expected
  assert found.counted.sum() == len(counted)
  assert found.counted[-len(counted) :].all()
  assert found.ids[-1] == TOKENS.end


@pytest.mark.parametrize('longest', range(1, 40))
def test_what_is_too_long_loses_its_beginning_never_of_the_answer(longest):
  own = task('t')
  made = prompts.prompt(own.examples[7], instruction='Do it.')
  whole = prompts.encoded(made, TOKENS, 1000)
  found = prompts.encoded(made, TOKENS, longest)
  answer = len(' answer 7') + 1
  if longest <= answer:
    assert found is None
    return
  assert len(found.ids) == min(longest, len(whole.ids))
  assert found.counted.sum() == answer
  np.testing.assert_array_equal(found.ids, whole.ids[-len(found.ids) :])
  assert found.shortened == len(whole.ids) - len(found.ids)


class Runs(Bytes):
  """Line ends in a row are one id, as word pieces have them."""

  start = 2

  def encode(self, text):
    return [sum(map(ord, own)) + 3 for own in re.findall(r'\n+|[^\n]', text)]


@pytest.mark.parametrize('tokens', [Bytes(), Runs()])
@pytest.mark.parametrize('longest', [1, 2, 9, 99])
def test_what_is_written_to_and_what_is_learned_have_the_same_ids(tokens, longest):
  """Part by part: the blank line and the one that the input starts with stay two."""
  made = prompts.prompt(
    Example('1', '\nabc', ('de',)), [Demonstration('p', 'q')], instruction='Do.'
  )
  whole = prompts.encoded(made, tokens, 999).ids.tolist()
  before = whole[: -len(tokens.encode(made.target)) - 1]
  start = [] if tokens.start is None else before[:1]
  kept = before[len(start) :][::-1][: longest - len(start)][::-1]
  assert prompts.source_ids(made, tokens, longest) == [*start, *kept]


def test_demonstrations_are_never_what_is_asked():
  own = task('t', count=6)
  pool = prompts.pool_of(own, range(6), 9)
  for place in range(6):
    for draw in range(5):
      random = np.random.default_rng(draw)
      shown = prompts.shown(pool, own.examples[place], 9, random)
      assert len({d.input for d in shown}) == 5
      assert own.examples[place].input not in {d.input for d in shown}


def test_zipf_has_the_papers_shares():
  expected = [0.925, 0.0578, 0.0114, 0.0036, 0.0015, 0.0007]
  np.testing.assert_allclose(prompts.zipf(4.0), expected, atol=5e-5)


@pytest.mark.parametrize('seed', range(5))
def test_packing_holds_every_example_once(seed):
  random = np.random.default_rng(seed)
  lengths = random.integers(1, 30, 300).tolist()
  rows = packing.rows_of(lengths, 64)
  assert sorted(i for row in rows for i in row) == [*range(300)]
  assert max(sum(lengths[i] for i in row) for row in rows) <= 64
  assert packing.efficiency(lengths, len(rows), 64) > 0.97


def test_what_does_not_fit_is_an_error():
  with pytest.raises(ValueError, match=r'9 ids in rows of 8'):
    packing.rows_of([9], 8)


def test_a_packed_batch():
  first = np.array([5, 6, 7]), np.array([False, False, True])
  second = np.array([8, 9]), np.array([True, True])
  batch = packing.packed([[first, second], []], 4, padding=0)
  assert batch['ids'].tolist() == [[5, 6, 8, 0], [0] * 4]
  assert batch['label'].tolist() == [[6, 7, 9, 0], [0] * 4]
  assert batch['segment'].tolist() == [[1, 1, 2, 0], [0] * 4]
  assert batch['position'].tolist() == [[0, 1, 0, 0], [0] * 4]
  assert batch['mask'].tolist() == [[False, True, True, False], [False] * 4]


def levelled(evaluated: int = 8):
  tasks = [task(f't{i}', f'c{i % 3}') for i in range(9)]
  own = Collection(tuple(tasks))
  held = splits.drawn(own, 1, categories=1, tasks=2)
  return own, held, splits.split(own, held, seed=2, evaluated=evaluated)


def data(length: int = 96, **options) -> Instructions:
  own, _, levels = levelled()
  shares = {name: 0.9 / len(levels.train) for name in levels.train} | {TEXT: 0.1}
  return Instructions(
    'own',
    own,
    levels,
    TOKENS,
    Options(length, 3, **options),
    shares,
    'plain text ' * 99,
  )


def test_batches_are_a_function_of_seed_and_step():
  first, second = data(), data()
  expected = [first.stream(1).batch(step) for step in range(90)]  # two windows
  for step in (85, 2):
    found = second.stream(1).batch(step)
    for name in found:
      np.testing.assert_array_equal(found[name], expected[step][name])
  assert (second.stream(2).batch(2)['ids'] != expected[2]['ids']).any()


def test_what_was_drawn_is_what_was_asked_for():
  own = data(length=240)
  stream = own.stream(0)
  rows = len(stream.window(0))
  steps, rest = divmod(rows, 3)
  found = stream.realised(steps)
  total = sum(found.values())
  assert 512 - 20 * rest <= total <= 512
  for name, share in own.shares.items():
    assert abs(found[name] - share * 512) <= 1 + 20 * rest
  assert stream.filled(steps) > 0.95


@pytest.mark.parametrize('counted', prompts.LOSSES)
def test_answers_of_a_batch_are_the_examples_own(counted):
  own = data(counted=counted, demonstrations=2.0)
  batch = own.stream(0).batch(0)
  for row in range(3):
    for segment in range(1, batch['segment'][row].max() + 1):
      place = batch['segment'][row] == segment
      text = TOKENS.decode(batch['label'][row][place & batch['mask'][row]])
      assert 'answer' in text or 'plain' in text or 'text' in text
      if counted == 'target' and 'answer' in text:
        assert text.startswith(' answer')
