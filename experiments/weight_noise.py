"""Noise on the weights while they are trained (Graves, 2011, in its simplest form)."""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.task import Batch, PyTree, Task


def weight_noise(task: Task, scale: float, start: int = 0) -> Task:
  """The task with weights that are each other than they are by N(0, scale²).

  Drawn anew for every step; the gradient there moves the weights without noise. There
  is none in evaluation.

  Args:
    task: whose training batches have no ``'step'`` of their own.
    scale: standard deviation.
    start: the first step that has noise, from 0 on.
  """

  def apply(
    params: PyTree, rest: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    if key is None:
      return task.apply(params, rest, batch, None)
    key, own = jax.random.split(key)
    now = jnp.where(batch['step'] >= start, scale, 0.0)
    return task.apply(noisy(params, now, own), rest, batch, key)

  def batches(split: str, seed: int, start_step: int = 0) -> Iterator[Batch]:
    for step, batch in enumerate(task.batches(split, seed, start_step), start_step):
      yield {**batch, 'step': np.int32(step)} if split == 'train' else batch

  return dataclasses.replace(task, apply=apply, batches=batches)


def noisy(params: PyTree, scale: jax.Array | float, key: jax.Array) -> PyTree:
  """Parameters with N(0, scale²) added to each."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(key, len(leaves))
  moved = [
    leaf + scale * jax.random.normal(own, leaf.shape, leaf.dtype)
    for leaf, own in zip(leaves, keys, strict=True)
  ]
  return jax.tree.unflatten(tree, moved)
