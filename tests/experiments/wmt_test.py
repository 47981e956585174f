"""Translation: the task, whole runs, resuming, decoding, bad input."""

import dataclasses
import importlib.util
import json
import pathlib
import shutil
import types
from typing import Any

import jax
import numpy as np
import prepared
import pytest

import regularizers as reg
from experiments import saved_translator, wmt, wmt_data, wmt_decode, wmt_results
from experiments.datasets import numbers, parallel
from experiments.datasets.parallel import Corpus, Pairs
from experiments.datasets.translations import Translations
from experiments.datasets.units import END, PADDING, START, Characters, Words
from experiments.errors import InputError
from experiments.evaluate import evaluate
from experiments.state import init_state, stack
from experiments.train import training
from experiments.wmt import Config, filled
from experiments.wmt_data import FILES

TINY = {
  'num_train': 24,
  'seeds': 2,
  'num_steps': 6,
  'batch_tokens': 500,
  'embedding': 6,
  'hidden': 6,
  'attention': 4,
  'beam': 2,
}


def config(workdir: pathlib.Path, **more: object) -> Config:
  return Config(**{'workdir': str(workdir), **TINY, **more})


def corpus(**more: object) -> Translations:
  pairs = {
    'train': Pairs(('a b', 'b', 'c c a', 'a'), ('xy', 'x', 'zzy', 'y')),
    'validation': Pairs(('b a', 'c c c c c'), ('yx', 'zzzzz')),
  }
  source = Words.of(pairs['train'].sources)
  target = Characters.of(pairs['train'].targets)
  sizes = {'batch_tokens': 8, 'num_shapes': 2, **more}
  return Translations(Corpus('toy', pairs), source, target, **sizes)


def test_a_batch_by_hand():
  own = corpus(num_shapes=1, batch_tokens=100)
  (batch,) = own.plans['train'].evaluation()
  arrays = own.batch('train')(batch)
  third, second = (batch.rows.tolist().index(row) for row in (2, 1))
  assert arrays['source'][third].tolist() == [6, 6, 4]
  assert arrays['inputs'][third].tolist() == [START, 6, 6, 5]
  assert arrays['label'][third].tolist() == [6, 6, 5, END]
  assert arrays['label'][second].tolist() == [4, END, PADDING, PADDING]
  assert arrays['mask'][second].tolist() == [True, True, False, False]
  assert own.splits['train']['label'].tolist() == [4, 5, 2, 4, 2, 6, 6, 5, 2, 5, 2]


def task_of(own: Translations, **more: object):
  small = filled(Config(**{**TINY, 'workdir': 'unused', **more}))
  return wmt.task(dataclasses.replace(small, dropout=0.0), {0: own, 1: own})


CHAIN = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))


def test_means_are_those_of_single_pairs():
  """Whatever shares a batch with a pair."""
  own, alone = corpus(), corpus(batch_tokens=1, num_shapes=9)
  loss = stack([CHAIN(reg.cross_entropy)] * 2)
  rows = []
  for data in (own, alone):
    task = task_of(data)
    state = init_state(
      task, loss, wmt.optimizer(filled(config('unused')), {0: data}), (0, 1)
    )
    rows.append(evaluate(task, loss, state, 'validation'))
  for one, other in zip(*rows, strict=True):
    for name in ('loss', 'nll', 'entropy'):
      assert one[name] == pytest.approx(other[name], rel=1e-5)
  assert rows[0][0]['nll'] != rows[0][1]['nll']


@pytest.mark.slow
def test_fused_is_dense():
  own, loss, results = corpus(), stack([CHAIN(reg.cross_entropy)]), []
  for kind in ('dense', 'fused'):
    task = task_of(own, loss=kind)
    optimizer = wmt.optimizer(filled(config('unused')), {0: own})
    state = init_state(task, loss, optimizer, (0,))
    steps = training(task, loss, optimizer, state, num_steps=3, log_every=3, chain=1)
    *_, (state, rows) = steps
    results.append((state.runs.params, rows))
  for one, other in zip(*map(jax.tree.leaves, (r[0] for r in results)), strict=True):
    np.testing.assert_allclose(one, other, atol=2e-5)
  assert results[0][1][0]['loss'] == pytest.approx(results[1][1][0]['loss'], rel=1e-5)


