"""Speech synthesised by eSpeak NG, with the times of its phonemes.

eSpeak NG is GPL-3 or later: an optional extra, loaded by a process of its own; see
``espeak_program``. The same utterance always gives the same samples.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from concurrent import futures
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from experiments.errors import InputError

RATE = 16_000  # of what comes out
_SPOKEN_RATE = 22_050
_UP, _DOWN = 320, 441
_PROGRAM = pathlib.Path(__file__).with_name('espeak_program.py')
_WORKERS = 2
EXTRA = "pip install -e '.[speech]'"


class Request(NamedTuple):
  """What is to be said, and how.

  Attributes:
    text: of one sentence.
    voice: a language and maybe a variant, such as ``'en-us+f1'``.
    rate: words a minute, 80 to 450.
    pitch: 0 to 100; 50 is the voice's own.
  """

  text: str
  voice: str
  rate: int = 175
  pitch: int = 50


class Mark(NamedTuple):
  """Something that begins at a sample."""

  start: int
  text: str


@dataclasses.dataclass(frozen=True)
class Spoken:
  """One utterance.

  Attributes:
    samples: ``[n]`` int16, 16,000 a second.
    phonemes: of eSpeak, with their stress marks; an end is the next one's start.
    words: of the text. A word that is said together with the one before has none.
  """

  samples: np.ndarray
  phonemes: tuple[Mark, ...]
  words: tuple[Mark, ...]


def version() -> str:
  """Of the package that brings eSpeak NG.

  Raises:
    InputError: it is not installed.
  """
  try:
    return importlib.metadata.version('espeakng-loader')
  except importlib.metadata.PackageNotFoundError as error:
    raise InputError(f'synthetic speech needs espeakng-loader: {EXTRA}') from error


def speak(requests: Sequence[Request]) -> list[Spoken]:
  """All utterances, in two processes.

  Raises:
    InputError: espeakng-loader is not installed or does not work, or there is no such
      voice.
  """
  version()
  with futures.ThreadPoolExecutor(_WORKERS) as pool:
    parts = pool.map(_spoken, [requests[first::_WORKERS] for first in range(_WORKERS)])
    results: list[Any] = [None] * len(requests)
    for first, part in enumerate(parts):
      results[first::_WORKERS] = part
  return results


def _spoken(requests: Sequence[Request]) -> list[Spoken]:
  if not requests:
    return []
  with _Program() as program:
    program.check()
    return [program.spoken(request) for request in requests]


class _Program:
  """The process that speaks."""

  def __init__(self) -> None:
    import espeakng_loader

    paths = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    # -I: neither the environment nor this directory gets in its way.
    command = [sys.executable, '-I', str(_PROGRAM), *map(str, paths)]
    pipe = subprocess.PIPE
    self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe)

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._process.communicate()

  def check(self) -> None:
    """Waits until it is ready."""
    rate = self._read()['rate']
    if rate != _SPOKEN_RATE:
      raise InputError(f'eSpeak NG: expected {_SPOKEN_RATE} Hz, got {rate}')

  def spoken(self, request: Request) -> Spoken:
    stdin, stdout = self._process.stdin, self._process.stdout
    assert stdin is not None and stdout is not None
    with contextlib.suppress(BrokenPipeError):  # what it said before it ended is read
      stdin.write(json.dumps(request._asdict()).encode() + b'\n')
      stdin.flush()
    answer = self._read()
    wave = np.frombuffer(stdout.read(answer['bytes']), '<i2')
    return Spoken(
      _resampled(wave),
      tuple(Mark(_moved(start), name) for start, name in answer['phones']),
      tuple(
        Mark(_moved(start), request.text[position : position + length])
        for start, position, length in answer['words']
      ),
    )

  def _read(self) -> dict[str, Any]:
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    answer = json.loads(line) if line else {'error': 'it ended'}
    if 'error' in answer:
      raise InputError(f'eSpeak NG: {answer["error"]}')
    return answer


def _moved(sample: int) -> int:
  """The place of a sample among the resampled ones."""
  return round(sample * _UP / _DOWN)


def _resampled(wave: np.ndarray) -> np.ndarray:
  from scipy import signal  # type: ignore[import-untyped]

  moved = signal.resample_poly(wave.astype(np.float64), _UP, _DOWN)
  return np.clip(np.rint(moved), -(1 << 15), (1 << 15) - 1).astype(np.int16)
