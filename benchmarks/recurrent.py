r"""A language model's training step: our LSTM, flax's, and PyTorch's.

  python -m benchmarks.recurrent

Takes about four minutes on two cores and writes benchmarks/results/recurrent.md. All
candidates do the same step: embedding, two LSTM layers, a softmax over 10,000 words,
mean cross-entropy, gradients clipped by their norm, plain SGD (batch 20, unroll 35,
float32). PyTorch gets as many threads as this process may use cores, as XLA does; under
`taskset -c 0` both have one.
"""

import datetime
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import regularizers as reg
from benchmarks import timing
from benchmarks.extra import torch
from experiments.models import softmax
from regularizers import nn

BATCH, VOCABULARY = 20, 10_000
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

  def forward(self, tokens: torch.Tensor) -> Any:
    return self.output(self.recurrent(self.embedding(tokens))[0])


def dense(model: Any, hidden: jax.Array, labels: jax.Array) -> jax.Array:
  """The mean cross-entropy as one writes it with optax."""
  losses = optax.softmax_cross_entropy_with_integer_labels(model.output(hidden), labels)
  return losses.mean()


def ours(model: Any, hidden: jax.Array, labels: jax.Array) -> jax.Array:
  """The same by our loss on logits that are built, as experiments.ptb builds them."""
  return reg.cross_entropy(softmax.logits(model.output, hidden), labels).mean()


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
  graph, state, *rest = nnx.split(model, nnx.Param, ...)  # flax's cells hold keys
  params = jax.tree.map(jnp.copy, state)
  optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.sgd(RATE))

  @functools.partial(jax.jit, donate_argnums=0)
  def step(params: Any, tokens: jax.Array, labels: jax.Array) -> Any:
    def value(params: Any) -> jax.Array:
      merged = nnx.merge(graph, params, *rest, copy=True)
      return loss(merged, merged(tokens), labels)

    result, grads = jax.value_and_grad(value)(params)
    updates, _ = optimizer.update(grads, optimizer.init(params))
    return optax.apply_updates(params, updates), result

  tokens, labels = (jnp.asarray(words) for words in text(unroll))

  def run() -> float:
    nonlocal params
    params, result = step(params, tokens, labels)
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


def check_equal() -> None:
  """Our losses are one function, and our LSTM is PyTorch's, in value and gradient."""
  units, tokens = 8, jnp.asarray(text(5)[0])
  model = Ours(units, rngs=nnx.Rngs(0))
  labels = jnp.asarray(text(5)[1])
  graph, params = nnx.split(model)

  def value(params: Any, loss: Any) -> jax.Array:
    merged = nnx.merge(graph, params, copy=True)
    return loss(merged, merged(tokens), labels)

  expected, wanted = jax.value_and_grad(value)(params, dense)
  for loss in (ours, fused):
    got, found = jax.value_and_grad(value)(params, loss)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-5 * float(np.abs(b).max()))
  same_value, same_gradient = torch_twin(model, tokens, labels)
  np.testing.assert_allclose(same_value, expected, rtol=1e-6)
  gradient = wanted['recurrent']['directions'][0]['recurrent_kernel'][...]
  tolerance = 1e-5 * float(np.abs(same_gradient).max())
  np.testing.assert_allclose(gradient, same_gradient, atol=tolerance)


def torch_twin(model: Any, tokens: jax.Array, labels: jax.Array) -> tuple[float, Any]:
  """PyTorch's loss at our weights, and its gradient by the first layer's U."""
  twin: Any = Torch(model.recurrent.in_features)
  copies = [
    (twin.embedding.weight, model.embedding.embedding[...]),
    (twin.output.weight, model.output.kernel[...].T),
    (twin.output.bias, model.output.bias[...]),
  ]
  for index, part in enumerate(model.recurrent.directions):
    for name, array in (
      ('weight_ih', part.input_kernel[...].T),
      ('weight_hh', part.recurrent_kernel[...].T),
      ('bias_ih', part.bias[...]),
      ('bias_hh', jnp.zeros_like(part.bias[...])),
    ):
      copies.append((getattr(twin.recurrent, f'{name}_l{index}'), array))
  with torch.no_grad():
    for parameter, array in copies:
      parameter.copy_(torch.tensor(np.asarray(array)))
  logits = twin(torch.tensor(np.asarray(tokens)))
  flat = torch.tensor(np.asarray(labels)).reshape(-1).long()
  loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY), flat)
  loss.backward()
  return loss.item(), twin.recurrent.weight_hh_l0.grad.numpy().T


def candidates(units: int, unroll: int) -> dict[str, Step]:
  """Fresh models; PyTorch first, since the others are measured against it."""
  with_ours = functools.partial(Ours, units, rngs=nnx.Rngs(0))
  return {
    'PyTorch': torch_step(units, unroll),
    'nn.LSTM, linear_loss': jax_step(with_ours(), fused, unroll),
    'nn.LSTM, cross_entropy': jax_step(with_ours(), ours, unroll),
    'nn.LSTM, optax': jax_step(with_ours(), dense, unroll),
    'flax RNN, optax': jax_step(Flax(units, rngs=nnx.Rngs(0)), dense, unroll),
  }


def layers_alone(units: int, unroll: int) -> Step:
  """Value and gradient of the two layers, without embedding and softmax."""
  model = nn.LSTM(units, units, num_layers=2, rngs=nnx.Rngs(0))
  graph, params = nnx.split(model)
  features = jax.random.normal(jax.random.key(0), (BATCH, unroll, units))

  @jax.jit
  def gradients(params: Any, features: jax.Array) -> Any:
    def value(params: Any, features: jax.Array) -> jax.Array:
      return (nnx.merge(graph, params, copy=True)(features)[0] ** 2).sum()

    return jax.grad(value, argnums=(0, 1))(params, features)

  return lambda: jax.block_until_ready(gradients(params, features))


def page(rounds: int, load: str) -> str:
  """Measures; the page of results."""
  timing.share_cores()
  check_equal()
  rows = []
  for units in UNITS:
    rows += timing.table_rows(f'{units}', candidates(units, UNROLLS[0]), rounds)
  growth = {f'unroll {n}': layers_alone(UNITS[0], n) for n in UNROLLS}
  lengths = timing.table_rows(f'{UNITS[0]}', growth, 3 * rounds)
  columns = ['units', 'a training step', 'ms', 'ratio', 'quartiles']
  text = [
    f'# Training step of a language model, batch {BATCH}, {VOCABULARY} words, float32',
    f'`python -m benchmarks.recurrent`, {datetime.date.today()}, {timing.machine()}, '
    f'torch {torch.__version__}, {torch.get_num_threads()} threads; {load}; '
    f'{rounds} rounds in which the candidates take turns; unroll {UNROLLS[0]}; ratio: '
    'median over the rounds, against PyTorch.',
    timing.table(columns, rows),
    'Gradients of the two layers alone as the unroll grows; ratio: against the first.',
    timing.table(columns, lengths),
  ]
  return '\n\n'.join(text) + '\n'


if __name__ == '__main__':
  timing.launch('recurrent', page, rounds=9)
