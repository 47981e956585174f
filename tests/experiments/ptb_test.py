"""The whole program, shrunk."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import curves, ptb, ptb_batch_norm, records, report, study
from experiments.errors import InputError

SMALL = {
  'hidden': 8,
  'seeds': 2,
  'num_train': 900,
  'unroll': 10,
  'num_epochs': 3,
  'decay_after': 1,
}


def files(directory: pathlib.Path) -> dict[str, bytes]:
  names = ('config.json', 'record.jsonl')
  found = [path for path in sorted(directory.rglob('*')) if path.name in names]
  return {str(path.relative_to(directory)): path.read_bytes() for path in found}


@pytest.fixture(scope='module')
def default(tmp_path_factory) -> ptb.Config:
  """A command with a grid has run."""
  directory = tmp_path_factory.mktemp('default') / 'runs'
  config = ptb.Config(
    workdir=str(directory),
    arms=('baseline', 'unigram_smoothing', 'batch_norm'),
    epsilon=(0.1, 0.4),
    **SMALL,
  )
  assert ptb.run(config) == directory
  return config


def rows_of(config: ptb.Config, arm: str) -> tuple[dict, list[dict]]:
  header, *rows = records.read(pathlib.Path(config.workdir) / arm / 'record.jsonl')
  return header, rows


def test_final_rows_are_of_the_best_epoch_on_validation(default):
  for arm in default.arms:
    _, rows = rows_of(default, arm)
    final = [row for row in rows if row.get('final')]
    assert len(final) == (4 if arm == 'unigram_smoothing' else 2)
    for row in final:
      key = ('seed', row['seed']), ('epsilon', row.get('epsilon'))
      own = [
        r for r in rows if all(r.get(k) == v for k, v in key) if not r.get('final')
      ]
      valid = {r['step']: r['perplexity'] for r in own if r['split'] == 'validation'}
      assert len(valid) == 3  # one every epoch
      assert row['validation_perplexity'] == min(valid.values())
      assert valid[row['step']] == min(valid.values())
      assert row['last_validation_perplexity'] == valid[max(valid)]
      test = {r['step']: r for r in own if r['split'] == 'test'}[row['step']]
      assert (
        row['perplexity'] == test['perplexity'] == pytest.approx(np.exp(row['nll']))
      )


def test_arms_differ_in_the_regularizer_alone(default):
  header, rows = rows_of(default, 'baseline')
  smoothed, others = rows_of(default, 'unigram_smoothing')
  differing = {
    name
    for name in {*header['config'], *smoothed['config']}
    if header['config'].get(name) != smoothed['config'].get(name)
  }
  assert differing == {'arm', 'epsilon'}
  assert header['data'] == smoothed['data']
  normalized, _ = rows_of(default, 'batch_norm')
  differing = {
    name for name, v in header['config'].items() if normalized['config'].get(name) != v
  }
  assert differing == {'arm', 'batch_norm', 'placement'}
  assert (header['measure'], header['dataset']) == ('perplexity', 'pydoc')
  assert header['about']['tokens']['train'] == 900
  assert len(header['about']['sha256']['train']) == 64
  assert {row['split'] for row in rows + others} == {'train', 'validation', 'test'}


def test_the_table_and_the_pictures(default):
  workdir = pathlib.Path(default.workdir)
  lines = {line.arm: line for line in report.table(report.collect([workdir]))}
  assert list(lines) == [
    *('baseline', 'batch_norm'),
    *(f'unigram_smoothing (epsilon {value})' for value in (0.1, 0.4)),
  ]
  _, rows = rows_of(default, 'baseline')
  final = [row['perplexity'] for row in rows if row.get('final')]
  base = lines['baseline']
  assert base.mean == pytest.approx(np.mean(final))
  assert base.standard_error == pytest.approx(np.std(final, ddof=1) / np.sqrt(2))
  written = (workdir / 'table.md').read_text()
  assert f'{base.mean:.2f} ±' in written
  assert f'{base.means["validation_perplexity"]:.2f}' in written
  assert 'valid, end' in written
  assert 'Perplexities are exp' in written
  assert 'batch_norm differs from the baseline in settings: batch_norm frame' in written
  for name in ('validation.png', 'weights.png', 'table.png'):
    assert (workdir / name).read_bytes().startswith(b'\x89PNG')
  (panel,) = curves.against_values([workdir]).axes
  assert panel.get_xlabel() == 'epsilon'
  assert [label.get_text() for label in panel.get_xticklabels()] == ['0.1', '0.4']
  points = panel.lines[0].get_xydata()
  expected = [lines[f'unigram_smoothing (epsilon {v})'].means for v in (0.1, 0.4)]
  expected = [means['validation_perplexity'] for means in expected]
  np.testing.assert_allclose(points, np.transpose([(0.1, 0.4), expected]))
  (axis,) = curves.validation_curves([workdir / 'baseline']).axes
  valid = [row['perplexity'] for row in rows if row['split'] == 'validation']
  np.testing.assert_allclose(
    axis.lines[0].get_ydata(), np.reshape(valid, (3, 2)).mean(axis=1)
  )
  assert curves.against_values([workdir / 'baseline']) is None


def test_the_learning_rate_falls_after_its_epochs():
  config = ptb.filled(
    ptb.Config(**SMALL, learning_rate=2.0, decay_divisor=4.0, clip=1e6)
  )
  data = ptb.data(config, True)
  steps = ptb.steps_per_epoch(config, data[0])
  assert steps == 900 // 10 // 10
  optimizer = ptb.optimizer(config, data)
  ones = jnp.ones(1)
  state, rates = optimizer.init(ones), []
  for _ in range(3 * steps):
    update, state = optimizer.update(ones, state)
    rates.append(-float(update[0]))
  assert rates == [2.0] * steps + [0.5] * steps + [0.125] * steps
  bounded = ptb.optimizer(dataclasses.replace(config, clip=5.0), data)
  large = jnp.array([30.0, 40.0])  # a gradient of norm 50
  update, _ = bounded.update(large, bounded.init(large))
  np.testing.assert_allclose(update, [-6.0, -8.0], rtol=1e-6)


@pytest.mark.parametrize(
  ('mode', 'placement', 'features', 'steps'),
  [
    ('frame', 'input_to_hidden', 32, (10,)),
    ('frame', 'hidden_to_hidden', 32, (10,)),
    ('sequence', 'layer_input', 8, ()),
  ],
)
def test_flags_of_batch_norm_reach_the_layers(mode, placement, features, steps):
  config = ptb.Config(
    batch_norm=mode, placement=placement, norm_scale=0.1, **{**SMALL, 'seeds': 1}
  )
  config = ptb.filled(config)
  data = ptb.data(config, True)
  params, state = ptb.task(config, data).init(jax.random.key(0))
  (layer,), (statistics,) = (
    list(tree['lstm']['directions'].values()) for tree in (params, state['rest'])
  )
  np.testing.assert_array_equal(layer['norm']['scale'], np.float32([0.1] * features))
  assert statistics['norm']['mean'].shape == (*steps, features)


def test_sizes_are_zaremba_s():
  text = {'data_dir': 'x', 'num_epochs': None}
  fields = (
    'hidden',
    'unroll',
    'dropout',
    'init_scale',
    'clip',
    'decay_after',
    'decay_divisor',
  )
  expected = {
    'small': (200, 20, 0.0, 0.1, 5.0, 4, 2.0, 13),
    'medium': (650, 35, 0.5, 0.05, 5.0, 6, 1.2, 39),
    'large': (1500, 35, 0.65, 0.04, 10.0, 14, 1.15, 55),
  }
  for size, values in expected.items():
    config = ptb.filled(ptb.Config(**text, size=size))
    assert tuple(getattr(config, name) for name in (*fields, 'num_epochs')) == values
    assert (config.layers, config.batch_size, config.learning_rate) == (2, 20, 1.0)
    assert config.embedding == config.hidden
    own = ptb.study_of(ptb.Config(**text, size=size)).defaults
    assert own['confidence_penalty.weight'] == (0.1 if size == 'small' else 2.0)


BAD = {
  'pydoc': ({'dataset': 'pydoc', 'data_dir': 'x'}, '--data_dir: applies to'),
  'text': ({'dataset': 'text'}, '--dataset=text: --data_dir says where it is'),
  'nowhere': ({'data_dir': '/nowhere'}, '/nowhere is not there'),
  'dropout': ({'arms': ('dropout',)}, "--arms: no dropout in 'dropout'"),
  'none': (
    {'arms': ('batch_norm',), 'batch_norm': 'none'},
    '--batch_norm=none: an arm is batch_norm',
  ),
  'placement': ({'placement': 'layer_input'}, '--placement: applies to --batch_norm'),
  'scale': ({'norm_scale': 0.1}, '--norm_scale: applies to --batch_norm'),
  'recurrent': (
    {'placement': 'hidden_to_hidden', 'batch_norm': 'sequence'},
    '--placement=hidden_to_hidden: applies to --batch_norm=frame alone',
  ),
  'alone': ({'arms': ('batch_norm',), 'batch_size': 1}, '--batch_size of 2 or more'),
  'long': ({'num_train': 10**9}, '--num_train: 1000000000 is more than'),
  'large': ({'batch_size': 5000}, '--batch_size, --unroll: a batch of 5000 x 20'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_one_line(tmp_path, case):
  fields, message = BAD[case]
  with pytest.raises(InputError, match=message) as caught:
    ptb.run(ptb.Config(workdir=str(tmp_path / 'runs'), **fields))
  assert '\n' not in str(caught.value)
  assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
  ('fields', 'expected'),
  [
    ({}, {'baseline': 'none', 'batch_norm': 'frame'}),
    ({'batch_norm': 'frame'}, {'baseline': 'none', 'batch_norm': 'frame'}),
    ({'arms': ('baseline',)}, {'baseline': 'none'}),
    ({'arms': ('baseline',), 'batch_norm': 'none'}, {'baseline': 'none'}),
    ({'arms': ('baseline',), 'batch_norm': 'frame'}, {'baseline': 'frame'}),
    (
      {'arms': ('baseline', 'batch_norm+label_noise'), 'rate': (0.2,)},
      {'baseline': 'none', 'batch_norm+label_noise': 'frame'},
    ),
  ],
)
def test_arms_at_a_rate_are_those_of_the_whole_command(fields, expected):
  config = ptb_batch_norm.Config(norm_scale=0.1 if len(expected) > 1 else 1.0, **fields)
  ptb_batch_norm.check(config)
  found = {}
  for arm in config.arms:
    study = ptb.study_of(ptb_batch_norm.of_rate(config, 0.1, arm))
    own = study.of_arm(study.config, arm)
    found[arm] = own.batch_norm
    normalized = own.batch_norm != 'none'
    assert own.placement == ('pre_activation' if normalized else None)
    assert own.norm_scale == (config.norm_scale if normalized else 1.0)
    assert bool(own.rate) == ('label_noise' in arm)
  assert found == expected


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'learning_rate': 0.1}, '--learning_rate: --learning_rates takes its place'),
    ({'select': True}, '--select: applies to experiments.ptb'),
    (
      {'arms': ('confidence_penalty',), 'weight': (0.1, 0.2)},
      '--weight: expected one value, got 2',
    ),
    ({'arms': ('baseline', 'baseline')}, '--arms: baseline is there twice'),
    ({'batch_norm': 'none'}, '--batch_norm=none: an arm is batch_norm'),
    ({'arms': ('baseline',), 'placement': 'layer_input'}, '--placement: applies'),
    ({'batch_norm': 'sequence'}, '--placement=pre_activation: applies to'),
  ],
)
def test_bad_input_at_several_rates(tmp_path, fields, message):
  with pytest.raises(InputError, match=message):
    ptb_batch_norm.run(ptb_batch_norm.Config(workdir=str(tmp_path / 'runs'), **fields))
  assert not (tmp_path / 'runs').exists()


def test_a_rate_that_is_too_high_is_told_and_shown(tmp_path, capfd):
  config = ptb_batch_norm.Config(
    workdir=str(tmp_path),
    arms=('baseline',),
    learning_rates=(0.01, 1e38),
    **{**SMALL, 'num_epochs': 2, 'seeds': 1},
  )
  ptb_batch_norm.run(config)
  assert 'not finite at step' in capfd.readouterr().err
  assert (
    json.loads((tmp_path / 'rate_0.01/baseline/config.json').read_text())['tokens']
    == 'char'
  )
  (finished,) = [run for run in report.collect([tmp_path]) if run.finished]
  assert finished.path == tmp_path / 'rate_0.01' / 'baseline'
  figure = curves.against_rates([tmp_path])
  crosses = [line for line in figure.axes[0].lines if line.get_marker() == 'x']
  assert any(1e38 in line.get_xdata() for line in crosses)
  assert (tmp_path / 'learning_rates.png').exists()


def test_values_chosen_on_validation_alone(tmp_path, monkeypatch):
  config = ptb.Config(
    workdir=str(tmp_path),
    arms=('confidence_penalty',),
    weight=(0.05, 2.0),
    select=True,
    **{**SMALL, 'seeds': 1},
  )
  study.train(ptb.study_of(config))
  _, *rows = records.read(tmp_path / 'select' / 'confidence_penalty' / 'record.jsonl')
  assert {row['split'] for row in rows} == {'train', 'validation'}
  final = {r['weight']: r['validation_perplexity'] for r in rows if r.get('final')}
  header, _ = rows_of(config, 'confidence_penalty')
  assert header['config']['weight'] == [min(final, key=final.__getitem__)]
