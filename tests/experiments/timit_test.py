"""TIMIT's reader, on small trees of the same form."""

import hashlib
import pathlib
import re

import corpora
import numpy as np
import pytest

from experiments.datasets import phones, timit, trees
from experiments.errors import InputError

SPEAKERS = ('TRAIN/DR1/FAAA0', 'TRAIN/DR2/MBBB0', 'TEST/DR1/FCCC0', 'TEST/DR1/MDDD0')
SENTENCES = ('SA1', 'SI1001', 'SX7')


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
  corpora.timit(tmp_path / 'TIMIT', [*SPEAKERS, 'TEST/DR2/MEEE0'], SENTENCES)
  (tmp_path / 'TIMIT' / 'dev_spk.list').write_text('fccc0\n')
  (tmp_path / 'TIMIT' / 'test_spk.list').write_text('mddd0\n')
  return tmp_path / 'TIMIT'


def names(corpus) -> dict[str, list[str]]:
  return {split: [one.name for one in own] for split, own in corpus.splits.items()}


EXPECTED = {
  'train': ['faaa0_si1001', 'faaa0_sx7', 'mbbb0_si1001', 'mbbb0_sx7'],
  'validation': ['fccc0_si1001', 'fccc0_sx7'],
  'test': ['mddd0_si1001', 'mddd0_sx7'],
}


def lower(root: pathlib.Path) -> None:
  for path in sorted(root.rglob('*'), reverse=True):
    path.rename(path.with_name(path.name.lower()))


def test_from_above(root, tmp_path):
  (root / 'README').write_text('synthetic speech')
  corpus = timit.read(tmp_path)
  assert names(corpus) == EXPECTED
  assert corpus.synthetic
  (tmp_path / 'test_spk.list').write_text('mddd0\n')
  with pytest.raises(
    InputError, match=r'test_spk\.list: there is .*test_spk\.list, too'
  ):
    timit.read(tmp_path)


@pytest.mark.parametrize('case', [None, lower])
def test_read(root, case):
  (root / 'TRAIN/DR1/FAAA0/SX7.WAV.wav').write_bytes(b'RIFF')  # as some copies have
  if case:
    case(root)
  corpus = timit.read(root)
  assert names(corpus) == EXPECTED
  assert corpus.speakers == {'train': 2, 'validation': 1, 'test': 1}
  assert not corpus.bad
  one = corpus.splits['validation'][0]
  assert (one.speaker, one.text) == ('fccc0', 'Do.')
  assert one.words == ((400, 1300, 'do'),)
  assert [phone.label for phone in one.phones] == ['h#', 'dcl', 'd', 'uw', 'h#']
  samples, rate = one.samples()
  assert (samples.dtype, samples.shape, rate) == (np.int16, (1600,), 16_000)
  assert corpus.report().startswith('timit train: 4 utterances of 2 speakers')
  (root / 'README').write_bytes(b'This is Synthetic\xa0speech: synthetic speech.')
  report = 'synthetic timit train: 4 utterances of 2 speakers'
  assert timit.read(root).report().startswith(report)


FAULTS = [
  ('SX7.WAV', None, r'SX7\.\w+: no \.WAV beside it'),
  ('SX7.PHN', None, r'SX7\.\w+: no \.PHN beside it'),
  ('SX7.PHN', '', 'is empty'),
  ('SX7.PHN', '0 10 h#\n10 h#\n', 'line 2: expected start end label, found 10 h#'),
  ('SX7.PHN', '0 10 h#\n10 20 xx\n', "xx is not one of TIMIT's phones"),
  ('SX7.PHN', '5 10 h#\n4 9 aa\n', 'the times go back: 4 9 aa'),
  ('SX7.WRD', '5 4 a\n', 'line 1: expected start end label, found 5 4 a'),
  ('SX7.TXT', 'Do.\n', 'expected one line: start end text'),
]


@pytest.mark.parametrize(('name', 'content', 'fault'), FAULTS)
def test_faults(root, name, content, fault):
  path = root / 'TRAIN/DR1/FAAA0' / name
  path.unlink()
  if content is not None:
    path.write_text(content)
  with pytest.raises(InputError, match=fault) as caught:
    timit.read(root)
  assert str(path.with_suffix('')) in str(caught.value)
  corpus = timit.read(root, skip_bad=True)
  assert names(corpus)['train'] == ['faaa0_si1001', 'mbbb0_si1001', 'mbbb0_sx7']
  assert re.search(fault, corpus.bad['faaa0_sx7'])
  assert corpus.report().splitlines()[-2:] == ['timit: 1 faults:', str(caught.value)]


