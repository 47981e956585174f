"""What a trained sequence-to-sequence model answers."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.datasets.units import END, PADDING, START
from experiments.scores.beam_search import NEVER, Hypotheses, beam_search
from experiments.task import Model, PyTree, functions
from experiments.translation import possible

Weights = tuple[PyTree, PyTree]  # parameters, and what else the model holds
ROOM = 10  # symbols beyond the longest target that the lengths of training suggest


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
    memory = model.encode(sources, _there(sources, mask), deterministic=True)
    allowed = possible(model.output.kernel.shape[-1])

    def step(state: PyTree, ids: jax.Array) -> tuple[jax.Array, jax.Array, PyTree]:
      logits, weights, state = model.step(memory, state, ids)
      # Here, so that they take no share of the probability: the search needs no mask.
      return jnp.where(allowed, logits, NEVER), weights, state

    return beam_search(
      step,
      model.start(memory),
      length=length,
      start=START,
      end=END,
      padding=PADDING,
      mask=memory.mask,
      **dataclasses.asdict(options),
    )

  return decode


def attention(module: Model) -> Callable[..., jax.Array]:
  """``params, rest, sources, inputs, mask=None -> weights``, jitted.

  Sources as of ``decoder``; what is attended to ``[batch, target, source]`` while the
  targets, of which the inputs are all but the last symbol, are told.
  """
  _, merged = functions(module)

  @jax.jit
  def weights(
    params: PyTree,
    rest: PyTree,
    sources: jax.Array,
    inputs: jax.Array,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    model, _ = merged(params, rest, None)
    memory = model.encode(sources, _there(sources, mask), deterministic=True)
    return model.decode(memory, inputs, deterministic=True)[1]

  return weights


def _there(sources: jax.Array, mask: jax.Array | None) -> jax.Array:
  return sources != PADDING if mask is None else mask


def limit(width: int, stretch: float, longest: int) -> int:
  """Most symbols of a hypothesis.

  Args:
    width: of the sources.
    stretch: most symbols of a target for one place of its source, in training.
    longest: symbols of a target, in training.
  """
  return min(int(np.ceil(stretch * width)) + ROOM, 2 * longest)


def best(found: Hypotheses) -> list[list[int]]:
  """The first hypothesis of each source, without the end symbol."""
  found = jax.device_get(found)
  lengths = found.lengths[:, 0] - found.ended[:, 0]
  return [
    ids[:length].tolist() for ids, length in zip(found.ids[:, 0], lengths, strict=True)
  ]
