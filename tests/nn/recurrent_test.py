"""What recurrent layers keep to: padding, carried states, every JAX transformation."""

import functools
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import models
import numpy as np
import pytest
from flax import nnx

from regularizers import nn
from regularizers.nn import cells
from regularizers.nn.scan import Recursion, recur

NORMS: dict[str, Any] = {
  'none': None,
  'sequence': models.SEQUENCE,
  'frame': models.FRAME,
  'layer_input': models.placed('layer_input', 'sequence'),
  'hidden_to_hidden': models.placed('hidden_to_hidden'),
  'pre_activation': models.placed('pre_activation'),
}
norms = pytest.mark.parametrize('norm', NORMS)


def everything(model: Any) -> Any:
  """Jitted: value, outputs, new statistics and gradients by parameters and input."""
  run, params, stats = models.pure(model)

  @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
  def value(params: Any, x: jax.Array, lengths: jax.Array) -> Any:
    (outputs, carry), new = run(params, stats, x, lengths=lengths)
    # Batches first, so that a sequence counts the same whatever comes after it.
    ends = [state.swapaxes(0, 1) for state in jax.tree.leaves(carry)]
    return models.weighted([outputs[:, :4], ends]), (outputs, ends, new)

  compiled = jax.jit(value)
  return lambda x, lengths: compiled(params, jnp.asarray(x), jnp.asarray(lengths))


@norms
def test_padding_changes_nothing(norm: str):
  """Neither its amount nor what stands in it, NaN included; nor an empty sequence."""
  lengths, x = np.array([4, 2, 3, 1]), models.features()
  with jax.enable_x64(True):
    model = models.make('LSTM', bidirectional=True, batch_norm=NORMS[norm])
    run = everything(model)
    (value, (outputs, ends, stats)), (by_params, by_x) = run(x[:, :4], lengths)
    x = np.concatenate([x, x[:1]])
    lengths = np.append(lengths, 0)
    padding = np.arange(models.TIME)[None] >= lengths[:, None]
    x[padding] = np.nan
    (value2, (outputs2, ends2, stats2)), (by_params2, by_x2) = run(x, lengths)
  models.close((value2, by_params2), (value, by_params), 1e-11)
  assert not outputs2[padding].any()
  assert not by_x2[padding].any()
  models.close((outputs2[:4, :4], by_x2[:4, :4]), (outputs, by_x), 1e-11)
  models.close([end[:4] for end in ends2], ends, 1e-11)
  models.close(stats2, stats)


@norms
def test_no_and_one_valid_frame(norm: str):
  """Everything is finite; a single frame normalises to β and is no statistic."""
  # With nothing to compare it with, a normalised frame says nothing.
  silent = norm in ('sequence', 'frame', 'layer_input', 'pre_activation')
  with jax.enable_x64(True):
    model = models.make('LSTM', batch_norm=NORMS[norm])
    run = everything(model)
    for valid in (0, 1):
      (value, (outputs, _, stats)), grads = run(models.features(), [0, valid, 0, 0])
      assert all(np.isfinite(a).all() for a in jax.tree.leaves((value, grads, stats)))
      models.close(stats, nnx.state(model, nnx.Not(nnx.Param)), 0)
      assert outputs.any() == (valid == 1)
      assert grads[1].any() == (valid == 1 and not silent)


@pytest.mark.parametrize('cell', models.CELLS)
def test_carried_state_continues_the_sequence(cell: str):
  """Two calls are one; a mask and the lengths that say the same are one."""
  x = jnp.asarray(models.features(), jnp.float32)
  model = models.make(cell, num_layers=2, param_dtype=jnp.float32)
  run = nnx.jit(lambda model, x, carry, mask: model(x, carry, mask=mask))
  ones = jnp.ones((4, 3), bool)
  whole, end = model(x, lengths=jnp.full(4, 6))
  first, carry = run(model, x[:, :3], model.initial_carry(4), ones)
  second, carry = run(model, x[:, 3:], carry, ones)
  np.testing.assert_allclose(jnp.hstack([first, second]), whole, rtol=1e-5, atol=1e-6)
  models.close(carry, end, 1e-5)


