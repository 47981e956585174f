r"""What the exchange between replicas costs.

  python -m benchmarks.codistillation

Takes some 17 minutes on two cores and writes benchmarks/results/codistillation.md and
.png. A replica trains with a teacher in its step. The candidates are: copies written to
and read from a directory at every 10th, 50th or 250th step, against none; and, for the
teacher's forward pass, no teacher at all. The peer's copies are written by this process
between the timed parts.
"""

import dataclasses
import datetime
import functools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import jax
from absl import app, flags

from benchmarks import timing
from experiments import exchanging, runner
from experiments.codistillation import Config, filled
from experiments.codistillation_arms import Arm
from experiments.codistillation_models import MODELS
from experiments.codistilled import codistilled
from experiments.drawing import COLORS, saved, tidy
from experiments.state import State, init_state, stack
from regularizers.exchange import Directory

RESULTS = pathlib.Path(__file__).parent / 'results'
INTERVALS = (10, 50, 250)
STEPS = 1000
NETS: Mapping[str, Mapping[str, Any]] = {
  'clicks, default': {'model': 'ctr'},
  'digits, default': {'model': 'mnist'},
  'pydoc, default': {'model': 'ptb'},
}
LONG = 20.0  # milliseconds of a step from which fewer rounds do
SIZES = (64, 256, 1024)  # units of two layers


@dataclasses.dataclass(frozen=True)
class Cost:
  """Of one net.

  Attributes:
    name: of the net.
    parameters: how many a replica gives away.
    step: milliseconds of a step with a teacher and no exchange, median.
    teacher: its time by that of a step without a teacher.
    overhead: percent that the exchange adds, median and quartiles, by interval.
  """

  name: str
  parameters: int
  step: float
  teacher: float
  overhead: dict[int, tuple[float, float, float]]


class Replica:
  """A replica of two whose peer writes copies from time to time."""

  def __init__(self, fields: Mapping[str, Any], cache: str):
    config = filled(Config(seeds=1, replica=0, cache_dir=cache, workdir='', **fields))
    arm = Arm(config, 'codistillation', MODELS[config.model].data(config))
    self.base = arm.base()
    task = codistilled(self.base, 1)
    self.job = dataclasses.replace(
      arm.job(task), num_steps=STEPS, log_every=STEPS, eval_every=STEPS
    )
    self.loss = stack(self.job.losses)
    optimizer = self.job.optimizer
    self.state = init_state(task, self.loss, optimizer, self.job.seeds)
    single = dataclasses.replace(arm, name='baseline')
    self.single = dataclasses.replace(
      self.job, task=self.base, losses=single.job(self.base).losses
    )
    self.single_loss = stack(self.single.losses)
    self.single_state = init_state(
      self.base, self.single_loss, optimizer, self.job.seeds
    )

  @property
  def parameters(self) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(self.state.runs.params))

  def plain(self) -> float:
    """Milliseconds a step without a teacher."""
    return _timed(self.single, self.single_loss, self.single_state)

  def taught(self) -> float:
    """With a teacher, and without exchange."""
    return _timed(self.job, self.loss, self.state)

  def exchanging(self, every: int) -> float:
    """With exchange; the peer's copies are there before."""
    with tempfile.TemporaryDirectory() as path:
      tree = exchanging.given_by(self.base, self.state)
      with Directory(path, 1, 2, every, background=False) as peer:
        peer(0, tree, peer.init(tree))
      with Directory(path, 0, 2, every) as exchange:
        log = pathlib.Path(path) / 'log.jsonl'
        between = exchanging.ThroughDirectory(self.base, exchange, log)
        job = dataclasses.replace(self.job, between=between, between_every=every)
        return _timed(job, self.loss, self.state)


def _timed(job: runner.Job, loss: Any, state: State) -> float:
  start = time.perf_counter()
  for new_state, _ in runner.states(job, loss, state):
    jax.block_until_ready(new_state.step)
  return 1e3 * (time.perf_counter() - start) / STEPS


def measured(name: str, fields: Mapping[str, Any], rounds: int, cache: str) -> Cost:
  """All candidates in turn."""
  replica = Replica(fields, cache)
  candidates: dict[Any, Any] = {
    'plain': replica.plain,
    'taught': replica.taught,
    **{k: functools.partial(replica.exchanging, k) for k in INTERVALS},
  }
  for run in candidates.values():  # compiles
    slow = run() > LONG
  times: dict[Any, list[float]] = {key: [] for key in candidates}
  for _ in range(min(rounds, 3) if slow else rounds):
    for key, run in candidates.items():
      times[key].append(run())
  overhead = {}
  for every in INTERVALS:
    ratios = [
      100 * (a / b - 1) for a, b in zip(times[every], times['taught'], strict=True)
    ]
    low, middle, high = statistics.quantiles(ratios, n=4)
    overhead[every] = (middle, low, high)
  teacher = [a / b for a, b in zip(times['taught'], times['plain'], strict=True)]
  return Cost(
    name,
    replica.parameters,
    statistics.median(times['taught']),
    statistics.median(teacher),
    overhead,
  )


def report(costs: list[Cost], load: str) -> str:
  """As Markdown."""
  columns = ['net', 'parameters', 'ms a step', 'by a step without teacher']
  columns += [f'exchange every {k} steps' for k in INTERVALS]
  rows = []
  for cost in costs:
    cells = [f'{cost.parameters:,}', f'{cost.step:.2f}', f'{cost.teacher:.2f}']
    for middle, low, high in cost.overhead.values():
      cells.append(f'{middle:+.1f} % [{low:+.1f}, {high:+.1f}]')
    rows.append(f'| {cost.name} | {" | ".join(cells)} |')
  date = datetime.datetime.now(datetime.UTC).date().isoformat()
  head = (
    f'# Exchange between replicas\n\n{date}, {timing.machine()}; {load}. '
    'Medians and quartiles over the rounds; candidates take turns.\n\n'
  )
  return f'{head}{timing.table(columns, rows)}\n'


def draw(costs: list[Cost], path: pathlib.Path) -> None:
  """Overhead against the number of parameters, a line an interval."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(6, 4), layout='constrained')
  axis = figure.subplots()
  costs = sorted(costs, key=lambda cost: cost.parameters)
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


def main(_: list[str]) -> None:
  """Measures, and writes the results."""
  load = timing.require_quiet_machine(FORCE.value)
  cases = dict(NETS)
  for units in SIZES:
    cases[f'digits, 2 x {units}'] = {'model': 'mnist', 'hidden': (units, units)}
  costs = []
  for name, fields in cases.items():
    costs.append(measured(name, fields, ROUNDS.value, CACHE.value))
    print(costs[-1], flush=True)
  text = report(costs, load)
  RESULTS.mkdir(exist_ok=True)
  (RESULTS / 'codistillation.md').write_text(text)
  draw(costs, RESULTS / 'codistillation.png')
  print(text)


if __name__ == '__main__':
  FORCE = flags.DEFINE_boolean('force', False, 'Also on a busy machine.')
  ROUNDS = flags.DEFINE_integer('rounds', 7, 'How often each candidate has its turn.')
  CACHE = flags.DEFINE_string(
    'cache_dir', 'runs/clicks', 'Where the click log is kept.'
  )
  app.run(main)
