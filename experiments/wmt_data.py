"""What experiments.wmt translates: number names, WMT'14, or files of lines."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.datasets import numbers, parallel, units
from experiments.datasets.parallel import Corpus, Pairs
from experiments.datasets.translations import Translations
from experiments.datasets.units import Units
from experiments.errors import InputError

FILES = tuple(
  f'{split}_{side}'
  for split in ('train', 'validation', 'test')
  for side in ('source', 'target')
)


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
    'source_units': source.size,
    'target_units': target.size,
  }
  batches = config.batch_tokens, config.num_shapes
  loaded = Translations(corpus, source, target, *batches, about)
  plans = loaded.plans.items()
  about['padding'] = {split: round(plan.waste, 3) for split, plan in plans}
  return loaded


def _numbers(config: Any) -> Corpus:
  return numbers.load(config.num_train)


def _wmt14(config: Any) -> Corpus:
  return parallel.wmt14(config.data_dir, config.num_train, config.longest)


def _text(config: Any) -> Corpus:
  for name in FILES:
    if not getattr(config, name):
      raise InputError(f'--dataset=text: --{name} says where it is')
  paths = {
    'train': (config.train_source[0], config.train_target[0]),
    'validation': (config.validation_source[0], config.validation_target[0]),
    **_tests(config.test_source, config.test_target),
  }
  corpus = parallel.load('text', paths, config.longest)
  train, count = corpus.splits['train'], config.num_train
  if count > len(train):
    raise InputError(f'--num_train: {count} is more than the {len(train)} pairs')
  kept = Pairs(train.sources[: count or None], train.targets[: count or None])
  return dataclasses.replace(corpus, splits={**corpus.splits, 'train': kept})


def _tests(sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
  """The first one is ``test``; further ones have the names of their files."""
  if len(sources) != len(targets):
    raise InputError('--test_source, --test_target: expected as many of either')
  names = ['test', *(pathlib.Path(path).name.split('.')[0] for path in sources[1:])]
  if len({*names, 'train', 'validation'}) < len(names) + 2:
    raise InputError(f'--test_source: a name is there twice: {", ".join(names)}')
  return dict(zip(names, zip(sources, targets, strict=True), strict=True))


_READERS: Mapping[str, Any] = {'numbers': _numbers, 'text': _text, 'wmt14': _wmt14}


def _units(config: Any, train: Pairs) -> tuple[Units, Units]:
  """Of both sides; word pieces are shared, and kept in the run directory."""

  def of(kind: str, texts: Sequence[str]) -> Units:
    if kind == 'pieces':
      both = (*train.sources, *train.targets)
      return units.Pieces.of(both, config.vocabulary, config.workdir)
    return units.Words.of(texts) if kind == 'words' else units.Characters.of(texts)

  return of(config.source_units, train.sources), of(config.target_units, train.targets)
