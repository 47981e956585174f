"""The report against hand computation and scipy, and against bad records."""

import json
import math
import pathlib
import random

import numpy as np
import pytest
import scipy.stats
from fabricated import final_row, header, train_rows, write_lines, write_run

from experiments import comparison, report
from experiments.errors import InputError

BASELINE = {0: 4.0, 1: 5.0, 2: 6.0}
SMOOTHED = {0: 3.0, 1: 4.5, 2: 4.0}


def lines_of(*paths) -> dict[str, report.Comparison]:
  return {line.arm: line for line in report.table(report.collect(paths))}


def test_numbers_by_hand(tmp_path):
  write_run(tmp_path, 'baseline', BASELINE, metrics={'nll': 0.5, 'ece': 0.1})
  write_run(tmp_path, 'label_smoothing', SMOOTHED)
  lines = lines_of(tmp_path)
  base, smoothed = lines['baseline'], lines['label_smoothing']
  assert base.mean == 5
  assert base.standard_error == pytest.approx(1 / math.sqrt(3))
  assert base.means == pytest.approx({'nll': 0.5, 'ece': 0.1, 'entropy': 0.3})
  assert (base.difference, base.interval, base.verdict) == (None, None, '')
  # Differences -1, -0.5, -2: mean -7/6, variance 7/12; t(0.975, 2) = 4.302653.
  assert smoothed.difference == pytest.approx(-7 / 6)
  half = 4.302653 * math.sqrt(7 / 12 / 3)
  assert smoothed.interval == pytest.approx((-7 / 6 - half, -7 / 6 + half), rel=1e-6)
  assert smoothed.verdict == 'undecided'
  assert smoothed.seeds == smoothed.paired_seeds == (0, 1, 2)


def markdown(path: pathlib.Path) -> list[str]:
  return report.render(report.collect([path]), markdown=True).splitlines()


@pytest.mark.parametrize('size', [2, 3, 5, 20])
def test_intervals_are_those_of_scipy(tmp_path, rng, size):
  base, errors = rng.normal(5, 1, size), rng.normal(4.5, 1, size)
  write_run(tmp_path, 'baseline', dict(enumerate(base)))
  write_run(tmp_path, 'dropout', dict(enumerate(errors)))
  line = lines_of(tmp_path)['dropout']
  test = scipy.stats.ttest_rel(errors, base)
  low, high = test.confidence_interval(0.95)
  assert line.interval == pytest.approx((low, high), rel=1e-10)
  assert line.standard_error == pytest.approx(scipy.stats.sem(errors), rel=1e-12)
  assert (line.verdict == 'undecided') == (test.pvalue > 0.05)


@pytest.mark.parametrize(
  ('interval', 'word'),
  [
    (None, ''),
    ((-2.0, -0.1), 'better'),
    ((0.1, 2.0), 'worse'),
    ((-0.1, 2.0), 'undecided'),
    ((-2.0, 0.0), 'undecided'),
    ((0.0, 0.0), 'undecided'),
    ((-1.0, -1.0), 'undecided'),  # equal differences tell nothing of their spread
    ((math.nan, math.nan), 'undecided'),
  ],
)
def test_verdicts(interval, word):
  assert comparison.verdict(interval) == word


def test_the_interval_covers_the_truth_as_often_as_it_says(rng):
  covered = [
    low < 0.3 < high
    for low, high in map(comparison.paired_interval, rng.normal(0.3, 2, (1000, 5)))
  ]
  assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1000)


# What must not change the numbers, and what must change them in a known way


def test_the_order_of_runs_seeds_and_paths_changes_nothing(tmp_path):
  arms = ['baseline', 'dropout', 'label_smoothing', 'a', 'b']
  errors = {
    arm: {seed: float((3 * i + seed**2) % 7) for seed in range(4)}
    for i, arm in enumerate(arms)
  }
  for arm in arms:
    write_run(tmp_path / 'x', arm, errors[arm])
    write_run(tmp_path / 'y', arm, dict(reversed(errors[arm].items())))
  expected = report.render(report.collect([tmp_path / 'x']))
  given = report.render(report.collect([tmp_path / 'y']))
  assert given == expected
  paths = [tmp_path / 'x' / arm for arm in arms]
  for _ in range(5):
    random.shuffle(paths)
    runs = report.collect([*paths, tmp_path / 'x'])  # found twice, told once
    assert [run.arm for run in runs] == arms
    assert report.render(runs) == expected


