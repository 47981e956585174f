"""Images in one folder a class: ``CLASS/NAME.png`` or ``.jpg``."""

import os
import pathlib

import numpy as np

from experiments.datasets import files
from experiments.datasets.crops import decoded
from experiments.errors import InputError

SUFFIXES = ('.png', '.jpg', '.jpeg')


def read(root: pathlib.Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
  """All images of equal size, their labels, and the names of the classes.

  Classes are numbered in the order of their names. The images of all classes
  alternate, each class in the order of its files' names, so that any end of them has
  all classes; hidden files and folders do not count.

  Args:
    root: the directory of the folders.

  Returns:
    ``[n, height, width, 3]`` uint8, ``[n]`` int32, and the names.

  Raises:
    InputError: there are no folders, one without images or with other files, or images
      that are damaged or of different sizes.
  """
  names = [name for name in _listed(root) if (root / name).is_dir()]
  if len(names) < 2:
    raise InputError(
      f'{root}: expected a folder for each of two or more classes, found {len(names)}'
    )
  files = [_files(root / name) for name in names]
  ordered = sorted(
    (place, label, path)
    for label, paths in enumerate(files)
    for place, path in enumerate(paths)
  )
  first = _pixels(ordered[0][2])
  images = np.empty((len(ordered), *first.shape), np.uint8)
  for row, (_, _, path) in enumerate(ordered):
    pixels = _pixels(path)
    if pixels.shape != first.shape:
      height, width = first.shape[:2]
      raise InputError(
        f'{path}: expected {height}x{width} pixels, as in {ordered[0][2]}, found '
        f'{pixels.shape[0]}x{pixels.shape[1]}'
      )
    images[row] = pixels
  labels = np.array([label for _, label, _ in ordered], np.int32)
  return images, labels, names


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  names = _listed(folder)
  for name in names:
    if not name.lower().endswith(SUFFIXES):
      raise InputError(
        f'{folder / name}: expected images, {", ".join(SUFFIXES)}, and nothing else'
      )
  if not names:
    raise InputError(f'{folder}: expected images, found none')
  return [folder / name for name in names]


def _listed(folder: pathlib.Path) -> list[str]:
  try:
    return sorted(name for name in os.listdir(folder) if not name.startswith('.'))
  except OSError as error:
    raise InputError(f'{folder}: cannot be read: {error.strerror}') from error


def _pixels(path: pathlib.Path) -> np.ndarray:
  files.check(path, whole=True)
  try:
    return np.asarray(decoded(path.read_bytes()))
  except (OSError, ValueError, SyntaxError) as error:
    lines = str(error).strip().splitlines() or ['']
    raise InputError(f'{path}: not an image that can be read: {lines[0]}') from error
