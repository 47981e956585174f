r"""What the exchange between replicas costs.

  python -m benchmarks.codistillation

Takes under five minutes on two cores and writes codistillation.md and .png of
benchmarks/results. A replica trains with a teacher in its step. The candidates are:
copies written to and read from a directory at every 10th, 50th or 250th step, against
none; every 50 steps without files, which no way of writing and reading can undercut;
and, for the teacher's forward pass, no teacher at all. Each goes on by 250 steps when
it is its turn. At every exchange there is something newer of the peer: a copy that was
written before gets the next name, as what a peer does takes place elsewhere.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from absl import flags

from benchmarks import timing
from experiments import exchanging, runner
from experiments.codistillation import Config, filled
from experiments.codistillation_arms import CHAIN, Arm
from experiments.codistillation_models import MODELS
from experiments.codistilled import codistilled
from experiments.drawing import COLORS, saved, tidy
from experiments.state import State, init_state, stack
from regularizers.exchange import Directory, Peers, leaves

INTERVALS = (10, 50, 250)
TURN = 250  # steps
SECONDS = 25.0  # of a net, unless --rounds says how many
PAUSE = 0.02  # seconds before a turn, for what threads of the one before still do
FOREVER = 10**9
NO_FILES = 'without files'
NO_FILES_EVERY = 50
NETS: Mapping[str, Mapping[str, Any]] = {
  'clicks, default': {'model': 'ctr'},
  'digits, default': {'model': 'mnist'},
  'pydoc, default': {'model': 'ptb'},
  'clicks, 4 retrains at once': {'model': 'ctr', 'seeds': 4},
  'digits, 4 retrains at once': {'model': 'mnist', 'seeds': 4},
}
SIZES = (256, 512)  # units of two layers; those of the default are 64

NOTES = """## What was tried

Aimed at: at most 5 % every 50 steps with the default nets. It holds for pydoc. 50 steps
of the others take 3 ms (digits) and 15 ms (clicks), and an exchange 0.6 and 1.2 ms, of
which the file's synchronisation takes 0.2 and 0.4. Without files, when leaves are only
copied out and in, the last column is left: what no protocol through a directory can
undercut (alone, on a warm cache, these copies take 0.08 and 0.12 ms). To synchronise a
file of their size and nothing else takes 0.17 and 0.3 ms: 5 % of 50 steps are 0.16 and
0.7 ms. The default program trains four retrains at once: 9.0 and 7.5 %. In turns of
1,000 steps in place of 250 it was 17 and 10 %, of 4,000 steps 31 and 7 %.

