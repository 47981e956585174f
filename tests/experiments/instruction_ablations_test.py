"""Variations of instruction tuning beside the plain run."""

import json

import pytest

from experiments import instruction_ablations, instruction_loading
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
  assert 'tiny differs from the baseline in settings: size tiny (baseline: small)' in (
    table
  )
  assert 'counted suffix (baseline: target), demonstrations 2.0' in table
  # Another size starts from a network of its own, the others from the same.
  bases = sorted(path.parent for path in workdir.rglob('base'))
  assert bases == [workdir, workdir / 'tiny']
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
  instruction_ablations.run(Config(variations=names, **options))
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


def test_even_shares_are_for_several_benchmarks(options, tmp_path):
  names = instruction_ablations.filled(Config(**options)).variations
  assert {*names} == {*VARIATIONS} - {'even_shares'}
  tasks = tmp_path / 'tasks'
  for name in ('one', 'two'):
    example = {'input': 'a', 'output': ['b']}
    task = {
      'Definition': ['Write b.'],
      'Categories': [name],
      'Positive Examples': [],
      'Instances': [{'id': f'{name}-{i}', **example} for i in range(4)],
    }
    (tasks / name).mkdir(parents=True)
    (tasks / name / f'task001_{name}.json').write_text(json.dumps(task))
  config = Config(data_dir=str(tasks), **options)
  assert {*instruction_ablations.filled(config).variations} == {*VARIATIONS}
  own = instruction_ablations.of_variation(config, 'even_shares')
  assert own.shares == ('one:1', 'two:1')


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
