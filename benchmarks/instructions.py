r"""A decoder-only transformer in training and decoding: ours, and transformers' OPT.

  python -m benchmarks.instructions

Takes some minutes and writes benchmarks/results/instructions.md. PyTorch gets as
many threads as this process may use cores, as XLA does; under `taskset -c 0` both have
one. A training step bounds the gradient and ends in Adam; neither drops anything. Rows
of ours hold four packed examples, each of which sees itself alone; those of PyTorch one
example, for which it has a kernel that skips later keys. Before anything is timed,
losses, gradients and answers of both are held against each other.
"""

import dataclasses
import datetime
import functools
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import regularizers as reg
from benchmarks import timing
from benchmarks.extra import torch, transformers
from experiments import instruction_loading
from experiments.config import steps
from experiments.datasets.instructions.tokens import Bytes
from experiments.instruction_config import Config, filled
from experiments.models import opt_tensors
from experiments.models.generation import greedy
from experiments.models.opt import OPT, graph
from experiments.models.opt_layers import Sizes

EXAMPLES = 4  # of a row
CLIP, RATE = 1.0, 1e-4
Step = Callable[[], object]
Batch = Mapping[str, Any]  # of arrays

NOTES = """## What was tried

Single thread, 8 rows of 512, 8 heads of 32 units, value and gradient of attention alone
in processor time: all pairs at once 504 ms, `jax.nn.dot_product_attention` 696 ms,
blocks of 128 queries with the keys up to their end 295 ms, with the division by the sum
after the product 261 ms, with queries as the last axis of the weights 243 ms; by a
backward pass of its own that keeps no weights 255 ms. PyTorch's kernel: 313 ms.

A kernel's gradient is a product over rows. XLA:CPU took 84 ms for that of 1024 × 256
over 4096 rows as it comes out of autodiff, 60 ms where one factor is transposed first;
the narrower one, since XLA computes a transposed factor once more, column by column
(45 ms for a ReLU of 1024 × 4096)."""


@dataclasses.dataclass(frozen=True)
class Case:
  """What is trained and decoded.

  Attributes:
    sizes: of the network.
    rows: of a batch of training.
    length: of a row.
    prompt: ids that are given in decoding.
    written: ids that are written.
    prompts: that are answered side by side.
  """

  sizes: Sizes
  rows: int
  length: int
  prompt: int = 128
  written: int = 64
  prompts: int = 16

  def batch(self, examples: int = EXAMPLES) -> dict[str, np.ndarray]:
    """Random ids; so many examples a row, of one length."""
    shape = self.rows, self.length
    ids = self.ids(self.rows, self.length + 1)
    each = -(-self.length // examples)
    places = np.broadcast_to(np.arange(self.length, dtype=np.int32), shape)
    return {
      'ids': ids[:, :-1],
      'segment': 1 + places // each,
      'position': places % each,
      'label': ids[:, 1:],
      'mask': np.ones(shape, bool),
    }

  def ids(self, rows: int, width: int) -> np.ndarray:
    """None of which is one of OPT's special symbols."""
    random = np.random.default_rng(0)
    shape = rows, width
    return random.integers(4, self.sizes.vocabulary, shape, dtype=np.int32)


def _sizes(vocabulary: int, hidden: int, layers: int) -> Sizes:
  return Sizes(vocabulary, 512, hidden, layers, hidden // 64, 4 * hidden)


CASES = {
  'bytes, 256 units': Case(_sizes(260, 256, 4), 8, 512),
  'pieces, 512 units': Case(_sizes(8000, 512, 4), 4, 512),
  "OPT's vocabulary, 256 units": Case(_sizes(50272, 256, 2), 4, 512),
}


def weights(sizes: Sizes, std: float = 0.02) -> Any:
  """The first parameters."""
  made = jax.jit(lambda: nnx.state(OPT(sizes, init_std=std, rngs=nnx.Rngs(0))))
  return nnx.to_pure_dict(made())


def mean(sizes: Sizes, fused: bool) -> Callable[[Any, Batch], jax.Array]:
  """``params, batch -> loss``."""
  empty = graph(sizes)

  def value(params: Any, batch: Batch) -> jax.Array:
    model = nnx.merge(empty, params, copy=True)
    parts = (batch[name] for name in ('ids', 'segment', 'position'))
    hidden = model(*parts, deterministic=True)
    labels, mask = batch['label'], batch['mask']
    if not fused:
      return reg.masked_mean(reg.cross_entropy(model.logits(hidden), labels), mask)
    kernel, bias = model.affine()
    loss: jax.Array = reg.linear_loss(
      reg.cross_entropy, hidden, kernel, labels, mask, bias=bias
    )
    return loss

  return value


@functools.cache  # for its memory and its time
def compiled(case: Case, fused: bool) -> Any:
  """A training step: ``params, optimizer's state, batch -> the same and the loss``."""
  value, optimizer = mean(case.sizes, fused), _optimizer()

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params: Any, state: Any, batch: Batch) -> Any:
    result, gradient = jax.value_and_grad(value)(params, batch)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, result

  params = jax.eval_shape(lambda: weights(case.sizes))
  state = jax.eval_shape(optimizer.init, params)
  return step.lower(params, state, case.batch()).compile()


def _optimizer() -> optax.GradientTransformation:
  return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(RATE))


