"""Language modelling as a task: the next token of running text."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import regularizers as reg
from experiments.datasets import streams
from experiments.datasets.corpus import Corpus
from experiments.task import Batch, Model, PyTree, Statistics, Task, functions, state_of
from regularizers import metrics


def language_modelling(
  module: Model,
  corpora: Mapping[int, Corpus],
  *,
  batch_size: int,
  unroll: int,
  eval_streams: int,
  fused: bool = False,
) -> Task:
  """The next token, with the state of the model carried from batch to batch.

  Args:
    module: makes the model, which has ``carry(rows)``, ``hidden(tokens, carry, ...)``,
      ``logits(hidden)`` and ``affine()``.
    corpora: by seed.
    batch_size: streams that training reads side by side.
    unroll: tokens of a stream in a batch: as far as gradients go back.
    eval_streams: parts that validation and test are cut into.
    fused: the loss is computed from hidden states, and logits are not kept.
  """
  init_model, merged = functions(module)

  def init(key: jax.Array) -> tuple[PyTree, PyTree]:
    params, rest = init_model(key)
    return params, {'rest': rest, 'carry': carry(batch_size)}

  @functools.cache
  def shapes(rows: int) -> PyTree:
    return nnx.eval_shape(lambda: module(nnx.Rngs(params=0)).carry(rows))

  def carry(rows: int) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes(rows))

  def begin(model_state: PyTree, batch: Batch) -> PyTree:
    return {**model_state, 'carry': carry(len(batch['label']))}

  def apply(
    params: PyTree, model_state: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[PyTree, PyTree]:
    model, rngs = merged(params, model_state['rest'], key)
    fresh = lambda leaf: jnp.where(batch['start'], jnp.zeros_like(leaf), leaf)  # noqa: E731
    before = jax.tree.map(fresh, model_state['carry'])
    hidden, after = model.hidden(
      batch['inputs'], before, deterministic=key is None, rngs=rngs
    )
    outputs = (hidden, *model.affine()) if fused else model.logits(hidden)
    return outputs, {'rest': state_of(model), 'carry': after}

  def batches(split: str, seed: int, start_step: int = 0) -> Iterator[Batch]:
    corpus = corpora[seed]
    tokens = corpus.splits[split]['label']
    if split == 'train':
      return streams.training(tokens, corpus.eos, batch_size, unroll, start_step)
    return streams.evaluation(tokens, corpus.eos, eval_streams, unroll)

  return Task(
    *(init, apply, batches, fused_objective if fused else objective, begin),
    carried=('carry',),
  )


def objective(
  loss: reg.Loss, logits: jax.Array, batch: Batch, *, step: jax.Array, key: jax.Array
) -> tuple[jax.Array, Statistics]:
  """Loss summed over time and averaged over the streams, as Zaremba et al. (2014) do.

  So the learning rate and the bound on the gradient mean what they mean there.
  """
  p, labels, mask = reg.Categorical(logits), batch['label'], _mask(batch)
  total = reg.masked_sum(loss(p, labels, step=step, key=key), mask)
  nll, entropy = metrics.nll(p, labels, mask), metrics.entropy(p, mask=mask)
  return total / len(labels), _statistics(total, nll, entropy)


def fused_objective(
  loss: reg.Loss, outputs: Any, batch: Batch, *, step: jax.Array, key: jax.Array
) -> tuple[jax.Array, Statistics]:
  """As ``objective``, from hidden states, kernel and bias."""
  hidden, kernel, bias = outputs
  labels = batch['label']
  value, sums = reg.linear_loss(
    *(loss, hidden, kernel, labels, _mask(batch)),
    normalizer=len(labels),
    bias=bias,
    with_metrics=True,
    step=step,
    key=key,
  )
  return value, _statistics(value * len(labels), sums['nll'], sums['entropy'])


def _mask(batch: Batch) -> jax.Array:
  mask = batch.get('mask')
  return jnp.ones(batch['label'].shape, bool) if mask is None else mask


def _statistics(
  total: jax.Array, nll: metrics.Average, entropy: metrics.Average
) -> Statistics:
  return {
    'loss': (total, nll[1]),
    'nll': nll,
    'entropy': entropy,
    'perplexity': nll,  # rows say the exponential of this mean
  }
