"""Mel filterbanks with energy, delta and delta-delta, as Kaldi computes them.

Frames of 25 ms, one each 10 ms, without dither: the same samples always give the same
features.
"""

import functools
import importlib.metadata
from typing import Any

import numpy as np

from experiments.errors import InputError

_LENGTH, _SHIFT = 25, 10  # ms
_WINDOW = 2  # frames on each side of a delta
EXTRA = "pip install -e '.[speech]'"


def dims(num_mel: int) -> int:
  """Features of a frame: energy and filters, each with two deltas."""
  return 3 * (num_mel + 1)


def num_frames(samples: int, rate: int) -> int:
  """Whole frames in so many samples."""
  length, shift = _LENGTH * rate // 1000, _SHIFT * rate // 1000
  return max(0, 1 + (samples - length) // shift)


def centres(frames: int, rate: int) -> np.ndarray:
  """The sample ``[frames]`` in the middle of each frame."""
  return np.arange(frames) * (_SHIFT * rate // 1000) + _LENGTH * rate // 2000


def features(samples: np.ndarray, rate: int, num_mel: int) -> np.ndarray:
  """Log energy, log filters, their deltas, and the deltas of these.

  Args:
    samples: ``[n]`` int16.
    rate: samples a second.
    num_mel: number of filters, from 20 Hz to half the rate.

  Returns:
    ``[frames, 3 (num_mel + 1)]`` float32.

  Raises:
    InputError: there is not one whole frame, there are too many filters, or
      kaldi-native-fbank is not installed.
  """
  knf = _library()
  if not num_frames(len(samples), rate):
    raise InputError(f'{len(samples)} samples: expected {_LENGTH} ms at least')
  try:
    bank = knf.OnlineFbank(_options(rate, num_mel))
  except ValueError as error:
    raise InputError(
      f'--num_mel: {num_mel} are too many for {rate} samples a second ({error})'
    ) from error
  bank.accept_waveform(rate, samples.astype(np.float32).tolist())
  bank.input_finished()
  static = np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
  deltas = knf.DeltaOptions()
  deltas.order, deltas.window = 2, _WINDOW
  return np.asarray(knf.compute_deltas(deltas, static))


def normalised(utterances: list[np.ndarray]) -> list[np.ndarray]:
  """Mean 0 and variance 1 of each feature over all utterances of a speaker."""
  every = np.concatenate(utterances).astype(np.float64)
  mean, spread = every.mean(axis=0), every.std(axis=0)
  scale = 1 / np.where(spread > 1e-6, spread, 1)  # what does not vary is zero
  return [((own - mean) * scale).astype(np.float32) for own in utterances]


def _options(rate: int, num_mel: int) -> Any:
  options = _library().FbankOptions()
  options.frame_opts.samp_freq = rate
  options.frame_opts.frame_length_ms = _LENGTH
  options.frame_opts.frame_shift_ms = _SHIFT
  options.frame_opts.dither = 0
  options.mel_opts.num_bins = num_mel
  options.use_energy = True
  return options


def version() -> str:
  """Of kaldi-native-fbank.

  Raises:
    InputError: it is not installed.
  """
  _library()
  return importlib.metadata.version('kaldi-native-fbank')


@functools.cache
def _library() -> Any:
  try:
    import kaldi_native_fbank
  except ImportError as error:
    raise InputError(f'speech needs kaldi-native-fbank: {EXTRA}') from error
  return kaldi_native_fbank
