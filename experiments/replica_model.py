"""What a replica trains, and its part of the data."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import optax

from experiments.datasets.dataset import Dataset
from experiments.errors import InputError
from experiments.task import Task


@dataclasses.dataclass(frozen=True)
class Model:
  """How one kind of model is trained.

  Attributes:
    defaults: of the flags that are not given, by data set.
    data: ``config -> data set``, the same for all retrains.
    task: ``config, data set by seed -> task``; its outputs are logits.
    optimizer: ``config, data set -> optimizer``.
    steps_per_epoch: ``config, data set -> steps``.
    data_dir: what becomes of --data_dir, by data set: 'refused', 'needed' or 'taken'.
  """

  defaults: Mapping[str, Mapping[str, Any]]
  data: Callable[[Any], Dataset]
  task: Callable[[Any, Mapping[int, Any]], Task]
  optimizer: Callable[[Any, Any], optax.GradientTransformation]
  steps_per_epoch: Callable[[Any, Any], int]
  data_dir: Mapping[str, str]


def shard(dataset: Dataset, index: int, count: int) -> Dataset:
  """The part of the training examples that replica ``index`` of ``count`` sees.

  Examples are dealt out in turn; running text, whose order matters, is cut.
  """
  train = dict(dataset.splits['train'])
  size = len(train['label'])
  if set(train) == {'label'}:
    length = size // count
    rows = slice(index * length, (index + 1) * length)
  else:
    rows = slice(index, size, count)
  if count > size:
    raise InputError(f'--num_replicas: {count} are more than the {size} examples')
  part = {name: array[rows] for name, array in train.items()}
  return dataclasses.replace(dataset, splits={**dataset.splits, 'train': part})
