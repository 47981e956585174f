"""Paired timings: candidates take turns, figures are medians of ratios."""

import dataclasses
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags

from experiments import config
from experiments.errors import InputError, ending

RESULTS = pathlib.Path(__file__).parent / 'results'
QUIET = 0.5  # load average a core


@dataclasses.dataclass(frozen=True)
class Timing:
  """One candidate's figures.

  Attributes:
    name: the candidate.
    median_ms: median time of a call, in milliseconds.
    ratio: median over rounds of its time divided by the baseline's.
    low: first quartile of these ratios.
    high: third quartile of these ratios.
  """

  name: str
  median_ms: float
  ratio: float
  low: float
  high: float


def compare(
  candidates: Mapping[str, Callable[[], object]], *, rounds: int, calls: int = 1
) -> list[Timing]:
  """Times candidates in turn; the first one is the baseline.

  Args:
    candidates: functions that return when their work is done.
    rounds: how often each has its turn.
    calls: calls a turn, for work too short to time singly.
  """
  for run in candidates.values():  # compile and warm up
    run()
    run()
  seconds: dict[str, list[float]] = {name: [] for name in candidates}
  names = list(candidates)
  for turn in range(rounds):
    # The order turns too, so that no candidate always follows the same one.
    for name in names[turn % len(names) :] + names[: turn % len(names)]:
      start = time.perf_counter()
      for _ in range(calls):
        candidates[name]()
      seconds[name].append((time.perf_counter() - start) / calls)
  baseline = seconds[names[0]]
  return [_timing(name, seconds[name], baseline) for name in names]


def _timing(name: str, own: list[float], baseline: list[float]) -> Timing:
  ratios = [a / b for a, b in zip(own, baseline, strict=True)]
  low, _, high = statistics.quantiles(ratios, n=4)
  median = 1e3 * statistics.median(own)
  return Timing(name, median, statistics.median(ratios), low, high)


def load() -> float:
  """The load average of the last minute, a core."""
  return os.getloadavg()[0] / (os.cpu_count() or 1)


def require_quiet_machine(force: bool) -> str:
  """Exits with code 2 if others use the machine: the figures would be theirs.

  Returns:
    What the load was, for the report.
  """
  now = load()
  print(f'load average: {now:.2f} a core', file=sys.stderr)
  if now > QUIET and not force:
    print(
      f'the machine is busy (over {QUIET} a core): wait, or --force', file=sys.stderr
    )
    raise SystemExit(2)
  return f'load average {now:.2f} a core at the start'


def launch(name: str, page: Callable[[Any, str], str], rounds: int | None) -> None:
  """A benchmark as a program: refuses a busy machine, and writes ``results/NAME.md``.

  Args:
    name: of the benchmark.
    page: ``rounds, what the machine was doing -> Markdown``; measures.
    rounds: unless --rounds says another number; None: ``page`` knows.
  """
  here = sys.argv[0]  # shown by --help
  force = flags.DEFINE_bool(
    'force', False, 'measure on a busy machine too', module_name=here
  )
  text = 'turns of each candidate'
  turns = flags.DEFINE_integer('rounds', rounds, text, 2, module_name=here)

  def main(arguments: Sequence[str]) -> None:
    with ending():
      if len(arguments) > 1:
        raise InputError(f'unexpected argument {arguments[1]!r}: flags start with --')
      load = require_quiet_machine(force.value)
      RESULTS.mkdir(exist_ok=True)
      text = page(turns.value, load)
      (RESULTS / f'{name}.md').write_text(text, encoding='utf-8')

  app.run(main, flags_parser=config.given_flags)


def share_cores() -> None:
  """PyTorch gets as many threads as this process may use cores, as XLA does."""
  import torch

  there = hasattr(os, 'sched_getaffinity')  # not on macOS
  cores = len(os.sched_getaffinity(0)) if there else os.cpu_count() or 1
  torch.set_num_threads(cores)


def table(columns: list[str], rows: list[str]) -> str:
  """A Markdown table of finished rows."""
  rule = '|---' * len(columns) + '|'
  return '\n'.join([f'| {" | ".join(columns)} |', rule, *rows])


def table_rows(
  label: str,
  steps: Mapping[str, Callable[[], object]],
  rounds: int,
  *,
  calls: int = 1,
  extra: Mapping[str, str] | None = None,
  amount: float | None = None,
) -> list[str]:
  """Times the steps and formats a row of Markdown for each.

  Args:
    label: the first cell.
    steps: what takes turns, the baseline first.
    rounds: how often each has its turn.
    calls: calls a turn.
    extra: a last cell, by name.
    amount: of what a call gets done; a last cell says how much of it a second.
  """
  rows = []
  for t in compare(steps, rounds=rounds, calls=calls):
    tail = f' {extra[t.name]} |' if extra else ''
    tail += f' {1e3 * amount / t.median_ms:,.0f} |' if amount else ''
    rows.append(
      f'| {label} | {t.name} | {t.median_ms:.3g} | **{t.ratio:.2f}** | '
      f'{t.low:.2f}–{t.high:.2f} |{tail}'
    )
    print(rows[-1], flush=True)
  return rows


def machine() -> str:
  """Processor, cores, system and versions, in one line."""
  cores = os.cpu_count()
  return (
    f'{_processor()}, {cores} cores, {platform.system()}, '
    f'Python {platform.python_version()}, jax {jax.__version__}'
  )


def _processor() -> str:
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as lines:
      names = [line.split(':')[1].strip() for line in lines if 'model name' in line]
    return names[0]
  except (OSError, IndexError):
    return platform.processor() or platform.machine()
