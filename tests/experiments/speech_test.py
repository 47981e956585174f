"""Batches of features and ids."""

import dataclasses

import numpy as np
import pytest
from sounds import Noise

from experiments.datasets import speech_features
from experiments.datasets.speech import Speech, Split
from experiments.datasets.speech_units import Letters, Symbols
from experiments.datasets.units import END, PADDING, START
from experiments.datasets.utterances import Interval
from experiments.errors import InputError

pytest.importorskip('kaldi_native_fbank', reason='the extra `speech` is not installed')
LENGTHS = {
  'train': (4000, 5000, 3000, 4400, 6100, 2000, 4100),
  'validation': (3500, 3600),
  'test': (9000, 2000),
}
UNITS = Symbols(('aa', 'b', 'h#'))


@pytest.fixture(scope='module')
def speech(tmp_path_factory: pytest.TempPathFactory) -> Speech:
  folder = tmp_path_factory.mktemp('noise')
  return Speech('noise', {s: split(folder, s) for s in LENGTHS}, UNITS, 80, 3, 4)


def split(folder, name: str) -> Split:
  counts = LENGTHS[name]
  sounds = [Noise(f'{name}{n}', 'x', folder / str(n), n) for n in counts]
  phones = [
    [
      Interval(0, 1000, 'h#'),
      Interval(1000, 1000 + count // 3, 'aa'),
      Interval(1000 + count // 3, count - 300, 'b'),
    ][: 2 + row % 2]
    for row, count in enumerate(counts)
  ]
  texts = [' '.join(phone.label for phone in own) for own in phones]
  return Split(speech_features.prepare(sounds, folder, 5), texts, phones)


def test_shape_of_the_data(speech):
  assert (speech.source, speech.num_classes) == (18, 7)
  labels = speech.splits['train']['label'].tolist()
  aa, b, h = 4, 5, 6
  assert labels[:7] == [h, aa, END, h, aa, b, END]
  assert len(labels) == sum(len(ids) + 1 for ids in speech.ids['train'])
  for plan in speech.plans.values():
    assert all(shape.source % 4 == 0 for shape in plan.shapes)
    assert len(plan.shapes) <= 3
  assert speech.plans['validation'].shapes == speech.plans['train'].shapes
  assert speech.plans['test'].shapes != speech.plans['train'].shapes


@pytest.mark.parametrize('part', LENGTHS)
def test_batches(speech, part):
  own, seen = speech.utterances[part], []
  for batch in speech.plans[part].evaluation():
    arrays = speech.batch(part)(batch)
    rows, time, target = len(batch.rows), batch.source_width, batch.target_width
    assert rows * time <= max(80, time)
    assert arrays['frames'].shape == (rows, time, 18)
    assert arrays['frames'].dtype == np.float32
    assert arrays['frames_mask'].shape == (rows, time)
    for name in ('inputs', 'label', 'mask'):
      assert arrays[name].shape == (rows, target)
    assert arrays['frames_mask'].dtype == arrays['mask'].dtype == bool
    assert arrays['frames_mask'].any(axis=1).all()
    np.testing.assert_array_equal(arrays['mask'].any(axis=1), batch.mask)
    for row, place in enumerate(batch.rows):
      there = arrays['frames_mask'][row]
      np.testing.assert_array_equal(arrays['frames'][row][there], own.features[place])
      np.testing.assert_array_equal(arrays['frames'][row][~there], 0)
      ids = speech.ids[part][place].tolist()
      rest = [PADDING] * (target - len(ids) - 1)
      assert arrays['inputs'][row].tolist() == [START, *ids, *rest]
      assert arrays['label'][row].tolist() == [*ids, END, *rest]
      if batch.mask[row]:
        assert arrays['mask'][row].sum() == len(ids) + 1
        seen.append(int(place))
  assert sorted(seen) == list(range(len(own.texts)))


@pytest.mark.parametrize('part', LENGTHS)
def test_frames(speech, part):
  names = np.array(['h#', 'aa', 'b'])
  ids = {'aa': 4, 'b': 5, 'h#': 6}
  count = 0
  for batch in speech.plans[part].evaluation():
    arrays = speech.frame_batch(part)(batch)
    assert arrays['label'].shape == arrays['mask'].shape == arrays['frames'].shape[:2]
    expected = arrays['frames_mask'] & batch.mask[:, None]
    np.testing.assert_array_equal(arrays['mask'], expected)
    for row, place in enumerate(batch.rows):
      phones = speech.utterances[part].phones[place]
      for frame in range(speech.utterances[part].features.lengths[place]):
        centre = 160 * frame + 200
        passed = sum(phone.end <= centre for phone in phones)
        name = names[min(passed, len(phones) - 1)]
        assert arrays['label'][row, frame] == ids[name]
    count += arrays['mask'].sum()
  assert count == len(speech.utterances[part].features.values)


def test_fingerprint(speech):
  train = speech.utterances['train']
  texts, phones = list(train.texts), list(train.phones)
  texts[0] += ' b'
  phones[0] = phones[0][:1]
  others = [
    dataclasses.replace(train, texts=texts),
    dataclasses.replace(train, phones=phones),
    dataclasses.replace(train, features=speech.utterances['test'].features),
  ]
  marks = {
    dataclasses.replace(
      speech, utterances={**speech.utterances, 'train': own}
    ).fingerprint
    for own in (train, *others)
  }
  assert len(marks) == 4
  assert speech.fingerprint in marks
  other = dataclasses.replace(speech, target=Symbols(('aa', 'b', 'c', 'h#')))
  assert other.fingerprint not in marks


def test_no_times(speech):
  train = dataclasses.replace(speech.utterances['train'], phones=None)
  silent = dataclasses.replace(speech, utterances={'train': train})
  with pytest.raises(InputError, match='^noise: the times of phones are not known$'):
    silent.frame_batch('train')


@pytest.mark.parametrize('name', ['batch_frames', 'num_shapes', 'multiple'])
def test_bad_sizes(speech, name):
  with pytest.raises(InputError, match=f'^--{name}: expected at least 1, got 0$'):
    dataclasses.replace(speech, **{name: 0})


def test_symbols():
  ids = UNITS.encode('h# aa b h#')
  assert ids == [6, 4, 5, 6]
  assert UNITS.decode([*ids, END, 4]) == 'h# aa b h#'


def test_letters():
  units = Letters.of(["IT'S <NOISE> SO", 'A < B'])
  assert '<NOISE>' in units.vocabulary
  text = "SO <NOISE> IT'S <"
  ids = units.encode(text)
  assert len(ids) == len(text) - 6
  assert units.decode(ids) == text
