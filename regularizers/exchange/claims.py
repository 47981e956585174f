"""One process, one replica."""

import contextlib
import os
import pathlib
from typing import IO

from regularizers.exchange.peers import ExchangeError

try:
  import fcntl
except ImportError:  # not on this system
  fcntl = None  # type: ignore[assignment]


class Claim:
  """A lock on the place of a replica, free again when the process ends."""

  def __init__(self, place: pathlib.Path):
    """Makes the place and locks it.

    Raises:
      ExchangeError: another process has it, or it cannot be written.
    """
    try:
      place.mkdir(parents=True, exist_ok=True)
      self._file = (place / 'lock').open('w')
    except OSError as error:
      raise ExchangeError(f'cannot write to {place}: {error.strerror}') from error
    if not _locked(self._file):
      self._file.close()
      raise ExchangeError(
        f'{place} is in use: another process is the replica of this index'
      )
    for left in place.glob('.*.tmp'):  # of one that was killed as it wrote
      with contextlib.suppress(OSError):
        os.unlink(left)

  def release(self) -> None:
    """Gives the place free."""
    self._file.close()


def _locked(file: IO[str]) -> bool:
  """False if another process has it; True also where locks are unknown."""
  if fcntl is None:
    return True
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError:
    pass  # a file system without locks
  return True
