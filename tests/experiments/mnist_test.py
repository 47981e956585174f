"""The whole program, shrunk."""

import dataclasses
import fcntl
import gzip
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from experiments import mnist, records
from experiments.datasets import mnist as datasets_mnist
from experiments.errors import InputError

ROOT = pathlib.Path(__file__).parent.parent.parent
SMALL = {'hidden': (16,), 'num_epochs': 2, 'seeds': 2}


def files(directory: pathlib.Path) -> dict[str, bytes]:
  names = ('config.json', 'record.jsonl', 'predictions.npz')
  found = [path for path in sorted(directory.rglob('*')) if path.name in names]
  return {str(path.relative_to(directory)): path.read_bytes() for path in found}


@pytest.fixture(scope='module')
def default(tmp_path_factory) -> mnist.Config:
  """The default command has run."""
  directory = tmp_path_factory.mktemp('default') / 'runs'
  config = mnist.Config(workdir=str(directory), **SMALL)
  assert mnist.run(config) == directory
  return config


def test_every_arm_leaves_a_whole_run(default):
  for arm in mnist.ARMS:
    directory = pathlib.Path(default.workdir) / arm
    header, *rows = records.read(directory / 'record.jsonl')
    config = json.loads((directory / 'config.json').read_text())
    assert header['config'] == config
    assert (header['experiment'], header['dataset']) == ('mnist', 'digits')
    assert header['arm'] == config['arm'] == arm
    assert header['seeds'] == [0, 1]
    assert len(header['data']) == 2  # a subset a seed
    final = [row for row in rows if row.get('final')]
    assert [(row['split'], row['seed'], row['step']) for row in final] == [
      ('test', 0, 6),
      ('test', 1, 6),
    ]
    with np.load(directory / 'predictions.npz') as arrays:
      probabilities, labels = arrays['probabilities'], arrays['labels']
    assert probabilities.shape == (2, 360, 10)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    wrong = 100 * (probabilities.argmax(-1) != labels).mean(-1)
    assert [row['error'] for row in final] == pytest.approx(wrong)


def test_the_record_is_a_table(default):
  path = pathlib.Path(default.workdir) / 'label_smoothing' / 'record.jsonl'
  frame = pd.read_json(path, lines=True)
  rows = frame[frame.kind == 'row']
  assert set(rows.split) == {'train', 'validation', 'test'}
  for name in ('loss', 'nll', 'entropy', 'error', 'ece', 'brier'):
    assert frame[name].dtype == np.float64
    assert np.isfinite(rows[name]).all()
  assert np.isfinite(rows[rows.split == 'train'].gradient_norm).all()
  assert 'label_smoothing' in frame.arm[0]
  assert '0.1' in frame.objective[0]


def test_table_and_pictures_stand_beside_the_runs(default):
  workdir = pathlib.Path(default.workdir)
  table = (workdir / 'table.md').read_text()
  for arm in mnist.ARMS:
    assert arm in table
  for name in ('confidence.png', 'gradient_norm.png', 'validation.png', 'table.png'):
    assert (workdir / name).read_bytes().startswith(b'\x89PNG')


def test_a_finished_run_prints_its_table_again(default, capsys):
  before = files(pathlib.Path(default.workdir))
  mnist.run(default)
  assert 'confidence_penalty' in capsys.readouterr().out
  assert files(pathlib.Path(default.workdir)) == before


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'num_epochs': 3},
      r'baseline holds another configuration: num_epochs \(2, now 3\)',
    ),
    ({'batch_size': 32, 'momentum': 0.5}, r'batch_size .64, now 32., .*momentum .0.9'),
    (
      {'arms': ('label_smoothing',), 'epsilon': (0.2,)},
      r'epsilon \(\[0.1\], now \[0.2\]',
    ),
    ({'num_train': 150}, r'num_train \(200, now 150\)'),
  ],
)
def test_another_configuration_names_what_differs(default, changes, message):
  before = files(pathlib.Path(default.workdir))
  with pytest.raises(InputError, match=message):
    mnist.run(dataclasses.replace(default, **changes))
  assert files(pathlib.Path(default.workdir)) == before


