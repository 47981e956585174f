"""eSpeak NG in its own process: reproducible, and TIMIT's phones with their times."""

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest

from experiments.datasets import espeak, espeak_phones, sentences
from experiments.datasets.espeak import Mark, Request, Spoken
from experiments.errors import InputError

installed = pytest.importorskip(
  'espeakng_loader', reason='the extra `speech` is not installed'
)
ACCENTS = ('en-us', 'en-us-nyc', 'en-gb-scotland', 'en-gb-x-rp')


def test_the_same_whatever_was_said_before():
  first = Request('my good fish heard girls', 'en-us+klatt', 200, 40)
  others = [Request('seven cheap apples', voice) for voice in ('en-us+f1', 'en-us+m3')]
  alone = espeak.speak([first])[0]
  after = espeak.speak([*others, *others, first])[-1]
  np.testing.assert_array_equal(after.samples, alone.samples)
  assert (after.phonemes, after.words) == (alone.phonemes, alone.words)
  assert alone.samples.dtype == np.int16
  assert 1 < len(alone.samples) / espeak.RATE < 1.5
  assert np.abs(alone.samples.astype(int)).max() > 3000
  assert ' '.join(word.text for word in alone.words) == 'my good fish heard girls'


def test_rate_and_pitch():
  text = 'those old girls today'
  ways = [Request(text, 'en-us', *way) for way in ((175, 50), (260, 50), (175, 90))]
  usual, fast, high = espeak.speak(ways)
  assert len(fast.samples) < 0.8 * len(usual.samples)
  assert len(high.samples) == pytest.approx(len(usual.samples), rel=0.02)
  assert fundamental(high) > 1.1 * fundamental(usual)


def fundamental(spoken: Spoken) -> float:
  """In Hz, of the whole utterance."""
  wave = spoken.samples.astype(np.float64)
  power = np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2
  periods = np.arange(espeak.RATE // 300, espeak.RATE // 60)
  return espeak.RATE / periods[np.fft.irfft(power)[periods].argmax()]


@pytest.mark.parametrize('accent', ACCENTS)
def test_phones_cover_the_utterance(accent):
  texts = sentences.drawn(12, seed=3)
  for text, spoken in zip(
    texts, espeak.speak([Request(text, accent) for text in texts]), strict=True
  ):
    phones = espeak_phones.phones(spoken, accent)
    assert phones[0].start == 0
    assert phones[-1].end == len(spoken.samples)
    assert phones[-1].label == 'h#'
    for one, following in zip(phones, phones[1:], strict=False):
      assert one.start < one.end == following.start
      if one.label.endswith('cl'):
        assert espeak_phones.CLOSURES[following.label] == one.label
    words = espeak_phones.words(spoken, phones)
    assert ' '.join(word.label for word in words) == text
    starts = {phone.start for phone in phones}
    assert {word.start for word in words} <= starts
    assert {word.end for word in words} <= starts


def test_closures_are_where_it_is_silent():
  spoken = espeak.speak([Request('a red cat took a bag', 'en-us')])[0]
  phones = espeak_phones.phones(spoken, 'en-us')
  labels = ' '.join(phone.label for phone in phones)
  assert labels == (
    'ax r eh dcl d kcl k ae tcl t tcl t uh kcl k ax bcl b ae gcl g h#'
  )  # fmt: skip
  wave = spoken.samples.astype(np.float64)
  loud = np.sqrt((wave**2).mean())
  for phone in phones:
    level = np.sqrt((wave[phone.start : phone.end] ** 2).mean()) / loud
    if phone.label in {'kcl', 'tcl'}:
      assert level < 0.2
      assert 0.02 < (phone.end - phone.start) / espeak.RATE < 0.1
    elif phone.label in {'ae', 'eh', 'uh', 'ax'}:
      assert level > 0.5


def test_phonemes_to_phones():
  loud = np.full(8000, 1000, np.int16)
  names = ['_', "'A@", 'l', '@', 't#', 'O@', '_:', '_']
  starts = [800, 1600, 3200, 3200, 4000, 4800, 6400, 7000]
  marks = tuple(Mark(*one) for one in zip(starts, names, strict=True))
  got = espeak_phones.phones(Spoken(loud, marks, ()), 'en-us')
  assert [tuple(phone) for phone in got] == [
    (0, 800, 'h#'),
    (800, 1600, 'pau'),
    (1600, 2400, 'aa'),
    (2400, 3200, 'r'),
    (3200, 4000, 'ax'),  # the l before it has no length
    (4000, 4800, 'dx'),
    (4800, 5600, 'ao'),
    (5600, 6400, 'r'),
    (6400, 8000, 'h#'),
  ]
  got = espeak_phones.phones(Spoken(loud, marks, ()), 'en-gb-x-rp')
  assert ' '.join(phone.label for phone in got) == 'h# pau aa ax dx ao h#'
  with pytest.raises(InputError, match=r"no phone for its phoneme 'x\^' in en-us$"):
    espeak_phones.phones(Spoken(loud, (Mark(0, 'x^'),), ()), 'en-us')
  with pytest.raises(InputError, match='nothing was said'):
    espeak_phones.phones(Spoken(loud, marks[-1:], ()), 'en-us')


def test_sentences():
  few, many = sentences.drawn(100, seed=0), sentences.drawn(1000, seed=0)
  assert many[:100] == few
  assert len(set(many)) == 1000
  assert sentences.drawn(100, seed=1) != few
  assert len({word for text in many for word in text.split()}) == 41
  with pytest.raises(
    InputError, match=r'^expected up to 5,\d\d\d sentences, got 9,999'
  ):
    sentences.drawn(9999, seed=0)


@pytest.mark.parametrize('voice', ['nothing', 'en-us+nobody', 'xx+f1'])
def test_no_such_voice(voice):
  with pytest.raises(InputError) as caught:
    espeak.speak([Request('dogs', voice)])
  assert str(caught.value) == f'eSpeak NG: no voice {voice!r}'


def test_no_data(monkeypatch, tmp_path):
  monkeypatch.setattr(installed, 'get_data_path', lambda: str(tmp_path))
  with pytest.raises(
    InputError, match=f'^eSpeak NG: cannot use its data in {tmp_path}'
  ):
    espeak.speak([Request('dogs', 'en-us')])


def test_a_long_path_is_no_obstacle(monkeypatch, tmp_path):
  far = tmp_path / ('x' * 100) / ('y' * 100)
  far.mkdir(parents=True)
  (far / 'data').symlink_to(installed.get_data_path())
  monkeypatch.setattr(installed, 'get_data_path', lambda: str(far / 'data'))
  assert len(espeak.speak([Request('dogs', 'en-us')])[0].phonemes) == 6


def test_a_library_that_is_none(monkeypatch, tmp_path):
  monkeypatch.setattr(installed, 'get_library_path', lambda: str(tmp_path / 'no.so'))
  with pytest.raises(InputError, match='^eSpeak NG: cannot load .*no.so'):
    espeak.speak([Request('dogs', 'en-us')])


def test_not_installed(monkeypatch):
  def none(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, 'version', none)
  with pytest.raises(InputError, match=r"pip install -e '\.\[speech\]'$"):
    espeak.speak([Request('dogs', 'en-us')])


def test_the_program_imports_the_standard_library_alone():
  code = (
    'import sys, runpy; sys.argv = ["x"]; '
    f'runpy.run_path({str(espeak._PROGRAM)!r}); '
    'print(*{name.split(".")[0] for name in sys.modules})'
  )
  command = [sys.executable, '-I', '-c', code]
  loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout
  assert not {'jax', 'numpy', 'scipy'} & set(loaded.split())
