"""What a reader may use: so long, so much memory, these files, and no network."""

import contextlib
import os
import pathlib
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from types import FrameType
from typing import Any

SECONDS, MEGABYTES = 10.0, 200
ROOT = pathlib.Path(__file__).parent.parent.parent
# Where programs and what they compile are.
_PROGRAMS = tuple(
  os.path.realpath(place)
  for place in (
    *(sys.prefix, sys.base_prefix, ROOT, '/usr', '/lib', '/etc', '/proc', '/dev'),
    os.environ.get('JAX_COMPILATION_CACHE_DIR', tempfile.gettempdir()),
  )
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_FORBIDDEN = 'socket.connect', 'socket.getaddrinfo', 'pickle.find_class', 'os.system'


class SlowError(BaseException):
  """It took too long; no reader catches it."""


class _Watch:
  """What the process does; such a hook stays for ever, so there is one."""

  place = ''
  faults: list[str] = []

  def __call__(self, event: str, args: tuple[Any, ...]) -> None:
    if not self.place:
      return
    if event in _FORBIDDEN:
      self.faults.append(f'{event} {args}')
    elif event == 'open' and isinstance(args[0], str | bytes | os.PathLike):
      path = os.path.realpath(os.fsdecode(args[0]))
      writes = bool(args[2] & _WRITES)
      if not _within(path, self.place, *_PROGRAMS):
        self.faults.append(f'opened {path}')
      # pytest, too, writes what it compiles beside the programs.
      elif writes and not (
        '__pycache__' in path or _within(path, self.place, _PROGRAMS[-1], '/dev')
      ):
        self.faults.append(f'wrote {path}')


def _within(path: str, *places: str) -> bool:
  return any(path == place or path.startswith(f'{place}/') for place in places)


_WATCH = _Watch()
sys.addaudithook(_WATCH)


@contextlib.contextmanager
def bounded(directory: pathlib.Path) -> Iterator[None]:
  """Ends what hangs; fails where too much memory was taken, or other files opened.

  Args:
    directory: whatever lies in it may be read and written.
  """

  def late(number: int, frame: FrameType | None) -> None:
    raise SlowError(f'more than {SECONDS} s')

  before = _most()
  _WATCH.place, _WATCH.faults = os.path.realpath(directory), []
  handler = signal.signal(signal.SIGALRM, late)
  signal.setitimer(signal.ITIMER_REAL, SECONDS)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    _WATCH.place = ''
    assert not _WATCH.faults, _WATCH.faults
    assert _most() - before < MEGABYTES, 'it took too much memory'


def _most() -> float:
  """Megabytes that the process had at its largest; Linux counts in kilobytes."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