def our_training(case: Case, fused: bool) -> Step:
  """A step that keeps its parameters to itself."""
  step, batch = compiled(case, fused), jax.tree.map(jnp.asarray, case.batch())
  params = weights(case.sizes)
  state = _optimizer().init(params)

  def run() -> float:
    nonlocal params, state
    params, state, result = step(params, state, batch)
    jax.block_until_ready(params)
    return float(result)

  return run


def twin(sizes: Sizes, params: Any) -> Any:
  """The same network of transformers."""
  config = transformers.OPTConfig(
    vocab_size=sizes.vocabulary,
    hidden_size=sizes.hidden,
    num_hidden_layers=sizes.layers,
    ffn_dim=sizes.ffn,
    max_position_embeddings=sizes.positions,
    num_attention_heads=sizes.heads,
    word_embed_proj_dim=sizes.word,
    dropout=0.0,
    eos_token_id=None,
  )
  model = transformers.OPTForCausalLM(config)
  own = opt_tensors.tensors(sizes, params)
  named = {f'decoder.{name}': torch.tensor(array) for name, array in own.items()}
  model.model.load_state_dict(named)
  return model.train()


def torch_loss(model: Any, batch: Batch) -> Any:
  """The mean over the labels of rows that are one example each."""
  ids, labels = (torch.tensor(batch[name]).long() for name in ('ids', 'label'))
  logits = model(ids, use_cache=False).logits
  return torch.nn.functional.cross_entropy(
    logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
  )


def torch_training(case: Case) -> Step:
  """The same step in PyTorch."""
  model, batch = twin(case.sizes, weights(case.sizes)), case.batch()
  optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

  def run() -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = torch_loss(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return loss.item()

  return run


def our_decoding(case: Case, params: Any) -> Step:
  """Ids that follow the prompts."""
  empty, ids = graph(case.sizes), case.ids(case.prompts, case.prompt)

  @jax.jit
  def write(params: Any, ids: jax.Array) -> jax.Array:
    model = nnx.merge(empty, params, copy=True)
    there = jnp.ones(ids.shape, bool)
    return greedy(model, ids, there, length=case.written, end=-1).ids

  return lambda: jax.device_get(write(params, ids))


def torch_decoding(case: Case, params: Any) -> Step:
  """The same by transformers' own, with its cache."""
  model = twin(case.sizes, params).eval()
  ids = torch.tensor(case.ids(case.prompts, case.prompt)).long()

  def run() -> np.ndarray:
    with torch.no_grad():
      found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=case.written,
        do_sample=False,
        pad_token_id=1,
      )
    return found[:, case.prompt :].numpy()

  return run


def check_equal(case: Case) -> None:
  """Losses, gradients and what is written are the same in both."""
  sizes, batch = case.sizes, case.batch(examples=1)
  params = weights(sizes, std=0.1)  # ids of clearly different probability
  model = twin(sizes, params)
  loss = torch_loss(model, batch)
  loss.backward()
  parts = model.model.decoder.named_parameters()
  expected = {name: np.asarray(part.grad) for name, part in parts}
  for fused in (False, True):
    value, gradient = jax.jit(jax.value_and_grad(mean(sizes, fused)))(params, batch)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-5)
    # By norms: a unit at its threshold may be on in the one and off in the other. Both
    # are as far from float64, up to 8e-4.
    # Keys' biases change nothing, so their gradient is nothing but rounding.
    norm = np.linalg.norm
    least = 1e-2 * max(float(norm(array)) for array in expected.values())
    for name, array in opt_tensors.tensors(sizes, gradient).items():
      error = float(norm(array - expected[name]))
      assert error < 3e-3 * max(float(norm(expected[name])), least), name
  ours: Any = our_decoding(case, params)()
  np.testing.assert_array_equal(ours, torch_decoding(case, params)())


