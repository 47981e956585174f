"""Filterbanks: deltas against a plain reference, and where the frames lie."""

import numpy as np
import pytest
from scipy import signal

from experiments.datasets import fbank
from experiments.errors import InputError

pytest.importorskip('kaldi_native_fbank', reason='the extra `speech` is not installed')


def samples(rng: np.random.Generator, count: int) -> np.ndarray:
  return rng.normal(0, 1000, count).astype(np.int16)


def slopes(values: np.ndarray) -> np.ndarray:
  """Σ j x[t+j] / Σ j², j from -2 to 2, where the first and last values go on."""
  padded = np.pad(values.astype(np.float64), ((2, 2), (0, 0)), 'edge')
  result = np.zeros(values.shape)
  for j in range(-2, 3):
    result += j / 10 * padded[2 + j : len(padded) - 2 + j]
  return result


@pytest.mark.parametrize('num_mel', [5, 40])
def test_deltas(rng, num_mel):
  got = fbank.features(samples(rng, 8000), 16_000, num_mel)
  static, delta, second = np.split(got, 3, axis=1)
  assert got.dtype == np.float32
  assert got.shape == (48, fbank.dims(num_mel))
  np.testing.assert_allclose(delta, slopes(static), atol=2e-6)
  smooth = signal.savgol_filter(static, 5, 1, deriv=1, axis=0, mode='nearest')
  np.testing.assert_allclose(delta, smooth, atol=2e-6)
  # The second deltas are of what goes on as the static features do at the ends.
  longer = np.pad(static, ((9, 9), (0, 0)), 'edge')
  np.testing.assert_allclose(second, slopes(slopes(longer))[9:-9], atol=2e-6)


def test_energy_and_filters(rng):
  wave = samples(rng, 400)
  energy = fbank.features(wave, 16_000, 8)[0, 0]
  centred = wave - wave.mean(dtype=np.float64)
  np.testing.assert_allclose(energy, np.log((centred**2).sum()), rtol=1e-6)
  # A tone is in the filter around it, whatever the rate.
  for rate in (8000, 16_000):
    tone = 3000 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    filters = fbank.features(tone.astype(np.int16), rate, 40)[:, 1:41]
    mel = 1127 * np.log1p(np.array([20, 1000, rate / 2]) / 700)
    place = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 41 - 1
    assert (np.abs(filters.argmax(axis=1) - place) < 1).all()


@pytest.mark.parametrize(('rate', 'num_mel'), [(16_000, 40), (16_000, 80), (8000, 40)])
def test_filters_are_those_of_kaldi(rng, rate, num_mel):
  """In float64 numpy, by its definitions."""
  wave = samples(rng, rate // 4)
  length, size = rate // 40, 1 << (rate // 40).bit_length()
  rows = np.lib.stride_tricks.sliding_window_view(wave, length)[:: rate // 100]
  rows = rows - rows.mean(axis=1, keepdims=True, dtype=np.float64)
  emphasised = rows - 0.97 * np.concatenate([rows[:, :1], rows[:, :-1]], axis=1)
  window = np.hanning(length) ** 0.85  # Povey's
  power = np.abs(np.fft.rfft(emphasised * window, size)[:, :-1]) ** 2
  mel = 1127 * np.log1p(np.arange(size // 2) * rate / size / 700)
  edges = np.linspace(*1127 * np.log1p(np.array([20, rate / 2]) / 700), num_mel + 2)
  low, middle, high = (edges[first : first + num_mel, None] for first in range(3))
  triangles = np.minimum((mel - low) / (middle - low), (high - mel) / (high - middle))
  expected = np.log(power @ np.maximum(triangles, 0).T)
  got = fbank.features(wave, rate, num_mel)[:, 1 : 1 + num_mel]
  np.testing.assert_allclose(got, expected, atol=1e-3)


def test_every_time_the_same(rng):
  wave = samples(rng, 4000)
  first = fbank.features(wave, 16_000, 40)
  np.testing.assert_array_equal(fbank.features(wave, 16_000, 40), first)


@pytest.mark.parametrize('rate', [8000, 16_000])
@pytest.mark.parametrize('extra', [0, 1, 79, 80, 159, 160, 1000])
def test_frames(rng, rate, extra):
  length = rate // 40
  wave = samples(rng, length + extra)
  frames = fbank.num_frames(len(wave), rate)
  assert len(fbank.features(wave, rate, 10)) == frames
  centres = fbank.centres(frames, rate)
  assert centres[0] == length // 2
  assert centres[-1] + length // 2 <= len(wave) < centres[-1] + length // 2 + rate / 100


def test_too_short(rng):
  assert fbank.num_frames(399, 16_000) == 0
  with pytest.raises(InputError, match='^399 samples: expected 25 ms at least$'):
    fbank.features(samples(rng, 399), 16_000, 40)


def test_too_many_filters(rng):
  with pytest.raises(InputError, match='^--num_mel: 999 are too many for 8000 samples'):
    fbank.features(samples(rng, 400), 8000, 999)


def test_normalised_over_a_speaker(rng):
  first, second = rng.normal(5, 3, (200, 4)), rng.normal(7, 2, (100, 4))
  first[:, 0] = second[:, 0] = 0.1  # does not vary
  got = fbank.normalised([first, second])
  assert [len(own) for own in got] == [200, 100]
  every = np.concatenate(got).astype(np.float64)
  assert every.dtype == np.float64 and got[0].dtype == np.float32
  np.testing.assert_allclose(every.mean(axis=0), 0, atol=1e-7)
  np.testing.assert_allclose(every.std(axis=0)[1:], 1, rtol=1e-6)
  np.testing.assert_allclose(every[:, 0], 0, atol=1e-7)
