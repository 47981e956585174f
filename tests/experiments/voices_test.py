"""Who says what in the synthetic corpora."""

import pytest

from experiments.datasets import recordings, voices
from experiments.datasets.recordings import Settings
from experiments.errors import InputError


def test_voices_of_the_splits_differ():
  known = set()
  for of_one_sex in (voices.FEMALE, voices.MALE):
    for variants in of_one_sex.values():
      assert not known & set(variants)
      known |= set(variants)
  assert len(known) == 69


def test_cast():
  whole = voices.cast('train', 60, seed=0)
  assert voices.cast('train', 20, seed=0) == whole[:20]
  assert voices.cast('train', 20, seed=1) != whole[:20]
  assert len({voice.variant for voice in whole}) == 47
  assert len(set(whole)) == 60
  assert [voice.accent for voice in whole].count('en-us') == 39
  assert [voice.sex for voice in whole].count('f') == 20
  assert voices.cast('test', 1, 0)[0].request('dogs').voice == 'en-us+robert'
  with pytest.raises(InputError, match='expected a speaker at least, got 0$'):
    voices.cast('train', 0, seed=0)


def test_script():
  script = recordings.script(Settings())
  texts = [text for parts in script.values() for part in parts for text in part.texts]
  assert len(set(texts)) == len(texts) == 640
  assert {split: len(parts) for split, parts in script.items()} == {
    'train': 60,
    'validation': 8,
    'test': 12,
  }
  # Validation and test stay as they are, and training is the beginning of a larger one.
  small = recordings.script(Settings(train=5))
  assert small['test'] == script['test']
  assert small['validation'] == script['validation']
  assert small['train'] == script['train'][:5]
  # Results were measured on these sentences and voices, and hold for no others.
  assert script['test'][0].texts[0] == 'my good bird took girls'
  with pytest.raises(InputError, match='expected up to 5,280 sentences, got 8,160$'):
    recordings.script(Settings(train=1000))


def test_digest():
  pytest.importorskip('espeakng_loader', reason='the extra `speech` is not installed')
  settings = [Settings(), Settings(train=5), Settings(seed=1), Settings(sentences=7)]
  digests = {recordings.digest(recordings.script(own)) for own in settings}
  assert len(digests) == 4
  again = recordings.digest(recordings.script(Settings()))
  assert again in digests
