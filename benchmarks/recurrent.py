r"""A language model's training step: our LSTM, flax's, and PyTorch's.

  taskset -c 0 python -m benchmarks.recurrent

Takes about four minutes on one core and writes benchmarks/results/recurrent.md. All
candidates do the same step from the same weights: embedding, two LSTM layers, a
softmax over 10,000 words, mean cross-entropy, gradients clipped by their norm, plain
SGD (batch 20, unroll 35, float32). PyTorch gets as many threads as there are cores for
this process.
"""

import datetime
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from absl import app, flags
from flax import nnx

import regularizers as reg
from benchmarks import timing
from regularizers import nn

RESULTS = pathlib.Path(__file__).parent / 'results'
BATCH, UNROLL, VOCABULARY = 20, 35, 10_000
UNITS = (200, 650)
UNROLLS = (35, 70, 140)
CLIP, RATE = 5.0, 1.0
Step = Callable[[], object]


class Ours(nnx.Module):
  """Embedding and our layers; the loss takes the softmax's kernel itself."""

  def __init__(self, units: int, *, rngs: nnx.Rngs):
    self.embedding = nnx.Embed(VOCABULARY, units, rngs=rngs)
    self.recurrent = nn.LSTM(units, units, num_layers=2, init_scale=0.1, rngs=rngs)
    self.output = nnx.Linear(units, VOCABULARY, rngs=rngs)

  def __call__(self, tokens: jax.Array) -> jax.Array:
    return self.recurrent(self.embedding(tokens))[0]


class Flax(nnx.Module):
  """The same of flax's own layers."""

  def __init__(self, units: int, *, rngs: nnx.Rngs):
    self.embedding = nnx.Embed(VOCABULARY, units, rngs=rngs)
    self.recurrent = nnx.List(
      nnx.RNN(nnx.OptimizedLSTMCell(units, units, rngs=rngs)) for _ in range(2)
    )
    self.output = nnx.Linear(units, VOCABULARY, rngs=rngs)

  def __call__(self, tokens: jax.Array) -> jax.Array:
    hidden = self.embedding(tokens)
    for layer in self.recurrent:
      hidden = layer(hidden)
    return hidden


class Torch(torch.nn.Module):
  """The same of PyTorch's."""

  def __init__(self, units: int):
    super().__init__()
    self.embedding = torch.nn.Embedding(VOCABULARY, units)
    self.recurrent = torch.nn.LSTM(units, units, num_layers=2, batch_first=True)
    self.output = torch.nn.Linear(units, VOCABULARY)

  def forward(self, tokens: torch.Tensor) -> torch.Tensor:
    return self.output(self.recurrent(self.embedding(tokens))[0])


def dense(model: Any, hidden: jax.Array, labels: jax.Array) -> jax.Array:
  """The mean cross-entropy as one writes it with optax."""
  losses = optax.softmax_cross_entropy_with_integer_labels(model.output(hidden), labels)
  return losses.mean()


def ours(model: Any, hidden: jax.Array, labels: jax.Array) -> jax.Array:
  """The same by our loss on logits that are built."""
  return reg.cross_entropy(model.output(hidden), labels).mean()


def fused(model: Any, hidden: jax.Array, labels: jax.Array) -> jax.Array:
  """The same by our loss on logits that are never built."""
  output = model.output
  value: jax.Array = reg.linear_loss(
    reg.cross_entropy, hidden, output.kernel[...], labels, bias=output.bias[...]
  )
  return value


def text(unroll: int) -> tuple[np.ndarray, np.ndarray]:
  """Words and the words after them."""
  tokens = np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, unroll + 1))
  return tokens[:, :-1], tokens[:, 1:]


def jax_step(model: Any, loss: Any, unroll: int) -> Step:
  """A step that keeps its parameters to itself."""
  graph, params, rest = nnx.split(model, nnx.Param, ...)
  params = jax.tree.map(jnp.copy, params)
  optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.sgd(RATE))

  @functools.partial(jax.jit, donate_argnums=0)
  def step(params: Any, tokens: jax.Array, labels: jax.Array) -> Any:
    def value(params: Any) -> jax.Array:
      merged = nnx.merge(graph, params, rest, copy=True)
      return loss(merged, merged(tokens), labels)

    result, grads = jax.value_and_grad(value)(params)
    updates, _ = optimizer.update(grads, optimizer.init(params))
    return optax.apply_updates(params, updates), result

  batch = tuple(map(jnp.asarray, text(unroll)))

  def run() -> float:
    nonlocal params
    params, result = step(params, *batch)
    jax.block_until_ready(params)
    return float(result)

  return run


def torch_step(units: int, unroll: int) -> Step:
  """The same step in PyTorch."""
  torch.manual_seed(0)
  model = Torch(units)
  optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
  tokens, labels = map(torch.from_numpy, text(unroll))

  def run() -> float:
    optimizer.zero_grad(set_to_none=True)
    logits = model(tokens)
    loss = torch.nn.functional.cross_entropy(
      logits.reshape(-1, VOCABULARY), labels.reshape(-1)
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return loss.item()

  return run