def test_a_shift_of_all_errors_leaves_the_differences(tmp_path):
  for name, shift in (('x', 0.0), ('y', 2.5)):
    write_run(tmp_path / name, 'baseline', {s: e + shift for s, e in BASELINE.items()})
    write_run(tmp_path / name, 'dropout', {s: e + shift for s, e in SMOOTHED.items()})
  x, y = (lines_of(tmp_path / name)['dropout'] for name in 'xy')
  assert y.mean == pytest.approx(x.mean + 2.5)
  assert y.standard_error == pytest.approx(x.standard_error)
  assert (y.difference, *y.interval) == pytest.approx((x.difference, *x.interval))


def test_the_baseline_and_the_arm_exchanged_turn_the_interval_over(tmp_path):
  for name, base, errors in (('x', BASELINE, SMOOTHED), ('y', SMOOTHED, BASELINE)):
    write_run(tmp_path / name, 'baseline', base)
    write_run(tmp_path / name, 'dropout', errors)
  x, y = (lines_of(tmp_path / name)['dropout'] for name in 'xy')
  assert y.interval == pytest.approx((-x.interval[1], -x.interval[0]))


# Which runs are compared, and what is said of them


def test_only_common_seeds_are_paired(tmp_path):
  write_run(tmp_path, 'baseline', BASELINE)
  write_run(tmp_path, 'dropout', {1: 7.0, 2: 6.5, 3: 90.0})
  line = lines_of(tmp_path)['dropout']
  assert line.paired_seeds == (1, 2)
  assert line.difference == pytest.approx(1.25)
  text = report.render(report.collect([tmp_path]))
  assert 'dropout and the baseline are paired over their common seeds: 1, 2.' in text


def test_one_seed_has_no_standard_error(tmp_path):
  write_run(tmp_path, 'baseline', {4: 5.0})
  write_run(tmp_path, 'dropout', {4: 3.0})
  line = lines_of(tmp_path)['dropout']
  assert (line.standard_error, line.interval, line.verdict) == (None, None, '')
  assert line.difference == -2
  text = report.render(report.collect([tmp_path]))
  assert '3.00 ± —' in text
  assert 'One seed gives no standard error' in text


def test_only_runs_on_the_same_data_are_compared(tmp_path):
  write_run(tmp_path / 'few', 'baseline', BASELINE)
  write_run(tmp_path / 'few', 'dropout', SMOOTHED)
  write_run(tmp_path / 'noisy', 'baseline', BASELINE, data='noisy')
  write_run(tmp_path / 'noisy', 'label_smoothing', {7: 1.0}, data='noisy')
  write_run(
    tmp_path / 'noisy', 'a', SMOOTHED, data={'0': 'data 0', '1': 'other', '2': 'data 2'}
  )
  runs = report.collect([tmp_path])
  few, noisy = comparison.groups(runs)
  assert [run.arm for run in few.runs] == ['baseline', 'dropout', 'a']
  assert [run.arm for run in noisy.runs] == ['baseline', 'label_smoothing']
  assert lines_of(tmp_path)['a'].paired_seeds == (0, 2)
  text = report.render(runs)
  assert 'label_smoothing has no seed with the same data in common' in text


def test_the_same_arm_twice_makes_two_tables(tmp_path):
  for name, shift in (('short', 0.0), ('long', -1.0)):
    write_run(tmp_path / name, 'baseline', {s: e + shift for s, e in BASELINE.items()})
    write_run(tmp_path / name, 'dropout', SMOOTHED)
  lines = report.table(report.collect([tmp_path]))
  assert [line.table for line in lines] == [
    f'mnist on digits, {tmp_path / name}' for name in ('long', 'long', 'short', 'short')
  ]
  assert [line.mean for line in lines] == pytest.approx([4, 23 / 6, 5, 23 / 6])


def test_two_baselines_in_one_directory_are_an_error(tmp_path):
  for name in ('one', 'two'):
    (write_run(tmp_path, 'baseline', BASELINE)).rename(tmp_path / name)
  with pytest.raises(InputError, match='one and .*two are both the baseline'):
    report.render(report.collect([tmp_path]))


