"""Features on disk: normalised by speaker, made once, whole or not at all."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from sounds import Noise

from experiments.datasets import directories, fbank, speech_features, sphere
from experiments.errors import InputError

pytest.importorskip('kaldi_native_fbank', reason='the extra `speech` is not installed')


def noises(folder: pathlib.Path) -> list[Noise]:
  lengths = {'a1': 4000, 'b1': 5000, 'a2': 3000, 'c1': 400}
  for name in lengths:
    (folder / name).touch()
  return [
    Noise(name, name[0], folder / name, length) for name, length in lengths.items()
  ]


def test_prepare(tmp_path):
  sounds = noises(tmp_path)
  got = speech_features.prepare(sounds, tmp_path / 'cache', 10)
  assert got.names == ['a1', 'b1', 'a2', 'c1']
  assert got.lengths.tolist() == [23, 29, 17, 1]
  assert got.values.shape == (70, 33)
  assert (got.rate, got.bad, len(got)) == (16_000, {}, 4)
  plain = [fbank.features(*sound.samples(), 10) for sound in sounds]
  first, third = fbank.normalised([plain[0], plain[2]])
  np.testing.assert_array_equal(got[0], first)
  np.testing.assert_array_equal(got[2], third)
  np.testing.assert_array_equal(got[1], fbank.normalised([plain[1]])[0])
  np.testing.assert_array_equal(got[3], 0)


def test_made_once(tmp_path, monkeypatch):
  sounds, cache = noises(tmp_path), tmp_path / 'cache'
  first = speech_features.prepare(sounds, cache, 10)
  monkeypatch.setattr(fbank, 'features', None)
  again = speech_features.prepare(sounds, cache, 10)
  np.testing.assert_array_equal(again.values, first.values)
  assert again.sha256 == first.sha256
  assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
  'change', ['filters', 'file', 'time', 'name', 'speaker', 'sph2pipe']
)
def test_made_anew(tmp_path, monkeypatch, change):
  sounds, cache = noises(tmp_path), tmp_path / 'cache'
  first = speech_features.prepare(sounds, cache, 10)
  num_mel = 10
  if change == 'filters':
    num_mel = 11
  elif change == 'file':
    sounds[0].path.write_text('longer')
  elif change == 'time':
    os.utime(sounds[0].path, (1, 1))
  elif change == 'sph2pipe':  # may read what could not be read before
    there = sphere.converts()
    monkeypatch.setattr(sphere, 'converts', lambda: not there)
  else:
    sounds[0] = dataclasses.replace(sounds[0], **{change: 'new'})
  second = speech_features.prepare(sounds, cache, num_mel)
  assert len(list(cache.iterdir())) == 2
  assert (second.sha256 == first.sha256) == (change != 'name')


def test_bad_recordings(tmp_path):
  sounds, cache = noises(tmp_path), tmp_path / 'cache'
  sounds[1] = dataclasses.replace(sounds[1], fault='cut off')
  sounds[3] = dataclasses.replace(sounds[3], count=399)
  with pytest.raises(InputError, match=r'b1: cut off$'):
    speech_features.prepare(sounds, cache, 10)
  assert not list(cache.iterdir())
  got = speech_features.prepare(sounds, cache, 10, skip_bad=True)
  assert got.names == ['a1', 'a2']
  assert got.bad == {
    'b1': f'{tmp_path / "b1"}: cut off',
    'c1': '399 samples: expected 25 ms at least',
  }
  assert [len(got[row]) for row in range(2)] == [23, 17]
  # What was left out is not left out in silence later on.
  with pytest.raises(InputError, match=r'b1: cut off$'):
    speech_features.prepare(sounds, cache, 10)


def test_bad_lists(tmp_path):
  sounds = noises(tmp_path)
  slow = dataclasses.replace(sounds[0], rate=8000)
  none = [dataclasses.replace(sound, fault='no') for sound in sounds]
  cases = {
    'expected an utterance at least': [],
    'speech: 5 utterances have 4 names': [*sounds, sounds[0]],
    r'speech: expected one rate, found \[8000, 16000\]': [slow, sounds[1]],
    'speech: no recording of 4 can be read: .*a1: no$': none,
  }
  for message, bad in cases.items():
    with pytest.raises(InputError, match=message):
      speech_features.prepare(bad, tmp_path / 'cache', 10, skip_bad=True)
  assert not list((tmp_path / 'cache').iterdir())


@pytest.mark.parametrize('damage', ['cut', 'no index', 'junk', 'other'])
def test_damaged_cache(tmp_path, damage):
  sounds, cache = noises(tmp_path), tmp_path / 'cache'
  speech_features.prepare(sounds, cache, 10)
  (directory,) = cache.iterdir()
  index = directory / 'index.json'
  if damage == 'cut':
    values = directory / 'values.f32'
    values.write_bytes(values.read_bytes()[:-4])
  elif damage == 'no index':
    index.unlink()
  else:
    index.write_text('{' if damage == 'junk' else json.dumps({'places': []}))
  with pytest.raises(InputError, match=f'^{directory}: not features: delete it'):
    speech_features.prepare(sounds, cache, 10)


def test_directories_are_whole(tmp_path):
  def broken(directory: pathlib.Path) -> None:
    (directory / 'part').touch()
    raise KeyboardInterrupt

  def late(directory: pathlib.Path) -> None:
    """While another process is done."""
    shutil.copytree(tmp_path / 'other', tmp_path / 'made')
    (directory / 'late').touch()

  target = tmp_path / 'made'
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other' / 'first').touch()
  with pytest.raises(KeyboardInterrupt):
    directories.made(target, broken)
  assert [path.name for path in tmp_path.iterdir()] == ['other']
  directories.made(target, late)
  assert [path.name for path in target.iterdir()] == ['first']
  assert len(list(tmp_path.iterdir())) == 2
  with pytest.raises(InputError, match='^--cache_dir: .*File exists'):
    directories.made(target / 'first' / 'x', lambda _: None)
