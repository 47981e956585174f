"""Replicas that are processes: killed, started again, disturbed, mistaken."""

import pathlib
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import processes
import pytest

pytestmark = pytest.mark.slow
LONG = 1_000_000  # steps of one that is going to be killed


class Run:
  """The replicas of a directory, and what they have logged."""

  def __init__(self, path: pathlib.Path):
    self.path = path
    self.programs: list[processes.Program] = []

  def start(
    self, index: int, steps: int, count: int = 2, width: int = 4, name: str = ''
  ) -> processes.Program:
    name = name or str(index)
    state, log = self.path / f'{name}.npz', self.path / f'{name}.log'
    arguments = (self.path / 'exchange', index, count, width, steps, state, log)
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


def test_killed_for_good(run: Run):
  """The others finish, with what it gave away last; it is older with every step."""
  victim = run.start(2, LONG, count=3)
  others = [run.start(index, LONG, count=3) for index in range(2)]
  until(lambda: all(run.log(i) and min(run.log(i)[-1]) > 0 for i in range(3)))
  victim.send_signal(signal.SIGKILL)
  victim.wait()
  killed_at = run.log(2)[-1][0]
  ends = [run.log(index)[-1][0] for index in range(2)]
  until(lambda: all(run.log(i)[-1][0] > end + 100 for i, end in enumerate(ends)))
  for index, of_victim, of_other in ((0, 2, 1), (1, 1, 2)):
    after = [line for line in run.log(index) if line[0] > ends[index] + 40]
    assert len({line[of_victim] for line in after}) == 1
    assert 0 < after[-1][of_victim] <= killed_at
    assert after[-1][of_other] > after[0][of_other]
  assert all(other.poll() is None for other in others)


def test_killed_and_started_again(run: Run):
  """From the step it had saved; the other takes what it gives away then."""
  victim, other = run.start(1, LONG), run.start(0, LONG)
  until(lambda: run.log(0) and run.log(0)[-1][1] > 0)
  victim.send_signal(signal.SIGKILL)
  victim.wait()
  killed_at, number = run.log(1)[-1][0], int(run.copies(1)[-1].name[:8])
  victim = run.start(1, killed_at + 101)
  until(lambda: run.log(0)[-1][1] > killed_at)
  assert processes.finish([victim]) == ['']
  assert int(run.copies(1)[-1].name[:8]) > number
  steps = [line[0] for line in run.log(1)]
  assert steps == list(range(killed_at + 101))
  assert other.poll() is None


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


@pytest.mark.parametrize(
  ('second', 'message'),
  [
    ({'index': 0, 'name': 'again'}, 'is in use: another process is the replica'),
    ({'index': 1, 'width': 5}, r'leaf weights: expected shape \[5, 3\], got \[4, 3\]'),
    ({'index': 1, 'count': 3}, 'one of 2 replicas, expected 3'),
  ],
  ids=['index', 'shape', 'count'],
)
def test_mistaken(second: dict, message: str, run: Run):
  """The second ends with the error; so does the first, if it is its business."""
  first = run.start(0, LONG)
  until(lambda: run.copies(0))
  program = run.start(steps=LONG, **second)
  (said,) = processes.finish([program], code=1)

  assert re.search('ExchangeError: .*' + message, said)
  if second['index'] == 0:
    steps = len(run.log(0))
    until(lambda: len(run.log(0)) > steps + 20)
    assert first.poll() is None
