"""The decoder-only transformer: what sees what, and options that change no value."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.opt import OPT, graph
from experiments.models.opt_layers import Sizes

SIZES = {
  'norm before': Sizes(19, 12, 16, layers=2, heads=4, ffn=24),
  'norm after, projected': Sizes(
    19, 12, 16, layers=2, heads=4, ffn=24, embedding=8, norm_before=False
  ),
}
WIDTH = 16
# Two rows of examples, by their lengths; what is left over is padding.
ROWS = ((5, 3, 6), (9, 1))
OPTIONS = {
  'scan': {'scan_layers': True},
  'remat': {'remat': True},
  'scan and remat': {'scan_layers': True, 'remat': True},
}


def made(name: str, **options) -> OPT:
  return OPT(SIZES[name], init_std=0.3, rngs=nnx.Rngs(0), **options)


def examples() -> list[list[np.ndarray]]:
  random = np.random.default_rng(0)
  return [[random.integers(1, 19, n + 1) for n in lengths] for lengths in ROWS]


def packed(rows: list[list[np.ndarray]]) -> dict[str, np.ndarray]:
  """As training gets them; the first id of an example is asked for nowhere."""
  names = ('ids', 'segment', 'position', 'label')
  batch = {name: np.zeros((len(rows), WIDTH), np.int32) for name in names}
  batch['mask'] = np.zeros((len(rows), WIDTH), bool)
  for row, own in enumerate(rows):
    start = 0
    for number, ids in enumerate(own, 1):
      there = row, slice(start, start + len(ids) - 1)
      batch['ids'][there], batch['label'][there] = ids[:-1], ids[1:]
      batch['segment'][there] = number
      batch['position'][there] = np.arange(len(ids) - 1)
      batch['mask'][there] = np.arange(len(ids) - 1) % 3 != 1
      start += len(ids) - 1
  return batch


def losses(model: OPT, batch, key=None) -> jax.Array:
  """``[batch, length]``, 0 where nothing is asked for."""
  rngs = None if key is None else nnx.Rngs(dropout=key)
  hidden = model(
    *(batch['ids'], batch['segment'], batch['position']),
    deterministic=key is None,
    rngs=rngs,
  )
  log_p = jax.nn.log_softmax(model.logits(hidden))
  own = jnp.take_along_axis(log_p, batch['label'][..., None], -1)[..., 0]
  return jnp.where(batch['mask'], -own, 0)


@functools.cache
def weights(name: str):
  """Drawn by one program."""
  return jax.jit(lambda: nnx.state(made(name)))()


@functools.cache
def program(name: str, **options):
  """``params, batch, key=None -> losses, gradient`` of their sum."""
  empty = graph(SIZES[name], **options)

  @jax.jit
  def run(params, batch, key=None):
    def total(params):
      own = losses(nnx.merge(empty, params), batch, key)
      return own.sum(), own

    gradient, own = jax.grad(total, has_aux=True)(params)
    return own, gradient

  return run


def close(actual, expected, tolerance: float = 2e-6) -> None:
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    scale = max(float(np.abs(b).max()), 1.0)
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize('name', SIZES)
def test_a_packed_batch_is_its_examples_one_at_a_time(name: str):
  """Losses, and the sum of the gradients."""
  params = weights(name)
  run = program(name)
  own, gradient = run(params, packed(examples()))
  total = jax.tree.map(jnp.zeros_like, gradient)
  for row, row_examples in enumerate(examples()):
    start = 0
    for ids in row_examples:
      # Beside an empty row: all have one shape.
      alone, more = run(params, packed([[ids], []]))
      count = len(ids) - 1
      np.testing.assert_allclose(
        own[row, start : start + count], alone[0, :count], atol=5e-6
      )
      total, start = jax.tree.map(jnp.add, total, more), start + count
  close(gradient, total, 5e-6)
  assert float(own.sum()) > 10


def test_what_is_not_seen_changes_nothing():
  """Later ids, other examples, padding: not a bit."""
  params = weights('norm before')
  run, batch = program('norm before'), packed(examples())
  own, _ = run(params, batch)
  for column in range(WIDTH):
    ids = batch['ids'].copy()
    ids[:, column] = 1 + ids[:, column] % 18
    changed, _ = run(params, {**batch, 'ids': ids})
    same = batch['segment'] != batch['segment'][:, column : column + 1]
    same |= np.arange(WIDTH)[None] < column
    np.testing.assert_array_equal(changed[same], own[same])
    there = ~same & batch['mask']
    assert not there.any() or (changed != own)[there].any()


@pytest.mark.parametrize('options', OPTIONS)
def test_options_change_no_value(options: str):
  """Nor the dropout."""
  name, options = 'norm before', OPTIONS[options]
  params, batch, key = weights(name), packed(examples()), jax.random.key(3)
  expected = program(name, dropout=0.3)(params, batch, key)
  close(program(name, dropout=0.3, **options)(params, batch, key), expected)


def test_bfloat16_computes_and_float32_keeps():
  name = 'norm after, projected'
  params = weights(name)
  batch = packed(examples())
  expected, _ = program(name)(params, batch)
  own, gradient = program(name, dtype=jnp.bfloat16)(params, batch)
  assert own.dtype == jnp.float32
  assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype('float32')}
  np.testing.assert_allclose(own, expected, atol=0.25)
  assert np.abs(own - expected).max() > 0


def test_bfloat16_takes_exponentials_and_roots_in_float32():
  empty = graph(SIZES['norm before'], dtype=jnp.bfloat16)
  params = weights('norm before')
  text = str(
    jax.make_jaxpr(lambda p, b: losses(nnx.merge(empty, p), b))(
      params, packed(examples())
    )
  )
  wide = [line for line in text.splitlines() if ' exp ' in line or ' rsqrt ' in line]
  assert len(wide) >= 3
  assert all(':f32[' in line for line in wide)
  products = [line for line in text.splitlines() if 'dot_general' in line]
  assert sum(':bf16[' in line for line in products) >= 4


def test_dropout_needs_a_key_and_leaves_the_mean():
  params = weights('norm before')
  batch, run = packed(examples()), program('norm before', dropout=0.3)
  plain, _ = program('norm before')(params, batch)
  drawn = np.stack([run(params, batch, jax.random.key(i))[0] for i in range(40)])
  assert (drawn.std(0)[batch['mask']] > 0).all()
  assert abs(drawn.sum((1, 2)).mean() / plain.sum() - 1) < 0.2
  empty = graph(SIZES['norm before'], dropout=0.3)
  model = nnx.merge(empty, params)
  with pytest.raises(ValueError, match='dropout'):
    model(batch['ids'], batch['segment'], batch['position'], deterministic=False)


def test_remat_takes_less_memory():
  sizes = Sizes(19, 128, 16, layers=8, heads=4, ffn=64)
  shapes = {
    name: jax.ShapeDtypeStruct((4, 128), jnp.int32)
    for name in ('ids', 'segment', 'position', 'label', 'mask')
  }
  used = {}
  for remat in (False, True):
    made = lambda r=remat: OPT(sizes, scan_layers=True, remat=r, rngs=nnx.Rngs(0))  # noqa: E731
    graph, params = nnx.split(nnx.eval_shape(made))
    value = lambda p, b, g=graph: losses(nnx.merge(g, p), b).sum()  # noqa: E731
    compiled = jax.jit(jax.grad(value)).lower(params, shapes).compile()
    used[remat] = compiled.memory_analysis().temp_size_in_bytes
  assert used[True] < used[False] / 2


@pytest.mark.parametrize(('which', 'value'), [('ids', 19), ('position', 12)])
def test_what_is_out_of_range_is_nan(which: str, value: int):
  """Never silently another id or position."""
  params = weights('norm before')
  batch = packed(examples())
  own, _ = program('norm before')(params, batch)
  wrong = batch[which].copy()
  wrong[0, 8] = value  # in the third example
  broken, _ = program('norm before')(params, {**batch, which: wrong})
  assert np.isnan(broken[0, 9:14][batch['mask'][0, 9:14]]).all()
  np.testing.assert_array_equal(broken[1], own[1])


def test_heads_share_the_hidden_units():
  with pytest.raises(ValueError, match='heads'):
    Sizes(19, 12, 16, layers=2, heads=3, ffn=24)
