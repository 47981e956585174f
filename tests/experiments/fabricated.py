"""Run directories made up for the tests of the report and the plots."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Path = str | pathlib.Path


def header(arm: str, seeds: Sequence[int], **changes: Any) -> dict[str, Any]:
  return {
    'kind': 'header',
    'experiment': 'mnist',
    'dataset': 'digits',
    'arm': arm,
    'objective': f'the loss of {arm}',
    'seeds': list(seeds),
    'versions': {},
    'device': 'cpu',
    'data': {str(seed): f'data {seed}' for seed in seeds},
    'config': {'learning_rate': 0.05, 'arm': arm},
    **changes,
  }


def final_row(seed: int, error: float, **changes: Any) -> dict[str, Any]:
  row = {'kind': 'row', 'step': 60, 'split': 'test', 'seed': seed, 'error': error}
  return {**row, 'nll': 0.1, 'ece': 0.02, 'entropy': 0.3, **changes, 'final': True}


def train_rows(seed: int, norms: Mapping[int, float], **swept: float) -> list[dict]:
  return [
    {'kind': 'row', 'step': step, 'split': 'train', 'seed': seed, **swept}
    | {'loss': 1.0, 'gradient_norm': norm}
    for step, norm in norms.items()
  ]


def write_lines(directory: Path, lines: Sequence[Any], end: str = '\n') -> pathlib.Path:
  path = pathlib.Path(directory)
  path.mkdir(parents=True, exist_ok=True)
  (path / 'record.jsonl').write_text('\n'.join(map(json.dumps, lines)) + end)
  return path


def write_run(
  directory: Path,
  arm: str,
  errors: Mapping[int, float],
  *,
  seeds: Sequence[int] | None = None,
  metrics: Mapping[str, float] | None = None,
  **changes: Any,
) -> pathlib.Path:
  """The run ``directory/arm`` whose final errors are given by seed.

  Args:
    directory: its parent.
    arm: its name.
    errors: by seed.
    seeds: of the header, where they are others than those of ``errors``.
    metrics: of all final rows.
    **changes: of the header.
  """
  rows = [final_row(seed, error, **(metrics or {})) for seed, error in errors.items()]
  for seed in seeds or errors:
    rows[:0] = train_rows(seed, {10: 2.0, 20: 1.0, 30: 0.5})
  lines = [header(arm, list(seeds or errors), **changes), *rows]
  return write_lines(pathlib.Path(directory) / arm, lines)


def write_predictions(run: pathlib.Path, probabilities: np.ndarray) -> None:
  labels = np.zeros(probabilities.shape[1], np.int32)
  np.savez(run / 'predictions.npz', probabilities=probabilities, labels=labels)
