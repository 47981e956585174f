"""Stale copies of peers, for replicas that teach each other while they train.

Every ``every`` steps each replica shares a copy of its parameters (and of its batch
statistics), and takes the newest of each peer. Between exchanges the peers predict
from the last copies taken: predictions grow stale slowly, unlike gradients
(Anil et al., 2018).

  exchange = Directory('runs/exchange', replica=0, num_replicas=2, every=50)
  peers = exchange.init(params)
  for step in range(num_steps):
    peers = exchange(step, params, peers)
    params = train_step(params, peers, batch, step)

`Directory` is for replicas that are separate processes and share a directory: none
waits for another, or ends with it. `Mesh` is for replicas along an axis of
a device mesh, of one process or many that live and die together. `Local` is for
replicas stacked in one process, for tests and small studies.

In the loss of a replica:

  logits = model(params, batch)
  own = jax.vmap(lambda tree: model(tree, batch))(peers.trees)  # [peers, ..., V]
  teacher = peers.average(own, logits)
  losses = reg.codistillation(1.0)(reg.cross_entropy)(logits, labels, teacher=teacher)
"""

from regularizers.exchange.directory import Directory as Directory
from regularizers.exchange.local import Local as Local
from regularizers.exchange.mesh import Mesh as Mesh
from regularizers.exchange.peers import Exchange as Exchange
from regularizers.exchange.peers import ExchangeError as ExchangeError
from regularizers.exchange.peers import Peers as Peers

__all__ = ['Directory', 'Exchange', 'ExchangeError', 'Local', 'Mesh', 'Peers']
