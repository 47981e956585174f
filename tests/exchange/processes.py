"""Programs that a test starts, none of which outlives it."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
SECONDS = 300  # what one that hangs may cost
Program = subprocess.Popen[str]


def start(name: str, *arguments: object) -> Program:
  paths = os.pathsep.join([str(HERE.parent.parent), str(HERE)])
  return subprocess.Popen(
    [sys.executable, HERE / name, *map(str, arguments)],
    env={**os.environ, 'PYTHONPATH': paths},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(programs: list[Program], code: int = 0) -> list[str]:
  """Waits for all of them; what each has said."""
  said = []
  try:
    for program in programs:
      output, _ = program.communicate(timeout=SECONDS)
      assert program.returncode == code, output
      said.append(output)
  finally:
    for program in programs:
      program.kill()
      program.wait()
  return said
