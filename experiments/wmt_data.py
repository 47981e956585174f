"""What experiments.wmt translates: number names, WMT'14, or files of lines."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.datasets import numbers, parallel, units
from experiments.datasets.parallel import Corpus, Pairs
from experiments.datasets.translations import Translations
from experiments.datasets.units import UNKNOWN, Units
from experiments.errors import InputError

FILES = tuple(
  f'{split}_{side}'
  for split in ('train', 'validation', 'test')
  for side in ('source', 'target')
)
# Scores of a further test set have its name before theirs: multi_bleu is the first's.
_TAKEN = 'train', 'validation', 'multi'


def load(config: Any) -> Translations:
  """The corpus of a configuration, cut into units.

  Raises:
    InputError: files are missing, damaged or do not go together.
  """
  corpus = _READERS[config.dataset](config)
  source, target = _units(config, corpus.splits['train'])
  about: dict[str, Any] = {
    'pairs': {split: len(pairs) for split, pairs in corpus.splits.items()},
    'dropped': {split: dict(own) for split, own in corpus.dropped.items()},
    'parts': {split: list(own) for split, own in corpus.parts.items()},
    'source_units': source.size,
    'target_units': target.size,
    'files': {name: paths for name in FILES if (paths := getattr(config, name))},
  }
  batches = config.batch_tokens, config.num_shapes
  loaded = Translations(corpus, source, target, *batches, about)
  plans = loaded.plans.items()
  about['padding'] = {split: round(plan.waste, 3) for split, plan in plans}
  sides = loaded.sides.items()
  about['unknown'] = {
    split: [int((side.flat == UNKNOWN).sum()) for side in both] for split, both in sides
  }
  about['summary'] = _summary(about)
  return loaded


def _summary(about: Mapping[str, Any]) -> str:
  """What the table says of the data."""
  counts = {split: f'{count:,} {split}' for split, count in about['pairs'].items()}
  for split, dropped in about['dropped'].items():
    reasons = [f'{count:,} {reason}' for reason, count in dropped.items() if count]
    if reasons:
      counts[split] += f' (dropped: {", ".join(reasons)})'
  unknown = [
    f'{source:,} + {target:,} in {split}'
    for split, (source, target) in about['unknown'].items()
    if source or target
  ]
  padding = about['padding']['train']
  made_of = ' and '.join(about['parts'].get('validation', ()))
  validation = f"; validation is the catalogue's {made_of}" if made_of else ''
  return (
    f'pairs: {", ".join(counts.values())}{validation}; {padding:.1%} of the symbols of '
    'training batches are padding; unknown units of source and target: '
    f'{", ".join(unknown) or "none"}.'
  )


def _numbers(config: Any) -> Corpus:
  return numbers.load(config.num_train or numbers.MOST)


def _wmt14(config: Any) -> Corpus:
  return parallel.wmt14(config.data_dir, config.num_train, config.longest)


def _text(config: Any) -> Corpus:
  for name in FILES:
    if not getattr(config, name):
      raise InputError(f'--dataset=text: --{name} says where it is')
  paths = {
    'train': _both(config, 'train'),
    'validation': _both(config, 'validation'),
    **_tests(_both(config, 'test')),
  }
  corpus = parallel.load('text', paths, config.longest, config.translator)
  train, count = corpus.splits['train'], config.num_train
  parallel.check_count(count, len(train))
  kept = Pairs(train.sources[: count or None], train.targets[: count or None])
  return dataclasses.replace(corpus, splits={**corpus.splits, 'train': kept})


def _both(config: Any, split: str) -> list[tuple[str, str]]:
  """The files of a split, source and target."""
  sources, targets = (getattr(config, f'{split}_{s}') for s in ('source', 'target'))
  if len(sources) != len(targets):
    raise InputError(
      f'--{split}_source, --{split}_target: expected as many files of either, got '
      f'{len(sources)} and {len(targets)}'
    )
  return list(zip(sources, targets, strict=True))


def _tests(files: Sequence[tuple[str, str]]) -> dict[str, Any]:
  """The first one is ``test``; further ones have the names of their files."""
  result = {'test': [files[0]]}
  for both in files[1:]:
    name = pathlib.Path(both[0]).name.split('.')[0]
    if name in (*result, *_TAKEN):
      taken = ', '.join((*result, *_TAKEN))
      raise InputError(
        f'--test_source: {both[0]} would be the set {name!r}; rename it, taken are '
        f'{taken}'
      )
    result[name] = [both]
  return result


_READERS: Mapping[str, Any] = {'numbers': _numbers, 'text': _text, 'wmt14': _wmt14}


def _units(config: Any, train: Pairs) -> tuple[Units, Units]:
  """Of both sides; word pieces are shared, and kept in the run directory."""

  def of(kind: str, texts: Sequence[str]) -> Units:
    if kind == 'pieces':
      both = (*train.sources, *train.targets)
      return units.Pieces.of(both, config.vocabulary, config.workdir)
    made: type[units.Characters] = units.Words if kind == 'words' else units.Characters
    return made.of(texts)

  return of(config.source_units, train.sources), of(config.target_units, train.targets)