def test_values_of_other_arms_do_not_matter(default):
  before = files(pathlib.Path(default.workdir))
  changes = {'arms': ('baseline', 'confidence_penalty'), 'weight': (1.0,)}
  mnist.run(dataclasses.replace(default, **changes, checkpoint_every=1))
  assert files(pathlib.Path(default.workdir)) == before


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'epsilon': (0.2,)},
      r'epsilon \(\[0.1\], now \[0.2\]\); choose another --w.* it$',
    ),
    ({'num_epochs': None, 'num_steps': 5}, r'num_steps \(6, now 5\)'),
    ({'vmap': False}, r'vmap \(True, now False\)'),  # rounds otherwise
    ({'select': True, 'seeds': 3}, r'seeds \(2, now 3\)'),
  ],
)
def test_another_configuration_is_told_before_data_are_read(
  default, changes, message, monkeypatch
):
  monkeypatch.setattr(mnist, 'data', None)
  given = {'arms': ('unigram_smoothing', 'label_smoothing'), **changes}
  with pytest.raises(InputError, match=f'label_smoothing holds another .*{message}'):
    mnist.run(dataclasses.replace(default, **given))


def test_other_data_is_told_before_anything_is_trained(default, monkeypatch):
  load = mnist.digits.load
  monkeypatch.setattr(mnist.digits, 'load', lambda n, noise, seed: load(n, 0.1, seed))
  given = {'arms': ('unigram_smoothing', 'dropout')}
  with pytest.raises(InputError, match=r'dropout was trained on other data; choose'):
    mnist.run(dataclasses.replace(default, **given))
  assert not (pathlib.Path(default.workdir) / 'unigram_smoothing').exists()


def test_two_processes_do_not_write_the_same_run(default):
  with (pathlib.Path(default.workdir) / 'baseline' / '.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(InputError, match=r'baseline is in use by another process'):
      mnist.run(default)


def test_values_are_chosen_on_validation(tmp_path, capfd):
  config = mnist.Config(
    workdir=str(tmp_path),
    arms=('baseline', 'label_smoothing'),
    epsilon=(0.3, 0.9),
    select=True,
    select_seeds=1,
    **SMALL,
  )
  mnist.run(config)
  _, *rows = records.read(tmp_path / 'select' / 'label_smoothing' / 'record.jsonl')
  final = [row for row in rows if row.get('final')]
  assert [(row['split'], row['epsilon']) for row in final] == [
    ('validation', 0.3),
    ('validation', 0.9),
  ]
  best = min(final, key=lambda row: row['error'])
  text = f'label_smoothing: epsilon {best["epsilon"]} chosen, validation error'
  assert text in capfd.readouterr().err
  chosen = json.loads((tmp_path / 'label_smoothing' / 'config.json').read_text())
  assert chosen['epsilon'] == [best['epsilon']]
  assert not (tmp_path / 'select' / 'baseline').exists()


def write_idx(directory: pathlib.Path, prefix: str, size: int) -> None:
  random = np.random.default_rng(size)
  images = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
  labels = (np.arange(size) % 10).astype(np.uint8)
  header = struct.pack('>4i', 2051, size, 28, 28)
  name = f'{prefix}-images-idx3-ubyte.gz'
  (directory / name).write_bytes(gzip.compress(header + images.tobytes(), 1))
  header = struct.pack('>2i', 2049, size)
  (directory / f'{prefix}-labels-idx1-ubyte').write_bytes(header + labels.tobytes())


def test_mnist_is_trained_on_all_images_with_noise_of_the_second_setting(tmp_path):
  write_idx(tmp_path, 'train', 60)
  write_idx(tmp_path, 't10k', 20)
  config = mnist.Config(
    dataset='mnist',
    data_dir=str(tmp_path),
    workdir=str(tmp_path / 'runs'),
    arms=('dropout+confidence_penalty',),
    weight=(0.1, 2.0),
    batch_size=20,
    **SMALL,
  )
  mnist.run(config)
  directory = tmp_path / 'runs' / 'dropout+confidence_penalty'
  header, *rows = records.read(directory / 'record.jsonl')
  assert isinstance(header['data'], str)
  assert header['config']['learning_rate'] == 0.001
  assert header['config']['init_std'] == 0.01
  assert {row['split'] for row in rows} == {'train', 'test'}
  final = [(row['weight'], row['seed']) for row in rows if row.get('final')]
  assert final == [(0.1, 0), (0.1, 1), (2.0, 0), (2.0, 1)]
  assert max(row['step'] for row in rows) == 6


def test_what_is_held_out_is_not_trained_on(tmp_path, monkeypatch):
  monkeypatch.setattr(datasets_mnist, 'NUM_VALIDATION', 20)
  write_idx(tmp_path, 'train', 60)
  write_idx(tmp_path, 't10k', 20)
  for hold_out, size in ((True, 40), (False, 60)):
    options = {'dataset': 'mnist', 'data_dir': str(tmp_path), 'hold_out': hold_out}
    config = mnist.filled(mnist.Config(seeds=1, **options))
    splits = mnist.data(config, True)[0].splits
    assert len(splits['train']['label']) == size
    assert ('validation' in splits) == hold_out


def test_label_noise_and_number_of_images_reach_the_data():
  config = mnist.filled(mnist.Config(num_train=0, label_noise=0.2, seeds=1))
  noisy = mnist.data(config, True)[0].splits['train']['label']
  clean = mnist.data(dataclasses.replace(config, label_noise=0.0), True)[0]
  assert len(noisy) == 1077
  assert (noisy != clean.splits['train']['label']).mean() == pytest.approx(
    0.2, abs=1e-3
  )


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'dataset': 'mnist', 'data_dir': '/nowhere'}, r'/nowhere'),
    ({'dataset': 'mnist', 'num_train': 5}, r'--num_train: applies to --dataset=digits'),
    ({'dataset': 'mnist', 'label_noise': 0.1}, r'--label_noise: applies to'),
    ({'data_dir': 'mnist'}, r'--data_dir: applies to --dataset=mnist alone'),
    ({'arms': ('baseline', 'drop')}, r"--arms: unknown arm 'drop'"),
    ({'arms': ('baseline',), 'weight': (5.0,)}, r'--weight: none of --arms takes it'),
    ({'arms': ('baseline',), 'dropout': 0.5}, r'--dropout: none of --arms has'),
    (
      {'arms': ('baseline',), 'dropout_learning_rate': 0.1},
      r'--dropout_learning_rate: none of --arms has dropout',
    ),
    ({'arms': ('baseline',), 'select': True}, r'--select: none of --arms has values'),
    (
      {'num_train': 2000},
      r'^--num_train: expected 1 to 1077, or 0 for all of them, got 2000$',
    ),
    ({'batch_size': 201}, r'^--batch_size: 201 is more than the 200 training examples'),
  ],
)
def test_bad_input_is_one_line(tmp_path, options, message):
  with pytest.raises(InputError, match=message) as caught:
    mnist.run(mnist.Config(workdir=str(tmp_path / 'runs'), **options))
  assert '\n' not in str(caught.value)
  assert not (tmp_path / 'runs').exists()


