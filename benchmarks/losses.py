r"""Value and gradient of composed losses against plain optax cross-entropy.

  python -m benchmarks.losses

Takes about four minutes on two cores and writes benchmarks/results/losses.md. The
candidates are first held against a float64 reference, on logits with −inf classes
and at an offset of 1e4; a candidate that fails there is not timed.
"""

import datetime
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import regularizers as reg
from benchmarks import timing

RESULTS = pathlib.Path(__file__).parent / 'results'
SHAPES = ((2048, 32000), (704, 10000), (128, 10))
EPSILON, BETA = 0.1, 0.1
LossFunction = Callable[[jax.Array, jax.Array], jax.Array]

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
    '+ generalized_entropy ½': reg.generalized_entropy(0.1, 0.5)(reg.cross_entropy),
    'both, by hand': by_hand,
  }


def reference(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """cross_entropy + both, in float64."""
  z = logits.astype(np.float64)
  z = z - z.max(-1, keepdims=True)
  log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
  p_log_p = np.where(np.isneginf(log_p), 0, np.exp(log_p) * np.maximum(log_p, -1e9))
  picked = np.take_along_axis(log_p, labels[:, None], 1)[:, 0]
  mean = log_p.mean(-1) if EPSILON else 0
  return -(1 - EPSILON) * picked - EPSILON * mean + BETA * p_log_p.sum(-1)


def check_correct() -> None:
  """The loss that is timed passes −inf and an offset of 1e4 in float32."""
  rng = np.random.default_rng(0)
  logits = (3 * rng.normal(size=(64, 1000)) + 1e4).astype(np.float32)
  labels = rng.integers(0, 1000, 64)
  loss = candidates(1000)['+ both']
  np.testing.assert_allclose(
    loss(jnp.asarray(logits), jnp.asarray(labels)),
    reference(logits, labels),
    rtol=2e-6,
  )
  logits[:, 3] = -np.inf
  labels[labels == 3] = 4
  only_penalty = penalty(reg.cross_entropy)
  gradient = jax.grad(lambda z: only_penalty(z, jnp.asarray(labels)).sum())(
    jnp.asarray(logits)
  )
  assert np.isfinite(gradient).all()
  assert (gradient[:, 3] == 0).all()


def step(loss: LossFunction, *arguments: Any) -> Callable[[], object]:
  """Compiled value and gradient of the mean, as something to time."""
  run = jax.jit(jax.value_and_grad(lambda z, y: loss(z, y).mean()))
  return lambda: jax.block_until_ready(run(*arguments))


def temporary_mb(loss: LossFunction, *arguments: Any) -> float:
  """XLA's own count of temporary memory, in MB."""
  run = jax.jit(jax.value_and_grad(lambda z, y: loss(z, y).mean()))
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
  steps = {name: step(loss, logits, labels) for name, loss in losses.items()}
  memory = {k: f'{temporary_mb(v, logits, labels):.0f}' for k, v in losses.items()}
  label = f'{shape} {jnp.dtype(dtype).name}'
  short = shape[0] * shape[1] < 1e5
  return table_rows(label, steps, rounds, short=short, extra=memory)


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
  return table_rows(str(shape), steps, rounds, short=shape[0] * shape[1] < 1e5)


def table_rows(
  label: str,
  steps: dict[str, Callable[[], object]],
  rounds: int,
  *,
  short: bool,
  extra: dict[str, str] | None = None,
) -> list[str]:
  """Times the steps and formats a row of Markdown for each."""
  rows = []
  for t in timing.compare(steps, rounds=rounds, calls=50 if short else 1):
    tail = f' {extra[t.name]} |' if extra else ''
    rows.append(
      f'| {label} | {t.name} | {t.median_ms:.3g} | **{t.ratio:.2f}** | '
      f'{t.low:.2f}–{t.high:.2f} |{tail}'
    )
    print(rows[-1], flush=True)
  return rows


def table(columns: list[str], rows: list[str]) -> str:
  """A Markdown table of finished rows."""
  rule = '|---' * len(columns) + '|'
  return '\n'.join([f'| {" | ".join(columns)} |', rule, *rows])


def main(argv: list[str]) -> None:
  del argv
  timing.require_quiet_machine(flags.FLAGS.force)
  check_correct()
  rounds = flags.FLAGS.rounds
  rows = [row for shape in SHAPES for row in measure(shape, jnp.float32, rounds)]
  for shape in SHAPES[:2]:
    rows += measure(shape, jnp.bfloat16, rounds)
  columns = ['logits', 'loss', 'ms', 'ratio', 'quartiles']
  text = [
    '# Value and gradient of a loss against plain optax cross-entropy',
    f'`python -m benchmarks.losses`, {datetime.date.today()}, {timing.machine()}; '
    f'{rounds} rounds in which all candidates of a shape take turns; ratio: median '
    'over the rounds, against the first row of the shape.',
    table([*columns, 'temporary MB'], rows),
  ]
  if importlib.util.find_spec('torch'):
    rows = [row for shape in SHAPES for row in measure_torch(shape, rounds)]
    text += ['## Beside torch (eager), in rounds of their own', table(columns, rows)]
  RESULTS.mkdir(exist_ok=True)
  (RESULTS / 'losses.md').write_text('\n\n'.join(text) + '\n', encoding='utf-8')


if __name__ == '__main__':
  flags.DEFINE_bool('force', False, 'Measure on a busy machine too.')
  flags.DEFINE_integer('rounds', 15, 'Turns of each candidate.')
  app.run(main)
