"""What experiments.timit and experiments.wsj make of trained networks."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments import records, runner
from experiments.datasets.speech import Speech
from experiments.datasets.units import UNKNOWN
from experiments.decoding import Decoding, Weights, attention, best, decoder, limit
from experiments.evaluate import Row, evaluate
from experiments.framewise import TRAINED
from experiments.scores import speech as scores
from experiments.scores.translation import Score
from experiments.state import State, stack, weights_of
from experiments.task import Model

SHOWN = 2  # utterances whose attention is kept
# Hypotheses and references to scores by name, the one that is compared first.
Scores = Callable[[Sequence[str], Sequence[str]], Mapping[str, Score]]


@dataclasses.dataclass(frozen=True)
class Recognizer:
  """Networks of one form, with any weights.

  Attributes:
    module: makes the network.
    corpus: what is recognised.
    options: of the search.
    stride: frames of a place that attention looks at.
  """

  module: Model
  corpus: Speech
  options: Decoding
  stride: int

  @functools.cached_property
  def _decode(self) -> Callable[..., Any]:
    return decoder(self.module, self.options)

  @functools.cached_property
  def _attend(self) -> Callable[..., jax.Array]:
    return attention(self.module)

  @functools.cached_property
  def _limits(self) -> tuple[float, int]:
    """Most symbols of a frame, and of an utterance, in training."""
    symbols = np.array([len(own) + 1 for own in self.corpus.ids['train']])
    frames = self.corpus.utterances['train'].features.lengths
    return float((symbols / frames).max()), int(symbols.max())

  def texts(self, weights: Weights, split: str) -> list[str]:
    """Of all utterances of a split, in their order."""
    stretch, longest = self._limits
    result = [''] * len(self.corpus.ids[split])
    for batch in self.corpus.plans[split].evaluation():
      arrays = self.corpus.batch(split)(batch)
      length = limit(batch.source_width, stretch, longest)
      found = self._decode(*weights, arrays['frames'], length, arrays['frames_mask'])
      for row, there, ids in zip(batch.rows, batch.mask, best(found), strict=True):
        if there:
          result[row] = self.corpus.target.decode(ids)
    return result

  def looks(self, weights: Weights, split: str) -> 'Looks':
    """Where it looks while it is told what is said."""
    first: dict[int, np.ndarray] = {}
    onward = steps = 0.0
    for batch in self.corpus.plans[split].evaluation():
      arrays = self.corpus.batch(split)(batch)
      given = (arrays[name] for name in ('frames', 'inputs', 'frames_mask'))
      looks = np.asarray(self._attend(*weights, *given), np.float64)
      moves = np.diff(looks @ np.arange(looks.shape[-1]), axis=1)
      there = arrays['mask'][:, 1:]
      onward += float(((moves > -0.5) & there).sum())
      steps += float(there.sum())
      for place, row in enumerate(batch.rows):
        if row < SHOWN and batch.mask[place]:
          frames = int(arrays['frames_mask'][place].sum())
          count = int(arrays['mask'][place].sum()), -(-frames // self.stride)
          first[int(row)] = looks[place, : count[0], : count[1]]
    return Looks(100 * onward / max(steps, 1), first)


@dataclasses.dataclass(frozen=True)
class Looks:
  """Where attention looked.

  Attributes:
    onward: percent of the steps whose mean place is not behind that of the step
      before, by half a place or more.
    first: ``[symbols, places]`` of the first utterances.
  """

  onward: float
  first: Mapping[int, np.ndarray]


def final(
  recognizer: Recognizer, scores: Scores, job: runner.Job, state: State, split: str
) -> list[Row]:
  """The rows of the end, with the scores; what was recognised goes into a file.

  Where ``split`` is the test, they have the scores of validation too.
  """
  loss, lines = stack(job.losses), []
  rows = evaluate(job.task, loss, state, split)
  for own in [split, *['validation'] * (split == 'test')]:
    references = recognizer.corpus.utterances[own].texts
    for index, row in enumerate(rows):
      texts = recognizer.texts(weights_of(state, index), own)
      found = scores(texts, references)
      prefix = '' if own == split else f'{own}_'
      row.update({f'{prefix}{name}': score.value for name, score in found.items()})
      if own == split:
        row['protocols'] = {name: score.signature for name, score in found.items()}
        looks = recognizer.looks(weights_of(state, index), own)
        row['onward'] = looks.onward
        if split == 'test' and index == 0:
          _keep(recognizer.corpus, job.directory, looks)
      point = {'split': own, 'seed': row['seed'], **job.points[index]}
      lines += _lines(recognizer.corpus, own, point, texts)
  if split == 'test':
    records.write_lines(job.directory / 'recognised.jsonl', lines)
  return rows


def final_frames(
  corpus: Speech, job: runner.Job, state: State, split: str
) -> list[Row]:
  """Means over the frames of a split, and of training and validation beside them."""
  loss = stack(job.losses)
  rows = evaluate(job.task, loss, state, split)
  classes = corpus.num_classes - (UNKNOWN + 1)  # without what is no phone
  for row in rows:
    row['protocols'] = {'fer': scores.frame_protocol(classes)}
  others = {'train': TRAINED, 'validation': 'validation'} if split == 'test' else {}
  for prefix, own in others.items():
    for row, mean in zip(rows, evaluate(job.task, loss, state, own), strict=True):
      row.update({f'{prefix}_{name}': mean[name] for name in ('nll', 'fer')})
  return rows


def _keep(corpus: Speech, directory: pathlib.Path, looks: Looks) -> None:
  """The attention of the first run, for pictures."""
  arrays = {}
  for row, weights in looks.first.items():
    ids = corpus.ids['test'][row]
    arrays[f'weights_{row}'] = weights.astype(np.float32)
    arrays[f'symbols_{row}'] = np.array([*corpus.target.show(ids), 'end'])
  records.write_arrays(directory / 'attention.npz', **arrays)


def _lines(
  corpus: Speech, split: str, point: Mapping[str, Any], texts: Sequence[str]
) -> list[dict[str, Any]]:
  own = corpus.utterances[split]
  return [
    {**point, 'utterance': name, 'said': said, 'recognised': text}
    for name, said, text in zip(own.features.names, own.texts, texts, strict=True)
  ]


def pictures(directories: Sequence[pathlib.Path], workdir: pathlib.Path) -> None:
  """Validation over time, the errors of the arms, and where the first seeds look."""
  from experiments import curves, speech_plots  # matplotlib takes seconds

  curves.validation_curves(directories, workdir / 'validation.png')
  speech_plots.errors(directories, workdir / 'errors.png')
  speech_plots.attention(directories, workdir / 'attention.png')
