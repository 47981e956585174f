"""One task at a time in a thread that nobody has to wait for."""

import atexit
import queue
import threading
from collections.abc import Callable
from typing import Any

AT_EXIT = 5.0  # seconds for the task under way when nobody has closed its thread


class Worker:
  """A thread that ends with the process, whatever it hangs in.

  Not a pool of `concurrent.futures`: the interpreter waits for those when it ends, and
  a file system that is gone may hold one for ever.
  """

  def __init__(self) -> None:
    self._tasks: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
    self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    self._busy = False
    self._thread = threading.Thread(target=self._run, name='exchange', daemon=True)
    self._thread.start()
    # One that is inside of a library while the interpreter goes away ends in a crash.
    atexit.register(self.close, AT_EXIT)

  @property
  def idle(self) -> bool:
    """Whether the last task is done and its result was fetched."""
    return not self._busy

  def start(self, task: Callable[[], Any]) -> None:
    """Has the task done; only when idle."""
    self._busy = True
    self._tasks.put(task)

  def result(self) -> Any:
    """That of the task if it is done, else None; raises what the task raised."""
    try:
      result, error = self._done.get_nowait()
    except queue.Empty:
      return None
    self._busy = False
    if error is not None:
      raise error
    return result

  def close(self, timeout: float) -> None:
    """Ends the thread after the task under way, or goes on without it."""
    atexit.unregister(self.close)
    self._tasks.put(None)
    self._thread.join(timeout)

  def _run(self) -> None:
    while (task := self._tasks.get()) is not None:
      try:
        self._done.put((task(), None))
      except BaseException as error:  # the caller's thread is where it belongs
        self._done.put((None, error))
