"""Strict and reproducible: runs before any test module or doctest is imported."""

import gc
import os
import pathlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

# Set, not defaulted: the suite is written for the CPU whatever the machine has.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['MPLBACKEND'] = 'agg'
# Processes of one session share what they compile; never with another session, which
# would hide what this checkout compiles to.
if 'REGULARIZERS_TEST_CACHE' not in os.environ:
  _cache = tempfile.TemporaryDirectory(prefix='regularizers-tests-')
  os.environ['REGULARIZERS_TEST_CACHE'] = _cache.name
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache.name
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'

import hypothesis
import jax
import numpy as np
import pytest

# Silent broadcasting of [n] against [n, V] is the classic bug of a loss.
jax.config.update('jax_numpy_rank_promotion', 'raise')

# The same examples at every run, and time for compilation.
hypothesis.settings.register_profile(
  'regularizers', derandomize=True, deadline=None, database=None, print_blob=True
)
# Of tests/faults/fuzz_test.py: other examples at every run, and many of them.
hypothesis.settings.register_profile(
  'campaign', derandomize=False, deadline=None, max_examples=1000, print_blob=True
)
hypothesis.settings.load_profile('regularizers')


def pytest_collection_finish() -> None:
  """What is imported stays: not looked through again at every collection."""
  gc.collect()
  gc.freeze()


@pytest.fixture(autouse=True)
def _seeded() -> None:
  """No test depends on the one before it, also not under pytest-xdist."""
  random.seed(0)
  np.random.seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
  """Numbers that are the same at every run."""
  return np.random.default_rng(0)


Programs = Callable[..., Mapping[str, np.ndarray]]


@pytest.fixture(scope='session')
def arrays_of(tmp_path_factory: pytest.TempPathFactory) -> Programs:
  """What a program writes into the .npz it is given, in a process of its own.

  It has so many devices as it asks for, and may import what lies beside it.
  """

  def run(program: pathlib.Path, seconds: float = 300) -> Mapping[str, np.ndarray]:
    path = tmp_path_factory.mktemp(program.stem) / 'out.npz'
    root = pathlib.Path(__file__).parent.parent
    done = subprocess.run(
      [sys.executable, program, path],
      env={**os.environ, 'PYTHONPATH': f'{root}{os.pathsep}{program.parent}'},
      capture_output=True,
      text=True,
      timeout=seconds,  # what a stuck collective may cost
      check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(np.load(path))

  return run


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
  """Benchmarks run nothing: every candidate takes two milliseconds."""
  from benchmarks import timing

  def compare(steps, **options):
    return [timing.Timing(name, 2.0, 1.0, 1.0, 1.0) for name in steps]

  monkeypatch.setattr(timing, 'compare', compare)
