"""What instruction tuning learns from: streams, levels, demonstrations."""

import re

import numpy as np
import pytest

from experiments import instruction_loading
from experiments.datasets.instructions import prompts, splits
from experiments.datasets.instructions.collection import (
  Collection,
  Demonstration,
  Example,
  InstructionTask,
)
from experiments.datasets.instructions.tokens import Bytes
from experiments.errors import InputError
from experiments.instruction_config import Config, filled

TOKENS = Bytes()


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return str(tmp_path_factory.mktemp('cache'))


@pytest.fixture
def loaded(monkeypatch, cache):
  monkeypatch.setattr(instruction_loading, 'EXAMPLES', 12)

  def load(**given):
    config = filled(Config(cache_dir=cache, length=512, **given))
    return instruction_loading.loaded(config, TOKENS)

  return load


def test_streams_have_their_shares(loaded):
  data = loaded(streams=('reasoning:0.1', 'dialogue:0.05'), text_share=0.2)
  by_stream: dict[str, float] = {}
  for name, share in data.shares.items():
    own = name.split('/')[0]
    by_stream[own] = by_stream.get(own, 0) + share
  expected = {'generated': 0.65, 'text': 0.2, 'reasoning': 0.1, 'dialogue': 0.05}
  assert by_stream == pytest.approx(expected)
  stream = data.stream(0)
  drawn = [name for row in stream.window(0) for name in row.streams]
  for name, share in expected.items():
    count = sum(own.split('/')[0] == name for own in drawn)
    # Rounding adds up over 45 tasks, at the cost of what comes after them.
    assert abs(count - 512 * share) <= (16 if name == 'generated' else 8)
  for rows in (data.levels.validation, *data.levels.test.values()):
    assert not [name for name in rows if name.startswith(('reasoning', 'dialogue'))]
  assert data.about['streams'] == {'reasoning': 0.1, 'dialogue': 0.05}


def test_all_of_a_dialogue_is_learned_and_reasons_before_answers(loaded):
  data = loaded(streams=('reasoning:0.3', 'dialogue:0.3'), text_share=0.1)
  rows = data.stream(0).window(0)
  pairs = [p for row in rows for p in zip(row.streams, row.examples, strict=True)]
  said = [e for name, e in pairs if name.startswith('dialogue/')]
  text = TOKENS.decode(said[0].ids)
  assert re.fullmatch(r' \w+: Hello \w+, did .*\n.*\n.*\n.*\n\w+: Let us go .*', text)
  assert said[0].counted.all()
  reasoned = [e for name, e in pairs if name == 'reasoning/shopping']
  answer = TOKENS.decode(reasoned[0].ids[reasoned[0].counted])
  assert re.fullmatch(r' \d+ - \d+ = \d+, and .* = (\d+)\.\nThe answer is \1\.', answer)


def test_what_mixes_tasks_changes_neither_tasks_nor_levels(loaded):
  first = loaded()
  other = loaded(streams=('reasoning:0.1',), mixture='uniform')
  assert first.levels.test == other.levels.test
  assert first.collection.tasks == other.collection.tasks[: len(first.collection.tasks)]


def own_task(name: str, category: str, count: int = 16) -> InstructionTask:
  examples = tuple(Example(f'{i}', f'{name} asks {i}', (f'{i}',)) for i in range(count))
  return InstructionTask(name, 'own', category, (f'Do {name}.',), examples)


OWN = Collection(tuple(own_task(f't{i}', f'c{min(i // 2, 2)}') for i in range(9)))


def test_fewer_tasks_are_among_more_and_what_is_held_out_stays():
  levels = splits.split(OWN, splits.HeldOut(('c0',), ('own/t8',)), seed=0, evaluated=3)
  sets = [
    {*splits.fewer(OWN, levels, tasks=count, seed=5).train} for count in (1, 3, 5)
  ]
  assert list(map(len, sets)) == [1, 3, 5]
  assert sets[0] < sets[1] < sets[2]
  largest = splits.fewer(OWN, levels, categories=1)
  assert {*largest.train} == {f'own/t{i}' for i in (4, 5, 6, 7)}
  assert {*largest.train} == {*largest.validation} == {*largest.test['instances']}
  for level in ('tasks', 'categories'):
    assert largest.test[level] == levels.test[level]
  assert splits.fewer(OWN, levels) == levels


def test_lists_of_super_natural_instructions(tmp_path):
  for name, text in {'test': 't0\nt1\nt8\nelsewhere', 'excluded': 't7'}.items():
    (tmp_path / f'{name}_tasks.txt').write_text(text)
  held = splits.read(tmp_path, OWN)
  assert held == splits.HeldOut((), ('own/t0', 'own/t1', 'own/t8'), ('own/t7',))
  levels = splits.split(OWN, held, seed=0, evaluated=3)
  # Nothing of category c0 is left to learn: its tasks are of an unknown category.
  assert {*levels.test['categories']} == {'own/t0', 'own/t1'}
  assert {*levels.test['tasks']} == {'own/t8'}
  assert {*levels.train} == {f'own/t{i}' for i in (2, 3, 4, 5, 6)}
  (tmp_path / 'test_tasks.txt').write_text('elsewhere')
  with pytest.raises(InputError, match='names no task that is there'):
    splits.read(tmp_path, OWN)


@pytest.mark.parametrize('instruction', ['', 'Say it.'])
def test_what_is_asked_is_never_shown(instruction):
  """Neither with an instruction of its own, nor with other blanks."""
  examples = tuple(
    Example(str(i), f'ask {i % 4}' + ' ' * (i // 4), ('a',), instruction=instruction)
    for i in range(8)
  )
  own = InstructionTask('t', 'own', 'c', (), examples)
  for count in (1, 3, 9):
    pool = prompts.pool_of(own, range(8), count)
    for place in range(8):
      found = prompts.shown(pool, examples[place], count, np.random.default_rng(place))
      assert len(found) == min(count, 3)
      assert f'ask {place % 4}' not in {d.input.split('\n')[-1].strip() for d in found}


def test_few_demonstrations_of_a_task_are_joined_by_its_examples():
  own = own_task('t', 'c')
  shown = tuple(Demonstration(f'own {i}', 'x') for i in range(3))
  positive = InstructionTask('t', 'own', 'c', (), own.examples, positive=shown)
  assert prompts.pool_of(positive, range(16), 2) == [*shown]
  assert len(prompts.pool_of(positive, range(16), 3)) == 19


def test_demonstrations_in_training(loaded):
  """Of the task itself, as MetaICL has them; the loss begins with the first answer."""
  data = loaded(demonstrations=1.0, counted='suffix', text_share=0.0)
  counts = dict.fromkeys(range(6), 0)
  answers = {
    task.id: {e.outputs[0] for e in task.examples} | {d.output for d in task.positive}
    for task in data.collection.tasks
  }
  for row in data.stream(0).window(0):
    for name, encoded in zip(row.streams, row.examples, strict=True):
      text = TOKENS.decode(encoded.ids)
      parts = text.split(prompts.METAICL_SEPARATOR)
      whole = encoded.shortened == 0
      if whole and len(parts) > 1:
        counts[len(parts) - 2] += 1
        first = re.split(r':', parts[1])[-1].strip()
        assert first in answers[name]
        told = TOKENS.decode(encoded.ids[encoded.counted])
        assert told.startswith(f' {first}')
  assert counts[1] > counts[2] > counts[3] > 0
