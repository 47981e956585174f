"""Data sets prepared by tensorflow-datasets, read at random and without TensorFlow."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from experiments.errors import InputError


class Source:
  """The examples of one split, as dictionaries, decoded where they are asked for.

  Attributes:
    version: the full name, such as ``'lm1b/1.1.0'``.
    directory: where the data are.
    splits: names of all that are prepared.
  """

  def __init__(self, name: str, split: str, data_dir: str | None, raw: Sequence[str]):
    """Opens a split.

    Args:
      name: in the catalogue.
      split: of the data set.
      data_dir: where tensorflow-datasets keeps data; None: its default.
      raw: features that are left as their bytes.

    Raises:
      InputError: the data are not prepared there, or not for random access.
    """
    if data_dir is not None and not pathlib.Path(data_dir).is_dir():
      raise InputError(f'--data_dir: {data_dir}: no such directory')
    try:
      import tensorflow_datasets as tfds

      self._source = tfds.data_source(
        name,
        split=split,
        data_dir=data_dir,
        download=False,
        decoders={feature: tfds.decode.SkipDecoding() for feature in raw} or None,
      )
      info = self._source.dataset_info
    except Exception as error:  # it fails in many ways; the advice is the same
      place = data_dir or 'the default directory of tensorflow-datasets'
      raise InputError(
        f'cannot read split {split} of {name} in {place}: prepare it with '
        f"tfds.builder('{name}', data_dir=..., file_format='array_record')"
        f'.download_and_prepare() ({reason(error)})'
      ) from error
    self.version = str(info.full_name)
    self.directory = pathlib.Path(os.fspath(info.data_dir))
    self.splits = tuple(info.splits)
    self._place = f'{self.version}, {split}'

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, row: int) -> dict[str, Any]:
    """The example ``row``.

    Raises:
      InputError: its file is damaged.
    """
    return self.read([row])[0]

  def read(self, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Several examples, faster than one by one.

    Raises:
      InputError: a file is damaged.
    """
    try:
      examples: list[dict[str, Any]] = list(self._source.__getitems__(list(rows)))
    except Exception as error:
      raise self.damaged(rows[0], reason(error)) from error
    for row, example in zip(rows, examples, strict=True):
      # What lies behind the end of a file that is cut off is read as None.
      for feature, value in example.items():
        if value is None:
          raise self.damaged(row, f'no {feature}')
    return examples

  def damaged(self, row: int, fault: str) -> InputError:
    """The error to raise where an example cannot be used."""
    return InputError(f'{self._place}: cannot read example {row}: {fault}')


def text(content: bytes | str) -> str:
  """A text feature of an example, whose bytes may be no UTF-8 here and there."""
  # Surrogates and the like are not worth a failure among 365 million documents.
  return content if isinstance(content, str) else content.decode('utf-8', 'replace')


def kept(path: pathlib.Path, make: Callable[[], bytes]) -> bytes:
  """The content of a file, made and written if it is not there.

  Raises:
    InputError: it can be neither read nor written.
  """
  try:
    if path.exists():
      return path.read_bytes()
    content = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all, though several processes may write it.
    partial = path.with_name(f'{path.name}.{os.getpid()}')
    partial.write_bytes(content)
    partial.replace(path)
  except OSError as error:
    raise InputError(f'--cache_dir: {path}: {error.strerror or error}') from error
  return content


def reason(error: Exception) -> str:
  """An error in one line."""
  lines = str(error).strip().splitlines() or ['']
  return f'{type(error).__name__}: {lines[0].strip()}'
