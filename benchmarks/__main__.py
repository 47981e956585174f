"""All benchmarks, one after the other, each in a process of its own.

  python -m benchmarks [NAME...] [--force] [--rounds=N ...]

Takes half an hour to an hour on two cores. Flags are passed on to each; NAME (losses,
...) leaves out the others. Like each of them it refuses a busy machine, unless
--force. As the load average remembers the benchmark before, the next one waits until
it has fallen.
"""

import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import timing

FOLDER = pathlib.Path(__file__).parent
WAIT = 600.0  # seconds; the load average has forgotten in three minutes


def names() -> list[str]:
  """The modules that are benchmarks: what ``timing`` launches."""
  found = sorted(FOLDER.glob('*.py'))
  own = [f for f in found if 'timing.launch(' in f.read_text('utf-8')]
  return [file.stem for file in own if file.name != '__main__.py']


def wait(force: bool, seconds: float = WAIT) -> None:
  """Until the machine is quiet; exits with code 2 if it does not become so."""
  end = time.monotonic() + seconds
  while not force and timing.load() > timing.QUIET and time.monotonic() < end:
    time.sleep(5)
  timing.require_quiet_machine(force)


def main(arguments: Sequence[str]) -> int:
  """Runs them; 1 if one has failed, 2 for bad input alone, as a name that is none."""
  options = [a for a in arguments if a.startswith('-')]
  chosen = [a for a in arguments if not a.startswith('-')]
  if unknown := [name for name in chosen if name not in names()]:
    print(f'expected some of {", ".join(names())}, got {unknown[0]}', file=sys.stderr)
    return 2
  force = '--force' in options
  timing.require_quiet_machine(force)
  failed: dict[str, int] = {}
  for number, name in enumerate(chosen or names()):
    if number:
      wait(force)
    command = [sys.executable, '-m', f'benchmarks.{name}', *options]
    print(shlex.join(['python', *command[1:]]), flush=True)
    if code := subprocess.run(command, cwd=FOLDER.parent, check=False).returncode:
      failed[name] = code
  if failed:
    print(f'failed: {", ".join(failed)}', file=sys.stderr)
  return 2 if {*failed.values()} == {2} else int(bool(failed))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
