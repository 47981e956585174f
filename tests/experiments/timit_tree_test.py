"""The paper's configuration of TIMIT, in small sizes, on a tree of files."""

import json
import pathlib

import corpora
import pytest

from experiments import timit

pytest.importorskip('kaldi_native_fbank', reason='the extra `speech` is not installed')


@pytest.mark.slow
def test_the_papers_configuration_on_a_tree(tmp_path: pathlib.Path):
  root = tmp_path / 'TIMIT'
  speakers = 'TRAIN/DR1/FAAA0', 'TRAIN/DR2/MBBB0', 'TEST/DR1/FAKS0', 'TEST/DR1/MDAB0'
  corpora.timit(root, speakers, ('SA1', 'SX1', 'SI2'))
  (root / 'TRAIN/DR2/MBBB0/SX1.WAV').write_bytes(b'cut off')
  workdir = timit.run(
    timit.Config(
      **{'workdir': str(tmp_path / 'run'), 'cache_dir': str(tmp_path / 'cache')},
      **{'manual_dir': str(root), 'skip_bad': True, 'num_steps': 2, 'beam': 2},
      **{'embedding': 3, 'hidden': 3, 'attention': 3, 'filters': 2, 'filter_width': 3},
      **{'arms': ('dropout',), 'num_shapes': 1},
    )
  )
  header, *_, final = [
    json.loads(line)
    for line in (workdir / 'dropout' / 'record.jsonl').read_text().splitlines()
  ]
  assert header['about']['utterances'] == {'train': 3, 'validation': 2, 'test': 2}
  assert 'SX1.WAV' in header['about']['bad']['mbbb0_sx1']
  assert final['protocols']['per'].startswith('per|map:61-39|del:q')
  table = (workdir / 'table.md').read_text()
  assert '| 23.2 ± 0.4 |' in table  # the paper's
  assert 'left out as they cannot be read: 1' in table
  assert 'train: expected 462 speakers with 3696 utterances, found 2 with 4' in table
