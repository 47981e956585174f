"""For modules of which compiling is most of the time, and in which none is measured."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope='module')
def plainly_compiled() -> Iterator[None]:
  """XLA without its expensive passes."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
