"""Any bytes, and any change of a good file: read, or refused by the project's error.

More of it, of other examples at every run:

  python -m pytest tests/faults/fuzz_test.py --hypothesis-profile=campaign
"""

import json
import os
import pathlib
import shutil
import tempfile
import warnings
import zlib

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import bounded
from foreign import READERS, Reader

from experiments import checkpoints

# A few at every test; all that the profile says in a campaign.
_CAMPAIGN = not hypothesis.settings.default.derandomize
_EXAMPLES = hypothesis.settings.default.max_examples if _CAMPAIGN else 12
# What formats give a meaning to.
_TOKENS = [
  *(b'', b'\0', b'\n', b'\r\n', b'\t', b' ', b'"', b"'", b'\\', b',', b':', b'=', b'-'),
  *(b'[', b']', b'{', b'}', b'(', b')', b'<', b'>', b'</seg>', b'<doc>', b'&', b'|||'),
  *(b'[]', b'{}', b'null', b'true', b'0', b'-1', b'1.5', b'1e999', b'NaN', b'"a"'),
  *(b'9' * 19, b'9' * 5000, b'[' * 2000, b'{"a":' * 2000, b'\\ud800', b'\\u0000'),
  *(b'../', b'/etc/passwd', b'a' * 300, b'..', b'\xff\xfe', b'\xef\xbb\xbf', b'\xff'),
  *(b'\xff' * 8, b'\x7f\xff\xff\xff', b'\0' * 8, b'\x80\x04N.', b'\x1f\x8b', b'PK\3\4'),
  *(b'*a', b'&a ', b'<<: ', b'!!int ', b'!!python/name:os.getcwd ', b'!Template '),
  *(b'{{ x', b'{% for i in range(10) %}', b'\xe2\x80\xa8', b'\xd9\xa3', b'? '),
]


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
  """Cut, written over, added to, doubled or left out, up to four times."""
  for _ in range(draw(st.integers(1, 4))):
    start = draw(st.integers(0, len(content)))
    kind = draw(st.sampled_from(['cut', 'flip', 'over', 'in', 'out', 'twice']))
    length = draw(st.integers(0, 12))
    part = draw(st.sampled_from(_TOKENS) | st.binary(max_size=8))
    end = min(start + length, len(content))
    if kind == 'cut':
      content = content[:start]
    elif kind == 'flip' and start < len(content):
      flipped = content[start] ^ (1 << length % 8)
      content = content[:start] + bytes([flipped]) + content[start + 1 :]
    elif kind == 'over':
      content = content[:start] + part + content[end:]
    elif kind == 'in':
      content = content[:start] + part + content[start:]
    elif kind == 'out':
      content = content[:start] + content[end:]
    else:
      content = content[:end] + content[start:end] * 3 + content[end:]
  return content


def sealed(content: bytes) -> bytes:
  """With checksums that hold, so that what is behind them is reached."""
  size = int.from_bytes(content[:8], 'little')
  try:
    about = json.loads(content[8 : 8 + size])['__metadata__']['crc32'].encode()
    blank = content[: 8 + size].replace(about, b'0' * 8, 1) + content[8 + size :]
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    return content
  return blank.replace(b'0' * 8, b'%08x' % zlib.crc32(blank), 1)


def written(directory: pathlib.Path, reader: Reader) -> pathlib.Path:
  """The good files."""
  for name, content in {**reader.others, reader.file: reader.content}.items():
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  return directory / reader.file


@pytest.mark.parametrize('name', READERS)
def test_any_content(tmp_path: pathlib.Path, name: str):
  reader = READERS[name]
  directory = tmp_path / 'in'
  path = written(directory, reader)
  (tmp_path / 'outside').write_text('as it was')
  good = changed(reader.content)
  if name == 'copy of a replica':
    good = good | good.map(sealed)

  @hypothesis.settings(
    max_examples=max(_EXAMPLES // reader.rare, 3),
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(st.binary(max_size=200) | good | good | good)
  def check(content: bytes) -> None:
    path.write_bytes(content)
    try:
      with bounded(directory):
        reader.read(directory)
    except reader.error as error:
      assert len(str(error).splitlines()) <= 1, error

  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    check()
  assert sorted(os.listdir(tmp_path)) == ['in', 'outside']
  assert (tmp_path / 'outside').read_text() == 'as it was'


# Of orbax's threads, where one of them has found the damage.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_any_change_of_a_checkpoint(tmp_path: pathlib.Path):
  """What is restored was saved, at this step or at the one before."""
  trees = {step: {'w': jnp.arange(5.0) * step, 'n': jnp.int32(step)} for step in (1, 2)}
  own = checkpoints.Checkpoints(tmp_path / 'good')
  for step, tree in trees.items():
    own.save(step, tree)
  own.close()
  files = sorted(path for path in (tmp_path / 'good').rglob('*') if path.is_file())
  names = [path.relative_to(tmp_path / 'good') for path in files if '/2/' in str(path)]
  seen = set()

  @hypothesis.settings(
    max_examples=max(_EXAMPLES // 4, 12),
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(st.sampled_from(names), st.data())
  def check(name: pathlib.Path, data: st.DataObject) -> None:
    content = data.draw(changed((tmp_path / 'good' / name).read_bytes()))
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
      shutil.copytree(tmp_path / 'good', f'{place}/own')
      (pathlib.Path(place) / 'own' / name).write_bytes(content)
      with bounded(pathlib.Path(place)):
        opened = checkpoints.Checkpoints(pathlib.Path(place) / 'own')
        said: list[str] = []
        found = opened.restore(trees[1], said.append)
        opened.close()
    step = 0 if found is None else int(found['n'])
    seen.add(step)
    assert len(said) == (step != 2) and all(len(s.splitlines()) == 1 for s in said)
    jax.tree.map(np.testing.assert_array_equal, found, trees[step])

  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    check()
  assert seen == {1, 2}  # changes that do not matter, and such that do


# Files that have the name of what they hold: a task, an utterance, a shard.
NAMES = [
  *('..', '...', '.. ', '..\\', '~', '-', '--', ' ', '\n', '%2e%2e', 'a\tb', 'é'),
  *('a' * 240, '*', '?', '[a]', '$HOME', ';', '{x}', '\udcff', '_train', '_1_2_dev'),
]


@pytest.mark.parametrize('suffix', ['.json', '.jsonl', '.tsv'])
def test_any_name(tmp_path: pathlib.Path, suffix: str):
  kinds = {'.json': 'natural', '.jsonl': 'metaseq', '.tsv': 'flan'}
  reader = READERS[kinds[suffix]]
  for number, name in enumerate(NAMES):
    directory = tmp_path / str(number)
    path = directory / 'b' / f'{name}{suffix}'
    path.parent.mkdir(parents=True)
    path.write_bytes(reader.content)
    with bounded(directory):
      try:
        reader.read(directory)
      except reader.error as error:
        assert 'expected a name in UTF-8' in str(error)
    assert {own.name for own in directory.rglob('*')} == {'b', path.name}
