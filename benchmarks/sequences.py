"""A training step of sequences to sequences: ours, and the same in PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax

import regularizers as reg
from benchmarks import torch_translation
from benchmarks.extra import torch
from benchmarks.torch_translation import Arrays
from experiments.state import init_state, stack
from experiments.task import Task
from experiments.train import training

RATE = 1e-3
Step = Callable[[], object]


def our_training(task: Task, clip: float) -> Step:
  """The next state of the experiments' loop."""
  loss = stack([reg.cross_entropy])
  optimizer = optax.chain(optax.clip_by_global_norm(clip), optax.adam(RATE))
  state = init_state(task, loss, optimizer, [0])
  forever = 10**9
  states = training(
    *(task, loss, optimizer, state), num_steps=forever, log_every=forever, chain=1
  )
  return lambda: jax.block_until_ready(next(states))


def torch_training(model: torch.nn.Module, batch: Arrays, clip: float) -> Step:
  """The same step of a model in PyTorch."""
  optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
  given = torch_translation.tensors(batch)

  def run() -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = torch_translation.loss(model, given)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()

  return run


def check_training(
  tasks: Sequence[Task],
  weights: tuple[Any, Any],
  batch: Arrays,
  as_torch: Callable[[Any], Arrays],
  twin: torch.nn.Module,
) -> None:
  """Loss and gradient are the same.

  Args:
    tasks: ours, which all compute the same.
    weights: parameters, and what else the model holds.
    batch: of both.
    as_torch: gives our gradients the names of PyTorch's.
    twin: the model in PyTorch, with the same weights.
  """
  loss = torch_translation.loss(twin, torch_translation.tensors(batch))
  loss.backward()
  expected = {name: np.asarray(p.grad) for name, p in twin.named_parameters()}
  params, rest = weights
  for task in tasks:

    def value(params: Any, task: Task = task) -> jax.Array:
      outputs, _ = task.apply(params, rest, batch, jax.random.key(0))
      key = jax.random.key(1)
      return task.objective(reg.cross_entropy, outputs, batch, step=0, key=key)[0]

    got, gradient = jax.jit(jax.value_and_grad(value))(params)
    np.testing.assert_allclose(got, loss.item(), rtol=1e-5)
    for name, array in as_torch(gradient).items():
      tolerance = 1e-4 * float(np.abs(expected[name]).max())
      np.testing.assert_allclose(
        array, expected[name], rtol=0, atol=tolerance, err_msg=name
      )
