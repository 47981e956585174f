"""A replica that trains a tiny model; directory_processes_test.py starts several.

replica_program.py DIRECTORY INDEX COUNT WIDTH STEPS STATE LOG

It goes on from STATE, which it writes at every step, and cuts LOG back to it. A line of
LOG is its step and those of its peers, as it has them then. A copy is much larger than
what else it writes, so that a limit on the size of files keeps it from nothing else.
"""

import os
import pathlib
import sys
import time
from typing import Any

os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import jax.numpy as jnp
import numpy as np

import regularizers as reg
from regularizers.exchange import Directory, Peers

PLACE, STATE, LOG = sys.argv[1], *map(pathlib.Path, sys.argv[6:8])
INDEX, COUNT, WIDTH, STEPS = map(int, sys.argv[2:6])
EVERY, SECONDS = 10, 0.005  # steps, and at least so long is one
MORE = 50_000  # bytes of a copy
LOSS = reg.codistillation(0.5)(reg.cross_entropy)


@jax.jit
def update(weights: jax.Array, peers: Peers) -> jax.Array:
  inputs = jnp.eye(WIDTH)

  def mean_loss(weights: jax.Array) -> jax.Array:
    logits = inputs @ weights
    own = jax.vmap(lambda tree: inputs @ tree['weights'])(peers.trees)
    teacher = peers.average(own, logits)
    return LOSS(logits, jnp.arange(WIDTH) % 3, teacher=teacher).mean()

  return weights - 0.1 * jax.grad(mean_loss)(weights)


def given(weights: jax.Array) -> dict[str, Any]:
  return {'weights': weights, 'more': np.zeros(MORE, np.uint8)}


def cut_back(lines: int) -> None:
  """A kill between log and state leaves a line of a step that is taken again."""
  if LOG.exists():
    LOG.write_text(''.join(LOG.read_text().splitlines(keepends=True)[:lines]))


def main() -> None:
  first, weights = 0, jnp.full((WIDTH, 3), 0.1 * INDEX)
  if STATE.exists():
    saved = np.load(STATE)
    first, weights = int(saved['step']), jnp.asarray(saved['weights'])
  exchange = Directory(PLACE, INDEX, COUNT, EVERY)
  peers = exchange.init(given(weights))
  cut_back(first)
  with LOG.open('a') as log:
    for step in range(first, STEPS):
      peers = exchange(step, given(weights), peers)
      weights = update(weights, peers)
      print(step, *peers.steps.tolist(), file=log, flush=True)
      np.savez(STATE.with_suffix('.tmp.npz'), step=step + 1, weights=weights)
      STATE.with_suffix('.tmp.npz').replace(STATE)
      time.sleep(SECONDS)
  assert np.isfinite(weights).all()
  if INDEX == 0:
    exchange.close()  # the others leave it to the end of the interpreter


if __name__ == '__main__':
  main()
