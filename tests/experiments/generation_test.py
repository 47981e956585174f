"""Greedy decoding from a cache is greedy decoding, whatever the batch and padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.generation import Written, greedy, log_probs
from experiments.models.opt import OPT
from experiments.models.opt_layers import Sizes

SHAPE = {'layers': 2, 'heads': 2, 'ffn': 24}
SIZES = {
  'norm before': Sizes(23, 20, 16, **SHAPE),
  'norm after, projected': Sizes(23, 20, 16, **SHAPE, embedding=8, norm_before=False),
}
PROMPTS = ([3, 7, 1], [5], [4, 4, 9, 11, 2, 8], [6, 10])
WIDTH, LENGTH = 8, 7
NEVER = 99  # no id


@functools.cache
def made(name: str, **options) -> OPT:
  return nnx.jit(lambda: OPT(SIZES[name], init_std=0.6, rngs=nnx.Rngs(3), **options))()


def side(kind: str, prompts=PROMPTS) -> tuple[np.ndarray, np.ndarray]:
  """Prompts with padding to the left, the right, or in between."""
  ids = np.full((len(prompts), WIDTH), 13)
  mask = np.zeros((len(prompts), WIDTH), bool)
  for row, prompt in enumerate(prompts):
    count = len(prompt)
    places = {
      'right': np.arange(count),
      'left': np.arange(WIDTH - count, WIDTH),
      'both': np.arange(count) + (WIDTH - count) // 2,
    }[kind]
    ids[row, places], mask[row, places] = prompt, True
  return ids, mask


write = nnx.jit(greedy, static_argnames='length')


def written(name: str, kind: str = 'right', prompts=PROMPTS, **options) -> Written:
  options = {'length': LENGTH, 'end': NEVER, **options}
  return jax.device_get(write(made(name), *side(kind, prompts), **options))


@nnx.jit
def full(model: OPT, ids: jax.Array) -> jax.Array:
  positions = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
  hidden = model(ids, jnp.ones_like(ids), positions, deterministic=True)
  return model.logits(hidden)


@functools.cache
def uncached(name: str, row: int) -> list[int]:
  """By the whole forward pass for every id; what is behind is not seen."""
  ids = np.zeros((1, WIDTH + LENGTH), int)
  count = len(PROMPTS[row])
  ids[0, :count] = PROMPTS[row]
  for place in range(count, count + LENGTH):
    ids[0, place] = int(np.argmax(full(made(name), ids)[0, place - 1]))
  return ids[0, count : count + LENGTH].tolist()


@pytest.mark.parametrize('kind', ['right', 'left', 'both'])
@pytest.mark.parametrize('name', SIZES)
def test_a_cache_and_padding_change_nothing(name: str, kind: str):
  found = written(name, kind)
  expected = [uncached(name, row) for row in range(len(PROMPTS))]
  assert found.ids.tolist() == expected
  assert len({tuple(row) for row in expected}) > 1
  assert len({symbol for row in expected for symbol in row}) > 4
  assert (found.lengths == LENGTH).all()
  assert not found.ended.any()


def test_rows_do_not_see_one_another():
  together = written('norm before')
  for row in range(len(PROMPTS)):
    alone = written('norm before', prompts=PROMPTS[row : row + 1])
    np.testing.assert_array_equal(alone.ids[0], together.ids[row])


def test_it_ends_at_the_end_symbol():
  """Each row at its own; what it would have written goes on unseen."""
  whole = [uncached('norm before', row) for row in range(len(PROMPTS))]
  counts = []
  for end in sorted({symbol for row in whole for symbol in row}):
    found = written('norm before', end=end, padding=21)
    for row, own in enumerate(whole):
      count = own.index(end) + 1 if end in own else LENGTH
      assert found.lengths[row] == count
      assert found.ended[row] == (end in own)
      assert found.ids[row].tolist() == own[:count] + [21] * (LENGTH - count)
      counts.append(count)
  assert len(set(counts)) > 3


def test_what_is_not_allowed_never_comes():
  plain = written('norm before')
  allowed = np.ones(23, bool)
  allowed[np.unique(plain.ids)] = False
  found = written('norm before', allowed=allowed)
  assert allowed[found.ids].all()


@pytest.mark.parametrize('length', [0, 13])
def test_bad_lengths(length: int):
  with pytest.raises(ValueError, match='length|positions'):
    written('norm before', length=length)


def test_steps_give_the_logits_of_the_whole():
  """To the last digits, in bfloat16 as far as that goes."""
  for dtype, tolerance in ((jnp.float32, 2e-5), (jnp.bfloat16, 0.15)):
    model = made('norm before', dtype=dtype)
    ids, mask = side('left')

    @nnx.jit
    def run(model, ids, mask, more):
      cache = model.start(len(ids), WIDTH + 3)
      last, cache = model.prefill(cache, ids, mask)
      found = [model.logits(last)]
      for place in range(3):
        logits, cache = model.step(cache, more[:, place])
        found.append(logits)
      return jnp.stack(found, 1)

    more = np.array([[1, 2, 3]] * len(PROMPTS))
    found = run(model, ids, mask, more)
    for row, prompt in enumerate(PROMPTS):
      whole = np.zeros((1, WIDTH + LENGTH), int)
      whole[0, : len(prompt) + 3] = [*prompt, 1, 2, 3]
      expected = full(model, whole)[0, len(prompt) - 1 : len(prompt) + 3]
      np.testing.assert_allclose(found[row], expected, atol=tolerance)


def test_log_probs_are_those_of_the_logits():
  model, random = made('norm before'), np.random.default_rng(0)
  ids, labels = random.integers(0, 23, (2, 3, 9))
  segments = np.repeat([[1, 1, 1, 1, 2, 2, 2, 0, 0]], 3, 0)
  positions = np.repeat([[0, 1, 2, 3, 0, 1, 2, 0, 0]], 3, 0)
  mask = random.random((3, 9)) < 0.7
  found = nnx.jit(log_probs)(model, ids, segments, positions, labels, mask)
  assert (found[~mask] == 0).all()
  logits = np.asarray(
    nnx.jit(lambda m, *packed: m.logits(m(*packed, deterministic=True)))(
      model, ids, segments, positions
    ),
    np.float64,
  )
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  expected = np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
  np.testing.assert_allclose(found[mask], expected[mask], atol=1e-5)