def test_damaged_recording(root):
  path = root / 'TRAIN/DR1/FAAA0/SX7.WAV'
  path.write_bytes(path.read_bytes()[:-2])
  damaged = timit.read(root).splits['train'][1]
  with pytest.raises(InputError, match=r'SX7\.WAV: cut off'):
    damaged.samples()


def test_sizes(tmp_path, monkeypatch):
  people = [len(set(names.split())) for names in (timit.VALIDATION, timit.TEST)]
  assert people == [timit.SIZES[split][0] for split in ('validation', 'test')]
  assert all(utterances == 8 * people for people, utterances in timit.SIZES.values())
  speakers = [*SPEAKERS[:2], 'TEST/DR1/FAKS0', 'TEST/DR2/MDAB0', 'TEST/DR2/MEEE0']
  corpora.timit(tmp_path, speakers, SENTENCES)
  with pytest.raises(InputError, match='462 speakers with 3696 .*, found 2 with 4'):
    timit.read(tmp_path)
  sizes = {'train': (2, 4), 'validation': (1, 2), 'test': (1, 2)}
  monkeypatch.setattr(timit, 'SIZES', sizes)
  assert timit.read(tmp_path).speakers == {'train': 2, 'validation': 1, 'test': 1}
  (tmp_path / 'TEST/DR2/MDAB0/SX7.WAV').unlink()
  with pytest.raises(InputError, match=r'no \.WAV'):
    timit.read(tmp_path)
  fault = f'{tmp_path}: test: expected 1 speakers with 2 utterances, found 1 with 1'
  assert timit.read(tmp_path, skip_bad=True).bad['test'] == fault


def test_other_trees(root, tmp_path):
  (root / 'test_spk.list').write_text('mddd0\nfxxx0\n')
  with pytest.raises(InputError, match=r'test_spk\.list: no utterances of fxxx0'):
    timit.read(root)
  (root / 'test_spk.list').write_text('fccc0\n')
  with pytest.raises(InputError, match='fccc0 is in both lists'):
    timit.read(root)
  (root / 'test_spk.list').unlink()
  with pytest.raises(InputError, match=r'expected both dev_spk\.list and test_spk'):
    timit.read(root)
  (root / 'dev_spk.list').unlink()
  with pytest.raises(InputError, match='expected 462 speakers with 3696'):
    timit.read(root)
  (tmp_path / 'empty').mkdir()
  with pytest.raises(InputError, match='empty: no files as .*: not TIMIT'):
    timit.read(tmp_path / 'empty')


def test_trees(tmp_path):
  every = re.compile('.*')
  (tmp_path / 'A').mkdir()
  (tmp_path / 'A/B.TXT').touch()
  (tmp_path / 'A/up').symlink_to(tmp_path)
  (tmp_path / 'C').symlink_to(tmp_path / 'A')
  assert sorted(trees.files(tmp_path, every)) == ['a/b.txt', 'c/b.txt']
  assert sorted(trees.files(tmp_path, re.compile('c/.*'))) == ['c/b.txt']
  (tmp_path / 'A/b.txt').touch()
  with pytest.raises(InputError, match=r'b\.txt: differs from .*B\.TXT in case alone'):
    trees.files(tmp_path, every)
  with pytest.raises(InputError, match='no such directory'):
    trees.files(tmp_path / 'D', every)


def test_foldings():
  assert len(phones.PHONES) == len(set(phones.PHONES)) == 61
  assert len(set(phones.FOLD_48.values()) - {''}) == 48
  assert len(set(phones.FOLD_39.values()) - {''}) == 39
  assert set(phones.FOLD_39) == set(phones.PHONES)
  # The 39 are made of the 48: what is one there is one here.
  both = zip(phones.FOLD_48.values(), phones.FOLD_39.values(), strict=True)
  assert len({*both}) == 49  # with what becomes of q
  # As the usual tables have it, those that stay as they are left out.
  table = 'ax-h ah, ax ah, axr er, hv hh, ux uw, nx n, em m, eng ng, ix ih, ao aa, el l'
  table += ', en n, zh sh, bcl sil, dcl sil, gcl sil, pcl sil, tcl sil, kcl sil'
  table += ', h# sil, pau sil, epi sil'
  folded = dict(row.split() for row in table.split(', ')) | {'q': ''}
  assert {phone: phone for phone in phones.PHONES} | folded == phones.FOLD_39


def test_speakers():
  """Those of the usual lists, by a digest that was taken from a copy of these."""
  for names, mark in ((timit.VALIDATION, '403ee9d0'), (timit.TEST, 'b1342cbe')):
    content = ' '.join(sorted(names.split())).encode()
    assert hashlib.sha256(content).hexdigest()[:8] == mark