def lines(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


ALL = ('baseline', 'dropout+unigram_smoothing')


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  return wmt.run(config(tmp_path_factory.mktemp('numbers'), arms=ALL))


def test_whole_run(finished: pathlib.Path):
  table = (finished / 'table.md').read_text()
  for arm in ALL:
    assert f'| {arm} ' in table
  for heading in ('exact %', 'cer %', 'chrF', 'longer cer %', 'longer nll'):
    assert heading in table
  for picture in ('attention.png', 'validation.png', 'table.png'):
    assert (finished / picture).stat().st_size > 3000
  record = lines(finished / 'baseline' / 'record.jsonl')
  assert record[0]['about']['pairs'] == {
    'train': 24, 'validation': 500, 'test': 500, 'longer': 200
  }  # fmt: skip
  assert 0 < record[0]['about']['padding']['train'] < 0.6
  final = [row for row in record if row.get('final')]
  assert len(final) == 2
  assert all('jiwer:' in row['protocols']['cer'] for row in final)
  said = lines(finished / 'baseline' / 'translations.jsonl')
  assert len(said) == 2 * 700
  samples = (finished / 'samples.md').read_text()
  assert samples.count('reference: ') == 6
  assert f'- {ALL[1]} against baseline: ' in samples


def test_scores_are_of_the_translations_in_the_file(finished: pathlib.Path):
  from experiments.scores import translation as scores

  record = lines(finished / 'dropout+unigram_smoothing' / 'record.jsonl')
  said = lines(finished / 'dropout+unigram_smoothing' / 'translations.jsonl')
  for row in [row for row in record if row.get('final')]:
    for split, name in (('test', 'cer'), ('longer', 'longer_cer')):
      own = [o for o in said if (o['split'], o['seed']) == (split, row['seed'])]
      texts = [o['translation'] for o in own], [o['target'] for o in own]
      assert row[name] == scores.character_error_rate(*texts).value


def tree(directory: pathlib.Path) -> dict[str, bytes]:
  paths = [path for path in directory.rglob('*') if path.is_file()]
  return {str(path): path.read_bytes() for path in paths}


def test_decode(finished: pathlib.Path, tmp_path: pathlib.Path, capsys):
  """With nothing but the directory, and it leaves that as it is."""
  said = lines(finished / 'baseline' / 'translations.jsonl')
  path = tmp_path / 'lines.txt'
  path.write_text(f'{said[0]["source"]}\n\nxyz\n{said[1]["source"]}\n')
  before = tree(finished)
  wmt.run(Config(workdir=str(finished), decode=str(path)))
  out, told = capsys.readouterr()
  first, empty, _, second, end = out.split('\n')
  assert (empty, end) == ('', '')
  assert 'baseline, seed 0; beam 2, length_penalty 1.0' in told
  assert 'lines.txt: 1 words that training did not have' in told
  # Where nothing was learned they do not end, but are cut off by their sources' width.
  for ours, line in ((first, said[0]), (second, said[1])):
    assert len(ours) > 10
    assert line['translation'].startswith(ours) or ours.startswith(line['translation'])
  assert tree(finished) == before
  # The command that trained it; another arm, another search.
  again = config(finished, arms=ALL[1:], decode=str(path))
  wmt.run(dataclasses.replace(again, beam=1, length_penalty=0.0))
  assert f'{ALL[1]}, seed 0; beam 1, length_penalty 0.0' in capsys.readouterr().err
  with pytest.raises(
    InputError, match='--hidden: expected 6, as .* was trained with, got 7'
  ):
    wmt.run(dataclasses.replace(again, hidden=7))
  # How it was trained, or would be now, is no matter.
  more = {'seeds': 1, 'epsilon': (0.3,), 'train_source': ('x',), 'longest': 9}
  wmt.run(dataclasses.replace(again, **more, dropout=0.4))
  with pytest.raises(InputError, match='dropout: nothing is trained there'):
    wmt.run(dataclasses.replace(again, arms=('dropout',)))
  assert tree(finished) == before


def test_every_point_of_a_grid_is_kept(tmp_path: pathlib.Path, monkeypatch):
  """By its first seed, for --decode."""
  kept = []
  monkeypatch.setattr(wmt_results, 'weights_of', lambda state, index: index)
  monkeypatch.setattr(
    saved_translator,
    'keep',
    lambda place, flags, run, translator, weights: kept.append((place, run, weights)),
  )
  points = [{'epsilon': epsilon} for epsilon in (0.1, 0.1, 0.3, 0.3)]
  job: Any = types.SimpleNamespace(
    directory=tmp_path, points=points, seeds=[0, 1, 0, 1]
  )
  translator: Any = None
  wmt_results.keep(translator, config(tmp_path), job, translator)
  assert kept == [
    (tmp_path / 'model', {'seed': 0, 'epsilon': 0.1}, 0),
    (tmp_path / 'model' / '1', {'seed': 0, 'epsilon': 0.3}, 2),
  ]


def test_decode_by_a_point_of_a_grid(tmp_path: pathlib.Path):
  """The one that is asked for; else the first."""
  directory = tmp_path / 'label_smoothing'
  places = [saved_translator.place(directory, point) for point in range(2)]
  for place, epsilon in zip(places, (0.1, 0.3), strict=True):
    place.mkdir(parents=True)
    flags = {'beam': 2, 'length_penalty': 1.0, 'coverage_penalty': 0.0}
    content = {'flags': flags, 'run': {'seed': 0, 'epsilon': epsilon}, 'lengths': {}}
    (place / 'config.json').write_text(json.dumps(content))
  for given, point in (((), 0), ((0.3,), 1), ((0.1, 0.3), 0), ((0.1,), 0)):
    own = Config(workdir=str(tmp_path), epsilon=given)
    assert wmt_decode._place(own, directory) == places[point]
  own = Config(workdir=str(tmp_path), decode=__file__, epsilon=(0.2,))
  with pytest.raises(InputError, match='--epsilon=0.2: .* with epsilon 0.1; epsilon'):
    wmt.run(own)


def test_a_damaged_translator(finished: pathlib.Path, tmp_path: pathlib.Path):
  shutil.copytree(finished / 'baseline' / 'model', tmp_path / 'baseline' / 'model')
  own = Config(workdir=str(tmp_path), decode=__file__)
  saved = json.loads((tmp_path / 'baseline' / 'model' / 'config.json').read_text())
  without = [{**saved, 'lengths': {}}]
  for gone in ('beam', 'hidden'):
    kept = {name: value for name, value in saved['flags'].items() if name != gone}
    without.append({**saved, 'flags': kept})
  for name, content, message in (
    ('weights.safetensors', b'junk', 'not safetensors, or damaged'),
    ('source.units', b'["a"', 'not units'),
    ('source.units', b'["a"]', 'weights of another network'),
    ('config.json', b'{}', 'not the configuration of a translator'),
    *(
      ('config.json', json.dumps(own).encode(), 'not the configuration of a translator')
      for own in without
    ),
  ):
    path = tmp_path / 'baseline' / 'model' / name
    whole = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=f'({name}|weights.safetensors): .*{message}'):
      wmt.run(own)
    path.write_bytes(whole)


