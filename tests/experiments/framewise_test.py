"""The network of frames: rows that fill a batch up, and padding, count for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.framewise import Framewise
from regularizers.nn import SequenceBatchNorm

MASK = np.array([[True] * 4, [True, True, False, False]])


def frames(rows: int, width: int, junk: float = 0.0) -> tuple[jax.Array, jax.Array]:
  random = np.random.default_rng(0)
  own = np.full((rows, width, 3), junk, np.float32)
  mask = np.zeros((rows, width), bool)
  own[:2, :4] = random.normal(size=(2, 4, 3))
  mask[:2, :4] = MASK
  return jnp.asarray(np.where(mask[..., None], own, junk)), jnp.asarray(mask)


@nnx.jit(static_argnames='deterministic')
def run(model: Framewise, frames, mask, deterministic: bool):
  return model(frames, mask, deterministic=deterministic)


@pytest.mark.parametrize('norm', [None, SequenceBatchNorm()], ids=['plain', 'norm'])
def test_what_is_not_there_changes_nothing(norm: SequenceBatchNorm | None):
  results = []
  for place in ((2, 4), (3, 6, 7.0)):
    model = Framewise(3, 4, 2, 5, batch_norm=norm, rngs=nnx.Rngs(0))
    trained = run(model, *frames(*place), deterministic=False)
    evaluated = run(model, *frames(*place), deterministic=True)
    stats = jax.tree.leaves(nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))
    results.append(([trained[:2, :4], evaluated[:2, :4]], stats))
  for one, other in zip(results[0][0], results[1][0], strict=True):
    np.testing.assert_allclose(one[MASK], other[MASK], atol=2e-6)
  assert len(results[0][1]) == (12 if norm else 0)
  for one, other in zip(results[0][1], results[1][1], strict=True):
    np.testing.assert_allclose(one, other, atol=2e-6)
  # One update makes the running moments those of the batch.
  for one in results[0][0]:
    np.testing.assert_allclose(one[MASK], results[0][0][0][MASK], atol=2e-5)
