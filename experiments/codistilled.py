"""A task whose replicas teach one another, and the ensemble of them.

Peers are part of the model state: so they are in the checkpoints, and the teacher of
a step is computed on the batch of the step, in evaluation mode and with the peers' own
batch statistics.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

import regularizers as reg
from experiments.task import Batch, PyTree, Statistics, Task
from regularizers import metrics
from regularizers.exchange import Peers


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outputs:
  """What the model makes of a batch, and what its peers do.

  Attributes:
    own: the outputs of the task.
    teacher: ``[..., V]``, the log of the peers' mean probability.
    steps: ``[peers]``, when they were sent; -1: not yet.
  """

  own: jax.Array
  teacher: jax.Array
  steps: jax.Array


def codistilled(base: Task, num_peers: int) -> Task:
  """``base``, with ``teacher`` handed to its loss.

  The model state becomes ``own`` (of base), ``peers`` (a `Peers` of what ``given``
  makes of a replica) and ``carried`` (of each peer, on this replica's data).

  Args:
    base: its outputs are logits.
    num_peers: of a replica.
  """

  def init(key: jax.Array) -> tuple[PyTree, PyTree]:
    params, own = base.init(key)
    stack = functools.partial(_stacked, count=num_peers)
    peers = Peers(
      jax.tree.map(jnp.zeros_like, stack(given(base, params, own))),
      jnp.full(num_peers, -1, jnp.int32),
    )
    return params, {'own': own, 'peers': peers, 'carried': stack(_carried(base, own))}

  def apply(
    params: PyTree, model_state: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[Outputs, PyTree]:
    own, after = base.apply(params, model_state['own'], batch, key)
    peers = model_state['peers']
    logits, carried = _predictions(base, peers.trees, model_state['carried'], batch)
    outputs = Outputs(own, peers.average(logits, own), peers.steps)
    return outputs, {'own': after, 'peers': peers, 'carried': carried}

  def objective(
    loss: reg.Loss, outputs: Outputs, batch: Batch, *, step: Any, key: jax.Array
  ) -> tuple[jax.Array, Statistics]:
    taught: Any = functools.partial(loss, teacher=outputs.teacher)
    value, statistics = base.objective(taught, outputs.own, batch, step=step, key=key)
    return value, statistics | _of_peers(outputs, batch, step)

  def begin(model_state: PyTree, batch: Batch) -> PyTree:
    own = base.begin(model_state['own'], batch)
    carried = _stacked(_carried(base, own), num_peers)
    return {**model_state, 'own': own, 'carried': carried}

  return Task(init, apply, base.batches, objective, begin)


def ensemble(base: Task, count: int) -> Task:
  """Several models that predict together: the mean of their probabilities.

  For evaluation alone. Parameters are what ``given`` makes of each model, with an axis
  of models; the model state is ``own`` of any of them.
  """

  def init(key: jax.Array) -> tuple[PyTree, PyTree]:
    raise NotImplementedError('an ensemble is made of trained models')

  def apply(
    trees: PyTree, model_state: PyTree, batch: Batch, key: jax.Array | None
  ) -> tuple[jax.Array, PyTree]:
    logits, carried = _predictions(base, trees, model_state['carried'], batch)
    members = Peers({}, jnp.zeros(count, jnp.int32))
    return members.average(logits, logits[0]), {**model_state, 'carried': carried}

  def begin(model_state: PyTree, batch: Batch) -> PyTree:
    own = base.begin(model_state['own'], batch)
    return {'own': own, 'carried': _stacked(_carried(base, own), count)}

  return Task(init, apply, base.batches, base.objective, begin)


def given(base: Task, params: PyTree, own: PyTree) -> PyTree:
  """What a replica gives to its peers: all that its predictions depend on."""
  state = {name: own[name] for name in own if name not in base.carried}
  return {'params': params, 'state': state}


def _carried(base: Task, own: PyTree) -> PyTree:
  return {name: own[name] for name in base.carried}


def _predictions(
  base: Task, trees: PyTree, carried: PyTree, batch: Batch
) -> tuple[jax.Array, PyTree]:
  """``[members, ..., V]`` logits in evaluation mode, and what they carry on."""

  def one(tree: PyTree, carried: PyTree) -> tuple[jax.Array, PyTree]:
    state = {**tree['state'], **carried}
    logits, after = base.apply(tree['params'], state, batch, None)
    return logits, _carried(base, after)

  return jax.vmap(one)(trees, carried)


def _of_peers(outputs: Outputs, batch: Batch, step: Any) -> Statistics:
  """How old the peers are, and how often they predict another class."""
  present = outputs.steps >= 0
  age = jnp.where(present, jnp.maximum(step - outputs.steps, 0), 0)
  churn = metrics.churn(outputs.own, outputs.teacher, batch.get('mask'))
  taught = present.any().astype(jnp.float32)
  total, count = churn.disagreement
  return {
    'staleness': (age.sum().astype(jnp.float32), present.sum().astype(jnp.float32)),
    'peer_disagreement': (taught * total, taught * count),
  }


def _stacked(tree: PyTree, count: int) -> PyTree:
  return jax.tree.map(lambda leaf: jnp.stack([leaf] * count), tree)
