"""What experiments.instructions makes of trained models: scores by level, and files.

WORKDIR/ARM/predictions.jsonl  answers, in the form of Tk-Instruct's
WORKDIR/ARM/mixture.jsonl      how often each task was trained on
WORKDIR/levels.md, levels.png  scores by level, with and without demonstrations
WORKDIR/categories.md          the same by category
"""

import pathlib
import statistics
from collections.abc import Mapping, Sequence

from experiments import records, runner, runs
from experiments.evaluate import Row, evaluate
from experiments.instruction_answers import Answer, Answering
from experiments.instruction_data import Instructions
from experiments.scores import instructions as scores
from experiments.state import State, stack, weights_of

UNTUNED = 'untuned'


def final(
  answering: Answering,
  datasets: Mapping[int, Instructions],
  job: runner.Job,
  state: State,
  split: str,
  shots: Sequence[int],
  free: str,
) -> list[Row]:
  """The rows of the end: scores by level and number of demonstrations."""
  rows = evaluate(job.task, stack(job.losses), state, split)
  lines, mixture = [], []
  for index, row in enumerate(rows):
    seed, point = row['seed'], job.points[index]
    params, _ = weights_of(state, index)
    found, answers = scored(answering, datasets[seed], params, split, shots, free)
    row.update(found)
    for level, count, own in answers:
      more = {**point, 'seed': seed, 'level': level, 'shots': count}
      lines += [_line(datasets[seed], answer) | more for answer in own]
    stream = datasets[seed].stream(seed)
    row['packed'] = stream.filled(job.num_steps)  # share of places that hold an id
    row['dropped'] = stream.dropped
    mixture += [
      {**point, 'seed': seed, **line}
      for line in _mixture(datasets[seed], seed, job.num_steps)
    ]
  if split == 'test':
    records.write_lines(job.directory / 'predictions.jsonl', lines)
    records.write_lines(job.directory / 'mixture.jsonl', mixture)
  return rows


def scored(
  answering: Answering,
  data: Instructions,
  params: object,
  split: str,
  shots: Sequence[int],
  free: str,
) -> tuple[Row, list[tuple[str, int, list[Answer]]]]:
  """Scores as parts of a row, and the answers by level and number of demonstrations."""
  levels = (
    data.levels.test if split == 'test' else {'instances': data.levels.validation}
  )
  category = {task.id: task.category for task in data.collection.tasks}
  row: Row = {'protocols': {}}
  answers = []
  levels = {level: rows for level, rows in levels.items() if any(rows.values())}
  for level, rows in levels.items():
    for count in shots:
      own = answering.answers(params, data.collection, rows, count)
      answers.append((level, count, own))
      values, chances = _by_task(own, free)
      name = f'{level}_{count}'
      row[name] = scores.macro(values, category)
      row[f'{name}_chance'] = scores.macro(chances, category)
      row[f'{name}_interval'] = list(scores.bootstrap(values, category))
      row['protocols'][name] = scores.protocol(
        free=free,
        rule=answering.rule,
        shots=count,
        longest=answering.longest,
        separator=answering.separator,
      )
      for group in sorted({category[task] for task in values}):
        part = {task: v for task, v in values.items() if category[task] == group}
        row[f'{name}_{group}'] = scores.macro(part, category)
  row['score'] = statistics.fmean(
    row[f'{level}_{count}'] for level in levels for count in shots
  )
  return row, answers


