"""Click logs: the reader, and every way in which a file can be wrong."""

import concurrent.futures
import gzip
import os
import threading
import tracemalloc

import hypothesis
import numpy as np
import pytest
from click_files import GOOD, assert_same, joined, numbered, parsed, write
from hypothesis import strategies as st

from experiments.datasets import click_arrays, click_lines, criteo
from experiments.datasets.click_lines import CATEGORIES, FIELDS, NUMBERS, Log
from experiments.errors import InputError

# The reader

INTEGERS = st.one_of(st.just(''), st.integers(-(10**18) + 1, 10**18 - 1).map(str))
HEX = st.one_of(st.just(''), st.integers(0, 2**32 - 1).map('{:08x}'.format))
ROWS = st.tuples(
  st.sampled_from('01'),
  st.lists(INTEGERS, min_size=NUMBERS, max_size=NUMBERS),
  st.lists(HEX, min_size=CATEGORIES, max_size=CATEGORIES),
).map(lambda row: '\t'.join([row[0], *row[1], *row[2]]))


@hypothesis.given(
  rows=st.lists(ROWS, min_size=1, max_size=8),
  kept=st.integers(1, FIELDS),
  end=st.sampled_from(['', '\n']),
  newline=st.sampled_from(['\n', '\r\n']),
  name=st.sampled_from(['train.txt', 'train.txt.gz']),
  block=st.sampled_from([1, 7, 100, 1 << 20]),
)
def test_rows_are_read_back(tmp_path_factory, rows, kept, end, newline, name, block):
  rows[-1] = '\t'.join(rows[-1].split('\t')[:kept])  # the last line may be short
  content = ('\n'.join(rows) + end).encode()
  path = tmp_path_factory.mktemp('criteo') / name
  write(path, content.replace(b'\n', newline.encode()))
  assert_same(joined(click_lines.read(path, block)), parsed(content))


@hypothesis.given(data=st.data(), block=st.sampled_from([50, 1 << 20]))
def test_a_changed_byte_is_refused_or_read_as_the_plain_parser_does(
  tmp_path_factory, data, block
):
  content = bytearray(numbered(4))
  place = data.draw(st.integers(0, len(content) - 1))
  content[place] = data.draw(st.sampled_from(b'\t\n\r\0-+_ 019afxAFg\xb2\xff'))
  path = write(tmp_path_factory.mktemp('criteo') / 'train.txt', bytes(content))
  try:
    log = joined(click_lines.read(path, block))
  except InputError as error:
    assert str(error).startswith(f'{path}: line ')
    assert '\n' not in str(error)
  else:
    assert_same(log, parsed(bytes(content).replace(b'\r\n', b'\n')))


def changed(field: int, value: bytes, line: int = 2) -> bytes:
  """Three good lines, but for a field."""
  lines = [GOOD.encode()] * 3
  fields = lines[line - 1].split(b'\t')
  fields[field - 1] = value
  lines[line - 1] = b'\t'.join(fields)
  return b'\n'.join(lines) + b'\n'


