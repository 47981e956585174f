"""Reads run directories back: one run is one arm, with all its seeds."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments import records
from experiments.errors import InputError
from experiments.measures import ERROR, MEASURES

Path = str | os.PathLike[str]
Row = Mapping[str, Any]

BASELINE, DROPOUT = 'baseline', 'dropout'
SELECT = 'select'  # directory of the values that were tried
_ORDER = (BASELINE, DROPOUT, 'label_smoothing', 'confidence_penalty')  # then by name
_HEADER = ('experiment', 'dataset', 'arm', 'objective', 'seeds', 'data')
# What a grid may vary within one run, beside the seed.
SWEPT = ('epsilon', 'weight', 'threshold', 'alpha', 'temperature', 'rate')


@dataclasses.dataclass(frozen=True)
class Series:
  """The rows of one setting of a run: of all its seeds, in the order of time."""

  run: 'Run'
  setting: tuple[tuple[str, float], ...]
  rows: tuple[Row, ...]

  @property
  def label(self) -> str:
    """The arm, and the values that a grid varies."""
    values = ', '.join(f'{name} {value:g}' for name, value in self.setting)
    return f'{self.run.arm} ({values})' if values else self.run.arm

  @property
  def name(self) -> str:
    """The arm, and all its values."""
    values = {**self.run.values, **{name: [value] for name, value in self.setting}}
    texts = [
      f'{name} {"/".join(f"{v:g}" for v in own)}' for name, own in values.items()
    ]
    return f'{self.run.arm} ({", ".join(texts)})' if texts else self.run.arm

  @property
  def results(self) -> dict[int, Row]:
    """The final row, by seed."""
    split = self.run.split
    final = [row for row in self.rows if row.get('final') and row['split'] == split]
    return {row['seed']: row for row in sorted(final, key=lambda row: row['seed'])}

  @property
  def missing(self) -> list[int]:
    """Seeds that have no final row yet."""
    return sorted(set(self.run.seeds) - set(self.results))


@dataclasses.dataclass(frozen=True)
class Run:
  """A run directory."""

  path: pathlib.Path
  header: Row
  rows: tuple[Row, ...]

  @property
  def arm(self) -> str:
    return str(self.header['arm'])

  @property
  def experiment(self) -> str:
    return str(self.header['experiment'])

  @property
  def dataset(self) -> str:
    return str(self.header['dataset'])

  @property
  def measure(self) -> str:
    return str(self.header.get('measure', ERROR.name))

  @property
  def seeds(self) -> tuple[int, ...]:
    return tuple(self.header['seeds'])

  @property
  def config(self) -> Mapping[str, Any]:
    config = self.header.get('config')
    return config if isinstance(config, Mapping) else {}

  @property
  def values(self) -> Mapping[str, Sequence[float]]:
    """Values of the arm by name, each as often as its parts differ."""
    values = {name: self.config.get(name) for name in SWEPT}
    return {name: own for name, own in values.items() if own and isinstance(own, list)}

  @property
  def step(self) -> int:
    """The last one that left a row or a checkpoint."""
    saved = (path.name for path in self.path.glob('checkpoints/*'))
    steps = [int(name) for name in saved if name.isdigit()]
    return max([*steps, *(row['step'] for row in self.rows)], default=0)

  @property
  def split(self) -> str:
    """What the final rows are of: validation where values are chosen, else test."""
    splits = {row['split'] for row in self.rows if row.get('final')}
    return 'validation' if splits == {'validation'} else 'test'

  @property
  def same_data(self) -> bool:
    """Whether all seeds were trained on the same data."""
    return len({self.data(seed) for seed in self.seeds}) == 1

  def data(self, seed: int) -> str:
    """Fingerprint of the data that ``seed`` was trained on."""
    data = self.header['data']
    return data if isinstance(data, str) else str(data[str(seed)])

  @property
  def series(self) -> list[Series]:
    """One for every setting of the grid; one in all where there is no grid."""
    by_setting: dict[tuple[tuple[str, float], ...], list[Row]] = {}
    for row in self.rows:
      setting = tuple((name, row[name]) for name in SWEPT if name in row)
      by_setting.setdefault(setting, []).append(row)
    return [
      Series(self, setting, tuple(rows)) for setting, rows in sorted(by_setting.items())
    ]

  @property
  def finished(self) -> bool:
    """Whether every seed of every setting has its result."""
    return bool(self.rows) and not any(series.missing for series in self.series)


def collect(paths: Iterable[Path]) -> list[Run]:
  """Every run in ``paths``: run directories, or directories of them at any depth.

  The order is that of the table, whatever the order of ``paths``; a run that is
  found twice is returned once.

  Raises:
    InputError: a path holds no run, or a record is malformed.
  """
  found = {file.resolve(): file for path in paths for file in _records(path)}
  runs = [_read(found[file]) for file in sorted(found)]
  return sorted(runs, key=lambda run: (run.experiment, run.dataset, *order(run.arm)))


def finished(workdir: pathlib.Path) -> list[Run]:
  """The finished runs directly in ``workdir``, whatever commands trained them."""
  found = collect(path.parent for path in workdir.glob('*/record.jsonl'))
  return [run for run in found if run.finished]


def order(arm: str) -> tuple[int, str]:
  """Sorts arms as tables and plots show them."""
  return (_ORDER.index(arm) if arm in _ORDER else len(_ORDER), arm)


def _records(path: Path) -> Sequence[pathlib.Path]:
  root = pathlib.Path(path)
  if not root.is_dir():
    fault = 'expected a directory, is a file' if root.exists() else 'no such directory'
    raise InputError(f'{root}: {fault}')
  if not (found := sorted(root.rglob('record.jsonl'))):
    raise InputError(f'{root}: expected a run, found no record.jsonl in or under it')
  return found


def _read(file: pathlib.Path) -> Run:
  lines = records.read(file)
  if not lines:
    raise InputError(f'{file}: line 1: expected a header, found an empty file')
  header, *rows = lines
  _check_header(header, f'{file}: line 1')
  seen: dict[Any, int] = {}
  for number, row in enumerate(rows, 2):
    _check_row(row, header, f'{file}: line {number}', seen, number)
  return Run(file.parent, header, tuple(rows))


def _check_header(header: Row, place: str) -> None:
  missing = [name for name in _HEADER if name not in header]
  if header.get('kind') != 'header' or missing:
    raise InputError(
      f'{place}: expected a header with {", ".join(_HEADER)}; '
      f'missing: {", ".join(missing) or "kind"}'
    )
  data, seeds = header['data'], header['seeds']
  measure = header.get('measure', ERROR.name)
  if not isinstance(measure, str) or measure not in MEASURES:
    raise InputError(
      f"{place}: expected one of {', '.join(MEASURES)} in 'measure', found {measure!r}"
    )
  if not isinstance(seeds, list) or not {*map(type, seeds)} == {int}:
    raise InputError(f"{place}: expected a list of 'seeds', found {seeds!r}")
  names = [str(seed) for seed in seeds]
  by_seed = isinstance(data, Mapping) and {*data} == {*names}
  if not by_seed and not isinstance(data, str):
    raise InputError(
      f"{place}: expected a fingerprint in 'data', or one for each of the seeds "
      f'{", ".join(names)}'
    )


def _check_row(
  row: Row, header: Row, place: str, seen: dict[Any, int], number: int
) -> None:
  if missing := [name for name in ('step', 'split', 'seed') if name not in row]:
    raise InputError(f'{place}: a row without {", ".join(missing)}')
  for name in ('step', *(name for name in SWEPT if name in row)):
    if not isinstance(row[name], int | float):
      raise InputError(f'{place}: expected a number {name!r}, found {row[name]!r:.60}')
  if not isinstance(row['split'], str):
    raise InputError(f"{place}: expected a text 'split', found {row['split']!r:.60}")
  if row['seed'] not in header['seeds']:
    raise InputError(f'{place}: seed {row["seed"]} is not in the header')
  if not row.get('final'):
    return
  measure = header.get('measure', ERROR.name)
  if not isinstance(row.get(measure), int | float):
    raise InputError(f'{place}: a final row without a number for {measure!r}')
  key = (row['split'], row['seed'], *(row.get(name) for name in SWEPT))
  if key in seen:
    raise InputError(f'{place}: a second final row, after that in line {seen[key]}')
  seen[key] = number