def test_text_files_and_word_pieces(tmp_path: pathlib.Path):
  sources = ['a red dog runs', 'two cats', 'a cat and a dog', 'dogs run'] * 6
  files = {}
  for split, count in (('train', 24), ('validation', 4), ('test', 4)):
    for side, texts in (('source', sources), ('target', [s[::-1] for s in sources])):
      path = tmp_path / f'{split}.{side}'
      path.write_text('\n'.join(texts[:count]) + '\n')
      files[f'{split}_{side}'] = (str(path),)
  for side in ('source', 'target'):
    second = tmp_path / f'second.{side}'
    second.write_text('two dogs\n')
    files[f'test_{side}'] += (str(second),)
    files[f'train_{side}'] += (str(second),)
  small = {**TINY, 'seeds': 1, 'num_train': 0, 'vocabulary': 40, 'size': 'small'}
  small |= {'num_shapes': 2, 'batch_tokens': 60, 'arms': ('baseline',), **files}
  workdir = wmt.run(Config(workdir=str(tmp_path / 'run'), **small))
  assert len(list(workdir.glob('pieces-*.model'))) == 1
  record = lines(workdir / 'baseline' / 'record.jsonl')
  assert record[0]['measure'] == 'bleu'
  pairs = {'train': 25, 'validation': 4, 'test': 4, 'second': 1}
  assert record[0]['about']['pairs'] == pairs
  final = record[-1]
  assert final['final']
  assert {'second_bleu', 'validation_multi_bleu'} <= final.keys()
  table = (workdir / 'table.md').read_text()
  assert 'BLEU' in table and 'valid, tok.' in table
  assert '25 train, 4 validation, 4 test, 1 second' in table
  samples = (workdir / 'samples.md').read_text()
  assert 'On second, mean over the seeds' in samples and '- baseline: exact ' in samples


