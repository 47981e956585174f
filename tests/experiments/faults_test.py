"""Runs that are killed, stopped or starved go on as if nothing had happened."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import optax
import pytest
import tiny

from experiments import records, signals
from experiments.checkpoints import Checkpoints
from experiments.errors import InputError, ending

ROOT = pathlib.Path(__file__).parent.parent.parent
FILES = ('config.json', 'record.jsonl', 'predictions.npz')


def contents(directory: pathlib.Path) -> dict[str, bytes]:
  return {name: (directory / name).read_bytes() for name in FILES}


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory) -> dict[str, bytes]:
  directory = tmp_path_factory.mktemp('unbroken') / 'run'
  tiny.complete(tiny.job(directory))
  return contents(directory)


class KilledError(BaseException):
  """Stands for SIGKILL: nothing after it happens."""


class Killer:
  """Ends the process at one of the moments when something reaches the disk."""

  def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: int, mode: str):
    self._moment, self._mode, self.count = moment, mode, 0
    for owner, name in (
      (records, 'append'),
      (records, 'write_whole'),
      (Checkpoints, 'save'),
    ):
      monkeypatch.setattr(owner, name, self._wrapped(name, getattr(owner, name)))

  def _wrapped(self, name: str, function: Callable) -> Callable:
    def wrapped(*args: object) -> None:
      self.count += 1
      if self.count != self._moment:
        return function(*args)
      if self._mode == 'after':
        function(*args)
      if self._mode == 'during' and name == 'append':
        path, rows = args
        whole = b''.join(json.dumps(row).encode() + b'\n' for row in rows)
        with path.open('ab') as file:
          file.write(whole[: len(whole) * 2 // 3])
      raise KilledError

    return wrapped


def test_killed_at_any_moment_it_ends_as_unbroken(unbroken, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    killer = Killer(patch, 0, 'never')
    tiny.complete(tiny.job(tmp_path / 'counted'))
  moments = killer.count
  assert moments > 15
  draw = random.Random(0)
  directory = tmp_path / 'run'
  for kill in range(12):  # the same run is killed again and again
    mode = draw.choice(['before', 'during', 'after'])
    with monkeypatch.context() as patch, pytest.raises(KilledError):
      Killer(patch, draw.randint(1, max(1, moments - 2 * kill)), mode)
      tiny.complete(tiny.job(directory))
      raise KilledError  # this time it was finished before
  tiny.complete(tiny.job(directory))
  assert contents(directory) == unbroken


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_damaged_checkpoint_costs_time_alone(unbroken, tmp_path, capfd):
  directory = tmp_path / 'run'
  for _ in range(2):
    with pytest.raises(SystemExit):
      tiny.complete(tiny.job(directory), (signal.SIGTERM,))
  newest = directory / 'checkpoints' / '6'
  file = max(newest.rglob('*'), key=lambda path: path.stat().st_size)
  file.write_bytes(file.read_bytes()[::-1])
  tiny.complete(tiny.job(directory))
  assert re.search(r'checkpoints/6 is damaged, step \d is used', capfd.readouterr().err)
  assert contents(directory) == unbroken
  assert {p.name for p in (directory / 'checkpoints').iterdir()} == {'20'}


def test_signals_save_and_exit(unbroken, tmp_path):
  directory = tmp_path / 'run'
  for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
    with pytest.raises(SystemExit) as caught:
      tiny.complete(tiny.job(directory), (number,))
    assert caught.value.code == code
  assert {p.name for p in (directory / 'checkpoints').iterdir()} == {'4', '6'}
  tiny.complete(tiny.job(directory))
  assert contents(directory) == unbroken


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(number, capfd):
  before = signal.getsignal(signal.SIGINT)  # ignored, under nohup
  with signals.noted() as received:
    signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGINT]
    message = '\nstopping after this step; again to stop at once\n'
    assert capfd.readouterr().err == message
    with pytest.raises(SystemExit) as caught:
      signal.raise_signal(number)
  assert caught.value.code == 128 + number
  assert capfd.readouterr().err == '\nstopped at once\n'
  assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize('code', [143, 130, 2, None])
def test_a_signal_leaves_by_no_other_way(code, monkeypatch: pytest.MonkeyPatch, capfd):
  """Python's own end may crash while XLA compiles."""

  def left(code: int) -> None:
    raise KeyError(code)

  monkeypatch.setattr(os, '_exit', left)
  expected = KeyError if code in (143, 130) else SystemExit
  with pytest.raises(expected) as caught, signals.leaving():
    print('said before')
    raise SystemExit(code)
  assert code in (*caught.value.args, getattr(caught.value, 'code', code))
  assert capfd.readouterr().out == 'said before\n'


