r"""Loss of a large vocabulary from hidden states: time and memory.

  python -m benchmarks.linear

Takes two to ten minutes on two cores and writes benchmarks/results/linear.md and
linear.png. All candidates compute value and gradient (by hidden states and kernel)
of a mean over positions; the first one is what one would write with optax, a
product and its plain cross-entropy, and pays for no regularizer.
"""

import datetime
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import regularizers as reg
from benchmarks import timing

SHAPES = ((2048, 512, 32000), (704, 200, 10000))
BASE = (512, 128, 8000)
MULTIPLES = (1, 2, 4)
BOTH = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))(
  reg.cross_entropy
)
# What stands under the table, measured in runs of their own.
NOTES = """How the time comes about, and what was tried:

- A product of the larger shape alone takes 406 ms forward, 338 by hidden states and 375
  by the kernel: the four that `LinearCategorical` needs would take 1525 ms, and it took
  1427 in the same run, since its slices stay in the cache. At the smaller shape the
  four take 60 ms, and it took 69. Little is left to gain beside the products.
- Cutting the kernel into slices takes 1 to 4 ms. Taking the slices from a transposed
  kernel makes the two products of the backward pass 1.4 times slower.
- Slices of 200, 250 (which divide V), 313 or 320 classes at the smaller shape: within
  4 % of processor time.
- `linear_loss` adds up the kernel's gradient in five tiles: 34.5 ms at the smaller
  shape, where 31 tiles took 41.2, ten 37.2, three that overlap 38.7 and two 33.7 (15
  rounds); at the larger 1241, 1297, 1234, 1235 and 1225 ms (5 rounds).
- With `XLA_FLAGS=--xla_cpu_max_isa=AVX2`, against the same plain loss: 1.26 and 1.26
  for `LinearCategorical`, 1.14 and 1.07 for `linear_loss`; by hand on full logits 1.27
  and 1.51.
- On an earlier machine, whose products ran at 33 GFLOP/s a core (here about 90), it was
  1.35 and 1.48, 1.08 and 1.21; by hand 1.15 and 1.35. Eight operations against six cost
  more there: where products are that slow and memory is there, build the logits."""
