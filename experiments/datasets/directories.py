"""Directories that are made once: whole or not at all."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

from experiments.errors import InputError


def default_cache() -> pathlib.Path:
  """Where what is made of data is kept if nothing else is said."""
  home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(home) / 'regularizers'


def made(path: pathlib.Path, write: Callable[[pathlib.Path], None]) -> pathlib.Path:
  """A directory, filled by ``write`` if it is not there.

  Several processes may make it at once: one of them wins. A process that is killed
  leaves no more than a directory of another name.

  Raises:
    InputError: it cannot be written.
  """
  if path.is_dir():
    return path
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f'{path.name}.', dir=path.parent))
    try:
      inner = partial / 'whole'  # with the usual permissions, which `partial` has not
      inner.mkdir()
      write(inner)
      _move(inner, path)
    finally:
      shutil.rmtree(partial, ignore_errors=True)
  except OSError as error:
    raise InputError(f'--cache_dir: {path}: {error.strerror or error}') from error
  return path


def _move(source: pathlib.Path, target: pathlib.Path) -> None:
  try:
    source.rename(target)
  except OSError:
    if not target.is_dir():
      raise
