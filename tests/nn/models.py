"""Models and batches that the tests of recurrent layers share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from regularizers import nn

BATCH, TIME, INPUTS, UNITS = 4, 6, 3, 2
LENGTHS = np.array([6, 3, 6, 3])
CELLS: dict[str, Any] = {'LSTM': nn.LSTM, 'GRU': nn.GRU, 'SimpleRNN': nn.SimpleRNN}
SEQUENCE = nn.SequenceBatchNorm()
FRAME = nn.SequenceBatchNorm('frame', max_length=TIME)


def placed(placement: Any, mode: Any = 'frame', **options: Any) -> Any:
  """Options with room for the tests' batches."""
  length = TIME if mode == 'frame' else None
  return nn.SequenceBatchNorm(mode, placement, max_length=length, **options)


def make(cell: str, seed: int = 0, **options: Any) -> Any:
  """A model in float64 with weights so large that saturation shows."""
  inputs = options.pop('inputs', INPUTS)
  defaults = {'init_scale': 0.9, 'param_dtype': jnp.float64}
  return CELLS[cell](inputs, UNITS, **{**defaults, **options}, rngs=nnx.Rngs(seed))


def features(seed: int = 1, time: int = TIME, batch: int = BATCH) -> np.ndarray:
  return np.random.default_rng(seed).normal(0.3, 1.5, size=(batch, time, INPUTS))


def pure(model: Any, **options: Any) -> tuple[Any, Any, Any]:
  """``run(params, stats, features, carry=None, lengths=None, …)``, params, stats.

  The run returns ``((outputs, carry), stats)``.
  """
  graph, params, stats = nnx.split(model, nnx.Param, ...)

  def run(params: Any, stats: Any, x: Any, carry: Any = None, **given: Any) -> Any:
    merged = nnx.merge(graph, params, stats, copy=True)
    out = merged(x, carry, **given, **options)
    return out, nnx.state(merged, nnx.Not(nnx.Param))

  return run, params, stats


def weighted(tree: Any) -> jax.Array:
  """A sum in which every number counts differently; NaN wherever one is."""
  leaves = jax.tree.leaves(tree)
  weights = [
    jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape) for a in leaves
  ]
  total = [jnp.vdot(w, a) for w, a in zip(weights, leaves, strict=True)]
  return sum(total, jnp.zeros((), total[0].dtype))


def close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
  """Equal trees of arrays, up to rounding of the largest number in each."""
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    scale = np.abs(np.asarray(b)).max(initial=0.0)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)
