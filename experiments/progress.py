"""The progress bar, and lines above it."""

from types import TracebackType
from typing import Self

import tqdm


class Progress:
  """Counts the steps of all runs: rate and remaining time on stderr."""

  def __init__(self, total: int, place: int | None = None):
    """``place``: of this process's bar among those of its peers."""
    self._prefix = '' if place is None else f'replica {place}: '
    self._bar = tqdm.tqdm(
      total=total, unit=' steps', smoothing=0.1, dynamic_ncols=True, position=place
    )
    # Every ten seconds where the bar goes to a log.
    if not self._bar.fp.isatty():
      self._bar.mininterval = 10

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    self._bar.close()

  def start(self, name: str, done: int = 0) -> None:
    """Shows what runs now; ``done`` steps of it were taken before."""
    self._bar.set_description(self._prefix + name)
    self._bar.initial += done  # they do not count for the rate
    self._bar.update(done)

  def advance(self, steps: int) -> None:
    self._bar.update(steps)

  def say(self, line: str) -> None:
    self._bar.write(line, file=self._bar.fp)
