"""Classification of small colour images that are all in memory, as bytes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import devices
from experiments.datasets import batching
from experiments.datasets.dataset import Dataset
from experiments.datasets.noise import random_state
from experiments.datasets.shifts import shifted
from experiments.task import Batch, Model, PyTree, Task, classification

EVAL_BATCH_SIZE = 250
_AUGMENTATION = 1  # tells these random numbers from those of the order of examples


@dataclasses.dataclass(frozen=True)
class Scale:
  """Of the pixels, in [0, 1], by channel: what makes their mean 0 and deviation 1."""

  mean: Sequence[float]
  std: Sequence[float]

  def __call__(self, pixels: jax.Array) -> jax.Array:
    """``[..., channels]`` float32 of bytes."""
    mean, std = (np.array(own, np.float32) for own in (self.mean, self.std))
    shape = pixels.shape
    offset = jnp.broadcast_to(mean / std, shape)
    return (
      pixels.astype(jnp.float32) * jnp.broadcast_to(1 / (255 * std), shape) - offset
    )

  @property
  def filling(self) -> np.ndarray:
    """The bytes that become about 0."""
    return np.round(255 * np.array(self.mean)).astype(np.uint8)


def pixel_classification(
  module: Model,
  datasets: Mapping[int, Dataset],
  batch_size: int,
  scale: Scale,
  *,
  augment: bool = False,
) -> Task:
  """As ``task.classification``, on all local devices that divide a batch.

  Args:
    module: makes the model, which takes images, ``deterministic`` and ``rngs``.
    datasets: by seed, with ``image`` as bytes.
    batch_size: of training.
    scale: of the pixels.
    augment: training images are shifted and mirrored: how is a function of seed and
      step.
  """
  task = classification(module, datasets, batch_size)
  mesh = devices.mesh(batch_size)
  count = 1 if mesh is None else mesh.size

  def apply(
    params: PyTree, rest: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    scaled = {'image': scale(batch['image'])}
    out: tuple[Any, PyTree] = task.apply(params, rest, scaled, key)
    return out

  def batches(split: str, seed: int, start_step: int = 0) -> Iterator[Batch]:
    if split != 'train':
      arrays = datasets[seed].splits[split]
      size = len(arrays['label'])
      whole = -(-min(size, EVAL_BATCH_SIZE) // count) * count
      for rows, mask in batching.eval_batches(size, whole):
        yield {key: array[rows] for key, array in arrays.items()} | {'mask': mask}
      return
    for step, batch in enumerate(task.batches('train', seed, start_step), start_step):
      if not augment:
        yield batch
        continue
      random = random_state(seed, step, _AUGMENTATION)
      yield {**batch, 'image': shifted(batch['image'], random, scale.filling)}

  return dataclasses.replace(task, apply=apply, batches=batches, mesh=mesh)
