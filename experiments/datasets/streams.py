"""Running text as parallel streams, read a few tokens at a time.

A text of n tokens is cut into equal parts, one a stream; the state of a model goes on
from batch to batch within a stream. The token before a part is the input for its
first token (the end of a line for the first of all), so that every token of an
evaluation is predicted, and exactly once.
"""

from collections.abc import Iterator

import numpy as np

from experiments.errors import InputError

# inputs, label [streams, unroll]; start []: the streams begin here; mask: no padding.
Batch = dict[str, np.ndarray]


def steps_per_epoch(size: int, streams: int, unroll: int) -> int:
  """Batches of training in a pass; what is left at the end of each stream is dropped.

  Raises:
    InputError: there is not even one.
  """
  if streams * unroll > size:
    raise InputError(
      f'--batch_size, --unroll: a batch of {streams} x {unroll} tokens is more than '
      f'the {size} of training'
    )
  return size // streams // unroll


def training(
  tokens: np.ndarray, eos: int, streams: int, unroll: int, step: int
) -> Iterator[Batch]:
  """The batches of steps ``step``, ``step + 1``, ... without end.

  Args:
    tokens: ``[n]``.
    eos: the token before the first one.
    streams: rows of a batch.
    unroll: tokens of a stream in a batch.
    step: of training, from 0 on.
  """
  per_epoch = steps_per_epoch(len(tokens), streams, unroll)
  length = len(tokens) // streams
  labels = tokens[: streams * length].reshape(streams, length)
  inputs = _inputs(tokens, eos)[: streams * length].reshape(streams, length)
  while True:
    position = step % per_epoch
    part = slice(position * unroll, (position + 1) * unroll)
    yield {
      'inputs': inputs[:, part],
      'label': labels[:, part],
      'start': np.array(position == 0),
    }
    step += 1


def evaluation(
  tokens: np.ndarray, eos: int, streams: int, unroll: int
) -> Iterator[Batch]:
  """Batches of one shape, in which every token is a label once, where ``mask`` is True.

  Args:
    tokens: ``[n]``.
    eos: the token before the first one.
    streams: parts that the text is cut into, read side by side. The first tokens of a
      part are predicted from few: this number decides the figures.
    unroll: tokens of a stream in a batch.
  """
  length = -(-len(tokens) // streams)  # the last streams may be shorter, or empty
  starts = np.arange(streams)[:, None] * length
  ends = np.minimum(starts + length, len(tokens))
  inputs = _inputs(tokens, eos)
  for step in range(-(-length // unroll)):
    places = starts + np.arange(step * unroll, (step + 1) * unroll)
    mask = places < ends
    chosen = np.where(mask, places, 0)
    yield {
      'inputs': inputs[chosen],
      'label': tokens[chosen],
      'mask': mask,
      'start': np.array(step == 0),
    }


def _inputs(tokens: np.ndarray, eos: int) -> np.ndarray:
  """The token before each."""
  return np.concatenate([[eos], tokens[:-1]]).astype(tokens.dtype)
