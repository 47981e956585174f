"""What a sentence is cut into: characters, words, or pieces of words.

Ids 0 to 3 are padding, start, end and unknown. No text encodes to the first three.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol, Self

from experiments.datasets import files, pieces
from experiments.errors import InputError

PADDING, START, END, UNKNOWN = range(4)
_SPECIAL = 4
REPLACEMENT = '\ufffd'  # how an unknown unit is shown
SHOWN_END = '⟨end⟩'


class Units(Protocol):
  """What ``Characters`` and ``Pieces`` have in common."""

  @property
  def size(self) -> int:
    """Number of ids, the four special ones counted."""

  @property
  def sha256(self) -> str:
    """Of all that decides the ids."""

  def encode(self, text: str) -> list[int]:
    """The ids of a text, without start and end."""

  def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
    """The same of several texts, faster than one by one."""

  def decode(self, ids: Iterable[int]) -> str:
    """The text of the ids before the first end.

    Raises:
      ValueError: there is no such id.
    """

  def show(self, ids: Iterable[int]) -> list[str]:
    """What each id stands for, in pictures."""

  @property
  def content(self) -> bytes:
    """Of the file from which ``restored`` makes them again."""


@dataclasses.dataclass(frozen=True)
class Characters:
  """Every character is a unit.

  Attributes:
    vocabulary: the units from id 4 on, in order of their code points.
  """

  vocabulary: tuple[str, ...]
  _between: ClassVar[str] = ''

  @classmethod
  def of(cls, texts: Iterable[str]) -> Self:
    """Those of some texts; a unit that is not among them is unknown."""
    return cls(tuple(sorted(set().union(*map(cls._cut, texts)))))

  @staticmethod
  def _cut(text: str) -> Sequence[str]:
    return text

  @property
  def size(self) -> int:
    return _SPECIAL + len(self.vocabulary)

  @property
  def content(self) -> bytes:
    return json.dumps(self.vocabulary, ensure_ascii=False).encode()

  @functools.cached_property
  def sha256(self) -> str:
    return hashlib.sha256(self._between.join(self.vocabulary).encode()).hexdigest()

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return {unit: index for index, unit in enumerate(self.vocabulary, _SPECIAL)}

  def encode(self, text: str) -> list[int]:
    return [self._ids.get(unit, UNKNOWN) for unit in self._cut(text)]

  def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
    return [self.encode(text) for text in texts]

  def decode(self, ids: Iterable[int]) -> str:
    return self._between.join(self.show(_body(ids, self.size)))

  def show(self, ids: Iterable[int]) -> list[str]:
    texts = ('', '', SHOWN_END, REPLACEMENT, *self.vocabulary)
    return [texts[index] for index in ids]


class Words(Characters):
  """Words and marks, each a unit; they come back with blanks between them."""

  _between: ClassVar[str] = ' '

  @staticmethod
  def _cut(text: str) -> Sequence[str]:
    return re.findall(r'\w+|[^\w\s]', text)


class Pieces:
  """Pieces of words, learned by ``Pieces.of``; see ``experiments.datasets.pieces``.

  A blank is U+2581 (``'▁'``) to them, so that sign itself comes back as a blank.
  Unknown characters in a row are one unknown piece.

  Attributes:
    size: number of ids.
    sha256: of the model.
    content: the model.
  """

  def __init__(self, model: pieces.Pieces):
    self._model = model
    self.size = len(model.vocabulary)
    self.sha256 = model.sha256
    self.content = model.content

  @classmethod
  def of(
    cls, texts: Sequence[str], size: int, cache_dir: str | None = None
  ) -> 'Pieces':
    """Learns ``size`` pieces, or takes those that were learned from the same texts.

    Args:
      texts: of training; of both languages if they are to share their pieces.
      size: of the vocabulary.
      cache_dir: where the model is kept under a name that tells of the texts; None: it
        is not.

    Raises:
      InputError: the texts are too few for so many pieces, or the file is damaged.
    """
    if cache_dir is None:
      return cls(pieces.Pieces(pieces.train(texts, size, pieces.TRANSLATION)))
    digest = hashlib.sha256()
    for text in texts:
      digest.update(f'{len(text)}\n{text}'.encode())
    file = pathlib.Path(cache_dir) / f'pieces-{size}-{digest.hexdigest()[:16]}.model'
    model = pieces.trained(texts, size, file, pieces.TRANSLATION)
    if model.eos != END:
      raise InputError(f'{file}: pieces of another kind: delete it')
    return cls(model)

  def encode(self, text: str) -> list[int]:
    return self.encode_all([text])[0]

  def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
    return self._model.encode(list(texts))

  def decode(self, ids: Iterable[int]) -> str:
    return self._model.decode(_body(ids, self.size))

  def show(self, ids: Iterable[int]) -> list[str]:
    names = (
      *self._model.vocabulary[:END],
      SHOWN_END,
      *self._model.vocabulary[UNKNOWN:],
    )
    return [names[index] for index in ids]


def restored(kind: str, content: bytes) -> Units:
  """What had this ``content``; ``kind`` is chars, words or pieces.

  Raises:
    ValueError: it is of another kind, or damaged.
  """
  if kind == 'pieces':
    return Pieces(pieces.Pieces(content))
  vocabulary = files.parsed(content.decode())
  if not isinstance(vocabulary, list) or not all(
    isinstance(unit, str) for unit in vocabulary
  ):
    raise ValueError('expected a list of texts')
  return {'chars': Characters, 'words': Words}[kind](tuple(vocabulary))


def _body(ids: Iterable[int], size: int) -> list[int]:
  """The ids before the end, but for padding and start."""
  body: list[int] = []
  for index in map(int, ids):
    if not 0 <= index < size:
      raise ValueError(f'expected ids below {size}, got {index}')
    if index == END:
      break
    if index not in (PADDING, START):
      body.append(index)
  return body
