"""The MLP against numpy, and its dropout and initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.mlp import MLP


def make(**options) -> MLP:
  return MLP(6, (32, 16), 3, rngs=nnx.Rngs(0), **options)


@pytest.fixture
def inputs(rng) -> np.ndarray:
  return rng.normal(size=(5, 6)).astype(np.float32)


def test_logits_are_those_of_numpy(inputs):
  model = make(init_std=0.5)
  hidden = inputs.astype(np.float64)
  *layers, last = model.layers
  for layer in layers:
    hidden = np.maximum(hidden @ np.asarray(layer.kernel) + np.asarray(layer.bias), 0)
  expected = hidden @ np.asarray(last.kernel) + np.asarray(last.bias)
  np.testing.assert_allclose(model(inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('shape', 'hidden'), [((6,), ()), ((2, 3, 6), (8, 8, 8))])
def test_any_leading_axes_and_number_of_layers(shape, hidden):
  def logits(inputs: jax.Array) -> jax.Array:
    return MLP(6, hidden, 3, rngs=nnx.Rngs(0))(inputs)

  assert jax.eval_shape(logits, jnp.ones(shape)).shape == (*shape[:-1], 3)


@pytest.mark.parametrize(
  ('init_std', 'expected'),
  [(0.01, [0.01] * 2), (None, [(2 / 400) ** 0.5, (2 / 300) ** 0.5])],
)
def test_initial_weights(init_std, expected):
  model = MLP(400, (300,), 200, init_std=init_std, rngs=nnx.Rngs(0))
  for layer, std in zip(model.layers, expected, strict=True):
    kernel = np.asarray(layer.kernel)
    # Six standard errors of the mean and of the standard deviation.
    assert abs(kernel.mean()) < 6 * std / kernel.size**0.5
    assert abs(kernel.std() / std - 1) < 6 / (2 * kernel.size) ** 0.5
    assert not np.asarray(layer.bias).any()


def test_the_state_is_parameters_alone():
  leaves = nnx.to_flat_state(nnx.state(make(dropout=0.5)))
  assert all(isinstance(leaf, nnx.Param) for _, leaf in leaves)


def test_dropout_is_off_in_evaluation(inputs):
  model, plain = make(dropout=0.5), make()
  expected = plain(inputs)
  np.testing.assert_array_equal(model(inputs, deterministic=True), expected)
  model.eval()
  np.testing.assert_array_equal(model(inputs), expected)
  model.train()
  with pytest.raises(ValueError, match='rngs'):
    model(inputs)


def test_dropout_draws_from_the_key_of_the_call(inputs):
  model = make(dropout=0.5)

  def draw(key: int) -> jax.Array:
    return model(inputs, rngs=nnx.Rngs(dropout=key))

  np.testing.assert_array_equal(draw(1), draw(1))
  assert np.abs(draw(1) - draw(2)).max() > 1e-3


def test_dropout_zeroes_its_share_after_every_hidden_layer_and_keeps_the_mean():
  """Seen at a network of one path a unit: hidden units copy a constant input."""
  size = 1000
  model = MLP(1, (size, size), size, dropout=0.25, rngs=nnx.Rngs(0))
  ones, eye = jnp.ones((1, size)), jnp.eye(size)
  for layer, kernel in zip(model.layers, (ones, eye, eye), strict=True):
    layer.kernel.set_value(kernel)
  outputs = np.asarray(model(jnp.ones((1, 1)), rngs=nnx.Rngs(dropout=0)))
  kept = 0.75**2
  assert set(np.unique(outputs.round(4))) == {0, np.float32(1 / kept).round(4)}
  assert abs((outputs > 0).mean() - kept) < 0.08
  assert abs(outputs.mean() - 1) < 0.15


def test_one_program_serves_several_seeds(inputs):
  models = [MLP(6, (32, 16), 3, dropout=0.5, rngs=nnx.Rngs(seed)) for seed in (0, 1)]
  graph = nnx.graphdef(models[0])
  params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, models))

  @jax.jit
  @jax.vmap
  def logits(params: nnx.State, key: jax.Array) -> jax.Array:
    return nnx.merge(graph, params)(inputs, rngs=nnx.Rngs(dropout=key))

  keys = jax.random.split(jax.random.key(0), 2)
  for model, key, ours in zip(models, keys, logits(params, keys), strict=True):
    alone = model(inputs, rngs=nnx.Rngs(dropout=key))
    np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-6)
