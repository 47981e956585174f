"""Recognition of phones and words: the task, whole runs, resuming, bad input."""

import functools
import json
import math
import pathlib
import types

import jax
import numpy as np
import pytest
import speaking
from flax import nnx

import regularizers as reg
from experiments import speech_config, speech_study, timit, wsj
from experiments.datasets import speech_corpora
from experiments.errors import InputError
from experiments.evaluate import evaluate
from experiments.framewise import frame_objective
from experiments.state import init_state, stack

TINY = {
  **{'seeds': 2, 'num_steps': 4, 'embedding': 3, 'hidden': 3, 'attention': 3},
  **{'filters': 2, 'filter_width': 3, 'beam': 2},
}
ARMS = ('baseline', 'dropout+label_smoothing')


@pytest.fixture(scope='module', autouse=True)
def made_up():
  """Corpora that take no time."""
  with pytest.MonkeyPatch.context() as patch:
    for name in ('timit', 'wsj'):
      own = speaking.corpus(name == 'timit')
      made = functools.partial(_given, own)
      patch.setattr(speech_corpora, name, made, raising=False)
    yield


def _given(corpus: object, *args: object, **options: object) -> object:
  return corpus


def config(workdir: pathlib.Path, **more: object) -> timit.Config:
  return timit.Config(**{'workdir': str(workdir), **TINY, **more})


def lines(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  return timit.run(config(tmp_path_factory.mktemp('timit'), arms=ARMS))


def test_whole_run(finished: pathlib.Path):
  table = (finished / 'table.md').read_text()
  for text in (*ARMS, 'PER %', 'valid', 'of 61', 'onward %'):
    assert text in table
  assert 'utterances: 12 train, 4 validation, 5 test; left out' in table
  for picture in ('attention.png', 'errors.png', 'validation.png', 'table.png'):
    assert (finished / picture).stat().st_size > 3000
  header, *rows = lines(finished / 'baseline' / 'record.jsonl')
  assert header['measure'] == 'per'
  final = [row for row in rows if row.get('final')]
  assert len(final) == 2
  for row in final:
    assert row['protocols'].keys() == {'per', 'per_61'}
    assert 0 <= row['onward'] <= 100


def test_scores_are_of_what_is_in_the_file(finished: pathlib.Path):
  _, *rows = lines(finished / 'baseline' / 'record.jsonl')
  said = lines(finished / 'baseline' / 'recognised.jsonl')
  assert len(said) == 2 * (5 + 4)
  for row in [row for row in rows if row.get('final')]:
    for split, prefix in (('test', ''), ('validation', 'validation_')):
      own = [o for o in said if (o['split'], o['seed']) == (split, row['seed'])]
      assert [o['utterance'] for o in own] == [
        f'utterance_{i}' for i in range(len(own))
      ]
      texts = [o['recognised'] for o in own], [o['said'] for o in own]
      for name, score in timit.scored(*texts).items():
        assert row[f'{prefix}{name}'] == score.value


def test_words_with_fused_loss_and_noise(tmp_path: pathlib.Path):
  own = wsj.Config(
    **{**TINY, 'workdir': str(tmp_path), 'seeds': 1, 'loss': 'fused'},
    **{'arms': ('unigram_smoothing',), 'weight_noise': 0.1, 'noise_from': 2},
    **{'weight_decay': 1e-6, 'merge': 'skip'},
  )
  workdir = wsj.run(own)
  *_, row = lines(workdir / 'unigram_smoothing' / 'record.jsonl')
  assert row['final'] and {'wer', 'cer', 'validation_wer', 'nll'} <= row.keys()
  assert 'WER %' in (workdir / 'table.md').read_text()


def test_frames(tmp_path: pathlib.Path):
  own = timit.Config(
    **{'workdir': str(tmp_path), 'seeds': 1, 'num_steps': 2, 'hidden': 3},
    **{'model': 'framewise', 'arms': ('baseline', 'batch_norm')},
  )
  workdir = timit.run(own)
  table = (workdir / 'table.md').read_text()
  for text in ('FER %', 'FCE', 'train FCE', '| batch_norm '):
    assert text in table
  rows = lines(workdir / 'batch_norm' / 'record.jsonl')
  assert {'fer', 'train_fer', 'validation_nll'} <= rows[-1].keys()
  assert rows[-1]['protocols'] == {'fer': 'fer|classes:4|frames:all'}


CHAIN = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))