No better: the exchange in the caller's thread, niceness and SCHED_BATCH for the thread,
one thread for XLA, a directory in memory, fdatasync in place of fsync. To wake the
thread takes 0.4 to 0.6 ms of the interpreter's lock, and a second core is no help
where both replicas compute."""


@dataclasses.dataclass(frozen=True)
class Cost:
  """Of one net.

  Attributes:
    name: of the net.
    retrains: how many are trained at once.
    parameters: how many a replica gives away.
    step: milliseconds of a step with a teacher and no exchange, median.
    teacher: its time by that of a step without a teacher.
    overhead: percent that the exchange adds, median and quartiles, by interval, and
      for `NO_FILES`.
    rounds: how many turns each candidate had.
  """

  name: str
  retrains: int
  parameters: int
  step: float
  teacher: float
  overhead: dict[int | str, tuple[float, float, float]]
  rounds: int


class Replica:
  """A replica of two, and what its step is without a teacher."""

  def __init__(self, fields: Mapping[str, Any], cache: str):
    own = {'seeds': 1, 'replica': 0, 'cache_dir': cache, 'workdir': 'none', **fields}
    config = filled(Config(**own))
    arm = Arm(config, 'codistillation', MODELS[config.model].data(config))
    self.retrains = config.seeds
    self.base = arm.base()
    self.job = dataclasses.replace(
      arm.job(codistilled(self.base, 1)),
      num_steps=FOREVER,
      log_every=FOREVER,
      eval_every=FOREVER,
      checkpoint_every=FOREVER,
    )
    self.state = _begun(self.job)
    losses = dataclasses.replace(arm, name='baseline').job(self.base).losses[:1]
    self.single = dataclasses.replace(self.job, task=self.base, losses=losses)

  @property
  def parameters(self) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(self.state.runs.params))

  def plain(self) -> 'Training':
    """Without a teacher."""
    return Training(self.single, _begun(self.single))

  def taught(self) -> 'Training':
    """With a teacher, and without exchange."""
    return Training(self.job, self.state)

  def exchanging(self, exchange: Directory) -> 'Training':
    """With exchange."""
    path, every = exchange.path, exchange.every
    peer = Peer(path, every, exchanging.given_by(self.base, self.state))
    through = exchanging.ThroughDirectory(self.base, exchange, path / 'log.jsonl')

    def between(state: State) -> State:
      peer.publish(int(state.step))
      return through(state)

    job = dataclasses.replace(self.job, between=between, between_every=every)
    return Training(job, self.state)


class Peer:
  """The other replica, as the first one sees it."""

  def __init__(self, path: pathlib.Path, every: int, tree: Any):
    with Directory(path, 1, 2, every, background=False) as exchange:
      exchange(0, tree, exchange.init(tree))
    (self._copy,) = (path / 'replica-1').glob('*.safetensors')
    self._every, self._number = every, 1

  def publish(self, step: int) -> None:
    """A newer copy, if it is a step for it."""
    if step % self._every == 0:
      self._number += 1
      name = f'{self._number:08d}-{step:010d}.safetensors'
      self._copy = self._copy.rename(self._copy.with_name(name))


class WithoutFiles(Directory):
  """An exchange whose writing and reading cost nothing: two copies are left of it."""

  _given: tuple[int, Any] | None = None

  def __call__(self, step: int, tree: Any, peers: Peers) -> Peers:
    """What was given away at the call before, taken for a peer's."""
    given, self._given = self._given, None
    if step % self.every == 0:
      self._given = (step, leaves.host(tree))
    if given is None:
      return peers
    return leaves.stacked([leaves.Taken('', given[0], leaves.named(given[1]))], tree)