LINE = GOOD.encode() + b'\n'
UNLABELLED = LINE.split(b'\t', 1)[1]
LABEL, INTEGER = 'expected a label 0 or 1, found ', 'expected an integer of up to 18'
BAD_LINES = {
  'too many': (LINE * 2 + LINE[:-1] + b'\t\n', 'line 3: expected 40 fields, found 41'),
  'too few': (LINE + b'1\t2\n' + LINE, 'line 2: expected 40 fields, found 2'),
  'empty line': (LINE + b'\n' + LINE, 'line 2: expected 40 fields, found 1'),
  'empty end': (LINE + b'\n', f"line 2: {LABEL}''"),
  'only an end': (b'\n', f"line 1: {LABEL}''"),
  'no labels': (UNLABELLED * 2, 'line 1: .* found 39 .test.txt has no labels'),
  'a comma': (LINE.replace(b'\t', b',') * 2, 'line 1: expected 40 fields, found 1'),
  'header': (b'label' + b'\tx' * 39 + b'\n' + LINE, f"line 1: {LABEL}'label'"),
  'byte order': (b'\xef\xbb\xbf' + LINE, rf"line 1: {LABEL}'\\xef\\xbb\\xbf1'"),
  'label 2': (changed(1, b'2', 3), f"line 3: {LABEL}'2'"),
  'no label': (changed(1, b''), f"line 2: {LABEL}''"),
  'long label': (changed(1, b'01'), f"line 2: {LABEL}'01'"),
  'float': (changed(5, b'1.5'), f"line 2: field 5: {INTEGER} digits, found '1.5'"),
  'minus': (changed(14, b'-'), f"line 2: field 14: {INTEGER} .*'-'"),
  'plus': (changed(2, b'+1'), f'line 2: field 2: {INTEGER}'),
  'underscore': (changed(2, b'1_0'), f'line 2: field 2: {INTEGER}'),
  'blank': (changed(2, b' 1'), f'line 2: field 2: {INTEGER}'),
  'huge': (changed(2, b'9' * 19), f'line 2: field 2: {INTEGER}'),
  'huger': (changed(2, b'9' * 5000), f"line 2: field 2: {INTEGER} .*'9{{40}}'"),
  'not hex': (changed(15, b'0000000g'), 'line 2: field 15: expected 8 hexadecimal .*g'),
  'short hex': (changed(40, b'fff'), "line 2: field 40: .* hexadecimal .*'fff'"),
  'long hex': (changed(15, b'0' * 9), 'line 2: field 15: .* hexadecimal'),
  '0x': (changed(15, b'0x000000'), 'line 2: field 15: .* hexadecimal'),
  'latin-1': (changed(15, b'caf\xe9cafe'), r"line 2: field 15: .*'caf\\xe9cafe'"),
  'zeros': (changed(3, b'\0'), r"line 2: field 3: .*'\\x00'"),
  'long line': (LINE + b'1' * 20_000 + b'\n', 'line 2: longer than 10000 bytes'),
  'endless': (LINE + b'1' * 10_000_000, 'line 2: longer than 10000 bytes'),
  'empty': (b'', 'no lines'),
}


@pytest.mark.parametrize('block', [1000, click_lines.BLOCK])
@pytest.mark.parametrize('name', ['train.txt', 'train.txt.gz'])
@pytest.mark.parametrize('case', BAD_LINES)
def test_bad_lines(tmp_path, case, name, block):
  content, message = BAD_LINES[case]
  path = write(tmp_path / name, content)
  with pytest.raises(InputError, match=f'^{path}: {message}') as caught:
    joined(click_lines.read(path, block))
  assert '\n' not in str(caught.value)
  assert len(str(caught.value)) < len(str(path)) + 200


PACKED = gzip.compress(numbered(2000), 1)
BAD_GZIP = {
  'cut': (PACKED[:-9], r'truncated: the gzip stream breaks off after line \d+'),
  'not gzip': (numbered(2), r'corrupt gzip stream after line 0: Not a gzipped file'),
  'checksum': (PACKED[:-8] + bytes(8), 'corrupt gzip stream .*CRC check failed'),
  'junk': (PACKED + b'junk', 'corrupt gzip stream after line'),
  'deflate': (PACKED[:30] + b'\xff' * 99 + PACKED[129:], 'corrupt gzip stream after'),
  'empty': (b'', 'no lines'),
}


