"""WSJ's reader, on small discs of the same form, and its transcripts."""

import pathlib
import shutil

import corpora
import numpy as np
import pytest

from experiments.datasets import wsj, wsj_transcripts
from experiments.errors import InputError

SIZES = {'si84': 2, 'si284': 4, 'dev93': 2, 'eval92': 2}
INDEX = '11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx'
SESSION = '11-1.1/wsj0/si_tr_s/01i'


@pytest.fixture
def root(tmp_path, monkeypatch) -> pathlib.Path:
  monkeypatch.setattr(wsj, 'SIZES', SIZES)
  corpora.wsj(tmp_path / 'discs')
  return tmp_path / 'discs'


def merge(root: pathlib.Path) -> None:
  for disc in sorted(root.glob('1*')):
    for path in sorted(disc.rglob('*')):
      if path.is_file():
        target = root / str(path.relative_to(disc)).lower()
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    shutil.rmtree(disc)


@pytest.mark.parametrize('arrange', [None, merge])
@pytest.mark.parametrize('training', wsj.TRAINING)
def test_read(root, arrange, training):
  if arrange:
    arrange(root)
  corpus = wsj.read(root, training=training)
  names = {split: [one.name for one in own] for split, own in corpus.splits.items()}
  second = ['460c0201', '460c0202'] if training == 'si284' else []
  assert names == {
    'train': ['01ic0201', '01ic0202', *second],  # 401 is left out
    'validation': ['4k0c0301', '4k0c0302'],
    'test': ['440c0401', '440c0402'],
  }
  assert corpus.speakers == {'train': 1 + len(second) // 2, 'validation': 1, 'test': 1}
  assert not corpus.bad
  one = corpus.splits['train'][1]
  assert (one.speaker, one.text, one.phones) == ('01i', 'TWO <NOISE> THREE', ())
  samples, rate = one.samples()
  assert (samples.dtype, samples.shape, rate) == (np.int16, (1600,), 16_000)


def test_the_right_disc(root):
  other = root / '11-5.1/wsj0/si_tr_s/01i/01ic0201.wv1'
  corpora.sound(other, seed=9)
  corpora.sound(root / 'a' / other.relative_to(root), seed=9)
  assert wsj.read(root).splits['train'][0].path == root / SESSION / '01ic0201.wv1'
  index = root / INDEX
  index.write_text(index.read_text().replace('11_1_1:', '11_5_1 : /', 1))
  assert '11-5.1' in str(wsj.read(root).splits['train'][0].path)


FAULTS = [
  (f'{SESSION}/01ic0201.wv1', None, r'ndx: line 2: no wsj0/.*01ic0201\.wv1 .*11_1_1'),
  (
    f'{SESSION}/01ic0200.dot',
    'A (01ic0202)\n',
    r'no transcript of 01ic0201 in a 01ic02',
  ),
  (f'{SESSION}/01ic0200.dot', '. (01ic0201)\nA (01ic0202)\n', '01ic0201 has no word'),
]


@pytest.mark.parametrize(('path', 'content', 'fault'), FAULTS)
def test_faults(root, path, content, fault):
  if content is None:
    (root / path).unlink()
  else:
    (root / path).write_text(content)
  with pytest.raises(InputError, match=fault) as caught:
    wsj.read(root)
  corpus = wsj.read(root, skip_bad=True)
  assert [one.name for one in corpus.splits['train']][0] == '01ic0202'
  size = f'{root}: si284: expected 4 utterances, found 3'
  assert corpus.bad == {'01ic0201': str(caught.value), 'si284': size}


def test_faults_of_lists(root):
  index = root / INDEX
  lines = index.read_text()
  index.write_text(f'{lines}11_1_1\n')
  with pytest.raises(InputError, match='line 6: expected disc:path, found 11_1_1'):
    wsj.read(root)
  index.write_text('\n'.join(lines.splitlines()[:2]))
  with pytest.raises(InputError, match='si84: expected 2 utterances, found 1'):
    wsj.read(root, training='si84')
  index.write_text('\n'.join(['; Synthetic: one', *lines.splitlines()[:2]]))
  corpus = wsj.read(root, training='si84')
  assert len(corpus.splits['train']) == 1
  assert corpus.synthetic  # without README, or from above it
  index.unlink()
  with pytest.raises(InputError, match=r'si84: no wsj0/doc/.*wv1\.ndx .disc 11_13_1'):
    wsj.read(root, training='si84')
  with pytest.raises(InputError, match='--train_set: expected si84 or si284'):
    wsj.read(root, training='si85')


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('It "is\\" so', 'IT "IS" SO'),
    ('%percent .point --dash . ~', 'PERCENT POINT -DASH'),
    ('50%percent x.point', '50%PERCENT X.POINT'),
    ('[<a_b] one [a_b>] two [a_b/] three [/a_b]', 'ONE TWO THREE'),
    ('[a_b] one [c]', '<NOISE> ONE <NOISE>'),
    ("<it's> <so", "IT'S <SO"),
    ('a\\[b\\]', '<NOISE>'),
    (',comma "double-quote', ',COMMA "DOUBLE-QUOTE'),
  ],
)
def test_normalised(text, expected):
  assert wsj_transcripts.normalised(text) == expected


def test_transcripts(tmp_path):
  path = tmp_path / '01ic0200.dot'
  path.write_text('A (b) (01iC0201) \r\n\n(01IC0202)\n')
  assert wsj_transcripts.read(path) == {'01ic0201': 'A (B)', '01ic0202': ''}
  for broken, fault in (
    ('A 01ic0201\n', r'line 1: expected words \(utterance\)'),
    ('A (01ic0201)\nB (01IC0201)\n', 'line 2: utterance 01ic0201 a second time'),
  ):
    path.write_text(broken)
    with pytest.raises(InputError, match=fault):
      wsj_transcripts.read(path)
