"""Corpora of speech from files to batches."""

import pathlib
import wave
import zipfile

import numpy as np
import pytest
import spoken

from experiments.datasets import directories, espeak, fsdd, recordings, speech_corpora
from experiments.datasets.speech import Speech
from experiments.errors import InputError

pytest.importorskip('kaldi_native_fbank', reason='the extra `speech` is not installed')
SIZES = {'num_mel': 8, 'batch_frames': 600, 'num_shapes': 2, 'multiple': 4}
SPEAKERS = ('ann', 'bob', 'eve')


@pytest.fixture(scope='module')
def timit() -> Speech:
  pytest.importorskip('espeakng_loader', reason='the extra `speech` is not installed')
  return speech_corpora.timit(None, spoken.cache(), spoken.SETTINGS, **SIZES)


def test_synthetic_timit(timit):
  assert timit.name == 'synthetic'
  assert (timit.source, timit.num_classes) == (27, 65)
  assert timit.about['utterances'] == {'train': 12, 'validation': 4, 'test': 4}
  assert timit.about['synthetic'] == f'eSpeak NG, espeakng-loader {espeak.version()}'
  assert timit.about['bad'] == {}
  assert timit.about['padding'].keys() == timit.utterances.keys()
  for split, own in timit.utterances.items():
    for row, (text, phones) in enumerate(zip(own.texts, own.phones, strict=True)):
      assert text == ' '.join(phone.label for phone in phones)
      assert timit.target.decode(timit.ids[split][row]) == text
      labels = timit.frame_labels[split][row]
      assert len(labels) == len(own.features[row])
      there = timit.target.show(labels)
      # Hardly a phone is so short that it has no frame.
      assert set(there) <= set(text.split())
      assert there[0] == there[-1] == 'h#'


def test_its_directory_is_a_corpus(timit):
  given = speech_corpora.timit(spoken.timit(), spoken.cache(), **SIZES)
  assert given.name == 'synthetic'
  assert given.about['synthetic'] == 'as its files say'
  assert given.fingerprint == timit.fingerprint


def test_batches(timit):
  plan = timit.plans['train']
  arrays = timit.batch('train')(plan.batch(0, 0))
  assert arrays['frames'].shape[1] % 4 == 0
  assert arrays['frames'].shape[0] * arrays['frames'].shape[1] <= 600
  values = np.concatenate([arrays['frames'][arrays['frames_mask']]])
  assert np.isfinite(values).all()
  assert 0.3 < values.std() < 2