@pytest.mark.parametrize('case', BAD_GZIP)
def test_bad_gzip(tmp_path, case):
  content, message = BAD_GZIP[case]
  path = tmp_path / 'train.txt.gz'
  path.write_bytes(content)
  with pytest.raises(InputError, match=f'^{path}: {message}') as caught:
    joined(click_lines.read(path, 10_000))
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'content',
  [b'1' * (64 << 20), b'\t' * (64 << 20), numbered(100) * 2000],
  ids=['a line', 'tabs', 'lines'],
)
def test_memory_does_not_grow_with_the_file(tmp_path, content):
  path = write(tmp_path / 'train.txt.gz', content)
  tracemalloc.start()
  try:
    for _ in click_lines.read(path, 1 << 18):
      pass
  except InputError:
    assert len(set(content)) == 1
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 16 << 20


# What a network takes


def test_missing_negative_and_zero_differ():
  integer = np.full((4, NUMBERS), 5.0)
  integer[:, 0] = [np.nan, 0, -1, 1]
  category = np.full((4, CATEGORIES), 7)
  category[:, 0] = [-1, 0, 1, 2]
  arrays = click_arrays.features(Log(np.zeros(4), integer, category), 1000)
  number = arrays['number']
  np.testing.assert_allclose(number[:, 0], [0, 0, -np.log(2), np.log(2)], rtol=1e-6)
  np.testing.assert_array_equal(number[:, NUMBERS], [1, 0, 0, 0])
  assert not number[:, NUMBERS + 1 :].any()
  assert arrays['category'][0, 0] == 0
  assert len(set(arrays['category'][:, 0])) == 4


