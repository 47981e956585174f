"""An experiment that is killed in the middle."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments import runner


def run_until(run: Callable[[Any], object], config: Any, step: int) -> None:
  """Runs until a checkpoint at or after ``step`` is to be written; that one is not."""
  original = runner._save

  def save(checkpoints: Any, at: int, state: Any) -> None:
    if at >= step:
      raise KeyboardInterrupt
    original(checkpoints, at, state)

  with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(runner, '_save', save)
    run(config)
