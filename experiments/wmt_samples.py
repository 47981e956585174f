"""What arms say, side by side: sample translations, and which are better on what.

Read from ``translations.jsonl`` of the arms of a directory, whatever commands trained
them; an arm without that file, or of other test sentences, is named and left out.
"""

import itertools
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import records
from experiments.errors import InputError
from experiments.runs import Run, Series, finished
from experiments.scores import translation as scores
from experiments.scores.translation import Score
from experiments.wmt_results import SCORES

SHOWN = 3  # sample translations of a split
Line = Mapping[str, Any]


class Said(NamedTuple):
  """What one arm, with one set of values, translated.

  Attributes:
    series: of the arm.
    lines: by split and seed, in the order of the sentences.
  """

  series: Series
  lines: Mapping[tuple[str, int], Sequence[Line]]

  def seeds(self, split: str) -> set[int]:
    """Those that have translated a split."""
    return {seed for name, seed in self.lines if name == split}

  def sentences(self, split: str) -> list[tuple[str, str]]:
    """Sources and references."""
    own = next((own for (name, _), own in self.lines.items() if name == split), [])
    return [(line['source'], line['target']) for line in own]


def write(workdir: pathlib.Path) -> str:
  """Writes ``samples.md``; returns its text."""
  runs = finished(workdir)
  found = [said for run in runs for said in _read(run)]
  first = found[0].sentences('test') if found else []
  kept = [said for said in found if said.sentences('test') == first]
  kept = [said for said in kept if said.series.run.measure == runs[0].measure]
  measure = runs[0].measure if runs else ''
  splits = dict.fromkeys(split for said in kept for split, _ in said.lines)
  others = [split for split in splits if split != 'test']
  parts = [
    _samples(kept),
    *(_bootstrap(kept, measure, split) for split in splits if split != 'validation'),
    *(_others(kept, split) for split in others),
    _missing(runs, kept),
  ]
  text = '\n\n'.join(part for part in parts if part)
  records.write_whole(workdir / 'samples.md', f'{text}\n'.encode())
  return text


def _read(run: Run) -> list[Said]:
  path = run.path / 'translations.jsonl'
  lines = records.read(path)
  for number, line in enumerate(lines, 1):
    _check(line, f'{path}: line {number}')
  result = []
  for series in run.series:
    values = dict(series.setting)
    own: dict[tuple[str, int], list[Line]] = {}
    for line in lines:
      if values.items() <= line.items():
        own.setdefault((line['split'], line['seed']), []).append(line)
    if own:
      result.append(Said(series, own))
  return result


def _check(line: records.Row, place: str) -> None:
  texts = ('split', 'source', 'target', 'translation')
  if not isinstance(line.get('seed'), int) or not all(
    isinstance(line.get(name), str) for name in texts
  ):
    raise InputError(f'{place}: expected a seed, and texts: {", ".join(texts)}')


def _samples(found: Sequence[Said]) -> str:
  """The first sources of each split, as the first seed of each arm translates them."""
  if not found:
    return ''
  blocks = []
  for split in dict.fromkeys(split for split, _ in found[0].lines):
    rows = [f'Of {split}:', '']
    for place, (source, target) in enumerate(found[0].sentences(split)[:SHOWN]):
      rows += [f'- {source}', f'  - reference: {target}']
      for said in found:
        lines = next(
          (own for (name, _), own in said.lines.items() if name == split), []
        )
        if said.sentences(split)[place : place + 1] == [(source, target)]:
          rows.append(f'  - {said.series.label}: {lines[place]["translation"]}')
    blocks.append('\n'.join(rows))
  return '\n\n'.join(blocks)


def _bootstrap(found: Sequence[Said], measure: str, split: str) -> str:
  """Differences of arms, over draws of sentences with what all seeds make of them."""
  rows = []
  for other, said in itertools.combinations(found, 2):
    seeds = sorted(said.seeds(split) & other.seeds(split))
    if seeds:
      own, theirs = (_score(one, measure, split, seeds) for one in (said, other))
      change = scores.paired_bootstrap(own, theirs)
      rows.append(
        f'- {said.series.label} against {other.series.label}: '
        f'{change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]'
      )
  title = f'Difference in {measure} on {split}, bootstrap over the sentences (95 %):'
  return '\n'.join([title, '', *rows]) if rows else ''


def _score(said: Said, measure: str, split: str, seeds: Sequence[int]) -> Score:
  """With the counts of a sentence summed over the seeds: a draw takes all of them."""
  by_seed = []
  for seed in seeds:
    lines = said.lines[split, seed]
    texts = [line['translation'] for line in lines], [line['target'] for line in lines]
    by_seed.append(SCORES[measure](*texts))
  counts = np.sum([score.counts for score in by_seed], axis=0)
  formula, signature = by_seed[0].formula, by_seed[0].signature
  return Score(float(formula(counts.sum(0))), signature, counts, formula)


def _others(found: Sequence[Said], split: str) -> str:
  """Means and standard errors on a set that the table does not show."""
  rows = []
  for said in found:
    parts = []
    for name in (*SCORES, 'nll'):
      results = said.series.results.values()
      values = [row[key] for row in results if (key := f'{split}_{name}') in row]
      if values:
        error = statistics.stdev(values) / len(values) ** 0.5 if values[1:] else None
        spread = '' if error is None else f' ± {error:.2f}'
        parts.append(f'{name} {statistics.fmean(values):.2f}{spread}')
    if parts:
      rows.append(f'- {said.series.label}: {", ".join(parts)}')
  title = f'On {split}, mean over the seeds ± standard error:'
  return '\n'.join([title, '', *rows]) if rows else ''


def _missing(runs: Sequence[Run], kept: Sequence[Said]) -> str:
  there = {said.series.run.path for said in kept}
  arms = [run.arm for run in runs if run.path not in there]
  return (
    f'Left out, since their translations are gone or of other sentences: '
    f'{", ".join(arms)}.'
    if arms
    else ''
  )
