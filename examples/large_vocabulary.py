"""A vocabulary too large for its logits: `reg.linear_loss` never builds them.

The model ends in hidden states, the loss is given the last layer's kernel (here the
embedding again, transposed) and works through the positions in chunks. The terms, the
mask, the schedule and the metrics are those of any other loss.

python -m examples.large_vocabulary
"""

import functools

import jax
import jax.numpy as jnp
import optax

import regularizers as reg
from examples.problem import Params, sequences

VOCABULARY, WIDTH = 8192, 32
LOSS = reg.chain(
  reg.label_smoothing(0.1),
  reg.confidence_penalty(optax.linear_schedule(0.0, 0.1, 50)),
)(reg.cross_entropy)
OPTIMIZER = optax.adam(0.01)


def init(seed: int = 0) -> Params:
  """An embedding, which is the last layer too, and a layer between."""
  keys = jax.random.split(jax.random.key(seed))
  return {
    'embedding': jax.random.normal(keys[0], (VOCABULARY, WIDTH)) / WIDTH**0.5,
    'mix': jax.random.normal(keys[1], (2 * WIDTH, WIDTH)),
  }


def states(params: Params, tokens: jax.Array) -> jax.Array:
  """Hidden states ``[n, t, WIDTH]`` of a token and the one before it."""
  now = params['embedding'][tokens]
  before = jnp.pad(now, ((0, 0), (1, 0), (0, 0)))[:, :-1]
  return jnp.tanh(jnp.concatenate([now, before], -1) @ params['mix'])


def objective(
  params: Params, tokens: jax.Array, mask: jax.Array, step: jax.Array
) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
  """The mean over the real tokens that have one before them, and its metrics."""
  hidden = states(params, (tokens * mask)[:, :-1])
  kernel = params['embedding'].T
  return reg.linear_loss(
    LOSS, hidden, kernel, tokens[:, 1:], mask[:, 1:], step=step, with_metrics=True
  )


def surprise(params: Params, tokens: jax.Array) -> jax.Array:
  """−log p of every token but the first: one value per position, no logits either."""
  hidden = states(params, tokens[:, :-1])
  p = reg.LinearCategorical(hidden, params['embedding'].T)
  return -reg.log_prob(p, tokens[:, 1:])


@functools.partial(jax.jit, static_argnames='num_steps')
def train(num_steps: int = 100) -> tuple[Params, dict[str, jax.Array]]:
  """The trained parameters; loss, nll and entropy before every step."""
  tokens, mask = data()
  params = init()

  def update(carry: tuple, step: jax.Array) -> tuple[tuple, dict[str, jax.Array]]:
    params, state = carry
    run = jax.value_and_grad(objective, has_aux=True)
    (value, metrics), gradient = run(params, tokens, mask, step)
    updates, state = OPTIMIZER.update(gradient, state)
    row = {name: total / count for name, (total, count) in metrics.items()}
    return (optax.apply_updates(params, updates), state), {'loss': value, **row}

  start = params, OPTIMIZER.init(params)
  (params, _), rows = jax.lax.scan(update, start, jnp.arange(num_steps))
  return params, rows


def data() -> tuple[jax.Array, jax.Array]:
  """The counting sequences, their seven tokens spread over the vocabulary."""
  tokens, mask = sequences()
  return tokens * 1000, mask


if __name__ == '__main__':
  _, rows = train()
  print(LOSS)
  for step in (0, -1):
    print({name: f'{values[step]:.3f}' for name, values in rows.items()})
