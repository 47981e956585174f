"""Starts the replicas of a directory exchange as processes of this machine."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import experiments
from experiments.errors import InputError
from experiments.progress import Progress

_POLL = 0.1  # seconds
_SOON = 0.01  # seconds; some steps
_PATIENCE = 30.0  # seconds; for what starting takes one replica longer than another
_TOGETHER = 'EXPERIMENTS_REPLICAS_TOGETHER'


def replicas(
  given: Any, config: Any, arm: str, progress: Progress, received: Sequence[int]
) -> None:
  """Trains the replicas of ``arm``, or goes on with them, until all have ended.

  A replica that fails does not stop the others.

  Args:
    given: the flags as the user gave them.
    config: the same, filled in.
    arm: its name.
    progress: shows what becomes of them.
    received: a signal is handed on to all.

  Raises:
    InputError: one of them failed; the same command goes on with it.
  """
  count = config.num_replicas
  processes = [_started(given, config, arm, index) for index in range(count)]
  handed_on = 0
  try:
    while any(process.poll() is None for process in processes):
      for number in received[handed_on:]:
        for process in processes:
          process.send_signal(number)
        handed_on += 1
      time.sleep(_POLL)
  finally:
    for process in processes:
      if process.poll() is None:
        process.kill()
  if received:
    return
  failed = [_said(i, p.returncode) for i, p in enumerate(processes) if p.returncode]
  for line in failed:
    progress.say(line)
  if failed:
    raise InputError(f'{"; ".join(failed)}; the same command goes on with it')


def _started(given: Any, config: Any, arm: str, index: int) -> subprocess.Popen[bytes]:
  changes = {'replica': index, 'arms': (arm,), 'workdir': config.workdir}
  flags = arguments(dataclasses.replace(given, **changes))
  root = str(pathlib.Path(experiments.__file__).parent.parent)
  path = os.pathsep.join([root, os.environ.get('PYTHONPATH', '')])
  command = [sys.executable, '-m', 'experiments.codistillation', *flags]
  # They say how to make the table, which happens here; all else goes to stderr.
  return subprocess.Popen(
    command,
    env={**os.environ, 'PYTHONPATH': path, _TOGETHER: '1'},
    stdout=subprocess.DEVNULL,
  )


def await_others(there: Callable[[], bool], received: Sequence[int]) -> None:
  """Until all replicas have given something away, if they were started together.

  Otherwise one may have trained for long while another is still being compiled. It
  waits half a minute at most, and not for what was started by itself.

  Args:
    there: whether they have.
    received: a signal ends the waiting.
  """
  if _TOGETHER not in os.environ:
    return
  end = time.monotonic() + _PATIENCE
  while not received and time.monotonic() < end and not there():
    time.sleep(_SOON)


def arguments(config: Any) -> list[str]:
  """The flags that make up a configuration."""
  result = []
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if value == field.default:
      continue
    if isinstance(value, bool):
      result.append(f'--{"" if value else "no"}{field.name}')
    elif isinstance(value, tuple):
      result.append(f'--{field.name}={",".join(map(str, value))}')
    else:
      result.append(f'--{field.name}={value}')
  return result


def _said(index: int, code: int) -> str:
  how = f'was ended by signal {-code}' if code < 0 else f'ended with exit code {code}'
  return f'replica {index} {how}'
