r"""Speech: features, training and decoding; the same model in PyTorch beside it.

  python -m benchmarks.speech

Takes about four minutes and writes benchmarks/results/speech.md. PyTorch gets as many
threads as this process may use cores, as XLA does; under `taskset -c 0` both have one.
A training step of ours is one of `experiments.train.training`, as `experiments.timit`
takes it: a batch in, a state out, with the sums for nll, entropy and gradient norm; the
step in PyTorch (benchmarks/torch_speech.py) has the loss alone. Both bound the gradient
and end in Adam. Before anything is timed, their losses and gradients are held against
each other.
"""

import dataclasses
import datetime
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks import sequences, timing, torch_speech
from benchmarks.extra import torch
from benchmarks.sequences import Step
from experiments import speech_study, timit, wsj
from experiments.datasets import fbank
from experiments.datasets.buckets import Shape
from experiments.datasets.phones import PHONES
from experiments.datasets.units import END, PADDING, START, UNKNOWN
from experiments.decoding import Decoding, decoder
from experiments.models.listener import LAS, Sizes
from experiments.speech_plots import FRAME
from experiments.task import Model, Task, functions
from experiments.translation import translation

CLIP = 1.0
RATE = 16_000  # samples a second
SPOKEN = 10  # seconds of the recordings whose features are computed
LETTERS = 28  # of WSJ's transcripts, about

NOTES = ''


