"""python -m benchmarks: what it runs, and when it refuses."""

import importlib.util
import subprocess
import sys
import types

import pytest

from benchmarks import __main__ as program
from benchmarks import timing


@pytest.fixture
def commands(monkeypatch):
  found = []

  def run(command, **_):
    found.append(command[2:])
    return types.SimpleNamespace(returncode=int(command[2] == 'benchmarks.linear'))

  monkeypatch.setattr(subprocess, 'run', run)
  monkeypatch.setattr(timing, 'load', lambda: 0.1)
  return found


def test_runs_all_and_passes_flags_on(commands, capsys):
  assert {'losses', 'linear', 'recurrent', 'translation'} <= {*program.names()}
  assert program.main(['--rounds=3']) == 1  # linear fails here
  assert commands == [[f'benchmarks.{n}', '--rounds=3'] for n in program.names()]
  out, err = capsys.readouterr()
  assert 'python -m benchmarks.losses --rounds=3' in out
  assert 'failed: linear' in err


def test_bad_input_of_all_is_bad_input(commands, monkeypatch):
  bad = types.SimpleNamespace(returncode=2)
  monkeypatch.setattr(subprocess, 'run', lambda *_, **__: bad)
  assert program.main(['--rounds=many']) == 2


def test_names_and_load(commands, monkeypatch, capsys):
  assert program.main(['losses']) == 0
  assert commands == [['benchmarks.losses']]
  assert program.main(['nothing']) == 2
  assert 'got nothing' in capsys.readouterr().err
  monkeypatch.setattr(timing, 'load', lambda: 0.9)
  with pytest.raises(SystemExit) as error:
    program.main(['losses'])
  assert error.value.code == 2
  with pytest.raises(SystemExit):
    program.wait(force=False, seconds=0)
  assert program.main(['losses', '--force']) == 0
  assert commands[1:] == [['benchmarks.losses', '--force']]


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    ('--rounds=1', 'flag --rounds=1: 1 is not integer >= 2'),
    ('often', "unexpected argument 'often': flags start with --"),
  ],
)
def test_flags_of_a_benchmark(argument, message):
  command = [sys.executable, '-m', 'benchmarks.linear', argument]
  run = subprocess.run(command, capture_output=True, text=True, check=False)
  assert (run.returncode, run.stderr) == (2, f'error: {message}\n')


def test_what_is_not_installed_names_the_extra(monkeypatch, capsys):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(SystemExit) as error:
    from benchmarks.extra import torch  # noqa: F401
  assert error.value.code == 2
  assert capsys.readouterr().err == (
    "error: not installed: torch; see `pip install -e '.[benchmarks]'`\n"
  )
