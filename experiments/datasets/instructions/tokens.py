"""Text as ids: bytes, or the word pieces of a checkpoint.

A text that continues another one is given with the blank before it, and encoded on its
own: so no piece reaches over the joint, and it is known what is the answer's.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from experiments.datasets import files
from experiments.errors import InputError


class Tokens(Protocol):
  """Ids of text.

  Attributes:
    size: number of ids.
    padding: what stands where nothing is.
    start: what a text begins with; None: nothing.
    end: what an answer ends with.
  """

  def __hash__(self) -> int: ...

  @property
  def size(self) -> int: ...

  @property
  def padding(self) -> int: ...

  @property
  def start(self) -> int | None: ...

  @property
  def end(self) -> int: ...

  def encode(self, text: str) -> list[int]:
    """Without start and end."""
    ...

  def decode(self, ids: Sequence[int]) -> str:
    """Up to the end, without special ids; what is no text becomes a question mark."""
    ...


class Bytes:
  """UTF-8: padding 0, end 1, and then the 256 bytes.

  Example:
    >>> Bytes().decode([*Bytes().encode('naïve'), 1, 50])
    'naïve'
  """

  size, padding, start, end = 258, 0, None, 1
  _FIRST = 2

  def encode(self, text: str) -> list[int]:
    """One id a byte."""
    return [byte + self._FIRST for byte in text.encode()]

  def decode(self, ids: Sequence[int]) -> str:
    """The text before the end."""
    kept = bytes(i - self._FIRST for i in _until(ids, self.end) if i >= self._FIRST)
    return kept.decode(errors='replace')


class Pieces:
  """Of a directory of Hugging Face's layout, as a checkpoint of OPT is in.

  Raises:
    InputError: the directory has no tokenizer, or one of more ids than the network.
  """

  def __init__(self, directory: pathlib.Path, size: int):
    """``size`` is the network's number of ids."""
    self._directory = directory
    self._tokenizer = _tokenizer(directory)
    ids = self._tokenizer.get_vocab(with_added_tokens=True).values()
    # Not their number: where some are left out, there are fewer than the highest says.
    found = 1 + max(ids, default=-1)
    if found > size:
      raise InputError(
        f'{directory}: the tokenizer has {found} ids, the network {size}: they do not '
        'belong together'
      )
    config = files.json_object(directory / 'config.json')
    # The ids of OPT, if nothing else is said.
    self.size = size
    self.padding = _id(config, 'pad_token_id', 1, size, directory)
    self.start = _id(config, 'bos_token_id', 2, size, directory)
    self.end = _id(config, 'eos_token_id', 2, size, directory)

  def encode(self, text: str) -> list[int]:
    """Without special ids."""
    with _told(self._directory):
      ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
    return ids

  def decode(self, ids: Sequence[int]) -> str:
    """The text before the end."""
    kept = [int(i) for i in _until(ids, self.end)]
    with _told(self._directory):
      text: str = self._tokenizer.decode(kept, skip_special_tokens=True)
    return text


def _until(ids: Sequence[int], end: int) -> list[int]:
  found = [int(i) for i in ids]
  return found[: found.index(end)] if end in found else found


def _tokenizer(directory: pathlib.Path) -> Any:
  import tokenizers  # needed for checkpoints alone

  path = directory / 'tokenizer.json'
  vocabulary, merges = directory / 'vocab.json', directory / 'merges.txt'
  for own in (path, vocabulary, merges):
    files.check(own, whole=True)
  with _told(directory):
    if path.exists():
      return tokenizers.Tokenizer.from_file(str(path))
    if vocabulary.exists() and merges.exists():
      return tokenizers.ByteLevelBPETokenizer(str(vocabulary), str(merges))
  raise InputError(
    f'{directory}: no tokenizer: neither tokenizer.json, nor vocab.json and merges.txt'
  )


@contextlib.contextmanager
def _told(directory: pathlib.Path) -> Iterator[None]:
  """Whatever a tokenizer raises is told as what it is."""
  try:
    yield
  except BaseException as error:
    # The package has no class of its own, and in a panic raises what is no Exception.
    if not isinstance(error, Exception) and type(error).__name__ != 'PanicException':
      raise
    raise InputError(f'{directory}: not a tokenizer ({error})') from error


def _id(
  config: Any, name: str, default: int, size: int, directory: pathlib.Path
) -> int:
  found = config.get(name, default)
  if type(found) is not int or not 0 <= found < size:
    raise InputError(
      f'{directory}/config.json: {name}: expected an id below {size}, got {found!r}'
    )
  return found