def _by_task(
  answers: Sequence[Answer], free: str
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
  """Scores and chances; where there are options, being exact is what counts."""
  values: dict[str, list[float]] = {}
  chances: dict[str, list[float]] = {}
  for own in answers:
    value = own.rouge if free == 'rouge' and not own.chance else own.exact
    values.setdefault(own.task, []).append(value)
    chances.setdefault(own.task, []).append(own.chance)
  return values, chances


def _line(data: Instructions, answer: Answer) -> Row:
  task = data.collection.by_id[answer.task]
  example = next(e for e in task.examples if e.name == answer.name)
  return scores.prediction_line(
    task.name, example.name, example.input, example.outputs, answer.text
  )


def _mixture(data: Instructions, seed: int, num_steps: int) -> list[Row]:
  found = data.stream(seed).realised(num_steps)
  total = sum(found.values())
  return [
    {
      'task': name,
      'examples': data.counts[name],
      'rate': share,
      'expected': share * total,
      'drawn': found.get(name, 0),
    }
    for name, share in data.shares.items()
  ]


def write(
  workdir: pathlib.Path, shots: Sequence[int], notes: Sequence[str] = ()
) -> str:
  """Writes the table, with notes, and the picture by level; returns the table."""
  base = workdir / 'base' / 'baseline' / 'record.jsonl'
  arms: dict[str, list[Row]] = {}
  if base.exists():
    arms[UNTUNED] = [row for row in records.read(base) if row.get('final')]
  for run in runs.finished(workdir):
    for series in run.series:
      arms[series.label] = [dict(row) for row in series.results.values()]
  names = [f'{level}_{count}' for level in _levels(arms, shots) for count in shots]
  text = '\n'.join([_table(arms, names), *notes])
  categories = _by_category(arms, names)
  records.write_whole(workdir / 'categories.md', f'{categories}\n'.encode())
  records.write_whole(workdir / 'levels.md', f'{text}\n'.encode())
  _plot(arms, names, workdir / 'levels.png')
  return text


def _levels(arms: Mapping[str, Sequence[Row]], shots: Sequence[int]) -> list[str]:
  first, levels = next(iter(arms.values()))[0], ('instances', 'tasks', 'categories')
  return [name for name in levels if f'{name}_{shots[0]}' in first]


def _table(arms: Mapping[str, Sequence[Row]], names: Sequence[str]) -> str:
  lines = [
    '| arm | ' + ' | '.join(name.replace('_', ', ') for name in names) + ' |',
    '| --- |' + ' ---: |' * len(names),
  ]
  for arm, rows in arms.items():
    cells = [_cell([row for row in rows if name in row], name) for name in names]
    lines.append(f'| {arm} | ' + ' | '.join(cells) + ' |')
  chance = next(iter(arms.values()))[0]
  cells = [f'{chance[f"{name}_chance"]:.1f}' for name in names]
  lines.append('| chance | ' + ' | '.join(cells) + ' |')
  return '\n'.join(
    [
      *lines,
      '',
      'Instances, tasks, categories: held-out examples of tasks that were trained on,',
      'other tasks of their categories, tasks of other categories; behind the comma',
      'the demonstrations. Percent, mean over examples, tasks, categories, then seeds,',
      '± standard error over the seeds; of one seed, in brackets, the 95 % interval',
      'over draws of the examples. Chance is that of options; free answers have none.',
    ]
  )


def _by_category(arms: Mapping[str, Sequence[Row]], names: Sequence[str]) -> str:
  """A line for each level, number of demonstrations and category."""
  lines = [f'| | {" | ".join(arms)} |', '| --- |' + ' ---: |' * len(arms)]
  first = next(iter(arms.values()))[0]
  for name in names:
    own = [key for key in first if key.startswith(f'{name}_')]
    for key in own:
      group = key.removeprefix(f'{name}_')
      if group not in ('chance', 'interval'):
        cells = [_cell([r for r in rows if key in r], key) for rows in arms.values()]
        lines.append(f'| {name.replace("_", ", ")}, {group} | {" | ".join(cells)} |')
  return '\n'.join(lines)


def _cell(rows: Sequence[Row], name: str) -> str:
  if not rows:
    return '—'
  values = [row[name] for row in rows]
  mean = f'{statistics.fmean(values):.1f}'
  if values[1:]:
    return f'{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.1f}'
  interval = rows[0].get(f'{name}_interval')
  return f'{mean} [{interval[0]:.1f}, {interval[1]:.1f}]' if interval else mean


def _plot(
  arms: Mapping[str, Sequence[Row]], names: Sequence[str], path: pathlib.Path
) -> None:
  """A panel for each level and number of demonstrations, a bar for each arm."""
  from matplotlib.figure import Figure  # takes seconds, as all of matplotlib

  from experiments import drawing

  size = 1.6 + 1.4 * len(names), 0.8 + 0.25 * len(arms)
  figure = Figure(figsize=size, layout='constrained')
  panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
  first = next(iter(arms.values()))[0]
  colors = [drawing.COLORS[0 if arm == UNTUNED else 1] for arm in arms]
  for axis, name in zip(panels, names, strict=True):
    widths = [statistics.fmean(row[name] for row in rows) for rows in arms.values()]
    axis.barh([*arms], widths, color=colors)
    axis.axvline(first[f'{name}_chance'], color='black', linestyle=':')
    axis.set_title(name.replace('_', ', '), loc='left', fontsize=9)
    drawing.tidy(axis)
    axis.grid(axis='y', visible=False)
  panels[0].invert_yaxis()
  panels[0].set_xlabel('score %')
  drawing.saved(figure, path)
