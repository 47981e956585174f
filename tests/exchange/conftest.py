"""Compiling is most of the time of these tests, and nothing here is measured."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def _compiled_as_it_is() -> Iterator[None]:
  """XLA without its expensive passes, for operations outside of `jax.jit` too."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
