"""What a trained sequence-to-sequence model answers."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.datasets.units import END, PADDING, START
from experiments.scores.beam_search import Hypotheses, beam_search
from experiments.task import Model, PyTree, functions
from experiments.translation import possible


@dataclasses.dataclass(frozen=True)
class Decoding:
  """How sequences are looked for.

  Attributes:
    beam: hypotheses kept.
    length_penalty: of Wu et al. (2016).
    coverage_penalty: of Wu et al. (2016).
  """

  beam: int
  length_penalty: float
  coverage_penalty: float


def decoder(module: Model, options: Decoding) -> Callable[..., Hypotheses]:
  """``params, rest, sources, length, mask=None -> hypotheses``, jitted.

  Sources are ids ``[batch, source]``, or frames with a mask of those that are there.
  """
  _, merged = functions(module)

  @functools.partial(jax.jit, static_argnums=3)
  def decode(
    params: PyTree,
    rest: PyTree,
    sources: jax.Array,
    length: int,
    mask: jax.Array | None = None,
  ) -> Hypotheses:
    model, _ = merged(params, rest, None)
    there = sources != PADDING if mask is None else mask
    memory = model.encode(sources, there, deterministic=True)
    repeated = memory.repeated(options.beam)

    def step(state: PyTree, ids: jax.Array) -> tuple[jax.Array, jax.Array, PyTree]:
      logits, weights, state = model.step(repeated, state, ids)
      return jax.nn.log_softmax(logits, where=allowed), weights, state

    allowed = possible(model.output.kernel.shape[-1])[None]
    return beam_search(
      step,
      model.start(memory),
      length=length,
      start=START,
      end=END,
      padding=PADDING,
      allowed=allowed[0],
      mask=memory.mask,
      **dataclasses.asdict(options),
    )

  return decode


def attention(
  module: Model, params: PyTree, rest: PyTree, source: np.ndarray, target: np.ndarray
) -> np.ndarray:
  """Weights ``[target, source]`` of one pair of sequences, given the target.

  The source is ids ``[source]`` or frames ``[source, features]``.
  """
  _, merged = functions(module)

  @jax.jit
  def weights(params: PyTree, rest: PyTree, source: Any, inputs: Any) -> jax.Array:
    model, _ = merged(params, rest, None)
    there = source != PADDING if source.ndim == 2 else jnp.ones(source.shape[:2], bool)
    memory = model.encode(source, there, deterministic=True)
    return model.decode(memory, inputs, deterministic=True)[1][0]

  inputs = np.concatenate([[START], target[:-1]])
  return np.asarray(weights(params, rest, source[None], inputs[None]))


def best(found: Hypotheses) -> list[list[int]]:
  """The first hypothesis of each source, without the end symbol."""
  found = jax.device_get(found)
  lengths = found.lengths[:, 0] - found.ended[:, 0]
  return [
    ids[:length].tolist() for ids, length in zip(found.ids[:, 0], lengths, strict=True)
  ]
