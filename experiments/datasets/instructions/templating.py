"""Jinja templates of others: in a sandbox, in a process of its own, with bounds."""

import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from experiments.errors import InputError

SECONDS = 5.0  # of one template with one row
_PROGRAM = pathlib.Path(__file__).with_name('template_program.py')


class Filled(NamedTuple):
  """What a template makes of a row.

  Attributes:
    parts: what stands between its separators, in order.
    options: what the answer is chosen from; None: the template has no choices.
  """

  parts: tuple[str, ...]
  options: tuple[str, ...] | None


class Templates:
  """Fills templates, within a ``with``; one that fails does not end the others."""

  def __init__(self, seconds: float = SECONDS):
    """Nothing is started yet."""
    self._seconds = seconds
    self._process: subprocess.Popen[str] | None = None

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._end()

  def fill(
    self, template: str, choices: str | None, row: Mapping[str, Any], seed: int
  ) -> Filled:
    """What comes out, with the random choices of a seed.

    Raises:
      InputError: the template raises, takes too long, or too much memory.
    """
    request = {'template': template, 'choices': choices, 'row': row, 'seed': seed}
    if self._process is None:
      self._process = self._started()
    process = self._process
    assert process.stdin is not None
    assert process.stdout is not None
    try:
      process.stdin.write(f'{json.dumps(request)}\n')
      process.stdin.flush()
      line = process.stdout.readline()
    except BrokenPipeError:
      line = ''
    if not line:
      raise InputError(self._fault())
    answer = json.loads(line)
    if 'error' in answer:
      raise InputError(answer['error'])
    options = answer['options']
    return Filled(tuple(answer['parts']), None if options is None else tuple(options))

  def _started(self) -> subprocess.Popen[str]:
    return subprocess.Popen(
      [sys.executable, str(_PROGRAM), str(self._seconds)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      encoding='utf-8',
    )

  def _fault(self) -> str:
    """Why the process ended."""
    assert self._process is not None
    code = self._process.wait()
    self._end()
    if code == -signal.SIGALRM:
      return f'it takes longer than {self._seconds:g} s'
    return f'it ended the process that fills templates (code {code})'

  def _end(self) -> None:
    process, self._process = self._process, None
    if process is not None:
      process.kill()
      process.communicate()
