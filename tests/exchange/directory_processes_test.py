"""Replicas that are processes: killed, started again, disturbed, mistaken."""

import pathlib
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import processes
import pytest

pytestmark = pytest.mark.slow
LONG = 1_000_000  # steps of one that is going to be killed
WIDTH = 4


class Run:
  """The replicas of a directory, and what they have logged."""

  def __init__(self, path: pathlib.Path):
    self.path = path
    self.programs: list[processes.Program] = []

  def start(
    self, index: int, steps: int, count: int = 2, name: str = ''
  ) -> processes.Program:
    name = name or str(index)
    state, log = self.path / f'{name}.npz', self.path / f'{name}.log'
    arguments = (self.path / 'exchange', index, count, WIDTH, steps, state, log)
    program = processes.start('replica_program.py', *arguments)
    self.programs.append(program)
    return program

  def log(self, name: int | str) -> list[list[int]]:
    """``[step, those of the peers]`` for each line."""
    path = self.path / f'{name}.log'
    whole = path.read_text().rpartition('\n')[0] if path.exists() else ''
    return [list(map(int, line.split())) for line in whole.splitlines()]

  def copies(self, index: int) -> list[pathlib.Path]:
    place = self.path / 'exchange' / f'replica-{index}'
    return sorted(place.glob('*.safetensors'))


def until(condition: Callable[[], object], seconds: float = 300) -> None:
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.02)


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Iterator[Run]:
  run = Run(tmp_path)
  yield run
  for program in run.programs:
    program.kill()
    program.wait()
    assert program.stdout is not None
    program.stdout.close()


def test_killed_and_started_again(run: Run):
  """The others go on with what it gave away last, which is older with every step.

  It goes on from the step it had saved; they take what it gives away then.
  """
  victim = run.start(2, LONG, count=3)
  others = [run.start(index, LONG, count=3) for index in range(2)]
  until(lambda: all(run.log(i) and min(run.log(i)[-1]) > 0 for i in range(3)))
  victim.send_signal(signal.SIGKILL)
  victim.wait()
  killed_at, number = run.log(2)[-1][0], int(run.copies(2)[-1].name[:8])
  ends = [run.log(index)[-1][0] for index in range(2)]
  until(lambda: all(run.log(i)[-1][0] > end + 100 for i, end in enumerate(ends)))
  for index, of_victim, of_other in ((0, 2, 1), (1, 1, 2)):
    after = [line for line in run.log(index) if line[0] > ends[index] + 40]
    assert len({line[of_victim] for line in after}) == 1
    assert 0 < after[-1][of_victim] <= killed_at
    assert after[-1][of_other] > after[0][of_other]
  victim = run.start(2, killed_at + 101, count=3)
  until(lambda: run.log(0)[-1][2] > killed_at and run.log(1)[-1][1] > killed_at)
  assert processes.finish([victim]) == ['']
  assert int(run.copies(2)[-1].name[:8]) > number
  steps = [line[0] for line in run.log(2)]
  assert steps == list(range(killed_at + 101))
  assert all(other.poll() is None for other in others)


def test_damaged_while_it_runs(run: Run):
  """One says so and goes on with the one before, and then with the next."""
  run.start(0, 1)
  until(lambda: run.programs[0].poll() is not None)
  assert run.programs[0].returncode == 0
  run.copies(0)[-1].write_bytes(b'junk')
  other = run.start(1, LONG)
  until(lambda: len(run.log(1)) > 50)
  assert run.log(1)[-1][1] == -1
  first = run.start(0, LONG)  # goes on, and writes newer ones
  until(lambda: run.log(1)[-1][1] > 0)
  other.kill()
  said, _ = other.communicate()
  assert said.count('RuntimeWarning: exchange: ') == 1
  assert 'is damaged' in said
  assert first.poll() is None


def test_removed_and_full(run: Run):
  """All go on, and find one another again as soon as there is a place to write."""
  programs = [run.start(index, LONG) for index in range(2)]
  until(lambda: all(run.log(i) and run.log(i)[-1][1] > 0 for i in range(2)))
  while (run.path / 'exchange' / 'replica-0' / 'lock').exists():
    shutil.rmtree(run.path / 'exchange', ignore_errors=True)  # they write meanwhile
  ends = [run.log(index)[-1][0] for index in range(2)]
  until(lambda: all(run.log(i)[-1][1] > ends[1 - i] for i in range(2)))

  limits = resource.prlimit(programs[0].pid, resource.RLIMIT_FSIZE)
  full = 40_000, limits[1]  # less than a copy
  resource.prlimit(programs[0].pid, resource.RLIMIT_FSIZE, full)
  end = run.log(1)[-1][0]
  until(lambda: run.log(1)[-1][0] > end + 150 and run.log(0)[-1][1] > end)
  after = [line for line in run.log(1) if line[0] > end + 50]
  assert len({line[1] for line in after}) == 1
  until(lambda: run.log(0)[-1][0] > after[-1][1] + 100)
  newest = run.log(0)[-1]
  resource.prlimit(programs[0].pid, resource.RLIMIT_FSIZE, limits)
  until(lambda: run.log(1)[-1][1] > newest[0])
  assert all(program.poll() is None for program in programs)
  programs[0].kill()
  said, _ = programs[0].communicate()
  assert said.count('RuntimeWarning: exchange: cannot write to') == 1
  assert 'File too large' in said


def test_an_index_is_taken(run: Run):
  """The second ends with the error; the first goes on."""
  first = run.start(0, LONG)
  until(lambda: run.copies(0))
  program = run.start(0, LONG, name='again')
  (said,) = processes.finish([program], code=1)
  assert 'ExchangeError: ' in said
  assert 'is in use: another process is the replica' in said
  steps = len(run.log(0))
  until(lambda: len(run.log(0)) > steps + 20)
  assert first.poll() is None
