"""What experiments.wmt makes of trained models: scores, files, pictures."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import records, runner, saved_translator
from experiments.datasets.translations import Translations
from experiments.evaluate import Row, evaluate
from experiments.measures import BLEU
from experiments.runs import collect
from experiments.scores import translation as scores
from experiments.state import State, stack, weights_of
from experiments.translator import Translator

SCORES = {
  'exact': scores.exact_match,
  'bleu': scores.bleu,
  'multi_bleu': scores.multi_bleu,
  'chrf': scores.chrf,
  'cer': scores.character_error_rate,
}


def final(
  translator: Translator,
  corpus: Translations,
  job: runner.Job,
  state: State,
  split: str,
) -> list[Row]:
  """The rows of the end, with the scores; translations go into a file.

  Where ``split`` is the test, they have those of the other test sets too, and of
  validation where BLEU is what counts.
  """
  loss, lines = stack(job.losses), []
  rows: list[Row] = []
  for own in _splits(corpus, job, split):
    means = evaluate(job.task, loss, state, own)
    rows = rows or means  # those of ``split``, which comes first
    for index, (row, mean) in enumerate(zip(rows, means, strict=True)):
      texts = translator.split(weights_of(state, index), corpus, own)
      found = _scored(texts, corpus.pairs[own].targets)
      if own != split:
        found = {
          f'{own}_{name}': v for name, v in {**found, 'nll': mean['nll']}.items()
        }
      row.update(found)
      point = {'split': own, 'seed': row['seed'], **job.points[index]}
      lines += _lines(corpus, own, point, texts)
  if split == 'test':
    records.write_lines(job.directory / 'translations.jsonl', lines)
    _picture(translator, corpus, job, state, lines[0]['translation'])
  return rows


def keep(translator: Translator, config: Any, job: runner.Job, state: State) -> None:
  """The first run of each point of the grid, for ``--decode``."""
  flags = dataclasses.asdict(config)
  firsts: list[Mapping[str, float]] = []
  for index, point in enumerate(job.points):
    if point not in firsts:
      place = saved_translator.place(job.directory, len(firsts))
      run = {'seed': job.seeds[index], **point}
      own = weights_of(state, index)
      saved_translator.keep(place, flags, run, translator, own)
      firsts.append(point)


def _splits(corpus: Translations, job: runner.Job, split: str) -> list[str]:
  if split != 'test':
    return [split]
  others = [name for name in corpus.pairs if name not in ('train', 'validation', split)]
  validated = job.about.get('measure') == BLEU.name
  return [split, *others, *['validation'] * validated]


def _picture(
  translator: Translator,
  corpus: Translations,
  job: runner.Job,
  state: State,
  translation: str,
) -> None:
  """Where the first run looks while it writes what it makes of the first source."""
  source = corpus.pairs['test'].sources[0]
  looks = translator.looks(weights_of(state, 0), source, translation)
  records.write_arrays(job.directory / 'attention.npz', **looks)


def _scored(texts: Sequence[str], references: Sequence[str]) -> Row:
  own = {name: score(texts, references) for name, score in SCORES.items()}
  return {
    **{name: score.value for name, score in own.items()},
    'protocols': {name: score.signature for name, score in own.items()},
  }


def _lines(
  corpus: Translations, split: str, point: Mapping[str, Any], texts: Sequence[str]
) -> list[dict[str, Any]]:
  pairs = corpus.pairs[split]
  return [
    {**point, 'source': source, 'target': target, 'translation': text}
    for source, target, text in zip(pairs.sources, pairs.targets, texts, strict=True)
  ]


def pictures(directories: Sequence[pathlib.Path], workdir: pathlib.Path) -> None:
  """Validation over time, and where the first arm looks."""
  from experiments import curves, plots  # matplotlib takes seconds

  curves.validation_curves(directories, workdir / 'validation.png')
  kept = [run.path / 'attention.npz' for run in collect(directories)]
  for path in [path for path in kept if path.exists()][:1]:
    with records.arrays(path) as arrays:
      found = dict(arrays)
    plots.attention(**found, path=workdir / 'attention.png')
