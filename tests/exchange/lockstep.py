"""A small training of replicas that teach each other, for all ways of exchange."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import regularizers as reg
from regularizers.exchange import Peers

STEPS, EVERY, BURN_IN = 21, 5, 7
FEATURES, HIDDEN, CLASSES, ROWS = 4, 8, 3, 6


def weight(step: Any) -> jax.Array:
  return jnp.where(step < BURN_IN, 0.0, 0.5)


LOSS = reg.codistillation(weight, kind='kl')(reg.cross_entropy)


def start(count: int) -> dict[str, np.ndarray]:
  """Parameters and running statistics of all replicas, stacked."""
  rng = np.random.default_rng(0)
  shapes = {'inner': (FEATURES, HIDDEN), 'outer': (HIDDEN, CLASSES)}
  tree = {name: rng.normal(size=(count, *shape)) for name, shape in shapes.items()}
  tree['mean'] = np.zeros((count, FEATURES))
  return {name: np.float32(leaf) for name, leaf in tree.items()}


def batch(step: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Of all replicas, each with rows of its own."""
  rng = np.random.default_rng([1, step])
  inputs = rng.normal(1.0, 2.0, size=(count, ROWS, FEATURES))
  return np.float32(inputs), np.int32(inputs.argmax(-1) % CLASSES)


def predict(tree: Any, inputs: jax.Array) -> jax.Array:
  return jnp.tanh((inputs - tree['mean'][None]) @ tree['inner']) @ tree['outer']


def update(tree: Any, peers: Peers, inputs: Any, labels: Any, step: Any) -> Any:
  """One step of one replica."""

  def mean_loss(weights: Any) -> jax.Array:
    logits = predict(tree | weights, inputs)
    theirs = jax.vmap(predict, (0, None))(peers.trees, inputs)
    teacher = peers.average(theirs, logits)
    return LOSS(logits, labels, teacher=teacher, step=step).mean()

  weights = {name: tree[name] for name in ('inner', 'outer')}
  gradient = jax.grad(mean_loss)(weights)
  weights = jax.tree.map(lambda w, g: w - 0.3 * g, weights, gradient)
  return weights | {'mean': 0.9 * tree['mean'] + 0.1 * inputs.mean(0)}


def train_stacked(
  exchange: Any, count: int, place: Callable[..., Any] = jnp.asarray
) -> tuple[Any, Peers]:
  """With `Local` or `Mesh`; ``place`` makes arrays of what all replicas have."""
  tree = jax.tree.map(place, start(count))
  every = jax.jit(jax.vmap(update, (0, 0, 0, 0, None)))
  peers = exchange.init(tree)
  for step in range(STEPS):
    peers = exchange(step, tree, peers)
    tree = every(tree, peers, *map(place, batch(step, count)), step)
  return tree, peers


def train_each(exchanges: list[Any]) -> tuple[Any, Peers]:
  """With one `Directory` for each replica.

  Whoever is called first in a round finds what the others gave away in the one before;
  called again, at the same step, it finds what they gave away in this one.
  """
  count = len(exchanges)
  stacked = start(count)
  trees = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(count)]
  one = jax.jit(update)
  peers = [e.init(tree) for e, tree in zip(exchanges, trees, strict=True)]
  for step in range(STEPS):
    for _ in range(2):
      for i, exchange in enumerate(exchanges):
        peers[i] = exchange(step, trees[i], peers[i])
    inputs, labels = batch(step, count)
    for i in range(count):
      trees[i] = one(trees[i], peers[i], inputs[i], labels[i], step)
  together: Any = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
  return together, jax.tree.map(lambda *leaves: np.stack(leaves), *peers)
