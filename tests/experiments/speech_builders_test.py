"""The corpora of speech as tensorflow-datasets prepares them."""

import pathlib
import sys

import corpora
import numpy as np
import pytest
import tensorflow_datasets as tfds

from experiments.datasets import speech_builders, timit, wsj
from experiments.errors import InputError

SPEAKERS = ('TRAIN/DR1/FAAA0', 'TEST/DR1/FCCC0', 'TEST/DR1/MDDD0')


def timit_tree(root: pathlib.Path) -> pathlib.Path:
  corpora.timit(root, SPEAKERS, ('SI1', 'SX7'))
  (root / 'dev_spk.list').write_text('fccc0\n')
  (root / 'test_spk.list').write_text('mddd0\n')
  (root / 'README').write_text('Synthetic speech.\n')
  return root


def wsj_tree(root: pathlib.Path, monkeypatch) -> pathlib.Path:
  sizes = {'si84': 2, 'si284': 4, 'dev93': 2, 'eval92': 2}
  monkeypatch.setattr(wsj, 'SIZES', sizes)
  corpora.wsj(root)
  return root


@pytest.mark.parametrize('name', ['timit', 'wsj'])
def test_prepared_as_read(tmp_path, monkeypatch, name):
  if name == 'timit':
    root = timit_tree(tmp_path / 'tree')
    expected = timit.read(root)
  else:
    root = wsj_tree(tmp_path / 'tree', monkeypatch)
    expected = wsj.read(root)
  for _ in range(2):  # the second time it is there
    corpus = speech_builders.read(name, root, tmp_path / 'data')
    assert corpus.report() == expected.report()
    assert corpus.synthetic == (name == 'timit')
  for split, own in corpus.splits.items():
    for one, other in zip(own, expected.splits[split], strict=True):
      for key in ('name', 'speaker', 'text', 'words', 'phones'):
        assert getattr(one, key) == getattr(other, key)
      np.testing.assert_array_equal(one.samples()[0], other.samples()[0], strict=True)
      assert one.samples()[1] == other.samples()[1]
      assert one.path.exists()
  assert 'tensorflow' not in sys.modules


def test_index(tmp_path, monkeypatch):
  """Recordings are not read again for what stands in it."""
  root, data = timit_tree(tmp_path / 'tree'), tmp_path / 'data'
  first = speech_builders.read('timit', root, data)
  with monkeypatch.context() as patch:
    patch.setattr(speech_builders, '_index', None)
    assert speech_builders.read('timit', root, data).splits == first.splits
  (path,) = data.rglob('train_index.json')
  for content in ('[', '[["a"]]', '[]'):
    path.write_text(content)
    with pytest.raises(InputError, match=r'train_index\.json: not an index: delete it'):
      speech_builders.read('timit', root, data)


def test_skip_bad(tmp_path):
  root, data = timit_tree(tmp_path / 'tree'), tmp_path / 'data'
  path = root / 'TRAIN/DR1/FAAA0/SX7.WAV'
  path.write_bytes(path.read_bytes()[:-2])
  with pytest.raises(InputError, match=r'SX7\.WAV: cut off'):
    speech_builders.read('timit', root, data)
  for _ in range(2):
    corpus = speech_builders.read('timit', root, data, skip_bad=True)
    assert [one.name for one in corpus.splits['train']] == ['faaa0_si1']
    assert list(corpus.bad) == ['faaa0_sx7']
    assert 'SX7.WAV: cut off' in corpus.bad['faaa0_sx7']


def test_other_directory(tmp_path):
  data = tmp_path / 'data'
  speech_builders.read('timit', timit_tree(tmp_path / 'one'), data)
  with pytest.raises(InputError, match=r'prepared from .*one, not from .*two: delete'):
    speech_builders.read('timit', timit_tree(tmp_path / 'two'), data)
  with pytest.raises(InputError, match='--manual_dir: .*three: no such directory'):
    speech_builders.read('timit', tmp_path / 'three', data)


def test_catalogue():
  names = {'ldc_timit/strict', 'ldc_timit/skip_bad', 'ldc_wsj/si84_strict'}
  for name in names:
    builder = tfds.builder(name)
    assert f'{builder.name}/{builder.builder_config.name}' == name
