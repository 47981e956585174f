"""Instruction tuning as a task: the ids of answers, given all before them."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

import regularizers as reg
from experiments.instruction_data import Instructions
from experiments.task import Batch, Model, PyTree, Statistics, Task, functions, state_of


def instructions(
  module: Model,
  datasets: Mapping[int, Instructions],
  impossible: int,
  base: PyTree | None = None,
) -> Task:
  """The mean over the answers' ids of a batch, whatever device they are on.

  Args:
    module: makes the model, an ``OPT``.
    datasets: by seed.
    impossible: the id of padding, which never comes.
    base: parameters that training starts from; None: random ones.
  """
  init, merged = functions(module)

  def started(key: jax.Array) -> tuple[PyTree, PyTree]:
    params, rest = init(key)
    return (params if base is None else base), rest

  def apply(
    params: PyTree, rest: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    model, rngs = merged(params, rest, key)
    ids, segments, positions = batch['ids'], batch['segment'], batch['position']
    hidden = model(ids, segments, positions, deterministic=key is None, rngs=rngs)
    kernel, _ = model.affine()
    return (hidden, kernel), state_of(model)

  def batches(split: str, seed: int, start: int = 0) -> Iterator[Batch]:
    return datasets[seed].batches(split, seed, start)

  def objective(
    loss: reg.Loss, outputs: Any, batch: Batch, *, step: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, Statistics]:
    hidden, kernel = outputs
    value, sums = reg.linear_loss(
      *(loss, hidden, kernel, batch['label'], batch['mask']),
      where=np.arange(kernel.shape[-1]) != impossible,
      with_metrics=True,
      step=step,
      key=key,
    )
    nll, entropy = sums['nll'], sums['entropy']
    total = value * nll[1]
    return value, {'loss': (total, nll[1]), 'nll': nll, 'entropy': entropy}

  return Task(started, apply, batches, objective)
