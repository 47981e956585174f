"""What experiments.wmt makes of trained models: translations, scores, pictures."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments import records, runner
from experiments.datasets.buckets import padded
from experiments.datasets.translations import Translations
from experiments.datasets.units import END
from experiments.decoding import Decoding, attention, best, decoder
from experiments.evaluate import Row, evaluate
from experiments.runs import BASELINE, Run, collect
from experiments.scores import translation as scores
from experiments.state import State, stack
from experiments.task import Model

ROOM = 10  # symbols beyond the longest target that the lengths of training suggest
SHOWN = 3  # sample translations


@dataclasses.dataclass(frozen=True)
class Translator:
  """Models of one form that translate one corpus."""

  module: Model
  corpus: Translations
  options: Decoding

  def __post_init__(self) -> None:
    object.__setattr__(self, '_decode', decoder(self.module, self.options))

  @property
  def stretch(self) -> float:
    """Most symbols of a target for one of its source, in training."""
    source, target = self.corpus.sides['train']
    return float(np.max(target.lengths / np.maximum(source.lengths, 1)))

  def split(self, state: State, run: int, split: str) -> list[str]:
    """Of all sources of a split, in their order, by one of the runs of a state."""
    source, _ = self.corpus.sides[split]
    result = [''] * len(source.ids)
    for batch in self.corpus.plans[split].evaluation():
      ids = padded([source.ids[row] for row in batch.rows], batch.source_width)
      for row, there, text in zip(
        batch.rows, batch.mask, self._texts(state, run, ids), strict=True
      ):
        if there:
          result[row] = text
    return result

  def lines(self, state: State, run: int, lines: Sequence[str]) -> Iterator[str]:
    """Of any lines, one at a time; of an empty one, nothing."""
    for line in lines:
      ids = self.corpus.source.encode(line.strip())
      width = -(-len(ids) // 8) * 8  # a program for every eight lengths
      yield self._texts(state, run, padded([np.array(ids)], width))[0] if ids else ''

  def _texts(self, state: State, run: int, ids: np.ndarray) -> list[str]:
    own = jax.tree.map(lambda leaf: leaf[run], state.runs)
    length = int(np.ceil(self.stretch * ids.shape[1])) + ROOM
    longest = 2 * max(side.lengths.max() for _, side in self.corpus.sides.values())
    found = self._decode(own.params, own.model_state, ids, min(length, int(longest)))  # type: ignore[attr-defined]
    return [self.corpus.target.decode(ids) for ids in best(found)]

  def looks(self, state: State, source: str, target: str) -> dict[str, np.ndarray]:
    """Where the first run looks while it writes a target, with what stands there."""
    own = jax.tree.map(lambda leaf: leaf[0], state.runs)
    units = self.corpus.source, self.corpus.target
    ids = [
      np.array(u.encode(t), np.int32)
      for u, t in zip(units, (source, target), strict=True)
    ]
    ids[1] = np.append(ids[1], END)
    weights = attention(self.module, own.params, own.model_state, *ids)
    names = [np.array(u.show(own)) for u, own in zip(units, ids, strict=True)]
    return {'weights': weights, 'source': names[0], 'target': names[1]}


def final(
  translator: Translator, job: runner.Job, state: State, split: str
) -> list[Row]:
  """The rows of the end, with the scores; translations go into a file."""
  loss, lines = stack(job.losses), []
  rows = evaluate(job.task, loss, state, split)
  for own in [split, *(_others(translator.corpus) if split == 'test' else [])]:
    means = evaluate(job.task, loss, state, own)
    for index, row in enumerate(rows):
      texts = translator.split(state, index, own)
      found = _scores(texts, translator.corpus.pairs[own].targets)
      if own != split:
        found['nll'] = means[index]['nll']
        found = {f'{own}_{name}': value for name, value in found.items()}
      row.update(found)
      lines += _lines(translator.corpus, own, row['seed'], texts)
  if split == 'test':
    records.write_lines(job.directory / 'translations.jsonl', lines)
    source = translator.corpus.pairs['test'].sources[0]
    looks = translator.looks(state, source, lines[0]['translation'])
    records.write_arrays(job.directory / 'attention.npz', **looks)
  return rows


def _others(corpus: Translations) -> list[str]:
  return [s for s in corpus.pairs if s not in ('train', 'validation', 'test')]


def _scores(texts: Sequence[str], references: Sequence[str]) -> Row:
  own = {name: score(texts, references) for name, score in _SCORES.items()}
  return {
    **{name: score.value for name, score in own.items()},
    'protocols': {name: score.signature for name, score in own.items()},
  }


_SCORES = {
  'exact': scores.exact_match,
  'bleu': scores.bleu,
  'multi_bleu': scores.multi_bleu,
  'chrf': scores.chrf,
  'cer': scores.character_error_rate,
}


def _lines(
  corpus: Translations, split: str, seed: int, texts: Sequence[str]
) -> list[dict[str, Any]]:
  pairs = corpus.pairs[split]
  return [
    {'split': split, 'seed': seed, 'source': s, 'target': t, 'translation': text}
    for s, t, text in zip(pairs.sources, pairs.targets, texts, strict=True)
  ]


def pictures(directories: Sequence[pathlib.Path], workdir: pathlib.Path) -> None:
  """Validation over time, and where the first arm looks."""
  from experiments import curves, plots  # matplotlib takes seconds

  curves.validation_curves(directories, workdir / 'validation.png')
  runs = collect(directories)
  with np.load(runs[0].path / 'attention.npz') as found:
    plots.attention(**found, path=workdir / 'attention.png')


def write_samples(workdir: pathlib.Path) -> str:
  """Sample translations and the bootstrap between the arms; also in ``samples.md``."""
  runs = [
    r for r in collect(p.parent for p in workdir.glob('*/record.jsonl')) if r.finished
  ]
  texts = {run.arm: _translations(run) for run in runs}
  parts = [_samples(texts)]
  if BASELINE in texts and len(texts) > 1:
    parts.append(_bootstrap(texts, runs[0].measure))
  records.write_whole(workdir / 'samples.md', ('\n\n'.join(parts) + '\n').encode())
  return '\n\n'.join(parts)


Translated = list[Mapping[str, Any]]


def _translations(run: Run) -> Translated:
  path = run.path / 'translations.jsonl'
  lines = [json.loads(line) for line in path.read_text().split('\n') if line]
  return sorted(lines, key=lambda line: line['seed'])  # of a seed: as they were written


def _samples(texts: Mapping[str, Translated]) -> str:
  """The first sources of each split, as each arm translates them."""
  first = next(iter(texts.values()))
  own = [line for line in first if line['seed'] == first[0]['seed']]
  splits = dict.fromkeys(line['split'] for line in own)
  blocks = []
  for split in splits:
    for place in [i for i, o in enumerate(own) if o['split'] == split][:SHOWN]:
      block = [f'{own[place]["source"]}', f'  reference: {own[place]["target"]}']
      block += [
        f'  {arm}: {lines[place]["translation"]}' for arm, lines in texts.items()
      ]
      blocks.append('\n'.join(block))
  return '\n'.join(blocks)


def _bootstrap(texts: Mapping[str, Translated], measure: str) -> str:
  """The difference of each arm to the baseline, over the sentences of all seeds."""
  own = {}
  for arm, lines in texts.items():
    test = [line for line in lines if line['split'] == 'test']
    found = _SCORES[measure](
      [line['translation'] for line in test], [line['target'] for line in test]
    )
    own[arm] = ([(line['seed'], line['source']) for line in test], found)
  rows = []
  for arm, (keys, found) in own.items():
    if arm == BASELINE or keys != own[BASELINE][0]:
      continue  # other seeds
    change = scores.paired_bootstrap(found, own[BASELINE][1])
    rows.append(f'  {arm}: {change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]')
  title = f'Difference to the baseline in {measure}, bootstrap over the test sentences:'
  return '\n'.join([title, *rows])
