"""Sequences to sequences as a task: the next target symbol, given the source."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import regularizers as reg
from experiments.datasets.units import PADDING, START
from experiments.task import (
  Batch,
  Model,
  PyTree,
  Statistics,
  Task,
  functions,
  state_of,
)
from regularizers import metrics


def ids(batch: Batch) -> tuple[jax.Array, jax.Array]:
  """The source of a batch of translations, and what of it is there."""
  return batch['source'], batch['source'] != PADDING


def translation(
  module: Model,
  datasets: Mapping[int, Any],
  *,
  fused: bool = False,
  source: Callable[[Batch], tuple[jax.Array, jax.Array]] = ids,
) -> Task:
  """The next symbol of the target, the ones before it being right.

  Args:
    module: makes the model, which has ``encode``, ``decode``, ``logits`` and
      ``affine``.
    datasets: by seed, as ``Translations``; their lengths are the same for all.
    fused: the loss is computed from hidden states, and logits are not kept.
    source: what of a batch is encoded, and its mask.
  """
  init, merged = functions(module)

  def apply(
    params: PyTree, rest: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    model, rngs = merged(params, rest, key)
    drop: dict[str, Any] = {'deterministic': key is None, 'rngs': rngs}
    memory = model.encode(*source(batch), **drop)
    hidden, _ = model.decode(memory, batch['inputs'], **drop)
    outputs = (hidden, *model.affine()) if fused else model.logits(hidden)
    return outputs, state_of(model)

  def batches(split: str, seed: int, start_step: int = 0) -> Iterator[Batch]:
    plan, made = datasets[seed].plans[split], datasets[seed].batch(split)
    train = split == 'train'
    return map(made, plan.training(seed, start_step) if train else plan.evaluation())

  return Task(init, apply, batches, fused_objective if fused else objective)


def objective(
  loss: reg.Loss, logits: jax.Array, batch: Batch, *, step: jax.Array, key: jax.Array
) -> tuple[jax.Array, Statistics]:
  """Mean over the target symbols."""
  labels, mask = batch['label'], batch['mask']
  p = reg.Categorical(logits, where=possible(logits.shape[-1]))
  losses = loss(p, labels, step=step, key=key)
  nll, entropy = metrics.nll(p, labels, mask), metrics.entropy(p, mask=mask)
  total = reg.masked_sum(losses, mask)
  return reg.masked_mean(losses, mask), _statistics(total, nll, entropy)


def fused_objective(
  loss: reg.Loss, outputs: Any, batch: Batch, *, step: jax.Array, key: jax.Array
) -> tuple[jax.Array, Statistics]:
  """As ``objective``, from hidden states, kernel and bias."""
  hidden, kernel, bias = outputs
  value, sums = reg.linear_loss(
    *(loss, hidden, kernel, batch['label'], batch['mask']),
    bias=bias,
    where=possible(kernel.shape[-1]),
    with_metrics=True,
    step=step,
    key=key,
  )
  count = sums['nll'][1]
  return value, _statistics(value * count, sums['nll'], sums['entropy'])


def possible(size: int) -> jax.Array:
  """``[V]``: neither padding nor the start symbol ever comes."""
  return jnp.asarray(~np.isin(np.arange(size), (PADDING, START)))


def _statistics(
  total: jax.Array, nll: metrics.Average, entropy: metrics.Average
) -> Statistics:
  return {'loss': (total, nll[1]), 'nll': nll, 'entropy': entropy}
