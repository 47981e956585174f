"""All results of a directory at a glance: Markdown, one static page, README's table.

``python -m experiments.report results/`` writes them: of every experiment below it the
table with its intervals and the paper's figures, and the pictures beside the records.
Links are relative to the directory, and nothing comes from a network.
"""

import collections
import dataclasses
import datetime
import html
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from experiments import papers, records, report
from experiments.comparison import Comparison, Group, groups, table
from experiments.errors import InputError
from experiments.runs import BASELINE, DROPOUT, Path, collect

MARKDOWN, PAGE = 'overview.md', 'index.html'
START, END = '<!-- evidence -->', '<!-- /evidence -->'
# Columns of the short table.
_ARMS = (
  *('label_smoothing', 'confidence_penalty', 'unigram_smoothing'),
  'codistillation',
)
_DATE = re.compile(r'\d{4}-\d\d-\d\d')
_ABOUT = """\
± is the standard error over the seeds, in brackets stands the 95 % t-interval of the
difference to the baseline, paired by seed; "undecided" means that it contains 0.
The last columns, where there are any, are the paper's own figures."""
_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; color: #222; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #222; }
tr + tr td { border-top: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; margin: .5rem 1rem .5rem 0; }"""


@dataclasses.dataclass(frozen=True)
class Part:
  """A table of the overview, where its records are, and their pictures."""

  section: report.Section
  directory: str
  pages: Sequence[str]
  pictures: Sequence[str]


def is_collection(path: Path) -> bool:
  """Whether ``path`` holds experiments (of runs), and no run itself."""
  root = pathlib.Path(path)
  deeper = any(root.glob('*/*/record.jsonl'))
  return deeper and not [*root.glob('record.jsonl'), *root.glob('*/record.jsonl')]


def write(root: Path, date: datetime.date) -> list[pathlib.Path]:
  """Writes ``overview.md`` and ``index.html`` into ``root``; returns their paths.

  Args:
    root: directory that holds experiments, at any depth.
    date: of the report.

  Raises:
    InputError: there is no finished run, or the files cannot be written.
  """
  folder = pathlib.Path(root)
  found, short = parts(folder), evidence(folder)
  texts = {
    MARKDOWN: markdown(found, short, date),
    PAGE: page(found, short, date),
  }
  for name, text in texts.items():
    with records.writing(folder / name):
      records.write_whole(folder / name, text.encode())
  return [folder / name for name in texts]


def update(path: Path, root: Path) -> None:
  """Puts the short table of ``root`` between the markers in the file ``path``."""
  file = pathlib.Path(path)
  try:
    text = file.read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise InputError(f'{file}: cannot be read: {error}') from error
  if text.count(START) != 1 or text.count(END) != 1:
    raise InputError(f'{file}: expected {START} and {END}, once each')
  before, rest = text.split(START)
  after = rest.split(END)[1]
  lines = '\n'.join(report.aligned(evidence(root, series=True), markdown=True))
  records.write_whole(file, f'{before}{START}\n{lines}\n{END}{after}'.encode())


def undated(text: str) -> str:
  """Without the date, to compare two reports of the same records."""
  return _DATE.sub('DATE', text, count=1)


def parts(root: pathlib.Path) -> list[Part]:
  """Of every table: what stands in it, and what lies beside its records."""
  runs = collect([root])
  rows = table(runs)
  return [
    _part(root, group, [row for row in rows if row.table == group.name])
    for group in groups(runs)
    if group.finished and group.runs[0].split == 'test'
  ]


def _part(root: pathlib.Path, group: Group, rows: Sequence[Comparison]) -> Part:
  home = _home(group)
  section = report.section(group, rows)
  where = home.relative_to(root).as_posix()
  above = [home, *home.parents][: len(home.relative_to(root).parts)]
  pages = [file for folder in above for file in _existing(folder)]
  pictures = [file for file in sorted(home.glob('*.png')) if file.stem != 'table']
  return Part(
    dataclasses.replace(section, title=_title(group)),
    where,
    [file.relative_to(root).as_posix() for file in pages],
    [file.relative_to(root).as_posix() for file in pictures],
  )


def _title(group: Group) -> str:
  return f'{group.runs[0].experiment} on {group.runs[0].dataset}'


def _home(group: Group) -> pathlib.Path:
  return pathlib.Path(os.path.commonpath([run.path.parent for run in group.runs]))


def _existing(folder: pathlib.Path) -> list[pathlib.Path]:
  return [folder / n for n in ('README.md', 'table.md') if (folder / n).exists()]


def evidence(root: Path, series: bool = False) -> list[list[str]]:
  """The short table, header first: baselines, and differences by regularizer.

  Args:
    root: directory that holds experiments.
    series: whether runs that differ in a setting alone, and so stand side by side in
      one directory, are one line, which says how many of them are better.
  """
  folder, runs = pathlib.Path(root), collect([root])
  rows = table(runs)
  found = [g for g in groups(runs) if g.baseline and g.runs[0].split == 'test']
  shown = [g for g in found if any(run.arm in _ARMS for run in g.finished)]
  together = _together(shown, folder, series)
  names = collections.Counter(title for title, _ in together)
  lines: dict[str, list[list[str]]] = {}  # by experiment
  for (title, place), members in together.items():
    inside = place.relative_to(folder).as_posix()
    name = f'{title} ({inside})' if names[title] > 1 else title
    if len(members) > 1:
      name += f', {len(members)} settings'
    own = [[row for row in rows if row.table == group.name] for group in members]
    line = [name, *_measured(members, own)]
    lines.setdefault(members[0].runs[0].experiment, []).append(line)
  header = ['experiment', 'measure', 'runs', 'baseline']
  below = [x for own in lines for x in (*lines[own], *_published(own))]
  return [[*header, *(arm.replace('_', ' ') for arm in _ARMS)], *below]


def _together(
  shown: Sequence[Group], folder: pathlib.Path, series: bool
) -> dict[tuple[str, pathlib.Path], list[Group]]:
  """What makes up a line, by title and place."""
  found: dict[tuple[str, pathlib.Path], list[Group]] = {}
  for group in shown:
    place = _home(group)
    if series and place.parent != folder:
      place = place.parent
    found.setdefault((_title(group), place), []).append(group)
  return found


def _measured(
  members: Sequence[Group], rows: Sequence[Sequence[Comparison]]
) -> list[str]:
  """Measure, runs, baseline and differences of one or more groups."""
  measure = members[0].measure
  by_arm = [{row.arm.split(' (')[0]: row for row in own} for own in rows]
  bases = [own[group.reference] for own, group in zip(by_arm, members, strict=True)]
  means = sorted(base.mean for base in bases)
  counts = sorted(len(base.seeds) for base in bases)
  cells = []
  for arm in _ARMS:
    found = [own[arm] for own in by_arm if arm in own]
    alone = found[0] if found and len(members) == 1 else None
    cells.append(_difference(alone, measure.digits) if alone else _tally(found))
  return [
    measure.heading,
    _range(*(str(count) for count in counts)),
    _range(*(f'{mean:.{measure.digits}f}' for mean in means)),
    *cells,
  ]


def _range(*ordered: str) -> str:
  first, last = ordered[0], ordered[-1]
  return first if first == last else f'{first}–{last}'


def _tally(rows: Sequence[Comparison]) -> str:
  """How many of them are better, and worse if any are."""
  verdicts = collections.Counter(row.verdict for row in rows)
  if not verdicts.keys() - {''}:
    return report.NOTHING
  counts = [f'better: {verdicts["better"]} of {len(rows)}']
  if verdicts['worse']:
    counts.append(f'worse: {verdicts["worse"]}')
  return ', '.join(counts)


def _difference(row: Comparison, digits: int) -> str:
  if row.difference is None:
    return report.NOTHING
  text = f'{row.difference:+.{digits}f}'
  if row.interval:
    text += f' [{row.interval[0]:+.{digits}f}, {row.interval[1]:+.{digits}f}]'
  return {'better': f'**{text}**', 'worse': f'{text} (worse)'}.get(row.verdict, text)


def _published(experiment: str) -> Iterable[list[str]]:
  """What the paper has of an experiment, of the data that it was made on."""
  for (name, dataset, size), of_paper in papers.TABLES.items():
    heading, column = next(iter(of_paper.columns.items()))
    base = column.get(BASELINE) or column.get(DROPOUT)
    prefix = '' if BASELINE in column else f'{DROPOUT}+'
    figures = [column.get(prefix + arm) or column.get(arm) for arm in _ARMS]
    if name != experiment or base is None or not any(figures):
      continue
    # A size that has the name of the data, or is the paper's, tells nothing apart.
    label = dataset if size in ('', dataset, 'paper') else f'{dataset} ({size})'
    yield [
      f'*the paper on {label}*',
      f'*{heading}*',
      '',
      f'*{base}*' + ('' if BASELINE in column else ' (dropout)'),
      *(
        report.NOTHING
        if f is None
        else f'*{f.value - base.value:+.{min(f.digits, base.digits)}f}*'
        for f in figures
      ),
    ]


def markdown(found: Sequence[Part], short: list[list[str]], date: datetime.date) -> str:
  """The overview as Markdown."""
  blocks = [
    '# All measured results',
    f'Made {date} by `python -m experiments.report` from the records here.',
    _ABOUT,
    '## In short',
    '\n'.join(report.aligned(short, markdown=True)),
  ]
  for part in found:
    header, rows = part.section.header, part.section.rows
    links = [f'[{page}]({page})' for page in part.pages]
    blocks += [
      f'## {part.section.title} (`{part.directory}`)',
      '\n'.join(report.aligned([header, *rows], markdown=True)),
      *([f'More: {", ".join(links)}.'] if links else []),
      *(f'![{part.section.title}: {_alt(p)}]({p})' for p in part.pictures),
    ]
  return '\n\n'.join(blocks) + '\n'


def page(found: Sequence[Part], short: list[list[str]], date: datetime.date) -> str:
  """The overview as a static page."""
  body = [
    '<h1>All measured results</h1>',
    f'<p>Made {date} by <code>python -m experiments.report</code> from the records '
    f'here. {html.escape(_ABOUT)}</p>',
    '<h2>In short</h2>',
    _html_table(short),
  ]
  for part in found:
    section = part.section
    links = [f'<a href="{html.escape(p)}">{html.escape(p)}</a>' for p in part.pages]
    body += [
      f'<h2>{html.escape(section.title)} '
      f'<small>{html.escape(part.directory)}</small></h2>',
      _html_table([section.header, *section.rows]),
      *([f'<p>More: {", ".join(links)}.</p>'] if links else []),
      *(
        f'<img src="{html.escape(p)}" loading="lazy" '
        f'alt="{html.escape(f"{section.title}: {_alt(p)}")}">'
        for p in part.pictures
      ),
    ]
  head = (
    '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width">\n'
    f'<title>Measured results</title>\n<style>\n{_STYLE}\n</style>\n'
  )
  return head + '\n'.join(body) + '\n</html>\n'


def _alt(picture: str) -> str:
  return pathlib.PurePath(picture).stem.replace('_', ' ')


def _html_table(lines: Sequence[Sequence[str]]) -> str:
  rows = []
  for number, line in enumerate(lines):
    tag = 'th' if number == 0 else 'td'
    cells = ''.join(f'<{tag}>{_emphasis(cell)}</{tag}>' for cell in line)
    rows.append(f'<tr>{cells}</tr>')
  return '<div class="wide"><table>\n' + '\n'.join(rows) + '\n</table></div>'


def _emphasis(cell: str) -> str:
  text = html.escape(cell)
  text = re.sub(r'^\*\*(.*)\*\*$', r'<b>\1</b>', text)
  return re.sub(r'^\*(.*?)\*', r'<i>\1</i>', text)
