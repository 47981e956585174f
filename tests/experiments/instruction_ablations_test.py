"""Variations of instruction tuning beside the plain run."""

import dataclasses
import json
import pathlib

import pytest

from experiments import instruction_ablations, instruction_loading
from experiments.datasets.instructions.tokens import Bytes
from experiments.errors import InputError
from experiments.instruction_ablations import VARIATIONS, Config


@pytest.fixture
def options(tmp_path, monkeypatch):
  """Of a run of few examples."""
  monkeypatch.setattr(instruction_loading, 'EXAMPLES', 12)
  return {
    'workdir': str(tmp_path / 'run'),
    'cache_dir': str(tmp_path / 'cache'),
    **{'num_steps': 2, 'text_steps': 1, 'rows': 1, 'length': 128, 'answer': 4},
    **{'evaluated': 1, 'shots': (0,)},
  }


@pytest.mark.slow
def test_the_whole_program(tmp_path, options, capsys):
  names = 'uniform', 'zipf_2_suffix', 'tiny'
  workdir = instruction_ablations.run(Config(variations=names, **options))
  rows = (workdir / 'levels.md').read_text().splitlines()[2:8]
  shown = [row.split()[1] for row in rows]
  assert shown == ['untuned', 'baseline', *sorted(names), 'chance']
  table = (workdir / 'table.md').read_text()
  lines = [line for line in table.splitlines() if line.startswith('| ')][2:]
  assert [line.split()[1] for line in lines] == ['baseline', *sorted(names)]
  assert 'tiny differs from the baseline in settings: size tiny (baseline: small)' in (
    table
  )
  assert 'counted suffix (baseline: target), demonstrations 2.0' in table
  # Another size starts from a network of its own, the others from the same.
  bases = sorted(path.parent for path in workdir.rglob('base'))
  assert bases == [workdir, workdir / 'bases' / 'tiny']
  mixture = [
    {row['task']: row['rate'] for row in map(json.loads, lines)}
    for lines in (
      (workdir / name / 'mixture.jsonl').read_text().splitlines()
      for name in ('baseline', 'uniform')
    )
  ]
  assert mixture[0].keys() == mixture[1].keys() and mixture[0] != mixture[1]
  records = {path: path.read_bytes() for path in workdir.rglob('record.jsonl')}
  assert len(records) == 6
  instruction_ablations.run(Config(variations=names[:1], **options))
  assert (workdir / 'table.md').read_text() == table  # of all that are there
  assert {path: path.read_bytes() for path in records} == records


def test_a_variation_changes_what_it_says_and_nothing_else(options):
  config = Config(**options)
  plain = instruction_ablations.of_variation(config, 'baseline')
  for name, changes in VARIATIONS.items():
    own = instruction_ablations.of_variation(config, name)
    differing = {
      key for key, value in vars(own).items() if getattr(plain, key) != value
    }
    assert differing - {'workdir'} == {*changes}, name
    assert ('workdir' in differing) == ('size' in changes)


def tasks(directory: pathlib.Path) -> str:
  """Two benchmarks, each a category of one task; and one that is not trained on."""
  for name in ('one', 'two', 'held'):
    example = {'input': 'a', 'output': ['b']}
    task = {
      'Definition': ['Write b.'],
      'Categories': [name],
      'Positive Examples': [],
      'Instances': [{'id': f'{name}-{i}', **example} for i in range(4)],
    }
    (directory / name).mkdir(parents=True)
    (directory / name / f'task001_{name}.json').write_text(json.dumps(task))
  path = directory.with_suffix('.held')
  path.write_text(json.dumps({'categories': ['held'], 'tasks': []}))
  return str(path)


def test_what_would_be_the_baseline_again_is_left_out(options, tmp_path):
  names = instruction_ablations.filled(Config(**options)).variations
  assert {*names} == {*VARIATIONS} - {'even_shares'}
  held = tasks(tmp_path / 'tasks')
  config = Config(data_dir=str(tmp_path / 'tasks'), held_out=held, **options)
  less = {'tasks_8', 'tasks_24', 'categories_2', 'categories_6'}
  assert {*instruction_ablations.filled(config).variations} == {*VARIATIONS} - less
  # The network of a checkpoint has one size.
  of_checkpoint = dataclasses.replace(config, checkpoint='x', text_steps=None)
  more = {*instruction_ablations.filled(of_checkpoint).variations}
  assert more == {*VARIATIONS} - less - {'tiny', 'medium'}
  for name in ('tasks_8', 'tiny'):
    own = dataclasses.replace(of_checkpoint, variations=(name,))
    with pytest.raises(InputError, match=f'--variations: {name}: the'):
      instruction_ablations.run(own)


def test_even_shares_are_of_what_is_trained_on(options, tmp_path):
  held = tasks(tmp_path / 'tasks')
  config = Config(data_dir=str(tmp_path / 'tasks'), held_out=held, **options)
  own = instruction_ablations.of_variation(config, 'even_shares')
  assert own.shares == ('one:1', 'two:1')
  loaded = instruction_loading.loaded(own, Bytes())
  assert loaded.shares['one/task001_one'] == loaded.shares['two/task001_two']


def test_flags_that_a_variation_makes_use_of(options):
  """And that say nothing without it."""
  given = {'temperature': 3.0, 'streams_dir': 'x'}
  names = 'temperature', 'dialogue'
  instruction_ablations.check(Config(**options, **given, variations=names))
  for name, other in zip(given, names, strict=True):
    own = Config(**options, **given, variations=tuple({*names} - {other}))
    with pytest.raises(InputError, match=f'--{name}: applies to'):
      instruction_ablations.check(own)


def test_it_is_said_where_instances_are_of_fewer_tasks(options):
  assert not instruction_ablations._notes(Config(**options, variations=('cap_512',)))
  own = Config(**options, variations=('tasks_8', 'full', 'categories_2'))
  (note,) = instruction_ablations._notes(own)
  assert note.startswith('Instances of tasks_8, categories_2: ')


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({'variations': ('uniform', 'uniform')}, '--variations: uniform is there twice'),
    ({'variations': ('other',)}, '--variations: expected one of cap_128, '),
    ({'variations': ('even_shares',)}, 'even_shares: there is one benchmark'),
    ({'variations': ('tiny',), 'size': 'medium'}, '--size: the variation tiny changes'),
    ({'cap': 100}, '--cap: the variation cap_128 changes it'),
    ({'arms': ('label_smoothing',)}, '--variations takes its place'),
    ({'select': True}, 'plain cross-entropy'),
    ({'export': True}, 'experiments.instructions has it'),
    ({'variations': ('uniform',), 'weight': (1.0,)}, '--weight: none of --arms'),
  ],
)
def test_bad_flags(options, given, message):
  with pytest.raises(InputError, match=message):
    instruction_ablations.run(Config(**{**options, **given}))
