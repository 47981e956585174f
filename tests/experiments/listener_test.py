"""The network of speech: halved time, padding, steps, attention with a location."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.attention import Attention, Location
from experiments.models.listener import LAS, Sizes, halved

LENGTHS = (7, 4, 1)
SIZES = Sizes(3, 6, 4, 5, 2, 2, 'concat', 4, Location(2, 3))


@pytest.fixture(scope='module')
def model() -> LAS:
  return LAS(SIZES, rngs=nnx.Rngs(0))


def batch(width: int = 7, junk: float = 0.0) -> tuple[jax.Array, jax.Array, jax.Array]:
  random = np.random.default_rng(0)
  frames = random.normal(size=(3, 7, 3)).astype(np.float32)
  frames = np.pad(frames, ((0, 0), (0, width - 7), (0, 0)))
  mask = np.arange(width)[None] < np.array(LENGTHS)[:, None]
  frames = np.where(mask[..., None], frames, junk)
  inputs = random.integers(1, 6, (3, 4))
  return jnp.asarray(frames), jnp.asarray(mask), jnp.asarray(inputs)


@nnx.jit
def run(model: LAS, frames, mask, inputs):
  """Logits and weights of whole sequences, and of one step after another."""
  memory = model.encode(frames, mask, deterministic=True)
  hidden, weights = model.decode(memory, inputs, deterministic=True)

  def step(state, ids):
    *own, state = model.step(memory, state, ids)
    return state, own

  _, (own, looks) = jax.lax.scan(step, model.start(memory), inputs.T)
  return model.logits(hidden), weights, own, looks


def test_steps_are_those_of_whole_sequences_and_padding_changes_nothing(model: LAS):
  logits, weights, own, looks = run(model, *batch())
  np.testing.assert_allclose(own.swapaxes(0, 1), logits, atol=2e-6)
  np.testing.assert_allclose(looks.swapaxes(0, 1), weights, atol=2e-6)
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
  for row, count in enumerate((2, 1, 1)):  # of 7, 4 and 1 frames, halved twice
    assert (weights[row, :, :count] > 0).all()
    assert not weights[row, :, count:].any()
  wider, more, *_ = run(model, *batch(12, junk=9.0))
  np.testing.assert_allclose(wider, logits, atol=2e-6)
  np.testing.assert_allclose(more[..., : weights.shape[-1]], weights, atol=2e-6)
  assert not more[..., weights.shape[-1] :].any()


def test_an_utterance_is_that_of_its_own(model: LAS):
  """Of an odd number of frames, in a batch with longer ones."""
  frames, mask, inputs = batch()
  logits, *_ = run(model, frames, mask, inputs)
  alone, *_ = run(model, frames[2:, :1], mask[2:, :1], inputs[2:])
  np.testing.assert_allclose(alone[0], logits[2], atol=2e-6)


def test_dropout():
  """On what goes into a layer, on what is attended to, and into the softmax layer."""
  model = LAS(SIZES, dropout=0.5, rngs=nnx.Rngs(0))
  frames, mask, inputs = batch()

  @nnx.jit
  def values(model, rngs):
    drop = {'deterministic': rngs is None, 'rngs': rngs}
    memory = model.encode(frames, mask, **drop)
    return memory.values[0], model.decode(memory, inputs, **drop)[0][..., :5]

  for dropped in values(model, nnx.Rngs(dropout=0)):
    assert 0.2 < (dropped == 0).mean() < 0.8
  model.dropout = nnx.Dropout(0)  # what is left is that within the encoder
  within, _ = values(model, nnx.Rngs(dropout=0))
  plain, _ = values(model, None)
  assert (within != 0).all()
  assert not np.allclose(within, plain, atol=1e-3)


def test_two_frames_become_one():
  frames, mask, _ = batch(junk=5.0)
  pairs, there = halved(frames, mask, 'concat')
  assert pairs.shape == (3, 4, 6)
  assert there.tolist() == [
    [True] * 4,
    [True, True, False, False],
    [True] + [False] * 3,
  ]
  np.testing.assert_array_equal(pairs[0, 1], [*frames[0, 2], *frames[0, 3]])
  np.testing.assert_array_equal(pairs[0, 3], [*frames[0, 6], 0, 0, 0])
  np.testing.assert_array_equal(pairs[2, 0], [*frames[2, 0], 0, 0, 0])
  firsts, same = halved(frames, mask, 'skip')
  np.testing.assert_array_equal(firsts, frames[:, ::2])
  np.testing.assert_array_equal(same, there)


def test_attention_reads_where_it_looked_before():
  """In float64 numpy, by the formulae of Chorowski et al."""
  init = nnx.initializers.normal(1.0)
  own = Attention(3, 4, 5, location=Location(2, 5), kernel_init=init, rngs=nnx.Rngs(0))
  random = np.random.default_rng(0)
  values, query = random.normal(size=(1, 6, 4)), random.normal(size=(3, 3))
  mask = np.array([[True] * 5 + [False]])
  memory = own.memory(jnp.float32(values), jnp.asarray(mask))
  (weights,) = own.initial(memory)
  before = np.eye(6)[0]  # the first place of the source
  state = jax.tree.map(
    lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(nnx.state(own))
  )
  linear, attend = state['of_values'], nnx.jit(Attention.__call__)
  for step in range(3):
    _, weights = attend(own, memory, jnp.float32(query[step : step + 1]), weights)
    features = np.zeros((6, 2))
    for place in range(6):
      for offset in range(-2, 3):
        if 0 <= place + offset < 6:
          features[place] += before[place + offset] * state['filters'][offset + 2]
    inner = values[0] @ linear['kernel'] + linear['bias']
    inner = inner + query[step] @ state['of_query']['kernel']
    energies = np.tanh(inner + features @ state['of_location']) @ state['energy']
    before = np.where(mask[0], np.exp(energies), 0)
    before /= before.sum()
    np.testing.assert_allclose(weights[0], before, atol=2e-6)


@pytest.mark.parametrize('location', [None, Location(2, 3)], ids=['plain', 'location'])
def test_several_queries_of_one_memory(location: Location | None):
  """As if the memory were repeated, each of the batch as often as it is asked."""
  random, init = np.random.default_rng(0), nnx.initializers.lecun_normal()
  options = {'location': location, 'kernel_init': init, 'rngs': nnx.Rngs(0)}
  own = Attention(3, 4, 5, **options)
  values, mask = random.normal(size=(2, 6, 4)), np.arange(6)[None] < [[6], [4]]
  asked = [random.normal(size=(6, 3)), random.dirichlet(np.ones(6), 6)]
  asked = [jnp.asarray(part, jnp.float32) for part in asked][
    : 1 + (location is not None)
  ]

  @nnx.jit
  def looks(own, values, mask):
    return own(own.memory(values, mask), *asked)

  values = values.astype(np.float32)
  once = looks(own, values, mask)
  each = looks(own, np.repeat(values, 3, 0), np.repeat(mask, 3, 0))
  for one, other in zip(once, each, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ('change', 'message'),
  [({'halvings': 3}, '3 halvings in 2 layers'), ({'merge': 'sum'}, "got 'sum'")],
)
def test_bad_sizes(change: dict, message: str):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(SIZES, **change)


def test_a_filter_has_a_middle():
  with pytest.raises(ValueError, match='expected an odd width, got 4'):
    Attention(
      3,
      4,
      5,
      location=Location(2, 4),
      kernel_init=nnx.initializers.normal(),
      rngs=nnx.Rngs(0),
    )
