r"""Translation in training and decoding: ours, and the same model in PyTorch.

  python -m benchmarks.translation

Takes about three minutes and writes benchmarks/results/translation.md. PyTorch gets as
many threads as this process may use cores, as XLA does. Under `taskset -c 0` both have
one: on a busy machine threads that wait for each other measure the others' work (a
step of PyTorch's took six to ten times as long with two as with one). A
training step of ours is one of `experiments.train.training`, as `experiments.wmt` takes
it: a batch in, a state out, with the sums for nll, entropy and gradient norm; the step
in PyTorch (benchmarks/torch_translation.py) has the loss alone. Both bound the gradient
and end in Adam. Decoding is that of `experiments.decoding`. Before anything is timed,
losses, gradients and translations of both are held against each other.
"""

import dataclasses
import datetime
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks import sequences, timing, torch_translation
from benchmarks.extra import torch
from benchmarks.sequences import Step
from experiments.datasets.buckets import Shape
from experiments.datasets.units import END, PADDING, START, UNKNOWN
from experiments.decoding import Decoding, decoder
from experiments.models.seq2seq import Seq2Seq, Sizes
from experiments.task import Model, Task, functions
from experiments.translation import translation
from experiments.wmt_settings import ALL, SIZES

BEAMS = (4, 12)
ROWS = 16  # sources that are decoded side by side

NOTES = """## What was tried

The kernel of the softmax layer is applied to `[rows, units]`, not to `[batch, time,
units]`: else its gradient transposes all logits first (single thread, 128 units: value
and gradient of the objective in 268 ms of processor time instead of 478).

Candidates of the search are looked for in groups of 32 symbols of which the greatest
logit is known, then in those groups; the softmax is not written down. Of 12 × 4,000 in
16 rows 0.54 ms, by groups of 16, 64 and 128 0.61, 0.67 and 0.92 ms, with all
log-probabilities before it 3.4 ms.

XLA takes `top_k` for a sort of all candidates where a slice of its results is used
beside them: 4.3 of 7.6 ms a step. A barrier in between keeps it apart: 89 ms in place
of 160 for beam 12, 128 units.

Brought nothing: gradients of the attending layer's kernels as one product after the
recursion instead of a sum within it."""


