"""Reinforcement learning: the entropy bonus of a policy gradient is the same statistic.

A bandit with four contexts and 64 arms, of which one pays 1, 24 pay ½ and the others
nothing. REINFORCE without a bonus mostly settles on an arm that pays ½ before it has
seen the best one; with a bonus that is annealed it goes on trying, and finds it.

python -m examples.entropy_bonus
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import regularizers as reg

CONTEXTS, ARMS, DECOYS, WIDTH, BATCH = 4, 64, 24, 16, 32
OPTIMIZER = optax.adam(0.1)

Params = dict[str, jax.Array]


def rewards() -> jax.Array:
  """What each arm pays, ``[contexts, arms]``."""
  random = np.random.default_rng(0)
  pays = np.repeat([1.0, 0.5, 0.0], [1, DECOYS, ARMS - DECOYS - 1])
  return jnp.asarray([random.permutation(pays) for _ in range(CONTEXTS)], jnp.float32)


def policy(params: Params, contexts: jax.Array) -> reg.LinearCategorical:
  """The distribution over arms, for log-probabilities and entropies alike.

  With very many actions the gradient need not build their logits; only drawing an
  action does. `reg.Categorical(hidden @ kernel)` is the same in every other respect.
  """
  hidden = jnp.tanh(params['embedding'][contexts])
  return reg.LinearCategorical(hidden, params['kernel'])


def objective(params: Params, key: jax.Array, bonus: jax.Array) -> jax.Array:
  """REINFORCE on a sampled batch, minus ``bonus`` times the policy's entropy."""
  contexts = jnp.arange(BATCH) % CONTEXTS
  p = policy(params, contexts)
  arms = jax.random.categorical(key, p.log_probs())
  reward = rewards()[contexts, arms]
  advantage = reward - reward.mean()
  return jnp.mean(-advantage * p.log_prob(arms) - bonus * reg.entropy(p))


@functools.partial(jax.jit, static_argnames='num_steps')
def train(
  bonus: float, seed: int, num_steps: int = 300
) -> tuple[Params, dict[str, jax.Array]]:
  """The parameters, and by step the policy's expected reward and mean entropy."""
  keys = jax.random.split(jax.random.key(seed), num_steps + 1)
  params = {
    'embedding': jax.random.normal(keys[0], (CONTEXTS, WIDTH)),
    'kernel': jnp.zeros((WIDTH, ARMS)),  # every arm as likely
  }
  # The bonus ends at half time, so that the policy can make up its mind.
  annealed = optax.linear_schedule(bonus, 0.0, num_steps // 2)

  def step(carry: tuple, inputs: tuple) -> tuple[tuple, dict[str, jax.Array]]:
    params, state = carry
    now, key = inputs
    p = policy(params, jnp.arange(CONTEXTS))
    expected = p.sum(lambda log_p, pay: jnp.exp(log_p) * pay, rewards()).mean()
    row = {'reward': expected, 'entropy': reg.entropy(p).mean()}
    gradient = jax.grad(objective)(params, key, annealed(now))
    updates, state = OPTIMIZER.update(gradient, state)
    return (optax.apply_updates(params, updates), state), row

  steps = jnp.arange(num_steps), keys[1:]
  (params, _), rows = jax.lax.scan(step, (params, OPTIMIZER.init(params)), steps)
  return params, rows


if __name__ == '__main__':
  for bonus in (0.0, 0.2):
    _, rows = jax.vmap(train, (None, 0))(bonus, jnp.arange(4))
    reward, entropy = rows['reward'].mean(0), rows['entropy'].mean(0)
    for when, step in (('after a quarter', len(reward) // 4), ('at the end', -1)):
      print(f'bonus {bonus} {when}: reward {reward[step]:.2f}, H {entropy[step]:.2f}')