def training_rows(label: str, case: Case, rounds: int) -> list[str]:
  """Rows of the Markdown table."""
  steps = {
    'transformers, PyTorch': torch_training(case),
    'ours, logits': our_training(case, fused=False),
    'ours, linear_loss': our_training(case, fused=True),
  }
  return timing.table_rows(label, steps, rounds, amount=case.rows * case.length)


def memory_rows(label: str, case: Case) -> list[str]:
  """XLA's own count of what a step takes beside parameters and batch."""
  logits = 4 * case.rows * case.length * case.sizes.vocabulary
  rows = []
  for name, fused in (('ours, logits', False), ('ours, linear_loss', True)):
    used = compiled(case, fused).memory_analysis().temp_size_in_bytes
    rows.append(f'| {label} | {name} | {used / 1e6:.0f} | {logits / 1e6:.0f} |')
  return rows


def decoding_rows(label: str, case: Case, rounds: int) -> list[str]:
  """Rows of the Markdown table."""
  params = weights(case.sizes)
  steps = {
    'transformers, PyTorch': torch_decoding(case, params),
    'ours': our_decoding(case, params),
  }
  return timing.table_rows(label, steps, rounds, amount=case.prompts * case.written)


def packing_rows(cache: pathlib.Path, lengths: Sequence[int] = (256, 512)) -> list[str]:
  """Rows of the Markdown table: how full the rows of training are."""
  rows = []
  for length in lengths:
    config = filled(Config(cache_dir=str(cache), length=length))
    data = instruction_loading.loaded(config, Bytes())
    count = steps(config, 1)
    share = 100 * data.stream(0).filled(count)
    rows.append(f'| {length} | {count * config.rows} | {share:.2f} |')
  return rows


def page(
  cases: Mapping[str, Case], rounds: int, load: str, packing: Sequence[str] = ()
) -> str:
  """Measures; the page of results.

  Args:
    cases: by name.
    rounds: turns of each candidate.
    load: what the machine was doing.
    packing: of ``packing_rows``.
  """
  trained = [r for n, case in cases.items() for r in training_rows(n, case, rounds)]
  memory = [row for name, case in cases.items() for row in memory_rows(name, case)]
  decoded = [r for n, case in cases.items() for r in decoding_rows(n, case, rounds)]
  columns = ['model', 'candidate', 'ms', 'ratio', 'quartiles']
  parts = [
    '# A decoder-only transformer in training and decoding, float32',
    f'`python -m benchmarks.instructions`, {datetime.date.today()}, '
    f'{timing.machine()}, torch {torch.__version__}, transformers '
    f'{transformers.__version__}, threads of either: {torch.get_num_threads()}; '
    f'{load}; {rounds} rounds in which the candidates take turns; ratio: median over '
    'the rounds, against PyTorch.',
    '\n'.join(_said(name, case) for name, case in cases.items()),
    '## A training step',
    timing.table([*columns, 'tokens a second'], trained),
    '## Memory of that step, beside parameters and their moments',
    timing.table(['model', 'loss', 'MB', 'MB of one array of logits'], memory),
    '## Greedy decoding, prompts read and answers written to the full length',
    timing.table([*columns, 'ids written a second'], decoded),
    '## Packing: ids a row, rows of the generated tasks, places that hold an id',
    timing.table(['length', 'rows', '%'], list(packing)),
    NOTES,
  ]
  return '\n\n'.join(parts) + '\n'


def _said(name: str, case: Case) -> str:
  sizes = case.sizes
  return (
    f'- {name}: {sizes.layers} layers, {sizes.heads} heads, {sizes.vocabulary:,} ids; '
    f'{case.rows} rows of {case.length}; {case.prompts} prompts of {case.prompt}, '
    f'{case.written} ids written'
  )


def checked(rounds: int, load: str) -> str:
  """The page, once the candidates have been held against each other."""
  timing.share_cores()
  for case in CASES.values():
    check_equal(case)
  with tempfile.TemporaryDirectory() as cache:
    packing = packing_rows(pathlib.Path(cache))
  return page(CASES, rounds, load, packing)


if __name__ == '__main__':
  timing.launch('instructions', checked, rounds=5)
