r"""Value and gradient of composed losses against plain optax cross-entropy.

  python -m benchmarks.losses

Takes about six minutes on two cores and writes benchmarks/results/losses.md. The
losses that are timed are first held against float64 references at an offset of 1e4,
under a mask of classes, and with classes of −inf; one that fails ends the program.
"""

import datetime
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import regularizers as reg
from benchmarks import timing

SHAPES = ((2048, 32000), (704, 10000), (128, 10))
EPSILON, BETA = 0.1, 0.1
LossFunction = Callable[..., jax.Array]
"""``(logits, labels) -> [...]``, or with a teacher's logits as third argument."""

NOTES = """## What was tried

Where the time goes: an exponential costs about as much as all other work on an
element, and reading the logits from memory little. The plain loss and ours take one
exponential forward; for the gradient XLA computes it again for both. What had to be
avoided, each seen in a profile of the compiled program: sibling reductions of one
operand (XLA:CPU fuses them into a loop that is not vectorised, 25 ms instead of 4 at
(704, 10000)), and elementwise values with two readers (written out in full).

Slower, and given up: sums as matrix or vector products, the sums of a row as one
complex number, a variadic `lax.reduce`, blocks of rows in a loop with the gradient
computed in the forward pass, an exponential polynomial of our own, `where` in place
of the floor under log p. Around a plain optax loss the row statistics are computed
twice, once in optax's own formula, hence the higher ratio there.

`reverse_kl` with a prior and `distillation` have a kernel of their own that asks for
exp(z − shift) in the words of the normaliser (through the general `Categorical.sum`
they cost 2.6 to 4.6); distillation adds the teacher's own normaliser.

bfloat16 at (704, 10000) hovers at its limit of 1.3: in three runs of 41 rounds of two
candidates it was 1.29, 1.22 and 1.22 on 2026-11-29 (1.45, 1.41 and 1.42 with huge
pages), and 1.26, 1.28 and 1.32 on the machine of the day before.

Not reached: `generalized_entropy` and `distillation` cost several passes, not one.
XLA:CPU sums what is written out, and nothing else, with vector instructions, so that
each sum of computed values is a writing and a reading of the size of the logits. A rule
for the whole row, by which a class's slope is computed once for its sum and for itself,
took generalized_entropy from 450 ms to 334 at (2048, 32000), and from 27 to 17 at (704,
10000) with huge pages, where the value alone takes 14: an exponential, a logarithm and
the series near p = u. A formula for the middle of α alone, with one series for two, was
no faster. For distillation: to compute the teacher's exponentials again, in place of
keeping them, and to write out one product in place of two factors, were no faster.

A chain looks its label up once: two scatters were what kept "+ both" above optax at
(128, 10).

What a large array costs depends on how glibc hands out memory: those over 32 MB are
mapped anew at every call, a page at a time. With
`GLIBC_TUNABLES=glibc.malloc.hugetlb=1` in the environment optax's loss at (2048, 32000)
took 78 ms instead of 131, and "+ both" 144 instead of 177: all is faster, and the
ratio is nearer that of the arithmetic. Where memory is cheap (huge pages, or arrays
within the cache), "+ both" is 1.9 times the plain loss at (704, 10000), in 60 rounds of
five candidates (2.1 on the machine of the day before), label smoothing alone 1.12 to
1.14: ten readings or writings of the row against six. To ask for
exp(z − shift) anew in each of them, so that nothing is written, was no faster."""

smoothing = reg.label_smoothing(EPSILON)
penalty = reg.confidence_penalty(BETA)
plain = optax.softmax_cross_entropy_with_integer_labels