def test_a_grid_has_a_line_for_each_value(tmp_path):
  write_run(tmp_path, 'baseline', BASELINE)
  rows = [
    final_row(seed, error - weight, weight=weight)
    for weight in (2.0, 0.1)
    for seed, error in BASELINE.items()
  ]
  write_lines(tmp_path / 'grid', [header('confidence_penalty', [0, 1, 2]), *rows])
  lines = lines_of(tmp_path)
  assert list(lines) == [
    'baseline',
    'confidence_penalty (weight 0.1)',
    'confidence_penalty (weight 2)',
  ]
  assert lines['confidence_penalty (weight 2)'].difference == pytest.approx(-2)


@pytest.mark.parametrize(
  ('config', 'name'),
  [
    ({}, 'arm'),
    ({'epsilon': [0.05]}, 'arm (epsilon 0.05)'),
    ({'threshold': [1.0], 'weight': [0.5]}, 'arm (weight 0.5, threshold 1)'),
    ({'epsilon': [0.1, 0.2]}, 'arm (epsilon 0.1/0.2)'),  # of two parts
    ({'epsilon': [], 'weight': None}, 'arm'),
  ],
)
def test_the_values_of_an_arm_stand_beside_its_name(tmp_path, config, name):
  write_run(tmp_path, 'arm', SMOOTHED, config=config)
  assert list(lines_of(tmp_path)) == [name]
  assert any(line.startswith(f'| {name} ') for line in markdown(tmp_path))


def test_errors_on_validation_are_kept_apart(tmp_path):
  write_run(tmp_path, 'baseline', BASELINE)
  rows = [
    final_row(0, error, epsilon=epsilon, split='validation')
    for epsilon, error in ((0.1, 3.0), (0.2, 2.0))
  ]
  lines = [header('label_smoothing', [0], dataset='mnist'), *rows]
  write_lines(tmp_path / 'select', lines)
  text = report.render(report.collect([tmp_path]))
  assert 'mnist on mnist, validation\n' in text
  assert 'label_smoothing (epsilon 0.2)' in text
  assert 'on the validation split' in text
  assert 'paper' not in text


def test_the_paper_stands_beside_its_own_experiment_alone(tmp_path):
  for dataset in ('digits', 'mnist'):
    write_run(tmp_path / dataset, 'baseline', BASELINE, dataset=dataset, data=dataset)
    errors = {'dataset': dataset, 'data': dataset}
    write_run(tmp_path / dataset, 'confidence_penalty', SMOOTHED, **errors)
  digits, mnist = report.render(report.collect([tmp_path])).split('mnist on mnist')
  assert '1.17 ± 0.06' in mnist
  assert 'arXiv:1701.06548' in mnist
  assert 'paper' not in digits


def test_what_else_differs_from_the_baseline_is_told(tmp_path):
  config = {'learning_rate': 0.05, 'dropout': 0.0, 'arm': 'baseline', 'weight': 1}
  write_run(tmp_path, 'baseline', BASELINE, config=config)
  config = {'learning_rate': 0.001, 'dropout': 0.5, 'arm': 'dropout', 'x.weight': 2}
  write_run(tmp_path, 'dropout', SMOOTHED, config=config)
  (note,) = (line for line in markdown(tmp_path) if 'in settings' in line)
  assert note == (
    '- dropout differs from the baseline in settings: dropout 0.5 (baseline: 0.0), '
    'learning_rate 0.001 (baseline: 0.05).'
  )
  assert '- dropout minimises the loss of dropout' in markdown(tmp_path)


@pytest.mark.parametrize('ending', ['', '\n', '\n{"kind": "row", "sp'])
def test_unfinished_runs_are_named_and_left_out(tmp_path, ending):
  write_run(tmp_path, 'baseline', BASELINE)
  write_run(tmp_path, 'dropout', {0: 1.0}, seeds=[0, 1, 2])
  rows = [header('a', [0, 1]), *train_rows(0, {10: 1.0, 20: 1.0}), {}]
  write_lines(tmp_path / 'a', rows[:-1], end=ending)
  assert list(lines_of(tmp_path)) == ['baseline']
  notes = markdown(tmp_path)
  step = 10 if not ending else 20  # a line without an end is still being written
  a, dropout = tmp_path / 'a', tmp_path / 'dropout'
  assert f'- a is unfinished: at step {step}, no result for seeds 0, 1 ({a})' in notes
  assert (
    f'- dropout is unfinished: at step 60, no result for seeds 1, 2 ({dropout})'
    in notes
  )


def test_without_a_finished_baseline_there_are_no_differences(tmp_path):
  write_run(tmp_path, 'dropout', SMOOTHED)
  write_run(tmp_path, 'baseline', {0: 1.0}, seeds=[0, 1, 2])
  line = lines_of(tmp_path)['dropout']
  assert (line.difference, line.interval, line.verdict) == (None, None, '')
  assert '- No finished baseline: no differences.' in markdown(tmp_path)


