"""Compiling is most of the time of these tests, and nothing here is measured."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope='package', autouse=True)
def _compiled_as_it_is() -> Iterator[None]:
  """XLA without its expensive passes, in the processes that tests start too."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)