def by_hand(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Both regularizers as one writes them with jnp and optax."""
  targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), EPSILON)
  log_p = jax.nn.log_softmax(logits)
  entropy = -(jnp.exp(log_p) * log_p).sum(-1)
  return optax.softmax_cross_entropy(logits, targets) - BETA * entropy


def candidates(num_classes: int) -> dict[str, LossFunction]:
  """The functions that are timed, optax's plain loss first."""
  uniform = jnp.full((num_classes,), 1 / num_classes)
  both = reg.chain(smoothing, penalty)
  free = reg.chain(both, reg.reverse_kl(0.1), reg.forward_kl(0.1), reg.z_loss(1e-4))
  priors = reg.chain(
    smoothing, reg.unigram_smoothing(0.1, uniform), reg.forward_kl(0.1, uniform)
  )
  return {
    'optax cross-entropy': plain,
    'cross_entropy': reg.cross_entropy,
    '+ label_smoothing': smoothing(reg.cross_entropy),
    '+ confidence_penalty': penalty(reg.cross_entropy),
    '+ both': both(reg.cross_entropy),
    '+ both, threshold': reg.chain(
      smoothing, reg.confidence_penalty(BETA, threshold=1.0)
    )(reg.cross_entropy),
    '+ both around optax': both(plain),
    '+ both, two KLs and z_loss': free(reg.cross_entropy),
    '+ three priors': priors(reg.cross_entropy),
    '+ reverse_kl(prior)': reg.reverse_kl(0.1, uniform)(reg.cross_entropy),
    '+ distillation': lambda z, y, teacher: reg.distillation(0.1)(reg.cross_entropy)(
      z, y, teacher=teacher
    ),
    '+ generalized_entropy ½': reg.generalized_entropy(0.1, 0.5)(reg.cross_entropy),
    'both, by hand': by_hand,
  }


def references(num_classes: int) -> dict[str, Callable[..., np.ndarray]]:
  """The candidates in float64, as functions of log p and labels."""
  uniform = np.full(num_classes, 1 / num_classes)
  ln_v = np.log(num_classes)

  def picked(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.take_along_axis(log_p, labels[:, None], 1)[:, 0]

  def negative_entropy(log_p: np.ndarray) -> np.ndarray:
    return (np.exp(log_p) * log_p).sum(-1)

  def smoothed(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (1 - EPSILON) * picked(log_p, labels) - EPSILON * log_p.mean(-1)

  def both(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return smoothed(log_p, labels) + BETA * negative_entropy(log_p)

  def hinge(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return smoothed(log_p, labels) + BETA * np.maximum(1 + negative_entropy(log_p), 0)

  def three(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    kl = -ln_v - log_p.mean(-1)
    return smoothed(log_p, labels) + 0.1 * (
      -log_p.mean(-1) - picked(log_p, labels) + kl
    )

  def skew(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    p, m = np.exp(log_p), (uniform + np.exp(log_p)) / 2
    halves = 2 * (uniform * np.log(uniform / m) + p * (log_p - np.log(m))).sum(-1)
    return picked(log_p, labels) + 0.1 * halves

  return {
    'cross_entropy': picked,
    '+ label_smoothing': smoothed,
    '+ confidence_penalty': lambda lp, y: picked(lp, y) + BETA * negative_entropy(lp),
    '+ both': both,
    '+ both, threshold': hinge,
    '+ three priors': three,
    '+ generalized_entropy ½': skew,
    '+ reverse_kl(prior)': lambda lp, y: (
      picked(lp, y) + 0.1 * (negative_entropy(lp) + ln_v)
    ),
  }


def check_correct() -> None:
  """What is timed is right in float32: offset 1e4, masks, impossible classes.

  The three are one problem: whether 100 of 1,000 classes are cut off, masked, or
  given −inf, value and gradient of the others are the same, and 0 on these.
  """
  rng = np.random.default_rng(0)
  logits = (3 * rng.normal(size=(64, 1000)) + 1e4).astype(np.float32)
  labels, out = rng.integers(0, 900, 64), np.arange(1000) >= 900
  z = logits[:, :900].astype(np.float64)
  z -= z.max(-1, keepdims=True)
  log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
  losses, masked = candidates(900), candidates(1000)
  for name, expected in references(900).items():
    few = _value_and_gradient(losses[name], logits[:, :900], labels)
    np.testing.assert_allclose(few[0], expected(log_p, labels), rtol=5e-6, err_msg=name)
    if 'prior' in name:  # whose prior has 1,000 classes
      continue
    where = _value_and_gradient(masked[name], logits, labels, where=jnp.asarray(~out))
    np.testing.assert_allclose(where[0], few[0], rtol=2e-6, err_msg=name)
    np.testing.assert_allclose(where[1][:, ~out], few[1], rtol=1e-4, atol=1e-6)
    assert not where[1][:, out].any(), name
  cut = np.where(out, -np.inf, logits)
  few = _value_and_gradient(losses['+ confidence_penalty'], logits[:, :900], labels)
  got = _value_and_gradient(losses['+ confidence_penalty'], cut, labels)
  np.testing.assert_allclose(got[0], few[0], rtol=2e-6)
  np.testing.assert_allclose(got[1][:, ~out], few[1], rtol=1e-4, atol=1e-6)
  assert not got[1][:, out].any()


def _value_and_gradient(
  loss: Any, logits: np.ndarray, labels: np.ndarray, **mask: Any
) -> tuple[np.ndarray, np.ndarray]:
  values, pull = jax.vjp(
    lambda z: loss(z, jnp.asarray(labels), **mask), jnp.asarray(logits)
  )
  return np.asarray(values), np.asarray(pull(jnp.ones_like(values))[0])


def step(loss: LossFunction, *arguments: Any) -> Callable[[], object]:
  """Compiled value and gradient of the mean, as something to time."""
  run = jax.jit(jax.value_and_grad(lambda *a: loss(*a).mean()))
  return lambda: jax.block_until_ready(run(*arguments))


def temporary_mb(loss: LossFunction, *arguments: Any) -> float:
  """XLA's own count of temporary memory, in MB."""
  run = jax.jit(jax.value_and_grad(lambda *a: loss(*a).mean()))
  analysis: Any = run.lower(*arguments).compile().memory_analysis()
  return float(analysis.temp_size_in_bytes) / 1e6


def measure(shape: tuple[int, int], dtype: Any, rounds: int) -> list[str]:
  """Rows of the Markdown table of one shape."""
  rng = np.random.default_rng(1)
  logits = jnp.asarray(3 * rng.normal(size=shape), dtype)
  labels = jnp.asarray(rng.integers(0, shape[1], shape[0]))
  losses = candidates(shape[1])
  if dtype == jnp.bfloat16:
    losses = {k: losses[k] for k in ('optax cross-entropy', '+ both')}
  teacher = jnp.asarray(3 * rng.normal(size=shape), dtype)
  arguments = {
    name: (logits, labels, teacher) if 'distillation' in name else (logits, labels)
    for name in losses
  }
  steps = {name: step(loss, *arguments[name]) for name, loss in losses.items()}
  memory = {k: f'{temporary_mb(v, *arguments[k]):.0f}' for k, v in losses.items()}
  label = f'{shape} {jnp.dtype(dtype).name}'
  calls = 50 if shape[0] * shape[1] < 1e5 else 1
  return timing.table_rows(label, steps, rounds, calls=calls, extra=memory)


def torch_step(values: np.ndarray, labels: np.ndarray, confidence: bool) -> Any:
  """Value and gradient in torch, eager; the penalty written out."""
  import torch

  logits = torch.tensor(values, requires_grad=True)
  targets = torch.tensor(labels)

  def run() -> None:
    logits.grad = None
    loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=EPSILON)
    if confidence:
      log_p = torch.nn.functional.log_softmax(logits, -1)
      loss = loss + BETA * (log_p.exp() * log_p).sum(-1).mean()
    loss.backward()

  return run


def measure_torch(shape: tuple[int, int], rounds: int) -> list[str]:
  """Rows that set optax and our loss beside torch's."""
  rng = np.random.default_rng(1)
  values = (3 * rng.normal(size=shape)).astype(np.float32)
  labels = rng.integers(0, shape[1], shape[0])
  arrays = jnp.asarray(values), jnp.asarray(labels)
  both = reg.chain(smoothing, penalty)(reg.cross_entropy)
  steps = {
    'optax cross-entropy': step(plain, *arrays),
    '+ both': step(both, *arrays),
    'torch, label_smoothing=0.1': torch_step(values, labels, confidence=False),
    'torch, penalty written out too': torch_step(values, labels, confidence=True),
  }
  calls = 50 if shape[0] * shape[1] < 1e5 else 1
  return timing.table_rows(str(shape), steps, rounds, calls=calls)


def page(rounds: int, load: str) -> str:
  """Measures; the page of results."""
  check_correct()
  rows = [row for shape in SHAPES for row in measure(shape, jnp.float32, rounds)]
  for shape in SHAPES[:2]:
    rows += measure(shape, jnp.bfloat16, rounds)
  columns = ['logits', 'loss', 'ms', 'ratio', 'quartiles']
  text = [
    '# Value and gradient of a loss against plain optax cross-entropy',
    f'`python -m benchmarks.losses`, {datetime.date.today()}, {timing.machine()}; '
    f'{load}; {rounds} rounds in which all candidates of a shape take turns; '
    'ratio: median over the rounds, against the first row of the shape.',
    timing.table([*columns, 'temporary MB'], rows),
  ]
  if importlib.util.find_spec('torch'):
    rows = [row for shape in SHAPES for row in measure_torch(shape, rounds)]
    text += [
      '## Beside torch (eager), in rounds of their own',
      timing.table(columns, rows),
    ]
  text.append(NOTES)
  return '\n\n'.join(text) + '\n'


if __name__ == '__main__':
  timing.launch('losses', page, rounds=15)
