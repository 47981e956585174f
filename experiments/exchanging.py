"""The replicas of a training state, and the exchange between them.

Runs stand replica by replica: run ``r * retrains + s`` is replica r of retrain s, and
so is its seed. A process that holds one replica has ``retrains`` runs.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import records
from experiments.codistilled import given
from experiments.errors import InputError
from experiments.state import State
from experiments.task import PyTree, Task
from regularizers.exchange import Directory, ExchangeError, Local, Peers


def local(base: Task, num_replicas: int, every: int) -> Callable[[State], State]:
  """All replicas are runs of one state; they exchange at multiples of ``every``."""
  exchange = Local(num_replicas, every)

  @jax.jit
  def swapped(state: State) -> State:
    def by_replica(leaf: jax.Array) -> jax.Array:
      return leaf.reshape(num_replicas, -1, *leaf.shape[1:])

    def by_run(leaf: jax.Array) -> jax.Array:  # [replicas, peers, retrains, ...]
      leaf = jnp.moveaxis(leaf, 1, 2)
      return leaf.reshape(-1, *leaf.shape[2:])

    trees = jax.tree.map(by_replica, given_by(base, state))
    peers = exchange.swap(state.step, trees)
    count = state.runs.seed.shape[0] // num_replicas
    steps = jnp.repeat(peers.steps[:, :, None], count, axis=2)
    return with_peers(state, Peers(jax.tree.map(by_run, peers.trees), by_run(steps)))

  def between(state: State) -> State:
    return state if int(state.step) % every else swapped(state)

  return between


class ThroughDirectory:
  """One replica, of all retrains, among processes that share a directory.

  What is read depends on who is how fast, and goes into a log of its own.
  """

  def __init__(
    self,
    base: Task,
    exchange: Directory,
    log: pathlib.Path,
    begun: Callable[[], None] | None = None,
  ):
    """
    Args:
      base: the task without peers.
      exchange: what copies go through.
      log: says at which step which copy was taken up.
      begun: called once, when the first copy is given away.
    """
    self._base, self._exchange, self._log = base, exchange, log
    self._begun = begun
    self._peers: Peers | None = None

  def __call__(self, state: State) -> State:
    """With the newest peers, if there are any that it has not."""
    before = self._peers or _by_peer(state.runs.model_state['peers'])
    step = int(state.step)
    try:
      self._peers = self._exchange(step, given_by(self._base, state), before)
    except ExchangeError as error:
      raise InputError(str(error)) from error
    if self._begun is not None and step % self._exchange.every == 0:
      self._begun()
      self._begun = None
    if self._peers is before:
      return state
    self._note(step)
    return with_peers(state, _by_retrain(self._peers, len(state.runs.seed)))

  def _note(self, step: int) -> None:
    assert self._peers is not None
    rows = [
      {'step': step, 'peer': peer, 'peer_step': int(peer_step)}
      for peer, peer_step in zip(
        self._exchange.peers, np.asarray(self._peers.steps), strict=True
      )
      if peer_step >= 0
    ]
    # The disk takes longer than some steps, and nothing is taken up from here.
    records.append(self._log, rows, durable=False)


def with_peers(state: State, peers: Peers) -> State:
  """The state, its runs having these peers."""
  model_state = {**state.runs.model_state, 'peers': peers}
  return dataclasses.replace(
    state, runs=dataclasses.replace(state.runs, model_state=model_state)
  )


def served(state: State) -> State:
  """The replicas without their peers: what is put to use, and what is measured."""
  model_state = state.runs.model_state['own']
  return dataclasses.replace(
    state, runs=dataclasses.replace(state.runs, model_state=model_state)
  )


def grouped(base: Task, state: State, size: int) -> PyTree:
  """What runs s, s + n/size, ... give, ``[n / size, size, ...]``: their ensembles."""

  def one(leaf: jax.Array) -> jax.Array:
    return jnp.moveaxis(leaf.reshape(size, -1, *leaf.shape[1:]), 0, 1)

  return jax.tree.map(one, given(base, state.runs.params, state.runs.model_state))


def given_by(base: Task, state: State) -> PyTree:
  return given(base, state.runs.params, state.runs.model_state['own'])


def _by_peer(peers: Peers) -> Peers:
  """``[retrains, peers, ...]`` to ``[peers, retrains, ...]``."""
  trees = jax.tree.map(lambda leaf: np.moveaxis(np.array(leaf), 1, 0), peers.trees)
  return Peers(trees, jnp.asarray(np.asarray(peers.steps)[0]))


@functools.partial(jax.jit, static_argnums=1)
def _by_retrain(peers: Peers, retrains: int) -> Peers:
  trees = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), peers.trees)
  return Peers(trees, jnp.tile(peers.steps, (retrains, 1)))
