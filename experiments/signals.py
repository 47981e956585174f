"""SIGTERM and Ctrl-C, noted instead of dying on the spot."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
  """Collects signals; the second Ctrl-C interrupts as usual."""
  received: list[int] = []
  if threading.current_thread() is not threading.main_thread():
    yield received  # only the main thread may set handlers
    return

  def note(number: int, frame: FrameType | None) -> None:
    received.append(number)
    signal.signal(signal.SIGINT, signal.default_int_handler)

  numbers = (signal.SIGTERM, signal.SIGINT)
  before = [signal.signal(number, note) for number in numbers]
  try:
    yield received
  finally:
    for number, handler in zip(numbers, before, strict=True):
      signal.signal(number, handler)


def exit_code(number: int) -> int:
  """What a shell reports of a process that ended by a signal."""
  return 128 + number
