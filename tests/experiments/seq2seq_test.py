"""The network of translation: steps and whole sequences, padding, float64 by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.seq2seq import Seq2Seq, Sizes

SIZES = {
  'one layer each': Sizes(9, 11, 4, 6, 1, 1, 5),
  'four layers': Sizes(9, 11, 4, 6, 4, 4, 5),
}
LENGTHS = np.array([5, 3, 1])


def made(name: str, **options) -> Seq2Seq:
  return Seq2Seq(SIZES[name], rngs=nnx.Rngs(0), **options)


def batch(width: int = 5, time: int = 4) -> tuple[jax.Array, jax.Array, jax.Array]:
  random = np.random.default_rng(0)
  source = random.integers(1, 9, (3, 5))
  mask = np.arange(5)[None] < LENGTHS[:, None]
  source, mask = (np.pad(a, ((0, 0), (0, width - 5))) for a in (source, mask))
  inputs = random.integers(1, 11, (3, time))
  return jnp.asarray(source), jnp.asarray(mask), jnp.asarray(inputs)


@nnx.jit
def run(model: Seq2Seq, source, mask, inputs):
  memory = model.encode(source, mask, deterministic=True)
  hidden, weights = model.decode(memory, inputs, deterministic=True)
  return model.logits(hidden), weights


@pytest.mark.parametrize('name', SIZES)
def test_steps_are_those_of_whole_sequences(name: str):
  model, (source, mask, inputs) = made(name), batch()
  logits, weights = run(model, source, mask, inputs)

  @nnx.jit
  def one(model, state, ids):
    memory = model.encode(source, mask, deterministic=True)
    return model.step(memory, state, ids)

  state = model.start(model.encode(source, mask, deterministic=True))
  for time in range(4):
    own, looks, state = one(model, state, inputs[:, time])
    np.testing.assert_allclose(own, logits[:, time], atol=2e-6)
    np.testing.assert_allclose(looks, weights[:, time], atol=2e-6)


@pytest.mark.parametrize('name', SIZES)
def test_padding_changes_nothing(name: str):
  model = made(name)
  logits, weights = run(model, *batch())
  source, mask, inputs = batch(width=8)
  junk = jnp.where(mask, source, 7)
  wider, looks = run(model, junk, mask, inputs)
  np.testing.assert_allclose(wider, logits, atol=2e-6)
  np.testing.assert_allclose(looks[..., :5], weights, atol=2e-6)
  assert not np.asarray(looks)[~np.broadcast_to(mask[:, None], looks.shape)].any()
  np.testing.assert_allclose(looks.sum(-1), 1, atol=1e-6)


def test_a_symbol_sees_those_before_it_alone():
  model, (source, mask, inputs) = made('four layers'), batch()
  logits, _ = run(model, source, mask, inputs)
  changed, _ = run(model, source, mask, inputs.at[:, 2].set(3))
  np.testing.assert_array_equal(changed[:, :2], logits[:, :2])
  assert (np.abs(changed[:, 2:] - logits[:, 2:]).max((1, 2)) > 1e-4).any()


def lstm(x, h, c, w, u, b):
  i, f, g, o = np.split(x @ w + h @ u + b, 4, axis=-1)
  i, f, o = (1 / (1 + np.exp(-z)) for z in (i, f, o))
  c = f * c + i * np.tanh(g)
  return o * np.tanh(c), c


def test_by_hand():
  """One pair, in float64 numpy: both directions, attention, decoder, softmax layer."""
  model = made('one layer each')
  state = jax.tree.map(
    lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(nnx.state(model))
  )
  source, target = [3, 8, 1], [1, 5, 9]
  memory = np.zeros((3, 12))
  for index, order in enumerate(([0, 1, 2], [2, 1, 0])):
    own = state['encoder'][0]['directions'][index]
    h = c = np.zeros(6)
    for place in order:
      x = state['source']['embedding'][source[place]]
      parts = own['input_kernel'], own['recurrent_kernel'], own['bias']
      h, c = lstm(x, h, c, *parts)
      memory[place, 6 * index : 6 * index + 6] = h
  first = state['first']
  attention = first['attention']
  values = attention['of_values']
  keys = memory @ values['kernel'] + values['bias']
  h = c = np.zeros(6)
  expected = []
  for symbol in target:
    query = h @ attention['of_query']['kernel']
    energies = np.tanh(keys + query) @ attention['energy']
    weights = np.exp(energies) / np.exp(energies).sum()
    x = np.concatenate([state['target']['embedding'][symbol], weights @ memory])
    w = np.concatenate([first['of_inputs'], first['of_context']])
    h, c = lstm(x, h, c, w, first['recurrent'], first['bias'])
    expected.append(h @ state['output']['kernel'] + state['output']['bias'])
  logits, _ = run(
    model, jnp.array([source]), jnp.ones((1, 3), bool), jnp.array([target])
  )
  np.testing.assert_allclose(logits[0], expected, atol=2e-6)


def test_residual_from_the_third_layer_on():
  """Layers whose weights are zero put out nothing, but what is below them."""
  source, mask, inputs = batch()

  def zeroed(name: str, layers: range) -> jax.Array:
    model = made(name)
    for layer in layers:
      recurrent = model.others[layer - 1]
      nnx.update(recurrent, jax.tree.map(jnp.zeros_like, nnx.state(recurrent)))
    return run(model, source, mask, inputs)[0]

  bias = made('four layers').output.bias[...]
  assert np.abs(zeroed('four layers', range(2, 4)) - bias[None, None]).max() > 1e-3
  assert np.abs(zeroed('four layers', range(1, 4)) - bias[None, None]).max() == 0


def test_dropout_needs_a_key_and_changes_the_output():
  model, (source, mask, inputs) = made('four layers', dropout=0.5), batch()
  plain, _ = run(model, source, mask, inputs)

  @nnx.jit
  def dropped(model: Seq2Seq, key: jax.Array) -> jax.Array:
    drop = {'deterministic': False, 'rngs': nnx.Rngs(dropout=key)}
    memory = model.encode(source, mask, **drop)
    return model.logits(model.decode(memory, inputs, **drop)[0])

  one, other = (dropped(model, jax.random.key(seed)) for seed in (0, 1))
  assert np.abs(one - plain).max() > 1e-3
  assert np.abs(one - other).max() > 1e-3


def test_gradient_of_the_padding_is_zero():
  model, (source, mask, inputs) = made('one layer each'), batch()
  graph, state = nnx.split(model)

  @jax.jit
  def gradient(state):
    def total(state):
      own = nnx.merge(graph, state)
      memory = own.encode(source, mask, deterministic=True)
      hidden, _ = own.decode(memory, inputs, deterministic=True)
      return (own.logits(hidden)[1] ** 2).sum()  # of the row of length 3

    return jax.grad(total)(state)

  table = np.asarray(nnx.to_pure_dict(gradient(state))['source']['embedding'])
  seen = set(np.asarray(source)[1, :3].tolist())
  assert {i for i in range(9) if table[i].any()} == seen