def test_a_signal_in_the_final_rows_ends_at_once(unbroken, tmp_path, capfd):
  directory = tmp_path / 'run'

  def final(*_: object) -> list:
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError('it went on')

  with signals.noted() as received, pytest.raises(SystemExit) as caught:
    tiny.complete(tiny.job(directory), received, final=final)
  assert caught.value.code == 143
  assert '\nstopped at once\n' in capfd.readouterr().err
  tiny.complete(tiny.job(directory))
  assert contents(directory) == unbroken


@pytest.mark.parametrize(
  ('error', 'code', 'message'),
  [
    (InputError('--seeds: no'), 2, 'error: --seeds: no\n'),
    (KeyboardInterrupt(), 130, '\ninterrupted\n'),
    (SystemExit(143), 143, ''),
  ],
)
def test_a_program_ends_without_a_traceback(error, code, message, capsys):
  with pytest.raises(SystemExit) as caught, ending():
    raise error
  assert caught.value.code == code
  assert capsys.readouterr().err == message


@pytest.fixture(scope='module', autouse=True)
def _compiled_once(tmp_path_factory) -> Iterator[None]:
  """The processes share what they compile."""
  with pytest.MonkeyPatch.context() as patch:
    cache = tmp_path_factory.mktemp('compiled')
    patch.setenv('JAX_COMPILATION_CACHE_DIR', str(cache))
    patch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
    yield


def start(directory: pathlib.Path, *prefix: str) -> subprocess.Popen:
  """Trains `tiny.long_job` in a process of its own."""
  program = [sys.executable, str(ROOT / 'tests' / 'experiments' / 'tiny.py')]
  return subprocess.Popen(
    [*prefix, *program, str(directory)],
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def wait_for(process: subprocess.Popen, happened: Callable[[], bool]) -> bool:
  """False if the process ends before."""
  while not happened():
    if process.poll() is not None:
      return False
    time.sleep(0.001)
  return True


def kill(process: subprocess.Popen) -> None:
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL


def kill_in_a_save(process: subprocess.Popen, directory: pathlib.Path) -> None:
  def saving() -> bool:
    return any((directory / 'checkpoints').glob('*.orbax-checkpoint-tmp'))

  while wait_for(process, saving):
    process.send_signal(signal.SIGSTOP)
    if saving():  # it was not just done
      kill(process)
      assert saving()
      return
    process.send_signal(signal.SIGCONT)
  raise AssertionError('ended without being caught in a save')


@pytest.mark.slow
def test_sigkill_at_any_moment_also_inside_a_save(tmp_path):
  unbroken, directory = tmp_path / 'unbroken', tmp_path / 'run'
  tiny.complete(tiny.long_job(unbroken))
  whole = (unbroken / 'record.jsonl').stat().st_size
  record = directory / 'record.jsonl'
  draw = random.Random(0)
  for start_of_range in (0.0, 0.3):
    size = whole * (start_of_range + 0.3 * draw.random())
    process = start(directory)
    assert wait_for(process, lambda: size_of(record) > size), process.communicate()  # noqa: B023
    time.sleep(0.05 * draw.random())
    kill(process)
  kill_in_a_save(start(directory), directory)
  process = start(directory)
  _, output = process.communicate()
  assert process.returncode == 0, output
  assert contents(directory) == contents(unbroken)


def size_of(path: pathlib.Path) -> int:
  return path.stat().st_size if path.exists() else 0


def test_a_full_disk_is_one_line_and_leaves_what_was_saved(unbroken, tmp_path):
  directory = tmp_path / 'run'
  process = start(directory, 'bash', '-c', 'ulimit -f 30; exec "$@"', 'bash')
  _, output = process.communicate()
  assert process.returncode == 1
  assert re.search(
    r'^error: cannot write .*record.jsonl: File too large$', output, re.M
  )
  assert 'Traceback' not in output
  said: list[str] = []
  checkpoints = Checkpoints(directory / 'checkpoints')
  state = checkpoints.restore(tiny.start(tiny.penalties(0.1, 0.1, 0.1)), said.append)
  checkpoints.close()
  assert state is not None
  assert said == []
  assert records.read(directory / 'record.jsonl')[-1]['step'] >= int(state.step)


def test_not_finite_names_step_seed_and_weight(tmp_path):
  schedule = lambda count: jnp.where(count < 8, 0.1, 1e38)  # noqa: E731
  job = tiny.job(
    tmp_path / 'run',
    optimizer=optax.sgd(schedule),
    losses=tiny.penalties(0.1, 0.2, 0.3),
    points=[{'weight': weight} for weight in (0.1, 0.2, 0.3)],
  )
  with pytest.raises(InputError, match=r'^run: .* step 10, seed 0, weight 0.1$'):
    tiny.complete(job)
  steps = {int(path.name) for path in (tmp_path / 'run' / 'checkpoints').iterdir()}
  assert steps == {6}
