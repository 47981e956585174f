"""Codistillation as a whole: tables, exactness, processes, faults."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
  churn,
  codistillation,
  codistillation_models,
  exchanging,
  launch,
  runs,
)
from experiments.codistillation import Config
from experiments.codistillation_arms import Arm
from experiments.codistillation_models import MODELS
from experiments.codistilled import codistilled
from experiments.datasets import digits
from experiments.errors import InputError
from experiments.replica_model import shard
from experiments.state import init_state, stack
from experiments.train import training

ROOT = pathlib.Path(__file__).parent.parent.parent
TINY = {
  'model': 'mnist',
  'num_train': 200,
  'hidden': (8,),
  'seeds': 2,
  'num_steps': 24,
  'burn_in': 4,
  'exchange_every': 5,
  'batch_size': 16,
}


def config(workdir: pathlib.Path, **more: object) -> Config:
  return Config(**{'workdir': str(workdir), 'exchange': 'local', **TINY, **more})


def rows(directory: pathlib.Path) -> list[dict]:
  lines = (directory / 'record.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


ALL = ('baseline', 'unigram_smoothing', 'codistillation', 'ensemble', 'distillation')


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  return codistillation.run(config(tmp_path_factory.mktemp('all'), arms=ALL))


def test_every_arm_is_in_the_table(finished: pathlib.Path):
  table = (finished / 'table.md').read_text()
  for arm in ALL:
    assert f'| {arm}' in table
  assert {path.name for path in finished.glob('*.png')} == {
    *('churn.png', 'table.png', 'validation.png')
  }
  found = {run.arm: run for run in runs.collect([finished])}
  assert {arm: len(run.seeds) for arm, run in found.items()} == {
    **dict.fromkeys(ALL, 2),
    **dict.fromkeys(('baseline', 'codistillation'), 4),
  }


def test_final_rows_hold_churn_and_staleness(finished: pathlib.Path):
  for arm in ALL:
    for row in rows(finished / arm)[1:]:
      if row.get('final'):
        assert 0 < row['churn'] < 1
        assert 0 <= row['disagreement'] <= 100
  (row,) = [
    row
    for row in rows(finished / 'codistillation')[1:]
    if row.get('final') and row['seed'] == 0
  ]
  assert 0 < row['staleness'] < 5
  assert row['taught'] == 95  # at step 5 of 5 to 24 nothing was given away yet


def test_ensemble_is_the_mean_of_its_models(finished: pathlib.Path):
  """Against probabilities that numpy averages."""
  filled = codistillation.filled(config(finished))
  data = MODELS['mnist'].data(filled)
  from experiments import codistillation_arms, runner
  from experiments.evaluate import predict

  single = Arm(filled, 'baseline', data)
  base = single.base()
  state = runner.restored(codistillation_arms._job(single, base))
  logits = np.asarray(predict(base, state, 'test'), np.float64)
  odds = np.exp(logits - logits.max(-1, keepdims=True))
  p = odds / odds.sum(-1, keepdims=True)
  label = data.splits['test']['label']
  for seed in range(2):
    mean = (p[seed] + p[seed + 2]) / 2
    expected = -np.log(mean[np.arange(len(label)), label]).mean()
    (row,) = [
      row
      for row in rows(finished / 'ensemble')[1:]
      if row.get('final') and row['seed'] == seed
    ]
    np.testing.assert_allclose(row['nll'], expected, rtol=1e-5)


def test_a_signal_in_the_final_rows_ends_it_and_nothing_is_lost(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
  def stopped(*_: object) -> None:
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError('it went on')

  whole = codistillation.run(config(tmp_path / 'whole', arms=('codistillation',)))
  own = config(tmp_path / 'part', arms=('codistillation',), checkpoint_every=7)
  with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
    patch.setattr(churn, 'measured', stopped)
    codistillation.run(own)
  assert caught.value.code == 143
  part = codistillation.run(own)
  ours, theirs = (path / 'codistillation' for path in (part, whole))
  assert rows(ours) == rows(theirs)


@pytest.mark.parametrize('name', ['digits', 'pydoc'])
def test_shards_are_disjoint_and_complete(name: str):
  model = {'digits': 'mnist', 'pydoc': 'ptb'}[name]
  filled = codistillation.filled(Config(model=model, workdir='unused'))
  data = MODELS[model].data(filled)
  train = data.splits['train']
  marked = {**train, 'label': np.arange(len(train['label']))}
  data = dataclasses.replace(data, splits={**data.splits, 'train': marked})
  parts = [shard(data, i, 3).splits['train']['label'] for i in range(3)]
  every = np.concatenate(parts)
  assert len(set(every.tolist())) == len(every)
  assert len(every) >= len(train['label']) - 2


def test_burn_in_is_plain_training(tmp_path: pathlib.Path):
  """With the same data and nothing learnt from peers, replicas are single models."""
  more = {'arms': ('baseline', 'same_data'), 'burn_in': 1000}
  path = codistillation.run(config(tmp_path, **more))
  plain, taught = (
    {(row['seed']): row['nll'] for row in rows(path / arm)[1:] if row.get('final')}
    for arm in ('baseline', 'same_data')
  )
  assert plain.keys() == taught.keys()
  for seed, nll in plain.items():
    np.testing.assert_allclose(taught[seed], nll, rtol=1e-5)


def test_teacher_is_the_stale_peer(tmp_path: pathlib.Path):
  """One step by hand: the gradient of cross-entropy and of CE(teacher, p)."""
  filled = codistillation.filled(config(tmp_path, seeds=1))
  filled = dataclasses.replace(filled, burn_in=0)
  data = MODELS['mnist'].data(filled)
  arm = Arm(filled, 'same_data', data)
  base = arm.base()
  task = codistilled(base, 1)
  loss = stack([arm.loss()] * 2)
  optimizer = MODELS['mnist'].optimizer(filled, data)
  state = init_state(task, loss, optimizer, arm.seeds)
  between = exchanging.local(base, 2, 1)
  state = between(dataclasses.replace(state, step=jnp.int32(1)))
  before = jax.tree.map(np.asarray, state.runs.params)
  (new, _) = next(
    training(task, loss, optimizer, state, num_steps=2, log_every=1, chain=1)
  )
  for run, peer in ((0, 1), (1, 0)):
    own, other = (jax.tree.map(lambda leaf, i=i: leaf[i], before) for i in (run, peer))
    batch = next(base.batches('train', arm.seeds[run], 1))

    def value(params, other=other, batch=batch):
      logits, _ = base.apply(params, {}, batch, None)
      teacher, _ = base.apply(other, {}, batch, None)
      log_p = jax.nn.log_softmax(logits)
      hard = -jnp.take_along_axis(log_p, batch['label'][:, None], -1)[:, 0]
      soft = -(jax.nn.softmax(teacher) * log_p).sum(-1)
      return (hard + soft).mean()

    step = jax.tree.map(
      lambda p, g: p - filled.learning_rate * g, own, jax.grad(value)(own)
    )
    ours = jax.tree.map(lambda leaf, run=run: leaf[run], new.runs.params)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(step), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


BAD = [
  ({'arms': ('nothing',)}, 'unknown arm'),
  ({'arms': ('baseline', 'baseline')}, 'there twice'),
  ({'num_replicas': 1}, '--num_replicas: expected 2 or more, got 1'),
  ({'num_replicas': 201}, '--num_replicas: 201 are more than the 200 examples'),
  ({'exchange': 'directory', 'replica': 2}, '--replica: expected 0 to 1, got 2'),
  ({'replica': 0}, '--replica: applies to --exchange=directory'),
  ({'exchange': 'directory', 'replica': 0, 'arms': ('baseline',)}, 'none of --arms'),
  (
    {'model': 'ptb', 'hidden': (8, 4)},
    '--hidden: expected layers of one size with --model=ptb, got 8, 4',
  ),
  ({'weight': (1.0, 2.0)}, '--weight: expected one value, got 2'),
  ({'threshold': (1.0,)}, '--threshold: none of the arms takes it'),
  ({'select': True}, '--select: values are not chosen here'),
  ({'size': 'tiny'}, '--size: applies to --model=ptb'),
  ({'dataset': 'clicks'}, '--dataset: expected one of digits, mnist'),
  (
    {'dataset': 'digits', 'data_dir': '/nowhere'},
    '--data_dir: applies to --dataset=mnist alone',
  ),
  ({'arms': ('ensemble',)}, 'is made of the models of baseline'),
]


@pytest.mark.parametrize(('flags', 'message'), BAD, ids=[message for _, message in BAD])
def test_bad_flags(flags: dict, message: str, tmp_path: pathlib.Path):
  with pytest.raises(InputError, match=message):
    codistillation.run(config(tmp_path, **flags))


def test_a_replica_started_by_hand_says_that_it_has_ended(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys
):
  monkeypatch.setattr(codistillation.codistillation_arms, 'complete', lambda *_: None)
  own = config(tmp_path, arms=('codistillation',), exchange='directory', replica=0)
  codistillation.run(own)
  assert 'replica 0 of codistillation has ended' in capsys.readouterr().out


def test_number_of_images_of_mnist(monkeypatch: pytest.MonkeyPatch):
  files = digits.load(None)
  monkeypatch.setattr(codistillation_models.mnist_files, 'load', lambda _: files)
  own = Config(model='mnist', dataset='mnist')
  kept = {
    n: MODELS['mnist'].data(dataclasses.replace(own, num_train=n)) for n in (0, 7)
  }
  whole, part = (kept[n].splits['train'] for n in (0, 7))
  np.testing.assert_array_equal(whole['image'], files.splits['train']['image'])
  np.testing.assert_array_equal(part['image'], whole['image'][:7])
  with pytest.raises(InputError, match='--num_train: 2000 are more than the 1077'):
    MODELS['mnist'].data(dataclasses.replace(own, num_train=2000))


def test_churn_by_hand():
  pairs = np.array([[0, 1], [0, 2], [1, 2]])
  values = np.array([[0.1, 0.3], [0.2, 0.2], [0.6, 0.0]])
  own = churn.estimate(values, pairs)
  assert own.mean == pytest.approx(values.mean())
  assert own.low <= own.mean <= own.high
  same = churn.change((values, pairs), (values, pairs))
  assert same.mean == 0
  half = churn.change((values / 2, pairs), (values, pairs))
  assert half.mean == pytest.approx(-0.5)


def command(workdir: pathlib.Path, **more: object) -> list[str]:
  own = dataclasses.replace(config(workdir), exchange='directory', **more)
  return [sys.executable, '-m', 'experiments.codistillation', *launch.arguments(own)]


@pytest.mark.slow
def test_a_replica_that_is_killed_goes_on(tmp_path: pathlib.Path):
  """The other one finishes; the same command trains the rest, and makes the table."""
  more = {'num_steps': 2000, 'checkpoint_every': 100}
  process = subprocess.Popen(
    command(tmp_path, arms=('codistillation',), **more),
    cwd=ROOT,
    stderr=subprocess.PIPE,
    text=True,
  )
  victim = tmp_path / 'replicas' / 'codistillation-1'
  deadline = time.monotonic() + 300
  while not list(victim.glob('checkpoints/*/_CHECKPOINT_METADATA')):
    assert time.monotonic() < deadline
    assert process.poll() is None
    time.sleep(0.02)
  children = subprocess.run(
    ['pgrep', '-P', str(process.pid), '-f', 'replica=1'],
    capture_output=True,
    text=True,
    check=True,
  )
  os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
  _, said = process.communicate(timeout=300)
  assert process.returncode == 2
  assert 'replica 1 was ended by signal 9; the same command goes on with it' in said
  finals = [
    r for r in rows(tmp_path / 'replicas' / 'codistillation-0') if r.get('final')
  ]
  assert len(finals) == 2
  done = subprocess.run(
    command(tmp_path, arms=('baseline', 'codistillation', 'ensemble'), **more),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  for arm in ('baseline', 'codistillation (weight 1)', 'ensemble'):
    assert arm in done.stdout
  assert 'has ended' not in done.stdout
  assert 'replica 0' in said
  assert 'replica 1' in done.stderr
  record = rows(tmp_path / 'codistillation')
  assert record[0]['seeds'] == [0, 1, 2, 3]


@pytest.mark.slow
def test_sigterm_reaches_the_replicas(tmp_path: pathlib.Path):
  more = {'arms': ('codistillation',), 'num_steps': 100_000, 'checkpoint_every': 50}
  process = subprocess.Popen(
    command(tmp_path, **more), cwd=ROOT, stderr=subprocess.DEVNULL
  )
  places = [tmp_path / 'replicas' / f'codistillation-{i}' for i in range(2)]
  deadline = time.monotonic() + 300
  while not all(list(p.glob('checkpoints/*/_CHECKPOINT_METADATA')) for p in places):
    assert time.monotonic() < deadline
    time.sleep(0.1)
  process.send_signal(signal.SIGTERM)
  assert process.wait(timeout=60) == 143
  left = subprocess.run(
    ['pgrep', '-f', str(tmp_path)], capture_output=True, text=True, check=False
  )
  assert not left.stdout


@pytest.mark.slow
def test_language_model_carries_the_state_of_its_peers(tmp_path: pathlib.Path):
  """A peer reads this replica's text with a state of its own."""
  small = {
    **{'model': 'ptb', 'num_train': 3000, 'hidden': (8,), 'seeds': 1, 'num_steps': 12},
    **{'burn_in': 2, 'exchange_every': 3, 'batch_size': 4},
  }
  own = Config(
    workdir=str(tmp_path),
    exchange='local',
    arms=('baseline', 'codistillation', 'ensemble', 'distillation'),
    **small,
  )
  path = codistillation.run(own)
  found = {run.arm: run for run in runs.collect([path])}
  perplexities = [
    row['perplexity'] for run in found.values() for row in run.rows if row.get('final')
  ]
  assert np.isfinite(perplexities).all()