@pytest.mark.slow
def test_the_papers_configuration_on_prepared_data(tmp_path: pathlib.Path):
  """Its layers and pieces in small sizes, through tensorflow-datasets."""
  english = [f'the {name} dog sees {count} cats' for name in 'abcd' for count in 'xyz']
  rows = [{'en': text, 'de': text[::-1]} for text in english]
  splits = {'train': rows * 2, 'validation': rows[:3], 'test': rows[:2]}
  place = prepared.prepare(parallel.WMT14, tmp_path / 'data', splits)
  own = config(
    tmp_path / 'run',
    data_dir=place,
    arms=('dropout',),
    seeds=1,
    num_steps=2,
    num_train=20,
    vocabulary=40,
    num_shapes=1,
    encoder_layers=3,
    decoder_layers=3,
  )
  workdir = wmt.run(own)
  header, *_, final = lines(workdir / 'dropout' / 'record.jsonl')
  assert header['about']['pairs'] == {'train': 20, 'validation': 3, 'test': 2}
  assert final['protocols']['multi_bleu']
  table = (workdir / 'table.md').read_text()
  assert '| 23.41 ± 0.04 |' in table  # the paper's
  assert "validation is the catalogue's validation;" in table


BAD = {
  'batch size': ({'batch_size': 8}, '--batch_tokens takes its place'),
  'dropout': ({'dropout': 0.1}, 'none of --arms has dropout'),
  'batch norm': ({'arms': ('batch_norm',)}, 'no batch_norm'),
  'files': ({'dataset': 'numbers', 'train_source': ('x',)}, '--train_source: applies'),
  'translator': ({'translator': ('B',)}, '--translator: applies'),
  'translator of lines': (
    {**dict.fromkeys(FILES, ('x',)), 'translator': ('B',)},
    '--translator: applies to files of XML alone',
  ),
  'no files': (
    {'dataset': 'text', 'train_source': ('x',)},
    '--train_target says where',
  ),
  'data_dir': ({'data_dir': 'x', 'dataset': 'numbers'}, '--data_dir: applies'),
  'vocabulary': ({'vocabulary': 100}, 'none of the units are word pieces'),
  'no vocabulary': ({'source_units': 'pieces'}, '--vocabulary: expected the number'),
  'longest': ({'longest': 7}, '--longest: no name of a number is too long'),
  'no arms': ({'arms': ()}, '--arms: expected some of baseline, '),
  'several files': (
    {**dict.fromkeys(FILES, ('x',)), 'train_source': ('x', 'y')},
    '--train_source, --train_target: expected as many files of either, got 2 and 1',
  ),
  'num_train': ({'num_train': 99_999}, '--num_train: expected 1 to 99,000'),
  'not prepared': ({'data_dir': '/nowhere'}, 'no such directory'),
  'not trained': ({'decode': __file__}, 'nothing is trained there'),
  'no such file': ({'decode': '/nowhere/x'}, 'cannot read /nowhere/x'),
}


@pytest.mark.parametrize('name', ['test', 'second', 'train', 'multi'])
def test_names_of_test_sets_are_free(name: str):
  """What is said of a set ``multi`` would stand as the first one's multi_bleu."""
  sources = 'x.en', 'second.en', f'there/{name}.en.gz'
  files = {**dict.fromkeys(FILES, ('x',)), 'test_source': sources}
  own = Config(**{'workdir': 'unused', **files, 'test_target': sources})
  message = f"--test_source: there/{name}.en.gz would be the set '{name}'; rename it"
  with pytest.raises(InputError, match=message):
    wmt.run(own)


@pytest.mark.parametrize('name', BAD)
def test_bad_flags(name: str, tmp_path: pathlib.Path):
  flags, message = BAD[name]
  with pytest.raises(InputError, match=message):
    wmt.run(Config(**{'workdir': str(tmp_path / 'new'), 'seeds': 1, **flags}))
  assert not (tmp_path / 'new').exists()


def test_no_number_of_pairs_is_all_of_them(monkeypatch: pytest.MonkeyPatch):
  monkeypatch.setattr(numbers, 'MOST', 30)  # of 99,000, which take half a minute
  own = filled(config(pathlib.Path('unused'), num_train=0))
  assert len(wmt_data.load(own).pairs['train']) == 30


def test_words_are_no_targets():
  with pytest.raises(InputError, match='--target_units: expected one of chars, pieces'):
    Config(target_units='words')


def test_what_is_missing_is_said_at_once(tmp_path: pathlib.Path, monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, 'find_spec', lambda name: None if name == 'jiwer' else find(name)
  )
  with pytest.raises(InputError, match=r'not installed: jiwer; see `pip install '):
    wmt.run(config(tmp_path))


def test_the_papers_configuration():
  own = filled(Config(data_dir='x'))
  assert own.dataset == 'wmt14'
  sizes = (own.encoder_layers, own.decoder_layers, own.hidden, own.vocabulary)
  assert sizes == (8, 8, 512, 32_000)
  assert (own.dropout, own.beam) == (0.3, 12)
