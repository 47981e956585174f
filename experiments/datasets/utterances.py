"""Recorded sentences of a corpus, with what was said.

A directory may be in the form of a corpus and not be it: if its file ``README`` has the
words ``synthetic speech``, or a list of WSJ says it, what is read from it is called
synthetic. That does not change how it is read; what lets it have other speakers, or
fewer, its reader says.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.datasets import files, sphere
from experiments.errors import InputError


class Interval(NamedTuple):
  """A phone or a word, from sample ``start`` to before ``end``."""

  start: int
  end: int
  label: str


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One recording, whose file is read when its samples are asked for.

  Attributes:
    name: which no other utterance of the corpus has.
    speaker: who speaks.
    path: of the recording, a SPHERE file.
    text: what is said.
    words: of the text, with the samples from and to which they last; empty: unknown.
    phones: likewise.
  """

  name: str
  speaker: str
  path: pathlib.Path
  text: str
  words: tuple[Interval, ...] = ()
  phones: tuple[Interval, ...] = ()

  def samples(self) -> tuple[np.ndarray, int]:
    """``[n]`` int16, and how many a second.

    Raises:
      InputError: the file is missing or damaged, or has several channels.
    """
    samples, rate = sphere.read(self.path)
    if samples.ndim > 1:
      raise InputError(f'{self.path}: expected 1 channel, found {samples.shape[1]}')
    return samples, rate


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Utterances by split.

  Attributes:
    name: of the corpus.
    splits: ``'train'``, ``'validation'`` and ``'test'``.
    bad: what is wrong with those that were left out, and with the number of the
      others, by name.
    synthetic: whether nobody has said any of it.
  """

  name: str
  splits: Mapping[str, Sequence[Utterance]]
  bad: Mapping[str, str] = dataclasses.field(default_factory=dict)
  synthetic: bool = False

  @property
  def speakers(self) -> dict[str, int]:
    """How many, by split."""
    return {
      split: len({utterance.speaker for utterance in own})
      for split, own in self.splits.items()
    }

  def report(self) -> str:
    """The sizes of the splits, and what was left out."""
    speakers = self.speakers
    name = f'synthetic {self.name}' if self.synthetic else self.name
    lines = [
      f'{name} {split}: {len(own):,} utterances of {speakers[split]} speakers'
      for split, own in self.splits.items()
    ]
    if self.bad:
      lines += [f'{name}: {len(self.bad)} faults:', *self.bad.values()]
    return '\n'.join(lines)


def synthetic(root: pathlib.Path) -> bool:
  """Whether the README of a directory says so.

  Raises:
    InputError: it cannot be read.
  """
  path = root / 'README'
  return path.is_file() and b'synthetic speech' in files.read(path).lower()
