"""Instruction tuning's tasks: readers, levels, labels, and the generated ones."""

import dataclasses
import json
import re

import numpy as np
import pytest

from experiments.datasets.instructions import (
  collection,
  generated,
  generated_rules,
  leakage,
  natural,
  read,
  splits,
)
from experiments.datasets.instructions.collection import (
  Collection,
  Demonstration,
  Example,
  InstructionTask,
)
from experiments.errors import InputError


def task(name: str, category: str = 'c', count: int = 40, **more) -> InstructionTask:
  examples = tuple(
    Example(f'{name}-{i}', f'{name} asks {i}', (f'answer {i}',)) for i in range(count)
  )
  return InstructionTask(name, 'own', category, (f'Do {name}.',), examples, **more)


def content(**more) -> dict:
  return {
    'Definition': ['Say it.'],
    'Categories': ['Saying'],
    'Positive Examples': [{'input': 'a', 'output': 'b', 'explanation': 'so'}],
    'Instances': [{'id': 'x', 'input': 'c', 'output': ['d', 'e']}],
    **more,
  }


def levelled(evaluated: int = 8):
  tasks = [task(f't{i}', f'c{i % 3}') for i in range(9)]
  own = Collection(tuple(tasks))
  held = splits.drawn(own, 1, categories=1, tasks=2)
  return own, held, splits.split(own, held, seed=2, evaluated=evaluated)


def test_levels_are_disjoint_and_deterministic():
  own, held, levels = levelled()
  assert levels == levelled()[2]
  names = [set(levels.train), *(set(levels.test[n]) for n in ('tasks', 'categories'))]
  assert sum(map(len, names)) == len(set.union(*names)) == 9
  assert {own.by_id[t].category for t in levels.test['categories']} == {
    *held.categories
  }
  assert {own.by_id[t].category for t in levels.test['tasks']} <= {
    own.by_id[t].category for t in levels.train
  }
  for name, rows in levels.train.items():
    parts = [rows, levels.validation[name], levels.test['instances'][name]]
    assert sorted(i for part in parts for i in part) == [*range(40)]
    assert list(map(len, parts)) == [24, 8, 8]


def test_the_same_question_is_on_one_side_alone():
  examples = tuple(Example(str(i), f'asks  {i % 7}', ('a',)) for i in range(70))
  own = Collection((InstructionTask('t', 'own', 'c', ('Do.',), examples),))
  levels = splits.split(own, splits.HeldOut((), ()), seed=0, evaluated=100)
  asked = [
    {int(examples[i].input[-1]) for i in rows['own/t']}
    for rows in (levels.train, levels.validation, levels.test['instances'])
  ]
  assert sum(map(len, asked)) == len(set.union(*asked)) == 7


@pytest.mark.parametrize(
  ('held', 'message'),
  [
    (splits.HeldOut(('no',), ()), 'no category no'),
    (splits.HeldOut((), ('own/no',)), 'no task own/no'),
    (splits.HeldOut(('c0', 'c1', 'c2'), ()), 'nothing is left'),
  ],
)
def test_held_out_of_what_is_not_there(held, message):
  with pytest.raises(InputError, match=message):
    splits.split(levelled()[0], held, seed=0, evaluated=3)


@pytest.mark.parametrize(
  'text', ['', '[]', '{"tasks": []}', '{"tasks":1,"categories":[]}']
)
def test_a_file_of_what_is_held_out(tmp_path, text):
  path = tmp_path / 'held.json'
  path.write_text('{"categories": ["c0"], "tasks": ["own/t1"]}')
  assert splits.read(path, levelled()[0]) == splits.HeldOut(('c0',), ('own/t1',))
  path.write_text(text)
  with pytest.raises(InputError, match=r'held\.json'):
    splits.read(path, levelled()[0])