@pytest.mark.parametrize('model', ['las', 'framewise'])
def test_means_are_those_of_single_utterances(model: str):
  """Whatever shares a batch with an utterance."""
  loss, rows = stack([CHAIN(reg.cross_entropy)]), []
  small = {'model': model, **({} if model == 'framewise' else TINY), 'hidden': 3}
  own = timit.filled(timit.Config(**{**small, 'workdir': 'unused', 'seeds': 1}))
  own = speech_study.of_arm(own, 'baseline')
  for frames in (60, 1):
    data = {0: speaking.corpus(True, batch_frames=frames)}
    task = speech_study.task(own, data)
    state = init_state(task, loss, speech_study.optimizer(own, data), (0,))
    rows.append(evaluate(task, loss, state, 'validation')[0])
  for name in ('loss', 'nll', 'entropy'):
    assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-5)


def test_what_fills_a_batch_up_is_not_in_the_statistics():
  """Of batch normalization, while it is trained."""
  own = timit.filled(
    timit.Config(**{'workdir': 'unused', 'model': 'framewise', 'hidden': 3})
  )
  own = speech_study.of_arm(own, 'batch_norm')
  data = {0: speaking.corpus(True)}
  task = speech_study.task(own, data)
  params, rest = jax.jit(task.init)(jax.random.key(0))
  batch = next(iter(task.batches('test', 0)))
  there = np.arange(len(batch['mask'])) > 0  # the first row fills it up
  batch['mask'] &= there[:, None]
  alone = {name: rows[there] for name, rows in batch.items()}
  apply = jax.jit(task.apply)
  states = [
    apply(params, rest, given, jax.random.key(1))[1] for given in (batch, alone)
  ]
  for one, other in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_is_no_phone_takes_no_share():
  """Padding and the start symbol, in smoothing and the penalty too."""
  random = np.random.default_rng(0)
  logits = random.normal(size=(2, 3, 6)).astype(np.float32)
  batch = {'label': random.integers(2, 6, (2, 3)), 'mask': np.ones((2, 3), bool)}
  loss, point = CHAIN(reg.cross_entropy), {'step': 0, 'key': jax.random.key(0)}
  value, sums = frame_objective(loss, logits, batch, **point)
  batch['label'] = batch['label'] - 2
  p = reg.Categorical(logits[..., 2:])
  expected = loss(p, batch['label']).mean()
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_allclose(sums['entropy'][0], p.entropy().sum(), rtol=1e-6)


def test_momentum():
  changes = {'optimizer': 'sgd', 'momentum': 0.5, 'clip': 1.0, 'learning_rate': 1.0}
  own = timit.filled(timit.Config(**{'workdir': 'unused', 'num_steps': 8, **changes}))
  optimizer = speech_study.optimizer(own, {0: speaking.corpus(True)})
  params = {'w': np.ones(1, np.float32)}
  state, moved = optimizer.init(params), []
  for _ in range(3):
    updates, state = jax.jit(optimizer.update)({'w': np.full(1, 9.0)}, state, params)
    moved.append(-float(updates['w'][0]))
  np.testing.assert_allclose(moved, [1, 1.5, 1.75])  # of a gradient of norm 1


def test_the_rate_falls_in_steps():
  own = timit.filled(
    timit.Config(
      **{'workdir': 'unused', 'optimizer': 'sgd', 'momentum': 0.0, 'clip': 1e9},
      **{'decay_at': (0.5, 0.75), 'decay': 0.1, 'num_steps': 8, 'learning_rate': 1.0},
      **{'weight_decay': 0.5},
    )
  )
  optimizer = speech_study.optimizer(own, {0: speaking.corpus(True)})
  params = {'w': np.ones(1, np.float32)}
  state, moved = optimizer.init(params), []
  for _ in range(8):
    updates, state = jax.jit(optimizer.update)({'w': np.ones(1)}, state, params)
    moved.append(-float(updates['w'][0]))
  expected = [1.5] * 4 + [0.15] * 2 + [0.015] * 2  # 1 + half the weight
  np.testing.assert_allclose(moved, expected, rtol=1e-5)


