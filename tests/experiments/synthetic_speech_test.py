"""Synthetic speech: a directory that TIMIT's reader reads."""

import filecmp
import itertools

import numpy as np
import pytest
import spoken

from experiments.datasets import phones, recordings, sphere, synthetic_speech, timit
from experiments.datasets.utterances import Corpus

pytest.importorskip('espeakng_loader', reason='the extra `speech` is not installed')


@pytest.fixture(scope='module')
def corpus() -> Corpus:
  return timit.read(spoken.timit())


def test_timit_is_read(corpus):
  assert corpus.speakers == {'train': 6, 'validation': 2, 'test': 2}
  assert {split: len(own) for split, own in corpus.splits.items()} == {
    'train': 12,
    'validation': 4,
    'test': 4,
  }
  script = recordings.script(spoken.SETTINGS)
  for split, parts in script.items():
    said = sorted(text for part in parts for text in part.texts)
    assert sorted(one.text for one in corpus.splits[split]) == said
  for one in itertools.chain(*corpus.splits.values()):
    samples, rate = one.samples()
    assert rate == 16_000
    assert ' '.join(word.label for word in one.words) == one.text
    assert one.phones[0].start == 0 and one.phones[-1].end == len(samples)
    assert {phone.label for phone in one.phones} <= set(phones.PHONES)
    for phone, following in itertools.pairwise(one.phones):
      assert phone.end == following.start
    edges = {phone.start for phone in one.phones}
    assert {edge for word in one.words for edge in word[:2]} <= edges


def test_silence_is_quiet(corpus):
  for one in itertools.chain(*corpus.splits.values()):
    wave = one.samples()[0].astype(np.float64)
    level = np.sqrt((wave**2).mean())
    for phone in (one.phones[0], one.phones[-1]):
      assert phone.label == 'h#'
      assert phone.end - phone.start >= 800
      there = wave[phone.start : phone.end]
      assert 0.02 < np.sqrt((there[:800] ** 2).mean()) / level < 0.3


def test_the_same_again(tmp_path):
  again = synthetic_speech.timit(tmp_path, spoken.SETTINGS)
  first = spoken.timit()
  names = sorted(path.relative_to(first) for path in first.rglob('*') if path.is_file())
  assert len(names) == 4 * 20 + 3
  _, differ, absent = filecmp.cmpfiles(first, again, names, shallow=False)
  assert not differ and not absent


def test_kept(monkeypatch):
  first = spoken.timit()
  monkeypatch.setattr(recordings, 'record', None)
  assert spoken.timit() == first
  assert 'not TIMIT' in (first / 'README').read_text()


def test_wsj_has_its_form():
  root = spoken.wsj()
  assert 'not WSJ' in (root / 'README').read_text()
  indices = {
    '11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx': 6,
    '13-34.1/wsj1/doc/indices/si_tr_s.ndx': 6,
    '13-34.1/wsj1/doc/indices/h1_p0.ndx': 4,
    '11-13.1/wsj0/doc/indices/test/nvp/si_et_20.ndx': 4,
  }
  names = []
  for index, count in indices.items():
    lines = (root / index).read_text().splitlines()
    listed = [line for line in lines if not line.startswith(';')]
    assert len(listed) == count
    for line in listed:
      disc, _, place = line.partition(':')
      path = root / disc.replace('_', '-', 1).replace('_', '.') / place
      samples, rate = sphere.read(path.with_suffix('.wv1'))
      assert rate == 16_000 and len(samples) > 10_000
      names.append(path.stem)
  assert len(set(names)) == 20
  said = {}
  for path in root.rglob('*.dot'):
    for line in path.read_text().splitlines():
      text, _, name = line.removesuffix(')').rpartition(' (')
      assert name.startswith(path.stem[:6])
      said[name] = text
  assert sorted(said) == sorted(names)
  script = recordings.script(spoken.SETTINGS)
  texts = [text for parts in script.values() for part in parts for text in part.texts]
  assert sorted(said.values()) == sorted(texts)