@pytest.mark.parametrize(
  ('change', 'instructions', 'outputs'),
  [
    ({}, ('Say it.',), ('d', 'e')),
    ({'Definition': 'Say it.'}, ('Say it.',), ('d', 'e')),
    ({'Alternative Definitions': ['Or so.']}, ('Say it.', 'Or so.'), ('d', 'e')),
    ({'Instances': [{'input': 'c', 'output': 'd'}]}, ('Say it.',), ('d',)),
    ({'Negative Examples': [], 'Instruction Source': []}, ('Say it.',), ('d', 'e')),
    (
      {'Negative Examples': None, 'Domains': None, 'URL': 'x'},
      ('Say it.',),
      ('d', 'e'),
    ),
    ({'Instances': [{'id': None, 'input': 'c', 'output': 'd'}]}, ('Say it.',), ('d',)),
  ],
)
def test_all_forms_of_super_natural_instructions(
  tmp_path, change, instructions, outputs
):
  path = tmp_path / 'task001_own.json'
  path.write_text(json.dumps(content(**change)))
  own = natural.read(path)
  assert own.instructions == instructions
  assert own.examples[0].outputs == outputs
  assert (own.name, own.category) == ('task001_own', 'Saying')
  assert own.positive == (Demonstration('a', 'b', 'so'),)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'empty file'),
    ('{', 'not JSON'),
    ('[]', 'Definition and Instances'),
    (content(Instances=[]), 'no Instances'),
    (content(Instances=[{'input': 'c', 'output': []}]), 'instance 0.*not empty'),
    (content(Instances=[{'input': 'c', 'output': [' ']}]), 'not empty'),
    (content(Instances=[{'output': ['d']}]), 'input and output'),
    (content(Instances=content()['Instances'] * 2), 'id x'),
    (content(Definition=' '), 'empty Definition'),
    (content(Definition=3), 'text or a list'),
    (content(Categories=[]), 'no Categories'),
    (content(**{'Positive Examples': [{'input': 'a'}]}), 'Positive Examples: 0'),
    (content(**{'Negative Examples': 3}), 'Negative Examples: expected a list'),
  ],
)
def test_files_that_cannot_be_read(tmp_path, text, message):
  directory = tmp_path / 'own'
  directory.mkdir()
  good, bad = directory / 'good.json', directory / 'task.json'
  good.write_text(json.dumps(content()))
  bad.write_text(text if isinstance(text, str) else json.dumps(text))
  with pytest.raises(InputError, match=rf'task\.json.*{message}'):
    read.read(tmp_path)
  lenient = read.read(tmp_path, strict=False)
  # Of an example that comes twice, the first one is good.
  assert [own.name for own in lenient.tasks] == ['good'] + ['task'] * (
    message == 'id x'
  )
  assert re.search(message, lenient.skipped[0])


def test_a_directory_without_tasks(tmp_path):
  with pytest.raises(InputError, match=r'no task'):
    read.read(tmp_path)
  with pytest.raises(InputError, match=r'is not there'):
    read.read(tmp_path / 'no')


def test_labels_are_answers_that_come_again():
  own = task('t')
  assert collection.options_of(own, own.examples[0]) == ()
  examples = tuple(Example(str(i), str(i), ('ab'[i % 2],)) for i in range(20))
  labelled = dataclasses.replace(own, examples=examples)
  assert collection.options_of(labelled, examples[0]) == ('a', 'b')
  chosen = Example('1', 'x', ('c',), options=('c', 'd'))
  assert collection.options_of(own, chosen) == ('c', 'd')


def test_generated_tasks(tmp_path):
  directory = generated.collection(tmp_path, seed=0, examples=30)
  own = read.read(directory)
  categories = {one.category for one in own.tasks}
  assert len(own.tasks) >= 40
  assert len(categories) >= 10
  held = {*generated.HELD_OUT_CATEGORIES}
  assert held < categories
  again = generated.collection(tmp_path / 'again', seed=0, examples=30)
  for path in directory.rglob('*.json'):
    assert path.read_bytes() == (again / path.relative_to(directory)).read_bytes()
  assert len({one.instructions for one in own.tasks}) == len(own.tasks)
  for one in own.tasks:
    shown = {d.input for d in one.positive}
    assert not shown & {example.input for example in one.examples}


def test_held_out_categories_share_no_function_with_others():
  made: dict[bool, set[str]] = {True: set(), False: set()}
  for rule in generated_rules.RULES:
    held = rule.category in generated.HELD_OUT_CATEGORIES
    made[held].add(rule.make.__qualname__.split('.')[0])
  assert not made[True] & made[False]
  assert 'lambda' not in str(made)


@pytest.mark.parametrize('rule', generated_rules.RULES, ids=lambda rule: rule.name)
def test_answers_of_generated_tasks(rule):
  """Each is a function of what is asked."""
  found: dict[str, str] = {}
  for seed in range(60):
    asked, answer = rule.make(np.random.default_rng(seed))
    assert asked.strip()
    assert answer.strip() == answer
    assert found.setdefault(asked, answer) == answer


def test_leakage():
  long = 'one two three four five six seven eight nine ten eleven twelve thirteen'
  told = tuple(Example(str(i), f'{i} {long}', ('yes',)) for i in range(12))
  other = tuple(
    Example(str(i), f'Say: {long.title()}!' if i < 3 else f'short {i}', ('no',))
    for i in range(12)
  )
  first = InstructionTask(
    'first', 'own', 'c', ('Do.',), told, sources=('Wiki',), urls=('x',)
  )
  second = InstructionTask('second', 'own', 'd', ('Do.',), other, sources=('wiki ',))
  third = InstructionTask('third', 'own', 'd', ('Do.',), other[3:])
  own = Collection((first, second, third))
  levels = splits.split(own, splits.HeldOut(('d',), ()), seed=0, evaluated=100)
  by_pair = {(s.train, s.evaluated): s for s in leakage.shared(own, levels)}
  assert {*by_pair} == {('own/first', 'own/first'), ('own/first', 'own/second')}
  found = by_pair['own/first', 'own/second']
  assert (found.examples, found.origins) == (0.25, ('wiki',))
  assert by_pair['own/first', 'own/first'].examples == 1
  assert by_pair['own/first', 'own/first'].origins == ()
