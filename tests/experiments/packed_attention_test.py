"""Attention of packed rows, of as many blocks as there are, against a reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.models import packed_attention as module
from experiments.models.packed_attention import packed_attention


def problem(length: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
  random = np.random.default_rng(seed)
  arrays = [random.normal(size=(2, length, 2, 3)) for _ in range(3)]
  arrays[0] *= 3
  segments = np.sort(random.integers(1, 4, (2, length)), axis=1)
  segments[1, -length // 5 :] = 0
  return arrays, segments


def reference(queries, keys, values, segments):
  """In the dtype of the arrays, all pairs at once."""
  length = segments.shape[1]
  seen = segments[:, :, None] == segments[:, None]
  seen = seen & np.tri(length, dtype=bool)[None]
  scores = jnp.einsum('bqhd,bkhd->bhqk', queries, keys)
  weights = jax.nn.softmax(scores, where=seen[:, None], axis=-1)
  return jnp.einsum('bhqk,bkhd->bqhd', weights, values)


@pytest.mark.parametrize('length', [1, 127, 128, 129, 300, 1100])
def test_values_and_gradients(length: int):
  """Of one block, of full ones, of one that is not, of more than the usual size."""
  arrays, segments = problem(length)
  above = np.random.default_rng(1).normal(size=arrays[0].shape)

  def both(function, dtype):
    def total(*own):
      out = function(*own, segments)
      return (out * above.astype(dtype)).sum(), out

    own = [jnp.asarray(a, dtype) for a in arrays]
    gradient, out = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(*own)
    return [np.asarray(a) for a in (out, *gradient)]

  with jax.enable_x64(True):
    expected = both(reference, np.float64)
  for got, want in zip(both(packed_attention, np.float32), expected, strict=True):
    scale = np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-6 * scale)


def test_far_scores_are_no_matter():
  arrays, segments = problem(140)
  queries, keys, values = (jnp.asarray(a, jnp.float32) for a in arrays)
  run = jax.jit(packed_attention)
  expected = run(queries, keys, values, segments)
  # The same for all keys of a query: softmax does not see it.
  far = jnp.concatenate([queries, jnp.full_like(queries[..., :1], 1e3)], -1)
  padded = jnp.concatenate([keys, jnp.ones_like(keys[..., :1])], -1)
  wider = jnp.concatenate([values, jnp.zeros_like(values[..., :1])], -1)
  found = run(far, padded, wider, segments)
  np.testing.assert_allclose(found[..., :3], expected, atol=1e-3)


def test_blocks_are_bounded():
  """A long row is not a program of a hundred parts."""
  for length in (512, 2048, 8192):
    shape = jax.ShapeDtypeStruct((1, length, 1, 4), jnp.float32)
    segments = jax.ShapeDtypeStruct((1, length), jnp.int32)
    text = str(jax.make_jaxpr(packed_attention)(shape, shape, shape, segments))
    assert text.count('dot_general') <= 2 * module._MOST
