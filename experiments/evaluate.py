"""Means over a split, and the model's outputs on it."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import regularizers as reg
from experiments import devices
from experiments.state import Run, State, over_runs
from experiments.task import Batch, PyTree, Statistics, Task

Row = dict[str, Any]


def evaluate(
  task: Task, loss: reg.Loss, state: State, split: str, vmap: bool = True
) -> list[Row]:
  """One row a run: the means over all examples of ``split``."""
  total: Any = None
  for batch in _batches(task, split, seeds_of(state)):
    if total is None:
      state = _begun(task, state, batch)
    statics = (task.apply, task.objective, vmap)
    model_state, part = _statistics(*statics, loss, state, batch)
    state = _with_model(state, model_state)
    part = jax.tree.map(np.float64, jax.device_get(part))
    total = part if total is None else jax.tree.map(np.add, total, part)
  return rows(state, split, total)


def predict(task: Task, state: State, split: str, vmap: bool = True) -> np.ndarray:
  """The model's outputs ``[runs, examples, ...]``."""
  batches = outputs(task, state, split, vmap)
  parts = [np.asarray(out)[:, mask] for out, mask in batches]
  return np.concatenate(parts, axis=1)


def outputs(
  task: Task, state: State, split: str, vmap: bool = True
) -> Iterator[tuple[Any, np.ndarray]]:
  """The model's outputs ``[runs, batch, ...]`` batch by batch, with their mask."""
  begun = False
  for batch in _batches(task, split, seeds_of(state)):
    if not begun:
      state, begun = _begun(task, state, batch), True
    model_state, out = _outputs(task.apply, vmap, state, batch)
    state = _with_model(state, model_state)
    yield out, np.asarray(batch['mask'][0])


def rows(state: State, split: str, total: Any) -> list[Row]:
  """One row a run of ``{name: (sum, count)}``, each with a leading axis of runs."""
  total = jax.device_get(total)
  result = []
  for index, seed in enumerate(seeds_of(state)):
    row: Row = {
      'kind': 'row',
      'step': int(state.step),
      'split': split,
      'seed': seed,
    }
    for name, (value, count) in total.items():
      if not np.any(count[index]):
        continue  # there was nothing to take a mean of
      mean = _mean(value[index], count[index])
      row[name] = _exponential(mean) if name == 'perplexity' else mean
    result.append(row)
  return result


def seeds_of(state: State) -> list[int]:
  """One a run."""
  return [int(seed) for seed in np.asarray(state.runs.seed)]


def _mean(value: np.ndarray, count: np.ndarray) -> float:
  mean = np.asarray(value, np.float64) / np.float64(count)
  # The calibration error is the sum of the gaps of its bins, whatever their sign.
  return float(np.abs(mean).sum() if mean.ndim else mean)


def _exponential(mean: float) -> float:
  with np.errstate(over='ignore'):  # infinite, as a record may say
    return float(np.exp(mean))


def _begun(task: Task, state: State, batch: Batch) -> State:
  """As an evaluation starts."""
  return _with_model(state, jax.vmap(task.begin)(state.runs.model_state, batch))


def _with_model(state: State, model_state: PyTree) -> State:
  runs = dataclasses.replace(state.runs, model_state=model_state)
  return dataclasses.replace(state, runs=runs)


def _batches(task: Task, split: str, seeds: list[int]) -> Iterator[Batch]:
  """Batches ``[runs, ...]``."""
  iterators = {seed: task.batches(split, seed, 0) for seed in seeds}
  for batches in zip(*iterators.values(), strict=True):
    of_seed = dict(zip(iterators, batches, strict=True))
    stacked = jax.tree.map(
      lambda *leaves: np.stack(leaves), *(of_seed[seed] for seed in seeds)
    )
    yield devices.split(stacked, task.mesh, axis=1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _statistics(
  apply: Any, objective: Any, vmap: bool, loss: reg.Loss, state: State, batch: Batch
) -> tuple[PyTree, Statistics]:
  def one(args: tuple[reg.Loss, Run, Batch]) -> tuple[PyTree, Statistics]:
    loss, run, batch = args
    outputs, model_state = apply(run.params, run.model_state, batch, None)
    key = jax.random.key(run.seed)  # the same noise at every evaluation
    _, statistics = objective(loss, outputs, batch, step=state.step, key=key)
    return model_state, statistics

  found: tuple[PyTree, Statistics] = over_runs(one, (loss, state.runs, batch), vmap)
  return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def _outputs(
  apply: Any, vmap: bool, state: State, batch: Batch
) -> tuple[PyTree, PyTree]:
  def one(args: tuple[Run, Batch]) -> tuple[PyTree, PyTree]:
    run, batch = args
    outputs, model_state = apply(run.params, run.model_state, batch, None)
    return model_state, outputs

  found: tuple[PyTree, PyTree] = over_runs(one, (state.runs, batch), vmap)
  return found
