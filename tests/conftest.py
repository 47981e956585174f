"""Strict and reproducible: runs before any test module or doctest is imported."""

import os
import random
import tempfile

# Set, not defaulted: the suite is written for the CPU whatever the machine has.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['MPLBACKEND'] = 'agg'
# Processes of one session share what they compile; never with another session, which
# would hide what this checkout compiles to.
if 'REGULARIZERS_TEST_CACHE' not in os.environ:
  _cache = tempfile.TemporaryDirectory(prefix='regularizers-tests-')
  os.environ['REGULARIZERS_TEST_CACHE'] = _cache.name
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache.name
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.5'

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
hypothesis.settings.load_profile('regularizers')


@pytest.fixture(autouse=True)
def _seeded() -> None:
  """No test depends on the one before it, also not under pytest-xdist."""
  random.seed(0)
  np.random.seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
  """Numbers that are the same at every run."""
  return np.random.default_rng(0)
