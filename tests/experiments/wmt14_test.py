"""WMT'14 as tensorflow-datasets prepares it."""

import pathlib

import prepared
import pytest

from experiments.datasets import parallel
from experiments.errors import InputError


def examples(split: str, size: int) -> list[dict[str, str]]:
  return [{'en': f' {split} {row}', 'de': f'auf {split} {row}'} for row in range(size)]


def prepare(directory: pathlib.Path, **sizes: int) -> str:
  splits = {split: examples(split, size) for split, size in sizes.items()}
  return prepared.prepare(parallel.WMT14, directory, splits)


def sources(split: str, size: int) -> tuple[str, ...]:
  return tuple(f'{split} {row}' for row in range(size))


def test_wmt14(tmp_path, monkeypatch):
  monkeypatch.setattr(parallel, 'BLOCK', 3)
  place = prepare(tmp_path, train=10, validation=4, test=3)
  corpus = parallel.wmt14(place)
  assert corpus.name == 'wmt14'
  for split, size in (('train', 10), ('validation', 4), ('test', 3)):
    assert sorted(corpus.splits[split].sources) == sorted(sources(split, size))
  pairs = corpus.splits['train']
  for source, target in zip(pairs.sources, pairs.targets, strict=True):
    assert target == f'auf {source}'
  short = parallel.wmt14(place, num_train=7, longest=100)
  assert short.splits['train'].sources == pairs.sources[:7]
  assert short.splits['test'] == corpus.splits['test']
  with pytest.raises(
    InputError, match=r'^--num_train: 11 is more than the 10 pairs of'
  ):
    parallel.wmt14(place, num_train=11)


def test_wmt14_counts_what_is_kept(tmp_path):
  """As of files of lines: --num_train is the number of pairs after the drops."""
  rows = [{'en': '', 'de': 'leer'}] * 3 + examples('train', 4)
  others = {split: examples(split, 1) for split in ('validation', 'test')}
  place = prepared.prepare(parallel.WMT14, tmp_path, {'train': rows, **others})
  assert len(parallel.wmt14(place, num_train=4).splits['train']) == 4
  with pytest.raises(InputError, match=r'^--num_train: 5 is more than the 4 pairs of'):
    parallel.wmt14(place, num_train=5)


def test_wmt14_validates_on_both_years_if_they_are_there(tmp_path):
  sizes = {'newstest2012': 2, 'newstest2013': 3}
  corpus = parallel.wmt14(prepare(tmp_path, train=2, validation=1, test=1, **sizes))
  found = sorted(corpus.splits['validation'].sources)
  assert found == [
    text for split, size in sizes.items() for text in sources(split, size)
  ]


def test_wmt14_that_is_not_there(tmp_path):
  message = r'^cannot read split train of wmt14_translate/de-en in .*: prepare it with '
  with pytest.raises(InputError, match=message):
    parallel.wmt14(str(tmp_path))


def test_wmt14_of_which_nothing_is_left(tmp_path):
  place = prepare(tmp_path, train=2, validation=1, test=1)
  with pytest.raises(InputError, match=r'^wmt14_translate/de-en/.*, train: no pairs$'):
    parallel.wmt14(place, longest=3)
