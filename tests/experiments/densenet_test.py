"""The dense network: its size, statistics, convolutions and memory.

tests/benchmarks/images_benchmark_test.py sets it against PyTorch.
"""

import doctest
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.errors import InputError
from experiments.models import densenet
from experiments.models.convolution import convolution, plain
from experiments.models.densenet import DenseNet
from experiments.task import functions, state_of

SIDE, CLASSES = 8, 5


def module(rngs: nnx.Rngs, **options) -> DenseNet:
  return DenseNet(CLASSES, depth=7, growth=3, rngs=rngs, **options)


def images(n: int = 6, side: int = SIDE) -> np.ndarray:
  random = np.random.default_rng(0)
  return random.normal(0.3, 1.5, (n, side, side, 3)).astype(np.float32)


@functools.partial(nnx.jit, static_argnums=2)
def run(model, inputs, deterministic: bool, rngs=None):
  return model(inputs, deterministic=deterministic, rngs=rngs)


@pytest.mark.parametrize(
  ('options', 'size'),
  [
    ({}, 1_019_722),
    ({'depth': 100, 'bottleneck': True, 'reduction': 0.5}, 769_162),
  ],
  ids=['40-12', 'BC-100-12'],
)
def test_number_of_weights(options, size: int):
  """Huang et al. have 1.0M and 0.8M."""
  init, _ = functions(lambda rngs: DenseNet(10, rngs=rngs, **options))
  params, _ = jax.eval_shape(init, jax.random.key(0))
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == size


def test_initial_weights():
  layer = densenet.NormConv(3, 40, 24, rngs=nnx.Rngs(0))
  assert np.std(layer.kernel[...]) == pytest.approx(np.sqrt(2 / (9 * 24)), rel=0.05)
  assert np.all(layer.scale[...] == 1) and not np.any(layer.bias[...])
  output = module(nnx.Rngs(0)).output
  limit = 1 / np.sqrt(output.in_features)
  assert 0.95 * limit < np.abs(output.kernel[...]).max() <= limit
  assert not np.any(output.bias[...])


def test_statistics_move_in_training_alone_and_dropout_draws_there_alone():
  model = module(nnx.Rngs(0), dropout=0.5)
  before = state_of(model)
  once = run(model, images(), True)
  np.testing.assert_allclose(run(model, images(2), True), once[:2], rtol=2e-6)
  for a, b in zip(*map(jax.tree.leaves, (before, state_of(model))), strict=True):
    np.testing.assert_array_equal(a, b)
  first, again, other = (
    run(model, images(), False, nnx.Rngs(dropout=seed)) for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - other).max() > 0.01
  # The features that came first are not dropped: they are as expected after three.
  stem = np.asarray(plain(images().transpose(3, 0, 1, 2), model.stem[...]))
  running = model.blocks[0].running
  kept, moved = 0.9**3, 1 - 0.9**3
  mean, var = stem.mean((1, 2, 3)), stem.var((1, 2, 3))
  np.testing.assert_allclose(running.mean[:16], moved * mean, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(running.var[:16], kept + moved * var, rtol=1e-5)
  assert not np.any(running.var[16:] == 1)


@pytest.mark.parametrize('depth', [3, 4, 8])
def test_a_depth_of_another_form_is_refused(depth: int):
  with pytest.raises(InputError, match=rf'3n \+ 4 with n = 1, 2, ..., got {depth}'):
    DenseNet(2, depth=depth, rngs=nnx.Rngs(0))


def test_a_reduction_that_keeps_no_channel_is_refused():
  with pytest.raises(InputError, match=r'^reduction: .* one of 19 channels or more'):
    module(nnx.Rngs(0), reduction=0.05)


def test_what_a_call_refuses():
  model = module(nnx.Rngs(0), dropout=0.1)
  for shape in ((2, 7, 8, 3), (2, 8, 8, 1), (8, 8, 3)):
    with pytest.raises(InputError, match='images: expected .n, 8 or more'):
      model(jnp.ones(shape), deterministic=True)
  with pytest.raises(ValueError, match='rngs: expected a key'):
    run(model, images(), False)


def test_what_is_computed_again_changes_nothing():
  """The same values and gradients in float64; the program asks for it once a layer."""
  found, barriers = [], []
  with jax.enable_x64(True):
    for remat in (False, True):
      init, merged = functions(functools.partial(module, remat=remat))
      weights = jax.tree.map(lambda a: a.astype(float), init(jax.random.key(0)))

      def value(params, rest, x, merged=merged):
        model, _ = merged(params, rest, None)
        return (model(x, deterministic=False) ** 2).sum(), state_of(model)

      x = jnp.asarray(images(), float)
      lowered = jax.jit(jax.value_and_grad(value, has_aux=True)).lower(*weights, x)
      barriers.append(lowered.as_text().count('stablehlo.optimization_barrier'))
      found.append(jax.tree.leaves(lowered.compile()(*weights, x)))
  assert barriers == [0, 3 + 2]
  for a, b in zip(*found, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(a).max())


# Size of the kernel, channels in and out, height and width.
SHAPES = [(3, 7, 2, 8, 8), (3, 2, 7, 9, 5), (1, 4, 3, 5, 6), (5, 3, 2, 7, 4)]


@pytest.mark.parametrize('shape', SHAPES)
def test_shifted_products_are_the_convolution(shape, rng: np.random.Generator):
  size, fan_in, fan_out, *image = shape
  with jax.enable_x64(True):
    x = rng.normal(size=(fan_in, 3, *image))
    kernel = rng.normal(size=(size, size, fan_in, fan_out))
    above = rng.normal(size=(fan_out, 3, *image))

    def both(conv, x, kernel):
      out, pull = jax.vjp(conv, x, kernel)
      return out, *pull(jnp.asarray(above))

    got, expected = (
      jax.jit(functools.partial(both, conv))(x, kernel) for conv in (convolution, plain)
    )
  for a, b in zip(got, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(('platform', 'plainly'), [('cpu', False), ('cuda', True)])
def test_the_backend_decides(platform: str, plainly: bool):
  gradient = jax.jit(jax.grad(lambda x, k: (convolution(x, k) ** 2).sum()))
  traced = gradient.trace(jnp.ones((2, 1, 4, 4)), jnp.ones((3, 3, 2, 2)))
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ('stablehlo.convolution' in text) == plainly
  assert ('stablehlo.dot_general' in text) != plainly


def test_the_example_runs():
  assert doctest.testmod(densenet).attempted > 3
  assert doctest.testmod(densenet).failed == 0


def test_devices_normalise_as_one(arrays_of):
  found = arrays_of(pathlib.Path(__file__).with_name('densenet_sharded_program.py'))
  assert found['devices'] == 4 and found['spread'] == 4
  one = {key: array for key, array in found.items() if key.startswith('one/')}
  assert len(one) > 20
  for key, expected in one.items():
    tolerance = 1e-11 * np.abs(expected).max()
    got = found[key.replace('one/', 'split/')]
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=key)