@dataclasses.dataclass(frozen=True)
class Case:
  """What is trained and decoded.

  Attributes:
    sizes: of the network.
    shape: of a batch.
    search: of hypotheses.
  """

  sizes: Sizes
  shape: Shape
  search: Decoding

  @property
  def module(self) -> Model:
    """Makes the network."""
    return lambda rngs: LAS(self.sizes, rngs=rngs)

  def batch(self) -> dict[str, np.ndarray]:
    """Random frames and ids; between four fifths and all of either width is there."""
    random = np.random.default_rng(0)
    rows, *widths = self.shape
    heard, mask = (
      np.arange(width)[None] < random.integers(-(-4 * width // 5), width + 1, (rows, 1))
      for width in widths
    )
    frames = random.normal(size=(*heard.shape, self.sizes.features))
    label = random.integers(UNKNOWN + 1, self.sizes.target, mask.shape, dtype=np.int32)
    label[np.arange(rows), mask.sum(1) - 1] = END
    inputs = np.pad(label[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    return {
      'frames': np.where(heard[..., None], frames, 0).astype(np.float32),
      'frames_mask': heard,
      'inputs': np.where(mask, inputs, PADDING),
      'label': np.where(mask, label, PADDING),
      'mask': mask,
    }

  def task(self) -> Task:
    """The experiment's, of this one batch."""
    made = translation(self.module, {}, source=speech_study.frames_of)
    batch = self.batch()
    return dataclasses.replace(made, batches=lambda *_: itertools.repeat(batch))


def case(config: Any, symbols: int, shape: Shape) -> Case:
  """A size of an experiment."""
  sizes = speech_study.sizes(config, fbank.dims(config.num_mel), UNKNOWN + 1 + symbols)
  return Case(sizes, shape, config.search())


def cases() -> dict[str, Case]:
  """The embedded corpus at its size, and the papers' networks."""
  small = timit.filled(timit.Config())
  papers = (
    timit.filled(timit.Config(dataset='timit')),
    wsj.filled(wsj.Config(dataset='wsj')),
  )
  return {
    'timit, small': case(small, len(PHONES), Shape(16, 208, 24)),
    'timit, of the paper': case(papers[0], len(PHONES), Shape(4, 304, 40)),
    'wsj, of the paper': case(papers[1], LETTERS, Shape(4, 800, 104)),
  }


@functools.cache
def initial(case: Case) -> tuple[Any, Any]:
  """The first parameters, and what else the model holds."""
  found: tuple[Any, Any] = jax.jit(functions(case.module)[0])(jax.random.key(0))
  return found


def check_equal(cases: Mapping[str, Case]) -> None:
  """Losses and gradients are the same in both."""
  for case in cases.values():
    given = initial(case)
    sequences.check_training(
      *([case.task()], given, case.batch(), torch_speech.as_torch),
      torch_speech.twin(given[0], case.sizes),
    )


def training_rows(label: str, case: Case, rounds: int) -> list[str]:
  """Rows of the Markdown table."""
  params, batch = initial(case)[0], case.batch()
  steps = {
    name: sequences.torch_training(
      torch_speech.twin(params, case.sizes, packed=packed), batch, CLIP
    )
    for name, packed in (('PyTorch', True), ('PyTorch, padding is read', False))
  }
  steps['ours'] = sequences.our_training(case.task(), CLIP)
  return timing.table_rows(label, steps, rounds, amount=int(batch['frames_mask'].sum()))


def decoding_row(label: str, case: Case, rounds: int) -> str:
  """A row of the Markdown table: of one utterance alone."""
  batch, decode = case.batch(), decoder(case.module, case.search)
  frames, mask = batch['frames'][:1], batch['frames_mask'][:1]
  given = *initial(case), frames, case.shape.target, mask
  (found,) = timing.compare({label: _fetched(decode, *given)}, rounds=rounds)
  heard, symbols = FRAME * int(mask.sum()), int(decode(*given).lengths.max())
  row = (
    f'| {label}, beam {case.search.beam} | {symbols} | {found.median_ms:.3g} | '
    f'{heard:.1f} | **{found.median_ms / 1e3 / heard:.4f}** |'
  )
  print(row, flush=True)
  return row


def _fetched(decode: Callable[..., Any], *given: Any) -> Step:
  return lambda: jax.device_get(decode(*given))


def feature_rows(rounds: int) -> list[str]:
  """Rows of the Markdown table: features of a recording, and their normalisation."""
  random = np.random.default_rng(0)
  samples = random.integers(-500, 500, SPOKEN * RATE).astype(np.int16)
  rows = []
  for num_mel in (40, 80):

    def run(num_mel: int = num_mel) -> object:
      return fbank.normalised([fbank.features(samples, RATE, num_mel)])

    (found,) = timing.compare({'': run}, rounds=rounds)
    a_second = found.median_ms / SPOKEN
    rows.append(f'| {num_mel} | {a_second:.3g} | {1e3 / a_second:,.0f} |')
    print(rows[-1], flush=True)
  return rows


def page(cases: Mapping[str, Case], rounds: int, load: str) -> str:
  """Measures; the page of results."""
  parts = [
    '# Speech: features, training and decoding, float32',
    f'`python -m benchmarks.speech`, {datetime.date.today()}, {timing.machine()}, '
    f'torch {torch.__version__}, threads of either: {torch.get_num_threads()}; {load}; '
    f'{rounds} rounds in which the candidates take turns; ratio: median over the '
    'rounds, against PyTorch.',
    _sizes(cases),
    '## A training step',
    timing.table(
      ['model', 'candidate', 'ms', 'ratio', 'quartiles', 'frames a second'],
      [r for name, case in cases.items() for r in training_rows(name, case, rounds)],
    ),
    'PyTorch passes padding by as packed sequences, for the way back has to begin at '
    'the end of each utterance. Reading padding as frames changes what comes out.',
    '## Decoding',
    timing.table(
      ['model', 'symbols', 'ms', 'seconds of speech', 'real-time factor'],
      [decoding_row(name, case, rounds) for name, case in cases.items()],
    ),
    'One utterance, from features to hypotheses, at the first weights; symbols: of the '
    'longest hypothesis.',
    '## Features',
    timing.table(
      ['mel filters', 'ms a second of speech', 'times as fast as speech'],
      feature_rows(rounds),
    ),
    'Filters, energy, two deltas and normalisation, on one core: samples of 16 kHz in, '
    'frames out.',
    NOTES,
  ]
  return '\n\n'.join(part for part in parts if part) + '\n'


def _sizes(cases: Mapping[str, Case]) -> str:
  lines = []
  for name, case in cases.items():
    sizes, shape = case.sizes, case.shape
    lines.append(
      f'- {name}: {sizes.layers} + 1 layers of {sizes.hidden} units, time halved '
      f'{sizes.halvings} times ({sizes.merge}); {shape.rows} utterances of up to '
      f'{shape.source} frames and {shape.target} of {sizes.target} symbols'
    )
  return '\n'.join(lines)


def checked(rounds: int, load: str) -> str:
  """The page, once the candidates have been held against each other."""
  timing.share_cores()
  own = cases()
  check_equal(own)
  return page(own, rounds, load)


if __name__ == '__main__':
  timing.launch('speech', checked, rounds=9)
