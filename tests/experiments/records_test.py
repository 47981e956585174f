"""Records, and files that are whole or absent."""

import errno
import json
import pathlib
import re

import numpy as np
import pandas as pd
import pytest

from experiments import records
from experiments.errors import InputError

HEADER = {'kind': 'header', 'objective': 'cross_entropy', 'config': {'weight': 0.1}}
ROWS = [
  {'kind': 'row', 'step': step, 'split': split, 'loss': 1 / 3}
  for step in (5, 10, 15)
  for split in ('train', 'validation')
]
FINAL = {'kind': 'row', 'step': 15, 'split': 'test', 'loss': 0.5, 'final': True}


@pytest.fixture
def path(tmp_path) -> pathlib.Path:
  return tmp_path / 'record.jsonl'


def write(path: pathlib.Path, rows: list[dict], tail: str = '') -> None:
  records.cut_back(path, HEADER, 0)
  records.append(path, rows)
  with path.open('a') as file:
    file.write(tail)


@pytest.mark.parametrize(
  ('step', 'kept'), [(0, 0), (4, 0), (5, 2), (12, 4), (15, 6), (99, 6)]
)
@pytest.mark.parametrize('tail', ['', '{"kind": "row", "st', '{'])
def test_cut_back_leaves_what_was_written_up_to_a_step(path, step, kept, tail):
  write(path, [*ROWS, FINAL], tail)
  records.cut_back(path, {'another': 'header'}, step)
  assert records.read(path) == [HEADER, *ROWS[:kept]]


def test_cut_back_and_append_give_the_same_bytes(path):
  write(path, [*ROWS, FINAL])
  before = path.read_bytes()
  records.cut_back(path, HEADER, 10)
  records.append(path, ROWS[4:])
  records.append(path, [FINAL])
  assert path.read_bytes() == before


def test_an_empty_or_torn_file_gets_the_header(path):
  for content in ('', '{"kind": "hea'):
    path.write_text(content)
    with pytest.raises(InputError, match='no record of the 7 steps'):
      records.cut_back(path, HEADER, 7)
    records.cut_back(path, HEADER, 0)
    assert records.read(path) == [HEADER]


def test_pandas_reads_a_record_in_one_line(path):
  write(path, ROWS)
  (code,) = re.findall(r'^  (pandas.*)$', str(records.__doc__), re.MULTILINE)
  frame = eval(code.replace("'record.jsonl'", 'path'), {'pandas': pd, 'path': path})
  assert list(frame) == list(ROWS[0])
  assert list(frame[frame.split == 'train'].step) == [5, 10, 15]
  assert frame.loss.dtype == np.float64
  assert frame.loss[1] == pytest.approx(1 / 3, rel=1e-12)


def test_a_line_that_is_not_json_is_named(path):
  write(path, ROWS)
  text = path.read_text().replace('"step": 10', '"step" 10', 1)
  path.write_text(text)
  with pytest.raises(InputError, match=r'record.jsonl: line 4 is not JSON'):
    records.read(path)
  path.write_bytes(b'{"kind": "header"\xff}\n')
  with pytest.raises(InputError, match=r'record.jsonl: not a text file \(byte 17\)'):
    records.read(path)


def test_whole_files(tmp_path):
  records.write_json(tmp_path / 'config.json', {'a': (1, 2)})
  assert json.loads((tmp_path / 'config.json').read_text()) == {'a': [1, 2]}
  array = np.arange(6, dtype=np.float32).reshape(2, 3)
  for name in ('a.npz', 'b.npz'):
    records.write_arrays(tmp_path / name, probabilities=array)
  with np.load(tmp_path / 'a.npz') as arrays:
    np.testing.assert_array_equal(arrays['probabilities'], array)
  assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
  assert len(list(tmp_path.iterdir())) == 3  # no temporary file is left


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'config.json'
  records.write_json(path, 1)

  def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr('os.fsync', full)
  with pytest.raises(InputError, match=r'cannot write .*config.json: No space left'):
    records.write_json(path, 2)
  assert json.loads(path.read_text()) == 1


def test_a_directory_is_checked_without_making_it(tmp_path, monkeypatch):
  records.check_writable(tmp_path / 'new' / 'below')
  assert not list(tmp_path.iterdir())
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match=r'cannot write .*below: .*file is a file$'):
    records.check_writable(tmp_path / 'file' / 'below')
  monkeypatch.setattr('os.access', lambda path, mode: False)  # root may write all
  with pytest.raises(InputError, match=f'new: no permission to write in {tmp_path}$'):
    records.check_writable(tmp_path / 'new')


@pytest.mark.parametrize('name', ['file/record.jsonl', 'missing/record.jsonl'])
def test_a_place_that_cannot_be_written_is_named(tmp_path, name):
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match=r'cannot write .*record.jsonl'):
    records.append(tmp_path / name, ROWS)


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('3', 'line 2: expected an object, found 3'),
    ('{"loss": 1.0}', 'line 2: expected a row with a step'),
    ('{"step": "1"}', 'line 2: expected a row with a step'),
  ],
)
def test_what_is_no_row_is_told_where_it_is(path, line, message):
  write(path, [], f'{line}\n')
  with pytest.raises(InputError, match=f'record.jsonl: {message}'):
    records.cut_back(path, HEADER, 0)


def test_arrays_that_are_none(tmp_path):
  file = tmp_path / 'some.npz'
  with pytest.raises(InputError, match=r'some.npz: no such file; has the run'):
    records.arrays(file).__enter__()
  records.write_arrays(file, a=np.ones(2))
  with records.arrays(file) as found:
    assert found['a'].tolist() == [1, 1]
  with (
    pytest.raises(InputError, match=r'some.npz: expected arrays: .*b is not a file'),
    records.arrays(file) as found,
  ):
    found['b']
  file.write_bytes(file.read_bytes()[:40])
  with pytest.raises(InputError, match=r'some.npz: expected arrays: '):
    records.arrays(file).__enter__()