@dataclasses.dataclass(frozen=True)
class Case:
  """What is trained and decoded.

  Attributes:
    sizes: of the network.
    shape: of a batch.
  """

  sizes: Sizes
  shape: Shape

  @property
  def module(self) -> Model:
    """Makes the network."""
    return lambda rngs: Seq2Seq(self.sizes, rngs=rngs)

  def batch(self) -> dict[str, np.ndarray]:
    """Random ids; rows are between four fifths and all of the width long."""
    random = np.random.default_rng(0)
    rows, *widths = self.shape

    def side(size: int, width: int) -> tuple[np.ndarray, np.ndarray]:
      lengths = random.integers(-(-4 * width // 5), width + 1, rows)
      there = np.arange(width)[None] < lengths[:, None]
      ids = random.integers(UNKNOWN + 1, size, (rows, width), dtype=np.int32)
      return np.where(there, ids, PADDING), there

    source, _ = side(self.sizes.source, widths[0])
    label, mask = side(self.sizes.target, widths[1])
    label[np.arange(rows), mask.sum(1) - 1] = END
    inputs = np.pad(label[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    inputs = np.where(mask, inputs, PADDING)
    return {'source': source, 'inputs': inputs, 'label': label, 'mask': mask}

  def task(self, fused: bool) -> Task:
    """The experiment's, of this one batch."""
    made, batch = translation(self.module, {}, fused=fused), self.batch()
    return dataclasses.replace(made, batches=lambda *_: itertools.repeat(batch))


def sized(name: str, source: int, target: int, units: int | None = None) -> Sizes:
  """A size of `experiments.wmt`, or the same with other ``units`` in every layer."""
  own = SIZES[name]
  widths = {key: units or own[key] for key in ('embedding', 'hidden', 'attention')}
  layers = {'encoder': own['encoder_layers'], 'decoder': own['decoder_layers']}
  return Sizes(source, target, **widths, **layers)


# The batches of number names, and one of 95 pairs of sentences, as Multi30k's are.
CASES = {
  'numbers, 64 units': Case(sized('tiny', 36, 25), Shape(45, 11, 52)),
  'pieces, 128 units': Case(sized('small', 4000, 4000), Shape(95, 21, 21)),
  'pieces, 256 units': Case(sized('small', 4000, 4000, 256), Shape(95, 21, 21)),
}


@functools.cache  # its draws are compiled one by one
def initial(case: Case) -> tuple[Any, Any]:
  """The first parameters, and what else the model holds."""
  return functions(case.module)[0](jax.random.key(0))


def our_training(case: Case, fused: bool) -> Step:
  """The next state of the experiment's loop."""
  return sequences.our_training(case.task(fused), ALL['clip'])


def torch_training(case: Case) -> Step:
  """The same step in PyTorch."""
  model = torch_translation.twin(initial(case)[0], case.sizes)
  return sequences.torch_training(model, case.batch(), ALL['clip'])


def weights(case: Case, sharp: float = 1.0, end: float = 0.0) -> tuple[Any, Any]:
  """The first ones; logits are ``sharp`` times as large, and that of the end more.

  As they are hardly a sequence ends: a search is as long as it can be.
  """
  params, rest = initial(case)
  output = {name: sharp * array for name, array in params['output'].items()}
  output['bias'] = output['bias'].at[END].add(end)
  return params | {'output': output}, rest


@functools.cache  # compiled once for the check and the timing
def search(case: Case, beam: int) -> Callable[..., Any]:
  """That of the experiment, at its default penalties."""
  options = Decoding(beam, ALL['length_penalty'], ALL['coverage_penalty'])
  return decoder(case.module, options)


def our_decoding(case: Case, given: tuple[Any, Any], beam: int) -> Step:
  """Hypotheses of the first sources of the batch."""
  decode = search(case, beam)
  source = case.batch()['source'][:ROWS]
  return lambda: jax.device_get(decode(*given, source, case.shape.target))


def torch_decoding(case: Case, given: tuple[Any, Any], beam: int) -> Step:
  """The same in PyTorch."""
  model = torch_translation.twin(given[0], case.sizes)
  source = torch.tensor(case.batch()['source'][:ROWS])
  return functools.partial(
    torch_translation.beam_search,
    *(model, source),
    beam=beam,
    length=case.shape.target,
    length_penalty=ALL['length_penalty'],
  )


def check_equal(cases: Mapping[str, Case], beams: tuple[int, ...]) -> None:
  """Losses, gradients and what the beams find are the same in both."""
  for case in cases.values():
    check_training(case)
    # With ends and without; logits far apart: equally good ids may change places.
    for end, beam in itertools.product((0.0, 6.0), beams):
      given = weights(case, sharp=8.0, end=end)
      ours: Any = our_decoding(case, given, beam)()
      theirs: Any = torch_decoding(case, given, beam)()
      np.testing.assert_array_equal(ours.ids[:, 0], theirs.ids[:, 0])
      np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-4)


def check_training(case: Case) -> None:
  """Loss and gradient at the first weights."""
  given = initial(case)
  sequences.check_training(
    [case.task(fused) for fused in (False, True)],
    *(given, case.batch(), torch_translation.as_torch),
    torch_translation.twin(given[0], case.sizes),
  )


def training_rows(label: str, case: Case, rounds: int) -> list[str]:
  """Rows of the Markdown table."""
  steps = {
    'PyTorch': torch_training(case),
    'ours': our_training(case, fused=False),
    'ours, --loss=fused': our_training(case, fused=True),
  }
  symbols = int(case.batch()['mask'].sum())
  return timing.table_rows(label, steps, rounds, amount=symbols)


def decoding_rows(label: str, case: Case, beam: int, rounds: int) -> list[str]:
  """Rows of the Markdown table."""
  given = weights(case)
  steps = {
    'PyTorch': torch_decoding(case, given, beam),
    'ours': our_decoding(case, given, beam),
  }
  ids = ROWS * case.shape.target
  return timing.table_rows(f'{label}, beam {beam}', steps, rounds, amount=ids)


def page(
  cases: Mapping[str, Case], beams: tuple[int, ...], rounds: int, load: str
) -> str:
  """Measures; the page of results."""
  trained = [
    r for name, case in cases.items() for r in training_rows(name, case, rounds)
  ]
  decoded = [
    row
    for name, case in cases.items()
    for beam in beams
    for row in decoding_rows(name, case, beam, rounds)
  ]
  columns = ['ms', 'ratio', 'quartiles', 'target symbols a second']
  parts = [
    '# Translation in training and decoding, float32',
    f'`python -m benchmarks.translation`, {datetime.date.today()}, '
    f'{timing.machine()}, torch {torch.__version__}, threads of either: '
    f'{torch.get_num_threads()}; {load}; {rounds} rounds in which the candidates '
    'take turns; ratio: median over the rounds, against PyTorch.',
    _sizes(cases),
    '## A training step',
    timing.table(['model', 'candidate', *columns], trained),
    f'## Decoding {ROWS} sources to the full length',
    timing.table(['model', 'candidate', *columns], decoded),
    NOTES,
  ]
  return '\n\n'.join(parts) + '\n'


def _sizes(cases: Mapping[str, Case]) -> str:
  lines = []
  for name, case in cases.items():
    sizes, shape = case.sizes, case.shape
    lines.append(
      f'- {name}: {sizes.encoder} + {sizes.decoder} layers, {sizes.target:,} target '
      f'symbols; {shape.rows} pairs of up to {shape.source} and {shape.target} symbols'
    )
  return '\n'.join(lines)


def checked(rounds: int, load: str) -> str:
  """The page, once the candidates have been held against each other."""
  timing.share_cores()
  check_equal(CASES, BEAMS)
  return page(CASES, BEAMS, rounds, load)


if __name__ == '__main__':
  timing.launch('translation', checked, rounds=15)
