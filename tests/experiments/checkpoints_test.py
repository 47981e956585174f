"""Checkpoints: exact, few, and never silently damaged."""

import pathlib
import random
import resource
import shutil
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from experiments.checkpoints import Checkpoints
from experiments.errors import InputError

# What orbax's threads say late of a file that they could not read.
pytestmark = pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnraisableExceptionWarning'
)


def tree(step: int) -> dict:
  random_numbers = np.random.default_rng(step)
  return {
    'step': jnp.int32(step),
    'layers': [{0: jnp.asarray(random_numbers.normal(size=(64, 64)), jnp.float32)}, ()],
    'bits': jnp.asarray(random_numbers.integers(0, 2**32, 3), jnp.uint32),
    'flag': jnp.asarray(True),
  }


@pytest.fixture
def saved(tmp_path):
  """Steps 10, 20 and 30 were saved."""
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  for step in (10, 20, 30):
    checkpoints.save(step, tree(step))
  yield checkpoints
  checkpoints.close()


def restored(directory: pathlib.Path) -> tuple[dict | None, list[str]]:
  said: list[str] = []
  checkpoints = Checkpoints(directory)
  result = checkpoints.restore(tree(0), said.append)
  checkpoints.close()
  return result, said


def test_nothing_is_restored_from_an_empty_directory(tmp_path):
  assert restored(tmp_path / 'new' / 'checkpoints') == (None, [])


def test_the_newest_is_restored_exactly(saved, tmp_path):
  result, said = restored(tmp_path / 'checkpoints')
  tiny.assert_same_bits(result, tree(30))
  assert jax.tree.structure(result) == jax.tree.structure(tree(0))
  assert said == []


def test_the_last_two_are_kept(saved, tmp_path):
  names = {path.name for path in (tmp_path / 'checkpoints').iterdir()}
  assert names == {'20', '30'}


def largest(step: pathlib.Path) -> pathlib.Path:
  files = [path for path in step.rglob('*') if path.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def flip_bit(file: pathlib.Path, place: float = 0.5, bit: int = 0) -> None:
  content = bytearray(file.read_bytes())
  content[int(place * len(content))] ^= 1 << bit
  file.write_bytes(content)


def truncate(step: pathlib.Path) -> None:
  content = largest(step).read_bytes()
  largest(step).write_bytes(content[: len(content) // 2])


def empty(step: pathlib.Path) -> None:
  for path in step.iterdir():
    shutil.rmtree(path) if path.is_dir() else path.unlink()


DAMAGE: dict[str, Callable[[pathlib.Path], object]] = {
  'a bit of the data': lambda step: flip_bit(largest(step)),
  'half a data file': truncate,
  'no data file': lambda step: largest(step).unlink(),
  'no leaves': lambda step: shutil.rmtree(step / 'leaves'),
  'no digest': lambda step: shutil.rmtree(step / 'digest'),
  'another digest': lambda step: flip_bit(step / 'digest' / 'metadata', 0.9),
  'an empty directory': empty,
  'another step': lambda step: (
    shutil.rmtree(step),
    shutil.copytree(step.with_name('20'), step),
  ),
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_is_noticed(saved, tmp_path, damage):
  directory = tmp_path / 'checkpoints'
  damage(directory / '30')
  result, said = restored(directory)
  tiny.assert_same_bits(result, tree(20))
  (line,) = said
  assert str(directory / '30') in line
  assert 'damaged' in line
  assert '\n' not in line
  again = Checkpoints(directory)
  again.save(30, tree(31))
  tiny.assert_same_bits(again.restore(tree(0)), tree(31))
  again.close()


def test_flipped_bits_anywhere_are_noticed_or_harmless(saved, tmp_path):
  draw = random.Random(0)
  for _ in range(12):
    copy = tmp_path / 'copy'
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tmp_path / 'checkpoints', copy)
    files = sorted(path for path in (copy / '30').rglob('*') if path.stat().st_size)
    flip_bit(
      draw.choice([f for f in files if f.is_file()]), draw.random(), draw.randrange(8)
    )
    result, said = restored(copy)
    tiny.assert_same_bits(result, tree(20) if said else tree(30))


def test_all_damaged_is_a_new_start(saved, tmp_path):
  for step in ('20', '30'):
    truncate(tmp_path / 'checkpoints' / step)
  result, said = restored(tmp_path / 'checkpoints')
  assert result is None
  assert len(said) == 2


def test_what_a_killed_save_leaves_is_no_checkpoint(saved, tmp_path):
  directory = tmp_path / 'checkpoints'
  shutil.copytree(directory / '30', directory / '40.orbax-checkpoint-tmp')
  truncate(directory / '40.orbax-checkpoint-tmp')
  result, said = restored(directory)
  tiny.assert_same_bits(result, tree(30))
  assert said == []


def test_a_full_disk_is_an_error_and_leaves_the_others(saved, tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))  # bytes in a file
  try:
    with pytest.raises(InputError, match=r'cannot save .*/40: ') as caught:
      saved.save(40, tree(40))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert '\n' not in str(caught.value)
  result, said = restored(tmp_path / 'checkpoints')
  tiny.assert_same_bits(result, tree(30))
  assert said == []


def test_an_older_step_is_not_silently_skipped(saved):
  with pytest.raises(InputError, match=r'cannot save .*/25: .*later'):
    saved.save(25, tree(25))


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match=r'cannot write .*file/checkpoints'):
    Checkpoints(tmp_path / 'file' / 'checkpoints')