Mean = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def plain(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> jax.Array:
  """What the others are measured against."""
  losses = optax.softmax_cross_entropy_with_integer_labels(hidden @ kernel, labels)
  return losses.mean()


def full(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> jax.Array:
  """Our loss on logits that are built."""
  return BOTH(hidden @ kernel, labels).mean()


def by_hand(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> jax.Array:
  """The same loss as one writes it with jnp and optax."""
  logits = hidden @ kernel
  targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), 0.1)
  log_p = jax.nn.log_softmax(logits)
  entropy = -(jnp.exp(log_p) * log_p).sum(-1)
  return (optax.softmax_cross_entropy(logits, targets) - 0.1 * entropy).mean()


def per_position(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> jax.Array:
  """Our loss on logits that are never built, a value per position."""
  return BOTH(reg.LinearCategorical(hidden, kernel), labels).mean()


def one_number(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> jax.Array:
  """The mean, each chunk's gradient taken while its logits are at hand."""
  value: jax.Array = reg.linear_loss(BOTH, hidden, kernel, labels)
  return value


CANDIDATES: dict[str, Mean] = {
  'hidden @ kernel, optax cross-entropy': plain,
  'both, on full logits': full,
  'both, by hand on full logits': by_hand,
  'both, LinearCategorical': per_position,
  'both, linear_loss': one_number,
}


def products(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> Any:
  """The three products of a step on full logits, and nothing else."""
  del labels
  logits = hidden @ kernel
  return logits @ kernel.T, hidden.T @ logits


def problem(rows: int, width: int, classes: int) -> tuple[jax.Array, ...]:
  """Hidden states, kernel and labels; logits of standard deviation 3."""
  rng = np.random.default_rng(1)
  hidden = jnp.asarray(3 * rng.normal(size=(rows, width)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(width, classes)) / width**0.5, jnp.float32)
  return hidden, kernel, jnp.asarray(rng.integers(0, classes, rows))


def compiled(mean: Mean, arguments: tuple[jax.Array, ...]) -> Any:
  """Value and gradient by hidden states and kernel."""
  return jax.jit(jax.value_and_grad(mean, (0, 1))).lower(*arguments).compile()


def run(program: Any, arguments: tuple[jax.Array, ...]) -> object:
  """Until the work is done."""
  return jax.block_until_ready(program(*arguments))


def measure(shape: tuple[int, int, int], rounds: int) -> list[str]:
  """Rows of the table of one shape; the candidates agree, or it is an error."""
  arguments = problem(*shape)
  programs = {name: compiled(mean, arguments) for name, mean in CANDIDATES.items()}
  check_equal({name: program(*arguments) for name, program in programs.items()})
  programs['the three products alone'] = jax.jit(products).lower(*arguments).compile()
  logits, kernel = 4 * shape[0] * shape[2], 4 * shape[1] * shape[2]
  memory = {}
  for name, program in programs.items():
    used = program.memory_analysis().temp_size_in_bytes
    beside = max(used - kernel, 0) / logits
    memory[name] = f'{used / 1e6:.0f} | {used / logits:.3f} | {beside:.3f}'
  steps = {n: functools.partial(run, p, arguments) for n, p in programs.items()}
  return timing.table_rows(str(shape), steps, rounds, extra=memory)


def check_equal(results: dict[str, Any]) -> None:
  """Values and gradients of all but the plain loss are the same."""
  names = [name for name in results if name.startswith('both')]
  expected = jax.tree.leaves(results[names[0]])
  for name in names[1:]:
    for got, want in zip(jax.tree.leaves(results[name]), expected, strict=True):
      scale = float(np.abs(want).max())
      np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * scale, err_msg=name)


def scaling(rounds: int) -> dict[str, list[tuple[int, float, float]]]:
  """(size, ms, MB) of the two forms as rows or classes grow."""
  curves: dict[str, list[tuple[int, float, float]]] = {}
  for axis, of in ((0, 'rows'), (2, 'classes')):
    for multiple in MULTIPLES:
      shape = [*BASE]
      shape[axis] *= multiple
      arguments = problem(*shape)
      forms = {n: m for n, m in CANDIDATES.items() if m in (per_position, one_number)}
      programs = {n: compiled(m, arguments) for n, m in forms.items()}
      steps = {n: functools.partial(run, p, arguments) for n, p in programs.items()}
      for t in timing.compare(steps, rounds=rounds):
        used = programs[t.name].memory_analysis().temp_size_in_bytes / 1e6
        point = (shape[axis], t.median_ms, used)
        curves.setdefault(f'{t.name}, {of}', []).append(point)
  return curves


def draw(curves: dict[str, list[tuple[int, float, float]]], path: pathlib.Path) -> None:
  """Time against rows and classes: straight lines through the origin."""
  figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout='constrained')
  for axis, of in zip(axes, ('rows', 'classes'), strict=True):
    for name, points in curves.items():
      if name.endswith(of):
        sizes, times, _ = zip(*points, strict=True)
        axis.plot(sizes, times, 'o-', label=name.split(', ')[1])
    axis.set(xlabel=of, ylabel='ms a step', xlim=(0, None), ylim=(0, None))
    axis.set_title(f'others fixed of {BASE}', fontsize=9)
    axis.legend(fontsize=8)
  figure.savefig(path, dpi=110)
  plt.close(figure)


def page(rounds: int, load: str) -> str:
  """Measures; the page of results."""
  rows = [row for shape in SHAPES for row in measure(shape, rounds)]
  columns = ['rows, D, V', 'value and gradient', 'ms', 'ratio', 'quartiles']
  columns += ['temporary MB', 'of the logits', 'beside a kernel']
  draw(scaling(rounds), timing.RESULTS / 'linear.png')
  text = [
    '# Loss and gradient from hidden states and kernel, float32',
    f'`python -m benchmarks.linear`, {datetime.date.today()}, {timing.machine()}; '
    f'{load}; {rounds} rounds in which the candidates take turns; ratio: median over '
    "the rounds, against the first row of the shape. Temporary memory is XLA's own "
    'count, beside inputs and gradients, also as a share of one float32 array of '
    'logits, and of that what exceeds one float32 gradient of the kernel.',
    timing.table(columns, rows),
    '![time against rows and classes](linear.png)',
    NOTES,
  ]
  return '\n\n'.join(text) + '\n'


if __name__ == '__main__':
  timing.launch('linear', page, rounds=9)
