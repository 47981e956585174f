"""Every experiment: the same seed gives the same record, also after a SIGKILL."""

import os
import pathlib
import subprocess
import sys

import pytest
from killing_program import CASES

ROOT = pathlib.Path(__file__).parent.parent.parent
PROGRAM = pathlib.Path(__file__).parent / 'killing_program.py'
# What differs from run to run.
OTHER = {'timing.jsonl', '.lock', 'checkpoints'}


def run(root: pathlib.Path, *arguments: str) -> None:
  done = subprocess.run(
    [sys.executable, PROGRAM, root, *arguments],
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr


def contents(root: pathlib.Path, name: str) -> dict[str, bytes]:
  """Of the files of the runs and the tables, by path; they may name their place."""
  directory = root / name
  paths = [path.relative_to(directory) for path in sorted(directory.rglob('*'))]
  return {
    str(path): (directory / path).read_bytes().replace(bytes(root), b'ROOT')
    for path in paths
    if (directory / path).is_file() and not OTHER & {*path.parts}
  }


@pytest.fixture(scope='module')
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
  """Of runs that went to their ends, and of runs that were killed before."""
  place = tmp_path_factory.mktemp('every')
  whole, broken = place / 'whole', place / 'broken'
  run(whole, *CASES)
  run(broken, '--kill', *CASES)
  run(broken, *CASES)
  return {'whole': whole, 'broken': broken}


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_killed_and_gone_on_with_is_the_same(roots: dict[str, pathlib.Path], name: str):
  whole = contents(roots['whole'], name)
  assert any(path.endswith('record.jsonl') for path in whole)
  assert contents(roots['broken'], name) == whole


def test_every_program_that_trains_is_among_them():
  programs = {
    path.stem
    for path in (ROOT / 'experiments').glob('*.py')
    if "__name__ == '__main__'" in path.read_text('utf-8')
  }
  assert programs - {'report'} == {case.program for case in CASES.values()}