class Training:
  """A candidate, which goes on from where it was."""

  def __init__(self, job: runner.Job, state: State):
    self._states: Iterator[Any] = runner.states(job, stack(job.losses), state)
    # So that no turn ends just after an exchange, which would be the next one's cost.
    self._advance(TURN - CHAIN)

  def turn(self) -> float:
    """Milliseconds a step."""
    start = time.perf_counter()
    self._advance(TURN)
    return 1e3 * (time.perf_counter() - start) / TURN

  def _advance(self, steps: int) -> None:
    for _ in range(steps // CHAIN):
      state, _ = next(self._states)
      int(state.step)  # as `experiments.runner` does, whatever comes between


def _begun(job: runner.Job) -> State:
  return init_state(job.task, stack(job.losses), job.optimizer, job.seeds)


def measured(
  name: str, fields: Mapping[str, Any], rounds: int | None, cache: str
) -> Cost:
  """All candidates in turn."""
  replica = Replica(fields, cache)
  candidates: dict[Any, Training] = {
    'plain': replica.plain(),
    'taught': replica.taught(),
  }
  with contextlib.ExitStack() as places:
    root = places.enter_context(tempfile.TemporaryDirectory())
    for every in INTERVALS:
      exchange = Directory(f'{root}/{every}', 0, 2, every)
      candidates[every] = replica.exchanging(places.enter_context(exchange))
    bare = WithoutFiles(f'{root}/bare', 0, 2, NO_FILES_EVERY, background=False)
    candidates[NO_FILES] = replica.exchanging(places.enter_context(bare))
    times = _times(candidates, rounds)
  overhead: dict[int | str, tuple[float, float, float]] = {}
  for key in (*INTERVALS, NO_FILES):
    ratios = [
      100 * (a / b - 1) for a, b in zip(times[key], times['taught'], strict=True)
    ]
    low, middle, high = statistics.quantiles(ratios, n=4)
    overhead[key] = (middle, low, high)
  teacher = [a / b for a, b in zip(times['taught'], times['plain'], strict=True)]
  return Cost(
    name,
    replica.retrains,
    replica.parameters,
    statistics.median(times['taught']),
    statistics.median(teacher),
    overhead,
    len(teacher),
  )


def _times(
  candidates: Mapping[Any, Training], rounds: int | None
) -> dict[Any, list[float]]:
  """Of the turns of each; by default for ``SECONDS``, and three rounds at least."""
  for one in candidates.values():
    one.turn()
  times: dict[Any, list[float]] = {key: [] for key in candidates}
  names, end, taken = list(candidates), time.monotonic() + SECONDS, 0
  while taken < (rounds or 3) or (rounds is None and time.monotonic() < end):
    # The order turns too, so that no candidate always follows the same one.
    turned = taken % len(names)
    for key in names[turned:] + names[:turned]:
      time.sleep(PAUSE)
      times[key].append(candidates[key].turn())
    taken += 1
  return times


def report(costs: list[Cost], load: str) -> str:
  """As Markdown."""
  columns = ['net', 'parameters', 'rounds', 'ms a step', 'by a step without teacher']
  columns += [f'exchange every {k} steps' for k in INTERVALS]
  columns += [f'every {NO_FILES_EVERY} {NO_FILES}']
  rows = []
  for cost in costs:
    cells = [f'{cost.parameters:,}', f'{cost.rounds}']
    cells += [f'{cost.step:.2f}', f'{cost.teacher:.2f}']
    for middle, low, high in cost.overhead.values():
      cells.append(f'{middle:+.1f} % [{low:+.1f}, {high:+.1f}]')
    rows.append(f'| {cost.name} | {" | ".join(cells)} |')
  date = datetime.datetime.now(datetime.UTC).date().isoformat()
  head = (
    f'# Exchange between replicas\n\n{date}, {timing.machine()}; {load}. '
    'Medians and quartiles over the rounds; candidates take turns.\n\n'
  )
  return f'{head}{timing.table(columns, rows)}\n\n{NOTES}\n'


def draw(costs: list[Cost], path: pathlib.Path) -> None:
  """Overhead against the number of parameters, a line an interval."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(6, 4), layout='constrained')
  axis = figure.subplots()
  single = [cost for cost in costs if cost.retrains == 1]
  costs = sorted(single, key=lambda cost: cost.parameters)
  for every, color in zip(INTERVALS, COLORS[1:], strict=False):
    axis.plot(
      [cost.parameters for cost in costs],
      [cost.overhead[every][0] for cost in costs],
      'o-',
      color=color,
      label=f'every {every} steps',
    )
  axis.axhline(5, color=COLORS[0], linestyle=':')
  axis.set_xscale('log')
  axis.set_xlabel('parameters of a replica')
  axis.set_ylabel('time that the exchange adds, %')
  tidy(axis)
  axis.legend(frameon=False)
  saved(figure, path)


def page(rounds: int | None, load: str) -> str:
  """Measures; the page of results."""
  cases = dict(NETS)
  for units in SIZES:
    cases[f'digits, 2 x {units}'] = {'model': 'mnist', 'hidden': (units, units)}
  costs = []
  for name, fields in cases.items():
    costs.append(measured(name, fields, rounds, CACHE.value))
    print(costs[-1], flush=True)
  draw(costs, timing.RESULTS / 'codistillation.png')
  text = report(costs, load)
  print(text)
  return text


if __name__ == '__main__':
  CACHE = flags.DEFINE_string('cache_dir', 'runs/clicks', 'where the click log is kept')
  timing.launch('codistillation', page, rounds=None)
