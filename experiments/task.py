"""What the training loop needs to know of an experiment, and nothing more."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import regularizers as reg
from experiments.datasets import batching
from experiments.datasets.dataset import Dataset
from regularizers import metrics

PyTree = Any
Batch = Any  # a pytree of arrays
# Sums and counts, so that batches merge exactly: a mean is sum / count.
Statistics = dict[str, tuple[jax.Array, jax.Array]]

EVAL_BATCH_SIZE = 500


@dataclasses.dataclass(frozen=True)
class Task:
  """Data, model and objective of one experiment, as functions of one run.

  The loop adds the axis of runs (seeds, weights) around ``init``, ``apply`` and
  ``objective``. A teacher, peers' parameters and the like are part of the batch
  or of the model state, and of the outputs that ``apply`` makes of them.

  Attributes:
    init: ``key -> (params, model_state)``.
    apply: ``params, model_state, batch, key -> (outputs, model_state)``; the key
      is None in evaluation.
    batches: ``split, seed, start_step -> iterator``. Endless for ``'train'``, where
      batch i is a function of the seed and i alone. Otherwise one pass whose
      batches mark their padding: ``'mask'`` is False there.
    objective: ``loss, outputs, batch, *, step, key -> (value, statistics)``: what
      is minimised, and ``{name: (sum, count)}``, ``'nll'`` always among them.
  """

  init: Callable[[jax.Array], tuple[PyTree, PyTree]]
  apply: Callable[[PyTree, PyTree, Batch, jax.Array | None], tuple[PyTree, PyTree]]
  batches: Callable[[str, int, int], Iterator[Batch]]
  objective: Callable[..., tuple[jax.Array, Statistics]]


def classification(
  module: Callable[[nnx.Rngs], nnx.Module],
  datasets: Mapping[int, Dataset],
  batch_size: int,
) -> Task:
  """One label an example.

  Args:
    module: makes the model, which takes images, ``deterministic`` and ``rngs``.
    datasets: by seed.
    batch_size: of training.
  """
  init, apply = functions(module)

  def batches(split: str, seed: int, start_step: int = 0) -> Iterator[Batch]:
    arrays = datasets[seed].splits[split]
    size = len(arrays['label'])
    if split != 'train':
      for rows, mask in batching.eval_batches(size, min(size, EVAL_BATCH_SIZE)):
        yield {key: array[rows] for key, array in arrays.items()} | {'mask': mask}
      return
    while True:
      rows = batching.batch_indices(size, batch_size, seed, start_step)
      yield {key: array[rows] for key, array in arrays.items()}
      start_step += 1

  return Task(init, apply, batches, class_objective)


def functions(
  module: Callable[[nnx.Rngs], nnx.Module],
) -> tuple[Callable[..., Any], Callable[..., Any]]:
  """``init`` and ``apply`` of an nnx classifier, on plain dictionaries of arrays."""

  def init(key: jax.Array) -> tuple[PyTree, PyTree]:
    model = module(nnx.Rngs(params=key))
    rest = nnx.state(model, nnx.Not(nnx.Param))
    return nnx.to_pure_dict(nnx.state(model, nnx.Param)), nnx.to_pure_dict(rest)

  graph = nnx.graphdef(nnx.eval_shape(lambda: module(nnx.Rngs(params=0))))

  def apply(
    params: PyTree, rest: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    model = nnx.merge(graph, params, rest, copy=True)
    rngs = None if key is None else nnx.Rngs(dropout=key)
    logits = model(batch['image'], deterministic=key is None, rngs=rngs)
    return logits, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param)))

  return init, apply


def class_objective(
  loss: reg.Loss, logits: jax.Array, batch: Batch, *, step: jax.Array, key: jax.Array
) -> tuple[jax.Array, Statistics]:
  """Mean loss over the examples, and what the records show of a classifier."""
  labels, mask = batch['label'], batch.get('mask')
  if mask is None:
    mask = jnp.ones(labels.shape, bool)
  losses = loss(logits, labels, step=step, key=key)
  correct, count = metrics.accuracy(logits, labels, mask)
  bins = metrics.calibration_bins(logits, labels, mask)
  return reg.masked_mean(losses, mask), {
    'loss': (reg.masked_sum(losses, mask), count),
    'nll': metrics.nll(logits, labels, mask),
    'entropy': metrics.entropy(logits, mask=mask),
    'error': (100 * (count - correct), count),  # percent
    'ece': (bins.correct - bins.confidence, count),
    'brier': metrics.brier(logits, labels, mask),
  }
