"""The state of training: everything that a run needs to go on."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

import regularizers as reg
from experiments.task import Batch, PyTree, Statistics, Task


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Run:
  """One run; in a ``State`` every leaf has a leading axis of runs.

  Attributes:
    seed: [] int32, of the initial weights, the batches and the dropout.
    params: weights.
    model_state: what else the model carries from step to step.
    opt_state: the optimizer's.
    window: statistics summed since the last row.
    failed: [] int32, the first step that was not finite; -1 if none.
  """

  seed: jax.Array
  params: PyTree
  model_state: PyTree
  opt_state: PyTree
  window: Statistics
  failed: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """``step`` steps are done in each of ``runs``."""

  step: jax.Array
  runs: Run


def weights_of(state: State, run: int) -> tuple[PyTree, PyTree]:
  """Parameters of one run, and what else its model holds."""
  own = jax.tree.map(lambda leaf: leaf[run], state.runs)
  return own.params, own.model_state


def stack(losses: Sequence[reg.Loss]) -> reg.Loss:
  """Losses of the same form, one a run, as one with a leading axis on its leaves."""
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *losses)


def over_runs(one: Callable[[Any], PyTree], args: PyTree, vmap: bool) -> PyTree:
  """``one`` of every run, whose axis leads in ``args`` and in what is returned.

  One run alone is no batch of one, as products of these cost XLA:CPU twice the time.
  """
  if len(jax.tree.leaves(args)[0]) == 1:
    own = one(jax.tree.map(lambda leaf: leaf[0], args))
    return jax.tree.map(lambda leaf: leaf[None], own)
  return jax.vmap(one)(args) if vmap else jax.lax.map(one, args)


def init_state(
  task: Task,
  loss: reg.Loss,
  optimizer: optax.GradientTransformation,
  seeds: Sequence[int],
) -> State:
  """The state before the first step.

  Args:
    task: what is trained.
    loss: with a leading axis of runs on every leaf: see ``stack``.
    optimizer: of optax.
    seeds: one a run; runs that differ in the loss alone share it.
  """

  def init(seed: int) -> Run:
    params, model_state = task.init(jax.random.key(seed))
    opt_state = optimizer.init(params)
    return Run(jnp.int32(seed), params, model_state, opt_state, {}, jnp.int32(-1))

  # One by one, as a run's initial weights do not depend on its neighbours, and not
  # jitted: all tasks share the compiled draws, which take seconds to compile.
  of_seed = {seed: init(seed) for seed in seeds}
  runs = [of_seed[seed] for seed in seeds]
  one_loss = jax.tree.map(lambda leaf: leaf[0], loss)
  batch = next(task.batches('train', seeds[0], 0))
  _, (_, shapes) = jax.eval_shape(
    lambda *args: gradient(task.apply, task.objective, *args),
    *(one_loss, runs[0], batch, jnp.int32(0)),
  )
  window = jax.tree.map(
    lambda shape: jnp.zeros((len(seeds), *shape.shape), shape.dtype), shapes
  )
  all_runs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)
  return State(jnp.int32(0), dataclasses.replace(all_runs, window=window))


def gradient(
  apply: Any, objective: Any, loss: reg.Loss, run: Run, batch: Batch, step: jax.Array
) -> tuple[PyTree, tuple[PyTree, Statistics]]:
  """Gradient, new model state and statistics of one run on one batch."""
  key = jax.random.fold_in(jax.random.key(run.seed), step)
  apply_key, loss_key = jax.random.split(key)

  def value(params: PyTree) -> tuple[jax.Array, tuple[PyTree, Statistics]]:
    outputs, model_state = apply(params, run.model_state, batch, apply_key)
    value, statistics = objective(loss, outputs, batch, step=step, key=loss_key)
    return value, (model_state, statistics)

  tree, (model_state, statistics) = jax.grad(value, has_aux=True)(run.params)
  norm = (optax.tree.norm(tree), jnp.ones(()))
  return tree, (model_state, statistics | {'gradient_norm': norm})