@pytest.mark.parametrize(('train', 'count'), [('si84', 6), ('si284', 12)])
def test_synthetic_wsj(train, count):
  pytest.importorskip('espeakng_loader', reason='the extra `speech` is not installed')
  settings = spoken.SETTINGS
  got = speech_corpora.wsj(None, spoken.cache(), settings, train, **SIZES)
  assert got.name == 'synthetic'
  assert got.about['utterances'] == {'train': count, 'validation': 4, 'test': 4}
  assert got.about['train'] == train
  assert got.about['speakers'] == {'train': count // 2, 'validation': 2, 'test': 2}
  script = recordings.script(settings)
  said = {text.upper() for part in script['test'] for text in part.texts}
  assert set(got.utterances['test'].texts) == said
  for split, own in got.utterances.items():
    assert [got.target.decode(ids) for ids in got.ids[split]] == own.texts
  given = speech_corpora.wsj(spoken.wsj(), spoken.cache(), None, train, **SIZES)
  assert (given.name, given.fingerprint) == ('synthetic', got.fingerprint)
  with pytest.raises(InputError, match='^synthetic: the times of phones are not'):
    got.frame_batch('train')


def test_defaults(timit, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  assert directories.default_cache() == tmp_path / 'regularizers'
  given = speech_corpora.timit(spoken.timit())
  assert given.source == 123
  assert len(list((tmp_path / 'regularizers').iterdir())) == 3
  assert all(shape.source % 8 == 0 for shape in given.plans['train'].shapes)


def digit(path: pathlib.Path, seed: int, count: int = 1600, **options: int) -> None:
  draw = np.random.default_rng(seed)
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(options.get('channels', 1))
    file.setsampwidth(options.get('width', 2))
    file.setframerate(8000)
    file.writeframes(draw.integers(-500, 500, count).astype('<i2').tobytes())


@pytest.fixture
def digits(tmp_path) -> pathlib.Path:
  folder = tmp_path / 'recordings'
  folder.mkdir()
  for number in (0, 7):
    for speaker in SPEAKERS:
      for index in (0, 4, 5, 11):
        name = f'{number}_{speaker}_{index}.wav'
        digit(folder / name, number + index, 1600 + 80 * index)
  (folder / 'notes.wav').write_text('of something else')
  return folder


def test_digits(digits, tmp_path):
  got = speech_corpora.fsdd(digits, tmp_path, 'bob', **SIZES)
  assert got.about['utterances'] == {'train': 8, 'validation': 8, 'test': 8}
  assert got.about['left_out'] == 'bob'
  names = {split: own.features.names for split, own in got.utterances.items()}
  assert {name.split('_')[1] for name in names['test']} == {'bob'}
  assert {name.split('_')[1] for name in names['train']} == {'ann', 'eve'}
  assert {name.split('_')[2] for name in names['train']} == {'5', '11'}
  assert {name.split('_')[2] for name in names['validation']} == {'0', '4'}
  assert set(got.utterances['train'].texts) == {'z ih r ow', 's eh v ax n'}
  assert got.utterances['train'].features.rate == 8000
  # 25 ms, one each 10 ms.
  place = names['train'].index('0_ann_5')
  assert got.utterances['train'].features.lengths[place] == (2000 - 200) // 80 + 1
  assert got.num_classes == 4 + len(fsdd.vocabulary())
  with pytest.raises(InputError, match='^fsdd: the times of phones are not known$'):
    got.frame_batch('train')


def test_digits_in_an_archive(digits, tmp_path):
  folder = speech_corpora.fsdd(digits, tmp_path, 'eve', **SIZES)
  path = tmp_path / 'recordings.zip'
  with zipfile.ZipFile(path, 'w') as archive:
    for file in digits.iterdir():
      archive.write(file, f'recordings/{file.name}')
  archive = speech_corpora.fsdd(path, tmp_path, 'eve', **SIZES)
  assert archive.fingerprint == folder.fingerprint


def test_dictionary():
  assert len(fsdd.PHONES) == 10
  assert fsdd.PHONES[7] == 's eh v ax n'
  assert len(fsdd.vocabulary()) == 20


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'not a wav file'),
    (b'RIFF', 'not a wav file'),
    ({'channels': 2}, 'expected 1 channel of 2 bytes, found 2 of 2'),
    ({'width': 1}, 'expected 1 channel of 2 bytes, found 1 of 1'),
    ('cut', 'expected 2000 samples, it is cut off'),
  ],
)
def test_bad_digits(digits, tmp_path, content, message):
  path = digits / '0_ann_5.wav'
  if content == 'cut':
    path.write_bytes(path.read_bytes()[:-10])
  elif isinstance(content, dict):
    digit(path, 0, **content)
  else:
    path.write_bytes(content)
  with pytest.raises(InputError, match=f'0_ann_5.wav: {message}'):
    speech_corpora.fsdd(digits, tmp_path, 'bob', **SIZES)
  got = speech_corpora.fsdd(digits, tmp_path, 'bob', skip_bad=True, **SIZES)
  assert list(got.about['bad']) == ['0_ann_5']
  assert got.about['utterances']['train'] == len(got.ids['train']) == 7
  assert len(got.utterances['train'].texts) == 7


def test_no_digits(digits, tmp_path):
  cases = {
    '^--left_out: .*: no speaker .nobody., but ann, bob, eve$': (digits, 'nobody'),
    '^--data_dir: .*: no files such as 7_george_12.wav$': (tmp_path / 'cache', 'ann'),
    '^cannot read .*nowhere: No such file': (tmp_path / 'nowhere', 'ann'),
    'not a zip file': (digits / 'notes.wav', 'ann'),
  }
  (tmp_path / 'cache').mkdir()
  for message, arguments in cases.items():
    with pytest.raises(InputError, match=message):
      fsdd.read(*arguments)
  for path in digits.glob('*_ann_*'):
    path.unlink()
  for path in digits.glob('*_eve_*5.wav'):
    path.unlink()
  for path in digits.glob('*_11.wav'):
    path.unlink()
  with pytest.raises(InputError, match='no recordings for train$'):
    fsdd.read(digits, 'bob')
