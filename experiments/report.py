"""Sets any runs side by side, and beside the paper.

  python -m experiments.report RUN_DIR... [--output DIR]
  python -m experiments.report results/ [--readme README.md]

RUN_DIR is the directory of a run, or holds any number of them at any depth; pages and
pictures among them (``runs/*``) are left out. The tables are printed; with
``--output`` they are also written to DIR, as Markdown (``table.md``) and as a picture
(``table.png``).

Of one directory that holds experiments (``results``, ``runs``) the overview is written
into it: ``overview.md``, and ``index.html`` with the plots. ``--readme`` puts the short
table of it between the markers of a file.
"""

import dataclasses
import datetime
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from experiments import plots, records
from experiments.comparison import Comparison, Group, common_seeds, groups, table
from experiments.errors import InputError, ending
from experiments.measures import Column
from experiments.runs import SWEPT, Path, Run, collect

__all__ = ['Comparison', 'Run', 'collect', 'render', 'table', 'write_report']

NOTHING = '—'
_PAGES = ('.md', '.html', '.png')  # what lies beside runs, and `runs/*` names too
_TEXTS = {'arm', '', 'experiment', 'measure'}  # columns that are set flush left

_CAPTION = (
  '± standard error over the seeds; [95 % t-interval] of the difference, paired by '
  'seed; undecided: it contains 0'
)
# Of a configuration: what makes an arm the arm it is; the seeds have a note.
_EXPECTED = {'arm', 'seeds', *SWEPT}
_EXPECTED |= {'num_replicas', 'exchange', 'exchange_every', 'burn_in', 'ramp', 'kind'}
_EXPECTED |= {'data'}  # of the replicas, where an arm has them


@dataclasses.dataclass(frozen=True)
class Section:
  """A table as text: what all three renderings have in common."""

  title: str
  header: Sequence[str]
  rows: Sequence[Sequence[str]]
  notes: Sequence[str]


def write_report(paths: Iterable[Path], output_dir: Path) -> str:
  """Writes ``table.md`` and ``table.png``; returns the text for the terminal.

  Args:
    paths: run directories, or directories of them at any depth.
    output_dir: made if it is not there.

  Raises:
    InputError: a path holds no run, no run is finished, a record is malformed, or
      ``output_dir`` cannot be written.
  """
  runs = collect(paths)
  output = pathlib.Path(output_dir)
  with records.writing(output):
    output.mkdir(parents=True, exist_ok=True)
  records.write_whole(output / 'table.md', render(runs, markdown=True).encode())
  plots.table_image(
    [(part.title, part.header, part.rows) for part in _sections(runs) if part.rows],
    output / 'table.png',
    _CAPTION,
  )
  return render(runs)


def render(runs: Sequence[Run], *, markdown: bool = False) -> str:
  """The tables of ``runs`` with their notes, as Markdown or as aligned text."""
  parts = []
  for part in _sections(runs):
    lines = aligned([part.header, *part.rows], markdown)
    title = f'## {part.title}' if markdown else part.title
    notes = [_item(note, markdown) for note in part.notes]
    blocks = [[title], lines if part.rows else [], notes]
    parts.append('\n\n'.join('\n'.join(block) for block in blocks if block))
  measures = dict.fromkeys(group.measure.how_to_read for group in groups(runs))
  return '\n\n'.join([*parts, *measures]) + '\n'


def _sections(runs: Sequence[Run]) -> list[Section]:
  rows = table(runs)
  if not rows:
    unfinished = '; '.join(f'{run.path} is {_progress(run)}' for run in runs)
    raise InputError(f'no run is finished: {unfinished}')
  return [
    section(group, [row for row in rows if row.table == group.name])
    for group in groups(runs)
  ]


def section(group: Group, rows: Sequence[Comparison]) -> Section:
  """The table of a group, and its notes."""
  columns = {
    name: column
    for name, column in group.measure.columns.items()
    if any(row.means[name] is not None for row in rows)
  }
  header = [
    'arm',
    'seeds',
    group.measure.heading,
    f'vs. {group.reference} (95 %)',
    '',
    *(column.heading for column in columns.values()),
    *(group.paper.columns if group.paper else ()),
  ]
  cells = [_cells(row, group.measure.digits, columns) for row in rows]
  return Section(group.name, header, cells, [*_notes(group, rows)])


def _cells(row: Comparison, digits: int, columns: Mapping[str, Column]) -> list[str]:
  spread = NOTHING if row.standard_error is None else f'{row.standard_error:.{digits}f}'
  difference = NOTHING if row.difference is None else f'{row.difference:+.{digits}f}'
  if row.interval:
    difference += f' [{row.interval[0]:+.{digits}f}, {row.interval[1]:+.{digits}f}]'
  means = [(row.means[name], column) for name, column in columns.items()]
  return [
    row.arm,
    str(len(row.seeds)),
    f'{row.mean:.{digits}f} ± {spread}',
    difference,
    row.verdict,
    *(NOTHING if mean is None else f'{mean:.{c.digits}f}' for mean, c in means),
    *(NOTHING if figure is None else str(figure) for figure in row.published.values()),
  ]