def test_frames_may_be_missing_anywhere():
  """A mask with holes is the sequence without them, both ways."""
  mask = np.array([[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1]], bool)
  x = models.features(batch=2)
  dense = np.stack([row[there] for row, there in zip(x, mask, strict=True)])
  with jax.enable_x64(True):
    model = models.make('GRU', bidirectional=True, batch_norm=models.SEQUENCE)
    run, params, stats = models.pure(model)
    (outputs, carry), new = jax.jit(run)(params, stats, x, mask=jnp.asarray(mask))
    (wanted, end), wanted_new = jax.jit(run)(params, stats, dense)
  np.testing.assert_allclose(outputs[mask], wanted.reshape(6, -1), rtol=1e-12)
  models.close((carry, new), (end, wanted_new))


CELLS = {'LSTM': cells.LSTM, 'GRU': cells.GRU, 'SimpleRNN': cells.SIMPLE}


def core(name: str, reverse: bool) -> tuple[Any, tuple[Any, ...]]:
  """The recursion and numbers for it; the second of three sequences is short."""
  cell, draw = CELLS[name], np.random.default_rng(0)
  static = Recursion(cell, reverse, jnp.dtype(jnp.float64))
  shapes = [(3, 3, 2 * cell.gates), (2, 2 * cell.gates)]
  inputs, kernel = (jnp.asarray(draw.normal(size=shape)) for shape in shapes)
  state = tuple(jnp.asarray(draw.normal(size=(3, 2))) for _ in range(cell.states))
  bias = None if cell.additive else jnp.asarray(draw.normal(size=2 * cell.gates))
  valid = jnp.asarray([[1, 1, 1], [1, 0, 1], [1, 0, 1]], bool)[..., None]
  arguments = (inputs, kernel, bias, state)
  return lambda *args: recur(static, valid, *args), arguments


@pytest.mark.parametrize(
  ('name', 'reverse'),
  [('LSTM', False), ('LSTM', True), ('GRU', False), ('SimpleRNN', False)],
)
def test_derivatives_by_finite_differences(name: str, reverse: bool):
  """Forward and reverse mode; second order is forward over reverse."""
  with jax.enable_x64(True):
    run, arguments = core(name, reverse)
    flat, restore = jax.flatten_util.ravel_pytree(arguments)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=flat.size))

    def loss(flat: jax.Array) -> jax.Array:
      return models.weighted(run(*restore(flat)))

    def all_orders(flat: jax.Array) -> Any:
      _, along = jax.jvp(loss, (flat,), (direction,))
      gradient, second = jax.jvp(jax.grad(loss), (flat,), (direction,))
      return loss(flat), gradient, along, second

    at = jax.jit(all_orders)
    step = 1e-5 * direction
    (up, up_gradient, *_), (down, down_gradient, *_) = at(flat + step), at(flat - step)
    _, gradient, along, second = at(flat)
    found = {
      'reverse': (gradient @ direction, along),
      'forward': (along, (up - down) / 2e-5),
      'second': (second, (up_gradient - down_gradient) / 2e-5),
    }
  for order, (one, other) in found.items():
    models.close(one, other, 1e-12 if order == 'reverse' else 1e-7)


def is_program(value: Any) -> bool:
  return hasattr(value, 'eqns') or hasattr(value, 'jaxpr')


def loop_carries(jaxpr: Any) -> list[tuple[int, ...]]:
  """Shapes that the loops of a program hand from step to step."""
  found = []
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'scan':
      # What is no carry comes out with an axis of steps more.
      inner = [v.aval.shape for v in equation.params['jaxpr'].jaxpr.outvars]
      outer = [v.aval.shape for v in equation.outvars]
      found += [own for own, out in zip(inner, outer, strict=True) if own == out]
    for parameter in jax.tree.leaves(equation.params, is_leaf=is_program):
      if is_program(parameter):
        found += loop_carries(getattr(parameter, 'jaxpr', parameter))
  return found


