"""What the models of a run said of each example, in its directory.

``predictions.npz``: ``probabilities`` [runs, n, classes] and ``labels`` [n] of the test
split; ``SPLIT_logits`` [runs, n, classes] of every split, and ``SPLIT_labels`` [n].
"""

import contextlib
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from experiments import records
from experiments.errors import InputError
from experiments.runs import Run

NAME = 'predictions.npz'
# What numpy.load raises for a file that is no archive, or not of that array.
_NOT_ARRAYS = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


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
  with _arrays(run, ' and '.join(map(repr, names))) as arrays:
    return [np.asarray(arrays[name]) for name in names]


def has(run: Run, name: str) -> bool:
  """Whether there is an array of that name.

  Raises:
    InputError: there is no such file.
  """
  with _arrays(run, repr(name)) as arrays:
    return name in arrays.files


@contextlib.contextmanager
def _arrays(run: Run, expected: str) -> Iterator[Any]:
  """The open file, whose faults are the user's business."""
  file = run.path / NAME
  try:
    with file.open('rb') as stream, np.load(stream, allow_pickle=False) as arrays:
      yield arrays
  except FileNotFoundError as error:
    raise InputError(f'{file}: no such file; has the run finished?') from error
  except _NOT_ARRAYS as error:
    raise InputError(f'{file}: expected an array {expected}: {error}') from error