def test_a_workdir_that_cannot_be_written_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(mnist, 'data', None)  # not even reached
  (tmp_path / 'file').write_text('')
  for workdir in (tmp_path / 'file', tmp_path / 'file' / 'below'):
    with pytest.raises(InputError, match=r'cannot write .*file.*baseline'):
      mnist.run(mnist.Config(workdir=str(workdir), **SMALL))


def program(*arguments: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-m', 'experiments.mnist', *arguments],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_exit_codes_of_bad_flags():
  ours, theirs = program('--weight=-1'), program('--seeds=many')
  said = ['--weight: expected a number, 0 or more, got -1.0']
  said += ['flag --seeds=many: expected int']
  for process, message in zip((ours, theirs), said, strict=True):
    output, errors = process.communicate()
    assert (process.returncode, output) == (2, '')
    assert errors == f'error: {message}\n'


def test_sigterm_saves_and_exits_143(tmp_path):
  options = ('--hidden=16', '--seeds=2', '--num_steps=100000', '--log_every=10')
  process = program(f'--workdir={tmp_path}', '--arms=baseline', *options)
  record = tmp_path / 'baseline' / 'record.jsonl'
  while process.poll() is None and not (
    record.exists() and len(records.read(record)) > 5
  ):
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate()
  assert process.returncode == 143, errors
  (step,) = (
    int(path.name) for path in (tmp_path / 'baseline' / 'checkpoints').iterdir()
  )
  assert '\nstopping after this step; again to stop at once\n' in errors
  assert f'stopped at step {step}' in errors
  assert 'Traceback' not in errors
  assert records.read(record)[-1]['step'] <= step
