"""Directories of a corpus, whose names are in upper case on some discs."""

import os
import pathlib
import re

from experiments.errors import InputError


def files(root: pathlib.Path, wanted: re.Pattern) -> dict[str, pathlib.Path]:
  """Files below a directory, by their path from there, in lower case.

  Links to directories are followed: a corpus on many discs is often put together so.

  Args:
    root: the directory.
    wanted: what such a path has to match.

  Raises:
    InputError: a directory cannot be read, or two files differ in case alone.
  """
  if not root.is_dir():
    raise InputError(f'--manual_dir: {root}: no such directory')

  def refuse(error: OSError) -> None:
    raise InputError(
      f'--manual_dir: cannot read {error.filename}: {error.strerror or error}'
    ) from error

  found: dict[str, pathlib.Path] = {}
  for folder, inner, names in os.walk(root, onerror=refuse, followlinks=True):
    here = pathlib.Path(folder)
    inner[:] = sorted(name for name in inner if not _leads_up(here / name))
    for path in (here / name for name in sorted(names)):
      key = path.relative_to(root).as_posix().lower()
      if not wanted.fullmatch(key):
        continue
      if key in found and not path.samefile(found[key]):
        raise InputError(f'{path}: differs from {found[key]} in case alone')
      found[key] = path
  return found


def _leads_up(path: pathlib.Path) -> bool:
  """Whether it is a link to a directory on the way to it."""
  if not path.is_symlink():
    return False
  target = path.resolve()
  return any(parent.resolve() == target for parent in path.parents)