def test_the_hash_is_fixed():
  log = Log(np.zeros(1), np.zeros((1, NUMBERS)), np.full((1, CATEGORIES), 0x68FD1E64))
  row = click_arrays.features(log, 100_000)['category'][0]
  assert row[:4].tolist() == [24255, 73316, 77358, 25619]
  assert len(set(row)) == CATEGORIES  # one of its own in every column

  def mixed(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31

  expected = [1 + mixed(c * 2**32 + 0x68FD1E64) % 99_999 for c in range(CATEGORIES)]
  assert row.tolist() == expected


def test_the_hash_is_even():
  category = np.tile(np.arange(20_000)[:, None], CATEGORIES)
  log = Log(np.zeros(20_000), np.zeros((20_000, NUMBERS)), category)
  for column in click_arrays.features(log, 101)['category'].T:
    counts = np.bincount(column, minlength=101)
    assert counts[0] == 0
    assert ((counts[1:] - 200) ** 2 / 200).sum() < 99 + 5 * (
      2 * 99
    ) ** 0.5  # chi squared


# Data sets


def first_integers(dataset) -> dict[str, list[int]]:
  return {
    name: np.expm1(split['number'][:, 0]).round().astype(int).tolist()
    for name, split in dataset.splits.items()
  }


@pytest.mark.parametrize('name', ['train.txt', 'train.txt.gz', 'day_0'])
def test_the_last_seventh_of_a_file_is_held_out(tmp_path, name):
  write(tmp_path / name, numbered(30))
  dataset = criteo.load(tmp_path, tmp_path / 'cache', buckets=50)
  assert (dataset.name, dataset.num_classes) == ('criteo', 2)
  assert first_integers(dataset) == {
    'train': list(range(26)),
    'validation': [26, 27],
    'test': [28, 29],
  }
  for split in dataset.splits.values():
    assert split['number'].dtype == np.float32
    assert split['category'].dtype == split['label'].dtype == np.int32
    assert split['number'].shape[1] == 2 * NUMBERS
    assert split['category'].shape[1] == CATEGORIES
    assert split['category'].max() < 50


def test_the_last_day_is_held_out(tmp_path):
  for day, suffix in ((10, '.gz'), (2, ''), (1, '')):  # 10 comes after 2
    write(tmp_path / f'day_{day}{suffix}', numbered(5, 100 * day))
  whole = criteo.load(tmp_path, tmp_path / 'cache', buckets=50)
  assert first_integers(whole) == {
    'train': [*range(100, 105), *range(200, 205)],
    'validation': [1000, 1001],
    'test': [1002, 1003, 1004],
  }
  part = criteo.load(tmp_path, tmp_path / 'cache', num_train=3, buckets=50)
  assert first_integers(part) == {
    **first_integers(whole),
    'train': list(range(100, 103)),
  }


@pytest.mark.parametrize(
  ('files', 'options', 'message'),
  [
    ({}, {}, 'neither train.txt nor day_0, day_1, ..., also with .gz$'),
    ({'test.txt': 9}, {}, 'neither train.txt .*; test.txt has no labels'),
    ({'train.txt': 13}, {}, '13 lines are too few for three splits'),
    ({'train.txt': 0}, {}, 'train.txt: line 1'),
    ({'day_0': 9, 'day_1': 1}, {}, '10 lines are too few for three splits'),
    ({'train.txt': 21}, {'num_train': 19}, '--num_train: expected 1 to 18, got 19'),
    ({'train.txt': 21}, {'num_train': 0}, '--num_train: expected 1 to 18, got 0'),
    ({'train.txt': 21}, {'buckets': 1}, '--buckets: expected 2 to .*, got 1'),
  ],
)
def test_bad_directories(tmp_path, files, options, message):
  for name, count in files.items():
    write(tmp_path / name, numbered(count))
  with pytest.raises(InputError, match=message):
    criteo.load(tmp_path, tmp_path / 'cache', **options)
  assert not [*tmp_path.glob('cache/.*')]  # nothing half written is left


def test_no_directory_and_no_file(tmp_path):
  with pytest.raises(InputError, match='nowhere: expected a directory'):
    criteo.load(tmp_path / 'nowhere', tmp_path)
  with pytest.raises(InputError, match='^cannot read .*nothing: No such file'):
    joined(click_lines.read(tmp_path / 'nothing'))
  with pytest.raises(InputError, match='^cannot read .*: Is a directory'):
    joined(click_lines.read(tmp_path))
  write(tmp_path / 'train.txt', numbered(21))
  with pytest.raises(InputError, match='^cannot write .*: Not a directory'):
    criteo.load(tmp_path, tmp_path / 'train.txt' / 'cache')


def test_what_was_read_is_kept_until_the_file_or_an_option_changes(
  tmp_path, monkeypatch
):
  path, cache = write(tmp_path / 'train.txt', numbered(21)), tmp_path / 'cache'
  before = criteo.load(tmp_path, cache, buckets=50).fingerprint
  with monkeypatch.context() as patch:
    patch.setattr(click_arrays, 'read', None)
    assert criteo.load(tmp_path, cache, buckets=50).fingerprint == before
  assert criteo.load(tmp_path, cache, buckets=60).fingerprint != before
  damaged = max(cache.glob('*/number.bin'), key=os.path.getsize)
  for array in cache.glob('*/number.bin'):
    array.write_bytes(damaged.read_bytes()[:-1])
  assert criteo.load(tmp_path, cache, buckets=50).fingerprint == before
  state = path.stat()
  write(path, numbered(21, 30)[: state.st_size])
  os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
  changed = criteo.load(tmp_path, cache, buckets=50)
  assert first_integers(changed)['train'][0] == 30
  assert not [*cache.glob('.*')]


def test_replicas_may_start_at_once(tmp_path, monkeypatch):
  write(tmp_path / 'train.txt', numbered(50))
  barrier = threading.Barrier(3)

  def read(path):
    barrier.wait(60)  # none begins to write before all have seen that nothing is there
    yield from click_lines.read(path)
    barrier.wait(60)

  monkeypatch.setattr(click_arrays, 'read', read)
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    loads = [
      pool.submit(criteo.load, tmp_path, tmp_path / 'cache', buckets=50)
      for _ in range(3)
    ]
    fingerprints = {load.result().fingerprint for load in loads}
  assert fingerprints == {
    criteo.load(tmp_path, tmp_path / 'cache', buckets=50).fingerprint
  }
  assert len([*(tmp_path / 'cache').iterdir()]) == 1