def _notes(group: Group, rows: Sequence[Comparison]) -> Iterable[str]:
  if any(len(row.seeds) == 1 for row in rows):
    yield 'One seed gives no standard error, and one pair of seeds no interval.'
  if group.runs[0].split == 'validation':
    yield 'The final figures are on the validation split: to choose values by.'
  elif (baseline := group.baseline) is None:
    yield f'No finished {group.reference}: no differences.'
  else:
    for run in group.finished:
      yield from _comparability(run, baseline)
  for run in group.finished:
    yield f'{run.arm} minimises {run.header["objective"]}'
  for run in group.runs:
    if not run.finished:
      yield f'{run.arm} is unfinished: {_progress(run)} ({run.path})'
  for text in dict.fromkeys(_summary(run) for run in group.finished):
    if text:
      yield text
  if group.paper:
    yield f'paper: {group.paper.source}. {group.paper.remarks}'


def _comparability(run: Run, baseline: Run) -> Iterable[str]:
  """Where an arm and the baseline differ in more than the regularizer."""
  paired = common_seeds(run, baseline)
  if not paired:
    yield f'{run.arm} has no seed with the same data in common with the baseline.'
  elif set(paired) != {*run.seeds, *baseline.seeds}:
    seeds = ', '.join(map(str, paired))
    yield f'{run.arm} and the baseline are paired over their common seeds: {seeds}.'
  ours, theirs = run.config, baseline.config
  differing = [
    f'{name} {ours.get(name)} (baseline: {theirs.get(name)})'
    for name in sorted({*ours, *theirs})
    if ours.get(name) != theirs.get(name) and name.split('.')[-1] not in _EXPECTED
  ]
  if differing:
    yield f'{run.arm} differs from the baseline in settings: {", ".join(differing)}.'


def _summary(run: Run) -> str:
  """What the data set says of itself in a line, if it does."""
  about = run.header.get('about')
  return str(about.get('summary', '')) if isinstance(about, Mapping) else ''


def _progress(run: Run) -> str:
  missing = {seed for series in run.series for seed in series.missing}
  seeds = ', '.join(map(str, sorted(missing or run.seeds)))
  return f'at step {run.step}, no result for seeds {seeds}'


def _item(text: str, markdown: bool) -> str:
  if markdown:
    # The printed form of a loss, name[weight](arguments), is no link.
    return f'- {text}'.replace('](', r']\(')
  return textwrap.fill(
    text,
    88,
    initial_indent='- ',
    subsequent_indent='  ',
    break_long_words=False,
    break_on_hyphens=False,
  )


def aligned(lines: Sequence[Sequence[str]], markdown: bool) -> list[str]:
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  numbers = [name not in _TEXTS for name in lines[0]]
  if markdown:
    widths = [max(width, 3) for width in widths]
  rule = ['-' * width for width in widths]
  if markdown:
    rule = [r[:-1] + ':' if n else r for r, n in zip(rule, numbers, strict=True)]
  cells = [
    [
      cell.rjust(width) if number else cell.ljust(width)
      for cell, width, number in zip(line, widths, numbers, strict=True)
    ]
    for line in (lines[0], rule, *lines[1:])
  ]
  if markdown:
    return [f'| {" | ".join(line)} |' for line in cells]
  return ['  '.join(line).rstrip() for line in cells]


def _is_page(path: str) -> bool:
  file = pathlib.Path(path)
  return file.suffix in _PAGES and file.is_file()


def main(
  argv: Sequence[str], output: str | None = None, readme: str | None = None
) -> None:
  """Prints the report of the directories in ``argv[1:]``."""
  from experiments import overview

  with ending():
    paths = [path for path in argv[1:] if not _is_page(path)]
    if not paths:
      raise InputError('usage: python -m experiments.report RUN_DIR... [--output DIR]')
    collection = len(paths) == 1 and overview.is_collection(paths[0])
    if readme and not collection:
      raise InputError('--readme: expected one directory that holds experiments')
    print(write_report(paths, output) if output else render(collect(paths)))
    if collection:
      written = overview.write(paths[0], datetime.date.today())
      print('written:', *written)
    if readme:
      overview.update(readme, paths[0])


if __name__ == '__main__':
  from absl import app, flags

  from experiments import config

  _OUTPUT = flags.DEFINE_string(
    'output', None, 'directory that the tables are written to'
  )
  _README = flags.DEFINE_string(
    'readme', None, 'file whose table of evidence is renewed'
  )
  app.run(
    lambda argv: main(argv, _OUTPUT.value, _README.value),
    flags_parser=config.given_flags,
  )