def test_a_metric_that_is_missing_is_a_dash(tmp_path):
  rows = [final_row(0, 1.0), {**final_row(1, 1.0), 'ece': None}]
  write_lines(tmp_path, [header('baseline', [0, 1]), *rows])
  line = lines_of(tmp_path)['baseline']
  assert line.means['ece'] is None
  assert line.means['nll'] == pytest.approx(0.1)


# Bad records


GOOD = [header('baseline', [0, 1]), final_row(0, 1.0), final_row(1, 2.0)]
BAD_RECORDS = {
  'header missing': (GOOD[1:], 'line 1: expected a header'),
  'header incomplete': (
    [{k: v for k, v in GOOD[0].items() if k not in ('arm', 'data')}],
    'line 1: .* missing: arm, data',
  ),
  'fingerprints': (
    [header('a', [0, 1, 2], data=['x', 'y'])],
    "line 1: .* 'data', .* 2",
  ),
  'no seeds': ([header('a', [])], "line 1: expected a list of 'seeds', found \\[]"),
  'no object': ([*GOOD, 3], 'line 4: expected an object, found 3'),
  'no seed': ([*GOOD, {'step': 1, 'split': 'train'}], 'line 4: a row without seed'),
  'no step': (
    [GOOD[0], {**final_row(0, 1.0), 'step': '3'}],
    "line 2: expected a number 'step', found '3'",
  ),
  'unknown seed': ([GOOD[0], final_row(2, 1.0)], 'line 2: seed 2 is not in the header'),
  'no error': (
    [GOOD[0], {**final_row(0, 1.0), 'error': None}],
    "line 2: a final row without a number for 'error'",
  ),
  'twice': ([*GOOD, final_row(0, 3.0)], 'line 4: a second final row, after .* line 2'),
}


@pytest.mark.parametrize('case', BAD_RECORDS)
def test_bad_records(tmp_path, case):
  lines, message = BAD_RECORDS[case]
  write_lines(tmp_path / 'run', lines)
  with pytest.raises(InputError, match=f'run/record.jsonl: {message}') as caught:
    report.collect([tmp_path])
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'line 1: expected a header, found an empty file'),
    (json.dumps(GOOD[0]).encode() + b'\n{"kind": \n', 'line 2'),
    (b'\xff\xfe\n', 'record.jsonl: '),
  ],
)
def test_records_that_are_no_text(tmp_path, content, message):
  (tmp_path / 'record.jsonl').write_bytes(content)
  with pytest.raises(InputError, match=message) as caught:
    report.collect([tmp_path])
  assert str(tmp_path / 'record.jsonl') in str(caught.value)


def test_without_a_finished_run_there_is_no_table(tmp_path):
  for arm in ('baseline', 'dropout'):
    write_run(tmp_path, arm, {}, seeds=[0, 1])
  with pytest.raises(InputError) as caught:
    report.write_report([tmp_path], tmp_path)
  assert str(caught.value) == (
    f'no run is finished: {tmp_path}/baseline is at step 30, no result for seeds 0, 1; '
    f'{tmp_path}/dropout is at step 30, no result for seeds 0, 1'
  )
  write_run(tmp_path, 'baseline', BASELINE, dataset='mnist')  # of a table of its own
  alone = markdown(tmp_path)
  start = alone.index('## mnist on digits')
  assert alone[start + 2].startswith('- No finished baseline')
  report.write_report([tmp_path], tmp_path)


def test_the_step_of_a_run_is_that_of_its_checkpoint_before_the_first_row(tmp_path):
  run = write_lines(tmp_path / 'baseline', [header('baseline', [0])])
  for name in ('4', '8', '16.orbax-checkpoint-tmp'):
    (run / 'checkpoints' / name).mkdir(parents=True)
  with pytest.raises(InputError, match=r'baseline is at step 8, no result for seeds 0'):
    report.render(report.collect([tmp_path]))


def test_paths_without_runs(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(InputError, match='file: expected a directory, is a file'):
    report.collect([tmp_path / 'file'])
  with pytest.raises(InputError, match='nowhere: no such directory'):
    report.collect([tmp_path / 'nowhere'])
  with pytest.raises(InputError, match=r'no record\.jsonl in or under it'):
    report.collect([tmp_path])
