"""What the training loop needs to know of an experiment, and nothing more."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

import regularizers as reg
from experiments.datasets import batching
from experiments.datasets.dataset import Dataset
from regularizers import metrics

PyTree = Any
Model = Callable[[nnx.Rngs], Any]  # an nnx.Module
Batch = Any  # a pytree of arrays
# Sums and counts, so that batches merge exactly: a mean is sum / count.
Statistics = dict[str, tuple[jax.Array, jax.Array]]

EVAL_BATCH_SIZE = 500


def _unchanged(model_state: PyTree, batch: Batch) -> PyTree:
  return model_state


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
    begin: ``model_state, batch -> model_state`` with which an evaluation starts; what
      ``apply`` makes of it goes on to the next batch. ``batch`` gives the shapes.
    carried: the parts of the model state that follow the data, not the weights: the
      state of a recurrent network. All else of it is what the weights go with.
    mesh: of the devices that share the examples of every batch; None: one device.
  """

  init: Callable[[jax.Array], tuple[PyTree, PyTree]]
  apply: Callable[[PyTree, PyTree, Batch, jax.Array | None], tuple[PyTree, PyTree]]
  batches: Callable[[str, int, int], Iterator[Batch]]
  objective: Callable[..., tuple[jax.Array, Statistics]]
  begin: Callable[[PyTree, Batch], PyTree] = _unchanged
  carried: tuple[str, ...] = ()
  mesh: Mesh | None = None


def classification(
  module: Model,
  datasets: Mapping[int, Dataset],
  batch_size: int,
  features: str | Sequence[str] = 'image',
) -> Task:
  """One label an example.

  Args:
    module: makes the model, which takes the features, ``deterministic`` and ``rngs``.
    datasets: by seed.
    batch_size: of training.
    features: what of a batch the model takes: an array, or a dictionary of several.
  """
  init, merged = functions(module)

  def taken(batch: Batch) -> Any:
    if isinstance(features, str):
      return batch[features]
    return {name: batch[name] for name in features}

  def apply(
    params: PyTree, rest: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    model, rngs = merged(params, rest, key)
    logits = model(taken(batch), deterministic=key is None, rngs=rngs)
    return logits, state_of(model)

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


def classification_steps(config: Any, dataset: Dataset) -> int:
  """Full batches in a pass over the examples of training."""
  size = len(dataset.splits['train']['label'])
  return batching.steps_per_epoch(size, config.batch_size)


def functions(module: Model) -> tuple[Callable[..., Any], Callable[..., Any]]:
  """An nnx module as functions of plain dictionaries of arrays.

  Returns:
    ``init``: ``key -> (params, rest)``; and
    ``merged``: ``params, rest, key -> (model, rngs)``, the model made of them anew and
    what it draws its dropout from, None without a key.
  """

  def init(key: jax.Array) -> tuple[PyTree, PyTree]:
    model = module(nnx.Rngs(params=key))
    return nnx.to_pure_dict(nnx.state(model, nnx.Param)), state_of(model)

  graph = nnx.graphdef(nnx.eval_shape(lambda: module(nnx.Rngs(params=0))))

  def merged(
    params: PyTree, rest: PyTree, key: jax.Array | None
  ) -> tuple[Any, nnx.Rngs | None]:
    rngs = None if key is None else nnx.Rngs(dropout=key)
    return nnx.merge(graph, params, rest, copy=True), rngs

  return init, merged


def state_of(model: nnx.Module) -> PyTree:
  """What the model holds beside its parameters."""
  return nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param)))


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
