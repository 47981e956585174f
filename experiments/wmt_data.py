"""What experiments.wmt translates: number names, WMT'14, or files of lines."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.datasets import numbers, parallel, units
from experiments.datasets.parallel import Pairs
from experiments.datasets.translations import Translations
from experiments.datasets.units import Units
from experiments.errors import InputError

FILES = [
  f'{split}_{side}'
  for split in ('train', 'validation', 'test')
  for side in ('source', 'target')
]


def load(config: Any) -> Translations:
  """The corpus of a configuration, cut into units.

  Raises:
    InputError: files are missing, damaged or do not go together.
  """
  pairs = _READERS[config.dataset](config)
  source, target = _units(config, pairs['train'])
  sizes = {split: len(own.sources) for split, own in pairs.items()}
  dropped = {split: dict(own.dropped) for split, own in pairs.items() if own.dropped}
  about = {
    'pairs': sizes,
    **({'dropped': dropped} if dropped else {}),
    'source_units': source.size,
    'target_units': target.size,
  }
  batches = config.batch_tokens, config.num_shapes
  loaded = Translations(config.dataset, pairs, source, target, *batches, about)
  about['padding'] = {
    split: round(plan.waste, 3) for split, plan in loaded.plans.items()
  }
  return loaded


def _numbers(config: Any) -> dict[str, Pairs]:
  return numbers.load(config.num_train)


def _text(config: Any) -> dict[str, Pairs]:
  for name in FILES:
    if not getattr(config, name):
      raise InputError(f'--dataset=text: --{name} says where it is')
  train = parallel.read(config.train_source[0], config.train_target[0], config.longest)
  if config.num_train:
    train = parallel.cut(train, config.num_train)
  validation = parallel.read(config.validation_source[0], config.validation_target[0])
  tests = _tests(config.test_source, config.test_target)
  return {'train': train, 'validation': validation, **tests}


def _tests(sources: Sequence[str], targets: Sequence[str]) -> dict[str, Pairs]:
  """The first one is ``test``; further ones have the names of their files."""
  if len(sources) != len(targets):
    raise InputError(
      '--test_source, --test_target: expected as many of one as of other'
    )
  names = ['test', *(pathlib.Path(path).name.split('.')[0] for path in sources[1:])]
  if len(set(names)) < len(names):
    raise InputError(f'--test_source: the same name twice: {", ".join(names)}')
  pairs = map(parallel.read, sources, targets)
  return dict(zip(names, pairs, strict=True))


def _wmt14(config: Any) -> dict[str, Pairs]:
  from experiments.datasets.wmt14 import load as load_wmt14

  return load_wmt14(config.data_dir, config.longest, config.num_train)


_READERS: Mapping[str, Any] = {'numbers': _numbers, 'text': _text, 'wmt14': _wmt14}


def _units(config: Any, train: Pairs) -> tuple[Units, Units]:
  """Of both sides; word pieces are shared, and kept in the run directory."""

  def of(kind: str, texts: Sequence[str]) -> Units:
    if kind == 'pieces':
      path = pathlib.Path(config.workdir) / 'pieces.model'
      both = (*train.sources, *train.targets)
      return units.word_pieces(both, config.vocabulary, path)
    return units.symbols(texts, kind)

  return of(config.source_units, train.sources), of(config.target_units, train.targets)
