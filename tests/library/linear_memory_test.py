"""What the linear forms keep in memory, and what they compute."""

from typing import Any

import jax
import jax.numpy as jnp

import regularizers as reg

BOTH = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))(
  reg.cross_entropy
)


def test_nothing_of_the_size_of_the_logits_is_compiled():
  rows, width, classes = 64, 8, 6400
  shapes = [(rows, width), (width, classes)]
  labels = jnp.zeros(rows, int)

  def mean(hidden: jax.Array, kernel: jax.Array) -> jax.Array:
    return BOTH(reg.LinearCategorical(hidden, kernel), labels).mean()

  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  compiled = jax.jit(jax.value_and_grad(mean, (0, 1))).lower(*arguments).compile()
  assert f'f32[{rows},{classes}]' not in compiled.as_text()
  # Nor a second gradient of the kernel: an output, not temporary memory.
  assert compiled.memory_analysis().temp_size_in_bytes < rows * classes * 4 / 3


def test_memory_beside_a_gradient_of_the_kernel():
  rows, width, classes = 256, 16, 4096
  labels = jnp.zeros(rows, int)
  shapes = [(rows, width), (width, classes)]
  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  run = jax.value_and_grad(
    lambda h, k: reg.linear_loss(BOTH, h, k, labels, chunk_size=16), (0, 1)
  )
  analysis = jax.jit(run).lower(*arguments).compile().memory_analysis()
  # A few arrays of the chunk's 16 rows.
  allowed = 4 * (width * classes + 4 * 16 * classes)
  assert analysis.temp_size_in_bytes < allowed


def test_evaluation_computes_no_gradient():
  """One product a chunk, as against three."""

  hidden, kernel = jnp.ones((6, 3)), jnp.ones((3, 19))
  labels = jnp.arange(6)

  def products(function: Any) -> int:
    return str(jax.make_jaxpr(function)(hidden, kernel)).count('dot_general')

  value = lambda h, k: reg.linear_loss(BOTH, h, k, labels, chunk_size=4)  # noqa: E731
  assert products(value) == 1
  assert products(jax.grad(value, (0, 1))) == 3
