"""What the models of a run said of each example, in its directory.

``predictions.npz``: ``probabilities`` [runs, n, classes] and ``labels`` [n] of the test
split; ``SPLIT_logits`` [runs, n, classes] of every split, and ``SPLIT_labels`` [n].
"""

import pathlib
from collections.abc import Mapping

import jax
import numpy as np

from experiments import records
from experiments.runs import Run

NAME = 'predictions.npz'


def write(
  directory: pathlib.Path,
  logits: Mapping[str, np.ndarray],
  labels: Mapping[str, np.ndarray],
) -> None:
  """Of every split, test among them."""
  arrays = {f'{split}_logits': own for split, own in logits.items()}
  arrays |= {f'{split}_labels': own for split, own in labels.items()}
  probabilities = np.asarray(jax.nn.softmax(logits['test']), np.float32)
  records.write_arrays(
    directory / NAME,
    probabilities=probabilities,
    labels=labels['test'],
    **arrays,
  )


def read(run: Run, *names: str) -> list[np.ndarray]:
  """The arrays of these names.

  Raises:
    InputError: there is no such file or array.
  """
  expected = ' and '.join(map(repr, names))
  with records.arrays(run.path / NAME, expected) as arrays:
    return [np.asarray(arrays[name]) for name in names]


def has(run: Run, name: str) -> bool:
  """Whether there is an array of that name.

  Raises:
    InputError: there is no such file.
  """
  with records.arrays(run.path / NAME, repr(name)) as arrays:
    found: bool = name in arrays.files
  return found