@pytest.mark.parametrize('name', CELLS)
def test_no_loop_adds_up_the_kernels_gradient(name: str):
  with jax.enable_x64(True):
    run, arguments = core(name, False)
    grad = jax.grad(lambda *args: models.weighted(run(*args)), argnums=(0, 1))
    carried = loop_carries(jax.make_jaxpr(grad)(*arguments).jaxpr)
  kernel = arguments[1].shape
  assert (3, 2) in carried  # the state
  assert kernel not in carried


@pytest.mark.parametrize('norm', ['none', 'hidden_to_hidden'])
def test_transformations(norm: str):
  """vmap over models, remat, scan over batches: each gives what plain calls give."""
  xs = jnp.asarray(np.stack([models.features(seed) for seed in range(3)]), jnp.float32)
  lengths = jnp.asarray(models.LENGTHS)
  make = functools.partial(
    models.make, 'LSTM', batch_norm=NORMS[norm], param_dtype=jnp.float32
  )
  run, params, stats = models.pure(make())
  _, other, _ = models.pure(make(seed=1))

  @jax.jit
  def plain(params: Any, x: jax.Array) -> Any:
    def value(params: Any) -> Any:
      out, new = run(params, stats, x, lengths=lengths)
      return models.weighted(out), (out, new)

    return jax.value_and_grad(value, has_aux=True)(params)

  expected = plain(params, xs[0]), plain(other, xs[0])
  both = jax.tree.map(lambda *a: jnp.stack(a), params, other)
  mapped = jax.vmap(plain, (0, None))(both, xs[0])
  models.close(mapped, jax.tree.map(lambda *a: jnp.stack(a), *expected), 2e-5)

  def carried(carry: Any, x: jax.Array) -> Any:
    stats, state = carry
    (outputs, state), stats = run(params, stats, x, state, lengths=lengths)
    return (stats, state), outputs

  zeros = make().initial_carry(models.BATCH)
  (scanned_stats, end), outputs = jax.jit(
    lambda xs: jax.lax.scan(jax.checkpoint(carried), (stats, zeros), xs)
  )(xs)
  now, one = (stats, zeros), jax.jit(carried)
  for x, out in zip(xs, outputs, strict=True):
    now, wanted = one(now, x)
    models.close(out, wanted, 2e-5)
  models.close((scanned_stats, end), now, 2e-5)


def test_short_floats():
  """Products take bfloat16; states, sums and statistics are float32."""
  x = jnp.asarray(models.features(), jnp.bfloat16)
  options: dict[str, Any] = {'num_layers': 2, 'batch_norm': models.SEQUENCE}
  short = models.make('LSTM', param_dtype=jnp.bfloat16, **options)
  outputs, carry = short(x)
  assert outputs.dtype == jnp.bfloat16
  statistics = jax.tree.leaves(nnx.state(short, nnx.BatchStat))
  assert {a.dtype.name for a in statistics} == {'float32', 'int32'}
  assert {a.dtype.name for a in carry} == {'float32'}
  wide = models.make('LSTM', param_dtype=jnp.float32, **options)
  nnx.update(
    wide, jax.tree.map(lambda a: a.astype(jnp.float32), nnx.state(short, nnx.Param))
  )
  exact, _ = wide(x.astype(jnp.float32))
  np.testing.assert_allclose(outputs.astype(jnp.float32), exact, atol=0.03)
  mixed = models.make('LSTM', param_dtype=jnp.float32, dtype=jnp.bfloat16)
  assert mixed(x)[0].dtype == jnp.bfloat16
  drawn = nn.SimpleRNN(3, 2, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0)).directions[0]
  kernel = drawn.recurrent_kernel[...]
  assert kernel.dtype == drawn.input_kernel[...].dtype == jnp.bfloat16
  np.testing.assert_allclose(kernel.T @ kernel, np.eye(2), atol=0.02)


