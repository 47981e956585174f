"""A trained translator in files of its own, which need neither data nor checkpoints.

ARM/model/config.json          with what it was trained, and which run it is
ARM/model/weights.safetensors  of the first run
ARM/model/source.units         words, letters, or the model of word pieces
ARM/model/target.units
ARM/model/1/                   the same of the first run of the next point of a grid
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from experiments import records
from experiments.datasets import files
from experiments.datasets.units import Units, restored
from experiments.decoding import Decoding, Weights
from experiments.errors import InputError
from experiments.task import Model, PyTree, functions
from experiments.translator import Translator

# ``config, source ids, target ids -> network``.
Module = Callable[[Mapping[str, Any], int, int], Model]


class Saved(NamedTuple):
  """What ``keep`` kept."""

  translator: Translator
  weights: Weights


def place(directory: pathlib.Path, point: int = 0) -> pathlib.Path:
  """Where the translator of an arm is, or that of another point of its grid."""
  return directory / 'model' / str(point) if point else directory / 'model'


def keep(
  place: pathlib.Path,
  flags: Mapping[str, Any],
  run: Mapping[str, Any],
  translator: Translator,
  weights: Weights,
) -> None:
  """Writes the files.

  Args:
    place: a directory; see above.
    flags: all of them, as they were filled in.
    run: its seed, and its point of a grid.
    translator: of the networks.
    weights: of this one.
  """
  with records.writing(place):
    place.mkdir(exist_ok=True)
  lengths = {'stretch': translator.stretch, 'longest': translator.longest}
  for side, units in (('source', translator.source), ('target', translator.target)):
    records.write_whole(place / f'{side}.units', units.content)
  records.write_whole(place / 'weights.safetensors', save(_leaves(weights)))
  # The last one: where it is, the others are.
  content = {'flags': dict(flags), 'run': dict(run), 'lengths': lengths}
  records.write_json(place / 'config.json', content)


def found(workdir: pathlib.Path) -> list[str]:
  """The arms that were kept there."""
  return sorted(path.parts[-3] for path in workdir.glob('*/model/config.json'))


def points(directory: pathlib.Path) -> list[pathlib.Path]:
  """The places of an arm, that of its first point first."""
  others = (directory / 'model').glob('*/config.json')
  numbers = sorted(int(p.parent.name) for p in others if p.parent.name.isdecimal())
  return [place(directory, point) for point in (0, *numbers)]


def configuration(place: pathlib.Path) -> dict[str, Any]:
  """What ``keep`` wrote of the translator in ``place``.

  Raises:
    InputError: there is none.
  """
  path = place / 'config.json'
  if not path.exists():
    raise InputError(f'{place.parent}: nothing is trained there; leave out --decode')
  try:
    content = files.parsed(files.decode(files.read(path), path))
    found = {name: dict(content[name]) for name in ('flags', 'run', 'lengths')}
    wanted = {field.name for field in dataclasses.fields(Decoding)}
    if missing := wanted - {*found['flags']}:
      raise ValueError(f'no {missing}')
    return found
  except (ValueError, TypeError, KeyError) as error:
    raise InputError(f'{path}: not the configuration of a translator') from error


def read(place: pathlib.Path, module: Module, options: Decoding) -> Saved:
  """What is in ``place``.

  Raises:
    InputError: it is not there, or damaged.
  """
  content = configuration(place)
  flags, lengths = content['flags'], content['lengths']
  source, target = (_units(place, side, flags) for side in ('source', 'target'))
  try:
    made = module(flags, source.size, target.size)
    translator = Translator(made, source, target, **lengths, options=options)
  except (KeyError, TypeError) as error:
    path = place / 'config.json'
    raise InputError(f'{path}: not the configuration of a translator') from error
  return Saved(translator, _filled(place / 'weights.safetensors', made))


def _units(place: pathlib.Path, side: str, flags: Mapping[str, Any]) -> Units:
  path = place / f'{side}.units'
  try:
    return restored(flags[f'{side}_units'], files.read(path))
  except (ValueError, TypeError, KeyError) as error:
    raise InputError(f'{path}: not units ({error})') from error


def _filled(path: pathlib.Path, module: Model) -> Weights:
  """The network's weights, of the shapes that it has."""
  init, _ = functions(module)
  template = jax.eval_shape(init, jax.random.key(0))
  try:
    arrays = load(files.read(path))
  except SafetensorError as error:
    raise InputError(f'{path}: not safetensors, or damaged ({error})') from error
  shapes = {name: leaf.shape for name, leaf in _named(template).items()}
  if shapes != {name: array.shape for name, array in arrays.items()}:
    raise InputError(f'{path}: weights of another network')
  leaves = [arrays[name] for name in shapes]
  weights: Weights = jax.tree.unflatten(jax.tree.structure(template), leaves)
  return weights


def _leaves(weights: Weights) -> dict[str, np.ndarray]:
  return {name: np.asarray(leaf) for name, leaf in _named(weights).items()}


def _named(tree: PyTree) -> dict[str, Any]:
  """Leaves by path, in the order of the tree."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): leaf
    for path, leaf in jax.tree.leaves_with_path(tree)
  }
