"""The one training loop: a generator, so what happens between steps is the caller's.

    for state, rows in training(task, loss, optimizer, state, num_steps=1000, ...):
      ...

Several runs (seeds, weights) go side by side as one program. A dispatch takes a few
steps, by a loop whose length is an argument of the program: where a run is evaluated,
saved or interrupted changes no bit of what comes out.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import regularizers as reg
from experiments import devices, evaluate
from experiments.errors import InputError
from experiments.evaluate import Row
from experiments.state import Run, State, gradient, over_runs
from experiments.task import Batch, Task


class NonFiniteError(InputError):
  """The loss or its gradient became infinite or NaN in run number ``run``."""

  def __init__(self, step: int, seed: int, run: int):
    super().__init__(
      f'the loss or its gradient is not finite at step {step}, seed {seed}'
    )
    self.run = run


def training(
  task: Task,
  loss: reg.Loss,
  optimizer: optax.GradientTransformation,
  state: State,
  *,
  num_steps: int,
  log_every: int,
  stops: Sequence[int] = (),
  chain: int = 8,
  vmap: bool = True,
  between: Callable[[State], State] | None = None,
) -> Iterator[tuple[State, list[Row]]]:
  """Trains to step ``num_steps``, yielding after every dispatch.

  A yielded state is valid until the generator goes on: its memory is used again.

  Args:
    task: what is trained.
    loss: with a leading axis of runs on every leaf: see ``state.stack``.
    optimizer: of optax.
    state: where to go on from; stays as it is.
    num_steps: the last step.
    log_every: steps from row to row.
    stops: periods at whose multiples the caller wants the state.
    chain: most steps in a dispatch; their batches have one shape. The same for all
      parts of a run: it is part of the program.
    vmap: all runs at once; otherwise one after the other.
    between: makes of the state after a dispatch the one that is yielded and goes on,
      of the same shapes and types; it must not keep arrays of it.

  Yields:
    The state and, at multiples of ``log_every`` and at the end, one row a run: the
    means over the steps since the last row. No rows otherwise.

  Raises:
    NonFiniteError: names step and seed. The states yielded before are finite.
  """
  seeds = evaluate.seeds_of(state)
  step = int(state.step)
  iterators = {seed: task.batches('train', seed, step) for seed in seeds}
  state = devices.everywhere(jax.tree.map(jnp.copy, state), task.mesh)
  while step < num_steps:
    turns = [step + every - step % every for every in (log_every, *stops)]
    count = min(step + chain, num_steps, *turns) - step
    block = devices.split(_block(iterators, seeds, count, chain), task.mesh, axis=2)
    statics = (task.apply, task.objective, optimizer, vmap)
    state = _advance(*statics, loss, state, block, np.int32(count))
    state = devices.everywhere(state, task.mesh)  # where XLA chose otherwise
    step += count
    _check_finite(state)
    rows: list[Row] = []
    if step % log_every == 0 or step == num_steps:
      state, rows = _close_window(state)
    if between is not None:
      state = between(state)
    yield state, rows


def _block(
  iterators: dict[int, Iterator[Batch]], seeds: list[int], count: int, chain: int
) -> Batch:
  """Batches ``[chain, runs, ...]``; those beyond ``count`` are filling."""
  steps = [{s: next(batches) for s, batches in iterators.items()} for _ in range(count)]
  steps += steps[-1:] * (chain - count)
  return jax.tree.map(
    lambda *leaves: np.stack(leaves).reshape(chain, len(seeds), *leaves[0].shape),
    *(batches[seed] for batches in steps for seed in seeds),
  )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def _advance(
  apply: Any,
  objective: Any,
  optimizer: optax.GradientTransformation,
  vmap: bool,
  loss: reg.Loss,
  state: State,
  block: Batch,
  count: jax.Array,
) -> State:
  """Takes ``count`` steps."""

  def body(index: jax.Array, state: State) -> State:
    def one(args: tuple[reg.Loss, Run, Batch]) -> Run:
      return _update(apply, objective, optimizer, *args, state.step)

    batch = jax.tree.map(lambda leaf: leaf[index], block)
    return State(state.step + 1, over_runs(one, (loss, state.runs, batch), vmap))

  return jax.lax.fori_loop(0, count, body, state)


def _update(
  apply: Any,
  objective: Any,
  optimizer: optax.GradientTransformation,
  loss: reg.Loss,
  run: Run,
  batch: Batch,
  step: jax.Array,
) -> Run:
  """One step of one run."""
  tree, (model_state, statistics) = gradient(apply, objective, loss, run, batch, step)
  updates, opt_state = optimizer.update(tree, run.opt_state, run.params)
  finite = jnp.isfinite(statistics['loss'][0] + statistics['gradient_norm'][0])
  return Run(
    seed=run.seed,
    params=optax.apply_updates(run.params, updates),
    model_state=model_state,
    opt_state=opt_state,
    window=jax.tree.map(jnp.add, run.window, statistics),
    failed=jnp.where((run.failed < 0) & ~finite, step + 1, run.failed),
  )


def _check_finite(state: State) -> None:
  failed = np.asarray(state.runs.failed)
  if (failed < 0).all():
    return
  run = int(np.where(failed < 0, np.iinfo(failed.dtype).max, failed).argmin())
  raise NonFiniteError(int(failed[run]), evaluate.seeds_of(state)[run], run)


def _close_window(state: State) -> tuple[State, list[Row]]:
  rows = evaluate.rows(state, 'train', state.runs.window)
  empty = jax.tree.map(jnp.zeros_like, state.runs.window)
  runs = dataclasses.replace(state.runs, window=empty)
  return dataclasses.replace(state, runs=runs), rows