@pytest.mark.parametrize('norm', ['none', 'sequence', 'hidden_to_hidden'])
@pytest.mark.parametrize('shape', [(0, 6), (4, 0)])
def test_no_sequences_and_no_time(norm: str, shape: tuple[int, int]):
  """An empty array is no error: the state, the statistics stay as they are."""
  x, options = jnp.zeros((*shape, 3)), {'batch_norm': NORMS[norm]}
  model = models.make('LSTM', num_layers=2, param_dtype=jnp.float32, **options)
  run, params, stats = models.pure(model)
  start = jax.tree.map(jnp.ones_like, model.initial_carry(shape[0]))

  @functools.partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
  def value(params: Any, x: jax.Array, carry: Any) -> Any:
    out, new = run(params, stats, x, carry)
    return sum(leaf.sum() for leaf in jax.tree.leaves(out)), (out, new)

  (_, ((outputs, end), new)), grads = jax.jit(value)(params, x, start)
  assert outputs.shape == (*shape, models.UNITS)
  models.close((end, new), (start, stats), 0)
  assert not any(gradient.any() for gradient in jax.tree.leaves(grads[:2]))
  models.close(grads[2], start, 0)


def test_layers_drop_units_of_their_own(monkeypatch: Any):
  """By streams, and by a key."""
  model = nn.SimpleRNN(3, 8, num_layers=3, dropout_rate=0.5, rngs=nnx.Rngs(0))
  dropped, drop = [], nnx.Dropout.__call__

  def noted(self: Any, frames: jax.Array, **options: Any) -> jax.Array:
    out = drop(self, frames, **options)
    dropped.append(np.asarray(out) == 0)
    return out

  monkeypatch.setattr(nnx.Dropout, '__call__', noted)
  for rngs in (nnx.Rngs(dropout=0), jax.random.key(0)):
    model(jnp.ones((2, 4, 3)), rngs=rngs)
    first, second = dropped[-2:]
    assert (first != second).any()


def test_sizes_of_numpy():
  four, three, two = (np.int64(n) for n in (4, 3, 2))
  norm = nn.SequenceBatchNorm('frame', max_length=four)
  model = nn.LSTM(three, two, num_layers=two, batch_norm=norm, rngs=nnx.Rngs(0))
  assert model(jnp.ones((2, 4, 3)))[0].shape == (2, 4, 2)
  assert norm == nn.SequenceBatchNorm('frame', max_length=4)


def test_initial_weights():
  """Gate by gate; the forget gate's bias, also where it is the normalisation's β."""
  for norm in (None, models.SEQUENCE):
    part = nn.LSTM(3, 2, forget_bias=1.0, batch_norm=norm, rngs=nnx.Rngs(0)).directions[
      0
    ]
    bias = part.bias if norm is None else part.norm.bias
    np.testing.assert_array_equal(bias[...], [0, 0, 1, 1, 0, 0, 0, 0])
    assert (part.bias is None) == (norm is not None)
  blocks = jnp.split(part.recurrent_kernel[...], 4, axis=1)
  for block in blocks:
    np.testing.assert_allclose(block.T @ block, np.eye(2), atol=1e-6)
  scaled = nn.LSTM(30, 20, init_scale=0.1, rngs=nnx.Rngs(0)).directions[0]
  for kernel in (scaled.input_kernel, scaled.recurrent_kernel):
    assert 0.098 < abs(kernel[...]).max() <= 0.1
    assert abs(kernel[...].mean()) < 0.01


def test_directions_and_layers_have_their_own_statistics():
  model = nn.LSTM(
    3,
    2,
    num_layers=2,
    bidirectional=True,
    batch_norm=models.SEQUENCE,
    rngs=nnx.Rngs(0),
  )
  model(jnp.asarray(models.features(), jnp.float32))
  means = [part.norm.mean[...] for part in model.directions]
  for index, mean in enumerate(means):
    assert not any(jnp.allclose(mean, other) for other in means[:index])