BAD = {
  'batch size': ({'batch_size': 8}, '--batch_frames takes its place'),
  'dropout': ({'dropout': 0.1}, 'none of --arms has dropout'),
  'batch norm': ({'arms': ('batch_norm',)}, 'no batch_norm'),
  'frames': ({'model': 'framewise', 'beam': 3}, '--beam: applies to --model=las'),
  'fused': (
    {'model': 'framewise', 'loss': 'fused'},
    '--loss: applies to --model=las alone',
  ),
  'times': ({'model': 'framewise', 'data_dir': 'x'}, 'nobody knows the times'),
  'size': ({'size': 'laurent'}, '--size: expected one of small, timit'),
  'even': ({'filter_width': 4}, 'expected an odd number, got 4'),
  'halvings': ({'halvings': 3}, '--halvings: expected up to 2'),
  'momentum': ({'momentum': 0.5}, '--momentum: applies to --optimizer=sgd alone'),
  'decay': ({'decay': 0.5, 'decay_at': ()}, '--decay: no --decay_at'),
  'noise': ({'noise_from': 3}, '--noise_from: no --weight_noise'),
  'filters': ({'filter_width': 3, 'filters': 0}, '--filter_width: no --filters'),
  'merge': ({'merge': 'skip', 'halvings': 0}, '--merge: no --halvings'),
  'speakers': ({'speakers': 3, 'dataset': 'timit'}, '--speakers: applies'),
  'data_dir': ({'data_dir': 'x', 'dataset': 'timit'}, '--data_dir: applies'),
  'manual_dir': (
    {'manual_dir': 'x', 'dataset': 'synthetic'},
    '--manual_dir: applies to --dataset=timit alone',
  ),
  'left_out': ({'left_out': 'x'}, '--left_out: applies to --dataset=fsdd'),
  'nowhere': ({'dataset': 'timit'}, '--manual_dir says where it is'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_flags(name: str, tmp_path: pathlib.Path):
  flags, message = BAD[name]
  with pytest.raises(InputError, match=message):
    timit.run(timit.Config(**{'workdir': str(tmp_path), 'seeds': 1, **flags}))


def test_the_papers_configurations():
  own = timit.filled(timit.Config(manual_dir='x'))
  assert (own.dataset, own.size, own.optimizer) == ('timit', 'timit', 'sgd')
  assert (own.layers, own.hidden, own.dropout, own.momentum) == (3, 256, 0.15, 0.9)
  assert own.arms[:2] == ('dropout', 'dropout+label_smoothing')
  own = wsj.filled(wsj.Config(manual_dir='x'))
  assert (own.layers, own.halvings, own.attention, own.num_mel) == (4, 3, 64, 80)
  falls = [round(share * own.num_steps) for share in own.decay_at]
  assert falls == [400_000, 500_000]
  own = timit.filled(timit.Config(manual_dir='x', model='framewise'))
  assert (own.layers, own.hidden, own.arms) == (5, 250, ('baseline', 'batch_norm'))
  told = speech_config.cases(timit.TIMIT_DATASETS, timit.TIMIT_SIZES)
  widths = {case: own['hidden'] for case, own in told.items() if 'hidden' in own}
  assert list(widths.values()) == [64, 256, 64, 250]
  assert 'beam' not in told['framewise laurent']


@pytest.mark.parametrize(
  ('own', 'features', 'symbols', 'millions'),
  [
    (timit.filled(timit.Config(manual_dir='x')), 123, 65, 6.3),
    (wsj.filled(wsj.Config(manual_dir='x')), 243, 32, 6.6),
  ],
  ids=['timit', 'wsj'],
)
def test_sizes_of_the_papers_networks(own, features, symbols, millions):
  """It says 6.5 and 6.6 million parameters."""
  corpus = types.SimpleNamespace(source=features, num_classes=symbols)
  made = speech_study.module(own, corpus)
  model = nnx.eval_shape(lambda: made(nnx.Rngs(0)))
  leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
  count = sum(math.prod(leaf.shape) for leaf in leaves)
  assert count == pytest.approx(1e6 * millions, abs=5e4)
