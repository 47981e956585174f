"""SIGTERM and Ctrl-C, noted instead of dying on the spot."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Received(list[int]):
  """Signals so far, and whether the first one ends the process where it is."""

  at_once = False


@contextlib.contextmanager
def noted() -> Iterator[Received]:
  """Collects the first signal; the second ends the process wherever it is.

  The first is for the loop to look at, between two steps. Both say a line as soon as
  Python runs: a compilation or a step on its way ends before.
  """
  received = Received()
  if threading.current_thread() is not threading.main_thread():
    yield received  # only the main thread may set handlers
    return

  def note(number: int, frame: FrameType | None) -> None:
    if received or received.at_once:
      _say('stopped at once')
      raise SystemExit(exit_code(number))
    received.append(number)
    _say('stopping after this step; again to stop at once')

  before = [signal.signal(number, note) for number in SIGNALS]
  try:
    yield received
  finally:
    for number, handler in zip(SIGNALS, before, strict=True):
      signal.signal(number, handler)


@contextlib.contextmanager
def at_once(received: Sequence[int]) -> Iterator[None]:
  """Where nothing would be lost, and no loop looks: the first signal ends it."""
  obey(received)
  if not isinstance(received, Received):
    yield
    return
  received.at_once = True
  try:
    yield
  finally:
    received.at_once = False


@contextlib.contextmanager
def leaving() -> Iterator[None]:
  """Ends the process where a signal ended what is inside.

  Not by Python's own end: XLA may be at work in a thread, and crash in it, so that the
  exit code would be another one.
  """
  try:
    yield
  except SystemExit as error:
    code = error.code
    if not isinstance(code, int) or code not in [exit_code(n) for n in SIGNALS]:
      raise
    for stream in (sys.stdout, sys.stderr):
      with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        stream.flush()
    os._exit(code)


def exit_code(number: int) -> int:
  """What a shell reports of a process that ended by a signal."""
  return 128 + number


def _say(line: str) -> None:
  # Not print: the signal may have come in the midst of one. First ends the line of
  # the progress bar.
  with contextlib.suppress(OSError):  # the terminal is gone
    os.write(2, f'\n{line}\n'.encode())


def obey(received: Sequence[int]) -> None:
  """Ends the process as the first signal asks, if there was one."""
  if received:
    raise SystemExit(exit_code(received[0]))
