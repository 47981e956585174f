"""Utterances as features and ids, in batches."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets import fbank
from experiments.datasets.buckets import Batch, Plan, padded, plans
from experiments.datasets.speech_features import Features
from experiments.datasets.units import END, START, Units
from experiments.datasets.utterances import Interval
from experiments.errors import InputError

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Split:
  """The utterances of a split.

  Attributes:
    features: of the recordings.
    texts: what is recognised, in units with blanks between them or not.
    phones: with their times; None: they are not known.
  """

  features: Features
  texts: Sequence[str]
  phones: Sequence[Sequence[Interval]] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Speech:
  """All splits of a corpus.

  Attributes:
    name: what the user asked for.
    utterances: by split; ``'train'`` among them.
    target: units of the texts.
    batch_frames: frames of a batch, with the padding.
    num_shapes: most shapes of batches.
    multiple: of which the frames of a batch are one, for encoders that halve them.
    about: what else the records say.
  """

  name: str
  utterances: Mapping[str, Split]
  target: Units
  batch_frames: int
  num_shapes: int
  multiple: int = 8
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    for name, least in (('batch_frames', 1), ('num_shapes', 1), ('multiple', 1)):
      if getattr(self, name) < least:
        value = getattr(self, name)
        raise InputError(f'--{name}: expected at least {least}, got {value}')

  @property
  def source(self) -> int:
    """Features of a frame."""
    return int(self.utterances['train'].features.values.shape[1])

  @property
  def num_classes(self) -> int:
    """Ids of the target."""
    return self.target.size

  @functools.cached_property
  def fingerprint(self) -> str:
    """Of recordings, texts, times of phones and units."""
    digest = hashlib.sha256(f'{self.source} {self.target.sha256}'.encode())
    for split, own in sorted(self.utterances.items()):
      digest.update(f'\n{split} {own.features.sha256}'.encode())
      for text in own.texts:
        digest.update(f'\n{text}'.encode())
      for phones in own.phones or ():
        digest.update(f'\n{[tuple(phone) for phone in phones]}'.encode())
    return digest.hexdigest()

  @functools.cached_property
  def ids(self) -> Mapping[str, Sequence[np.ndarray]]:
    """Of each text, without start and end, by split."""
    return {
      split: [np.array(ids, np.int32) for ids in self.target.encode_all(own.texts)]
      for split, own in self.utterances.items()
    }

  @functools.cached_property
  def splits(self) -> Mapping[str, Arrays]:
    """``label``: all that is predicted, one sequence after the other."""
    return {
      split: {'label': np.concatenate([[*own, END] for own in ids])}
      for split, ids in self.ids.items()
    }

  @functools.cached_property
  def plans(self) -> Mapping[str, Plan]:
    """Batches of each split: of the shapes of training, but for what is longer."""
    lengths = {}
    for split, ids in self.ids.items():
      frames = self.utterances[split].features.lengths
      rounded = -(-frames // self.multiple) * self.multiple
      lengths[split] = rounded, np.array([len(own) + 1 for own in ids])
    return plans(lengths, self.batch_frames, self.num_shapes)

  def batch(self, split: str) -> Callable[[Batch], Arrays]:
    """What makes the arrays of a batch: of features and of what is predicted.

    Rows that fill a batch up have frames, but a False ``mask``.
    """
    ids = self.ids[split]

    def made(batch: Batch) -> Arrays:
      targets = [ids[row] for row in batch.rows]
      width = batch.target_width
      lengths = np.array([len(own) for own in targets])
      there = np.arange(width)[None] <= lengths[:, None]
      return {
        **self._frames(split, batch),
        'inputs': padded([np.insert(own, 0, START) for own in targets], width),
        'label': padded([np.append(own, END) for own in targets], width),
        'mask': there & batch.mask[:, None],
      }

    return made

  def frame_batch(self, split: str) -> Callable[[Batch], Arrays]:
    """What makes the arrays of a batch with one label for each frame.

    It is the phone at the middle of the frame.

    Raises:
      InputError: the times of phones are not known.
    """
    labels = self.frame_labels[split]

    def made(batch: Batch) -> Arrays:
      frames = self._frames(split, batch)
      return {
        **frames,
        'label': padded([labels[row] for row in batch.rows], batch.source_width),
        'mask': frames['frames_mask'] & batch.mask[:, None],
      }

    return made

  @functools.cached_property
  def frame_labels(self) -> Mapping[str, Sequence[np.ndarray]]:
    """Ids of the frames of each utterance, by split.

    Raises:
      InputError: the times of phones are not known.
    """
    result = {}
    for split, own in self.utterances.items():
      if own.phones is None:
        raise InputError(f'{self.name}: the times of phones are not known')
      lengths = own.features.lengths
      centres = fbank.centres(int(lengths.max()), own.features.rate)
      result[split] = [
        self._at(phones, centres[:length])
        for phones, length in zip(own.phones, lengths, strict=True)
      ]
    return result

  def _at(self, phones: Sequence[Interval], centres: np.ndarray) -> np.ndarray:
    """The ids of the phones there; the last one goes on to the end."""
    ids = np.array(self.target.encode(' '.join(phone.label for phone in phones)))
    ends = np.array([phone.end for phone in phones])
    places = np.searchsorted(ends, centres, 'right')
    return ids[np.minimum(places, len(ids) - 1)].astype(np.int32)

  def _frames(self, split: str, batch: Batch) -> Arrays:
    features = self.utterances[split].features
    frames = np.zeros((len(batch.rows), batch.source_width, self.source), np.float32)
    for row, place in zip(frames, batch.rows, strict=True):
      row[: features.lengths[place]] = features[place]
    lengths = features.lengths[batch.rows]
    return {
      'frames': frames,
      'frames_mask': np.arange(batch.source_width)[None] < lengths[:, None],
    }
