"""Lines of tokens as ids: the vocabulary is that of the training text."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.datasets.dataset import Dataset
from experiments.errors import InputError

EOS, UNK = '<eos>', '<unk>'
UNITS = ('word', 'char')


@dataclasses.dataclass(frozen=True)
class Corpus(Dataset):
  """Splits of running text: ``'label'`` holds the ids of its tokens in order.

  Attributes:
    vocabulary: what the ids stand for: the most frequent token of training first.
  """

  vocabulary: tuple[str, ...] = ()

  @property
  def eos(self) -> int:
    """The id that ends a line, and stands before the first one."""
    return self.vocabulary.index(EOS)


@dataclasses.dataclass(frozen=True)
class Lines:
  """The text of one split.

  Attributes:
    place: of the text, for messages.
    lines: tokens of each line, without its end.
    sha256: of what was read.
  """

  place: str
  lines: Sequence[Sequence[str]]
  sha256: str


def tokenized(line: str, unit: str) -> list[str]:
  """Tokens of a line: what blanks part, or every character."""
  return line.split() if unit == 'word' else list(line.strip())


def encode(
  name: str, texts: Mapping[str, Lines], num_train: int = 0, min_count: int = 1
) -> Corpus:
  """Ids of three splits.

  Args:
    name: of the corpus.
    texts: by split.
    num_train: how many tokens of training to keep; 0: all.
    min_count: a token that training has less often becomes ``<unk>``; above 1, so
      does one that it has not at all.

  Raises:
    InputError: a split is empty, or holds a token that training lacks, and training
      has no ``<unk>`` to stand for it.
  """
  for text in texts.values():
    if not any(text.lines):
      raise InputError(f'{text.place}: expected text, found none')
  train = _joined(texts['train'].lines)
  if num_train > len(train):
    raise InputError(
      f'--num_train: {num_train} is more than the {len(train)} tokens of '
      f'{texts["train"].place}'
    )
  train = train[: num_train or None]
  counts = collections.Counter(train)
  kept = {token: n for token, n in counts.items() if n >= min_count or token == EOS}
  if min_count > 1:
    kept[UNK] = len(train) - sum(kept.values()) + kept.get(UNK, 0)
  kept.setdefault(EOS, 0)  # a training text that is cut within its first line
  vocabulary = tuple(sorted(kept, key=lambda token: (-kept[token], token)))
  ids = {token: index for index, token in enumerate(vocabulary)}
  splits = {'train': _ids(train, ids)}
  for split, text in texts.items():
    if split != 'train':
      _check(text, ids)
      splits[split] = _ids(_joined(text.lines), ids)
  about = {
    'vocabulary': len(vocabulary),
    'tokens': {split: len(labels) for split, labels in splits.items()},
    'sha256': {split: text.sha256 for split, text in texts.items()},
  }
  arrays = {split: {'label': labels} for split, labels in splits.items()}
  return Corpus(name, len(vocabulary), arrays, about, vocabulary)


def _joined(lines: Sequence[Sequence[str]]) -> list[str]:
  return [token for line in lines for token in (*line, EOS)]


def _ids(tokens: Sequence[str], ids: Mapping[str, int]) -> np.ndarray:
  unknown = ids.get(UNK, -1)  # not used unless it is there: see _check
  return np.array([ids.get(token, unknown) for token in tokens], np.int32)


def _check(text: Lines, ids: Mapping[str, int]) -> None:
  if UNK in ids:
    return
  for number, line in enumerate(text.lines, 1):
    for token in line:
      if token not in ids:
        raise InputError(
          f'{text.place}: line {number}: {token!r} is not in the training text, which '
          f'has no {UNK} to stand for it; --min_count=2 makes one of its rare tokens'
        )
