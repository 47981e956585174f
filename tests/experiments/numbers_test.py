"""Names of numbers: fixed splits that do not overlap."""

import time

import pytest

from experiments.datasets import numbers
from experiments.errors import InputError

KNOWN = {
  0: ('zero', 'null'),
  1: ('one', 'eins'),
  21: ('twenty-one', 'einundzwanzig'),
  101: ('one hundred and one', 'einhunderteins'),
  30_016: ('thirty thousand and sixteen', 'dreißigtausendsechzehn'),
  123_456: (
    'one hundred and twenty-three thousand, four hundred and fifty-six',
    'einhundertdreiundzwanzigtausendvierhundertsechsundfünfzig',
  ),
}


@pytest.mark.parametrize('number', KNOWN)
def test_names(number):
  assert numbers.name(number) == KNOWN[number]


def test_splits():
  start = time.process_time()
  corpus = numbers.load()
  assert time.process_time() - start < 4  # 1 s and less
  sizes = {split: len(pairs) for split, pairs in corpus.splits.items()}
  assert sizes == {'train': 1000, 'validation': 500, 'test': 500, 'longer': 200}
  assert corpus.name == 'numbers'
  drawn = [text for pairs in corpus.splits.values() for text in pairs.sources]
  assert len(set(drawn)) == sum(sizes.values())
  for split, pairs in corpus.splits.items():
    for target in pairs.targets:
      assert ('hunderttausend' in target) <= (split == 'longer')
  assert all('thousand' in text for text in corpus.splits['longer'].sources)
  # Results were measured on these numbers, and hold for no others.
  assert corpus.splits['train'].targets[0] == 'vierzigtausendzweihundertsechs'
  first = 'four hundred and fifty-four thousand, eight hundred and seven'
  assert corpus.splits['longer'].sources[0] == first


def test_only_training_depends_on_its_size():
  large, small = numbers.load(100).splits, numbers.load(40).splits
  assert large['train'].sources[:40] == small['train'].sources
  assert large['train'].targets[:40] == small['train'].targets
  assert len(large['train']) == 100
  for split in ('validation', 'test', 'longer'):
    assert large[split] == small[split]
  assert numbers.load(40).fingerprint == numbers.load(40).fingerprint
  assert numbers.load(40).fingerprint != numbers.load(41).fingerprint


def test_names_are_kept(tmp_path, monkeypatch):
  cache = str(tmp_path / 'new')
  corpus = numbers.load(30, cache)
  monkeypatch.setattr(numbers, 'name', None)
  assert numbers.load(30, cache) == corpus


def test_bad_caches(tmp_path):
  cache = str(tmp_path)
  numbers.load(20, cache)
  (path,) = tmp_path.iterdir()
  content = path.read_bytes()
  lines = content.splitlines(keepends=True)
  cases = {
    b'junk': 'not names of numbers: delete it',
    b'\xff': 'not names of numbers: delete it',
    b'': 'names of other numbers: delete it',
    b''.join(lines[:-1]): 'names of other numbers: delete it',
    b''.join(lines[::-1]): 'names of other numbers: delete it',
  }
  for bad, message in cases.items():
    path.write_bytes(bad)
    with pytest.raises(InputError, match=f'^{path}: {message}$'):
      numbers.load(20, cache)
  with pytest.raises(InputError, match='^--cache_dir: '):
    numbers.load(20, str(path))


@pytest.mark.parametrize('size', [0, -1, 99_001])
def test_not_so_many_numbers(size):
  with pytest.raises(InputError, match=f'^--num_train: expected 1 to 99,000 .*{size}$'):
    numbers.load(size)
