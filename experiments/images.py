"""Classification of images that are decoded as they are needed."""

import dataclasses
from collections.abc import Iterator, Mapping

from experiments.datasets import imagenet
from experiments.datasets.dataset import Dataset
from experiments.task import EVAL_BATCH_SIZE, Batch, Model, Task, classification


def image_classification(
  module: Model,
  datasets: Mapping[int, Dataset],
  batch_size: int,
  *,
  eval_batch_size: int = EVAL_BATCH_SIZE,
) -> Task:
  """As ``task.classification``, with training images cut and flipped at random.

  Args:
    module: makes the model, which takes images, ``deterministic`` and ``rngs``.
    datasets: by seed, from ``imagenet.load``.
    batch_size: of training.
    eval_batch_size: at most, changes no figure.
  """

  def batches(split: str, seed: int, start_step: int = 0) -> Iterator[Batch]:
    dataset = datasets[seed]
    size = batch_size
    if split != 'train':
      size = min(eval_batch_size, len(dataset.splits[split]['label']))
    return imagenet.batches(dataset, split, size, seed, start_step)

  return dataclasses.replace(
    classification(module, datasets, batch_size), batches=batches
  )
