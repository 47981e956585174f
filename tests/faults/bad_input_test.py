"""Every kind of bad input in one table: the project's own error, soon, and one line."""

import os
import pathlib
import subprocess
import sys

import pytest
from bounds import bounded
from cases_data import CLICKS, IMAGES, TEXT
from cases_instructions import CHECKPOINTS, TASKS
from cases_losses import CASES as LOSSES
from cases_runs import CASES as RUNS
from cases_speech import SPEECH

ROOT = pathlib.Path(__file__).parent.parent.parent
# What is fed and to whom, the class of the error, and what it says.
TABLE = {
  **IMAGES,
  **TEXT,
  **SPEECH,
  **CLICKS,
  **TASKS,
  **CHECKPOINTS,
  **RUNS,
  **{
    f'losses, {name}': (lambda _, make=make: make(), error, words)
    for name, (make, error, words) in LOSSES.items()
  },
}


@pytest.mark.parametrize('name', TABLE)
def test_bad_input(tmp_path: pathlib.Path, name: str):
  run, error, message = TABLE[name]
  with bounded(tmp_path), pytest.raises(error, match=message) as caught:
    run(tmp_path)
  assert type(caught.value) is error
  if not name.startswith('losses, '):
    assert len(str(caught.value).splitlines()) == 1


def test_the_table_is_of_everything():
  assert len(TABLE) >= 60
  kinds = {name.partition(',')[0] for name in TABLE}
  assert {'idx', 'sphere', 'timit', 'wsj', 'sgml', 'xml', 'criteo', 'yaml'} <= kinds
  assert {'natural', 'lines', 'opt', 'record', 'exchange', 'losses'} <= kinds


# Read by Python when it starts.
OFFLINE = """\
import sys

def refuse(event, args):
  if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'):
    raise AssertionError(event)

sys.addaudithook(refuse)
"""


def test_a_program_says_it_in_one_line(tmp_path: pathlib.Path):
  (tmp_path / 'sitecustomize.py').write_text(OFFLINE)
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.mnist', f'--workdir={tmp_path}', '--seeds=0'],
    env={**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{tmp_path}'},
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stdout) == (2, '')
  assert done.stderr == 'error: --seeds: expected 1 or more, got 0\n'
