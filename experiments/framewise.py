"""The class of every frame of an utterance, as a task (Laurent et al., 2016)."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax

import regularizers as reg
from experiments.task import (
  Batch,
  Model,
  PyTree,
  Statistics,
  Task,
  functions,
  state_of,
)
from experiments.translation import possible
from regularizers import metrics

TRAINED = 'trained'  # the split of training, to be evaluated on: once, and all of it


def framewise(module: Model, datasets: Mapping[int, Any]) -> Task:
  """A label a frame.

  Args:
    module: makes the model, which takes frames, mask, ``deterministic`` and ``rngs``.
    datasets: by seed, as ``Speech``; their shapes are the same for all.
  """
  init, merged = functions(module)

  def apply(
    params: PyTree, rest: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    model, rngs = merged(params, rest, key)
    # Not the mask of the frames: rows that fill up have some, which do not count.
    frames, mask = batch['frames'], batch['mask']
    logits = model(frames, mask, deterministic=key is None, rngs=rngs)
    return logits, state_of(model)

  def batches(split: str, seed: int, start_step: int = 0) -> Iterator[Batch]:
    own = 'train' if split == TRAINED else split
    plan, made = datasets[seed].plans[own], datasets[seed].frame_batch(own)
    train = split == 'train'
    return map(made, plan.training(seed, start_step) if train else plan.evaluation())

  return Task(init, apply, batches, frame_objective)


def frame_objective(
  loss: reg.Loss, logits: jax.Array, batch: Batch, *, step: jax.Array, key: jax.Array
) -> tuple[jax.Array, Statistics]:
  """Mean over the frames; ``fer`` is the frame error rate in percent."""
  labels, mask = batch['label'], batch['mask']
  p = reg.Categorical(logits, where=possible(logits.shape[-1]))
  losses = loss(p, labels, step=step, key=key)
  correct, count = metrics.accuracy(p, labels, mask)
  return reg.masked_mean(losses, mask), {
    'loss': (reg.masked_sum(losses, mask), count),
    'nll': metrics.nll(p, labels, mask),
    'entropy': metrics.entropy(p, mask=mask),
    'fer': (100 * (count - correct), count),
  }
