"""What ``--decode FILE`` does: lines, by a network that experiments.wmt has trained."""

import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from experiments import saved_translator
from experiments.config import is_given
from experiments.datasets import files
from experiments.decoding import Decoding
from experiments.errors import InputError
from experiments.runs import BASELINE
from experiments.saved_translator import Module

SEARCH = tuple(field.name for field in dataclasses.fields(Decoding))
# What decides the form of a network; how it was trained changes nothing here.
NETWORK = (
  *('dataset', 'source_units', 'target_units', 'vocabulary', 'size', 'embedding'),
  *('hidden', 'encoder_layers', 'decoder_layers', 'attention'),
)


def translated(config: Any, module: Module) -> Iterator[str]:
  """The lines of ``config.decode``, by one of the arms in ``config.workdir``.

  All that decides what the network is comes from where it was trained; what is given
  of that has to agree, and flags of training say nothing here. Nothing is written.

  Args:
    config: of experiments.wmt; only its ``workdir`` has to be filled in.
    module: makes the network.

  Raises:
    InputError: the file cannot be read, there is no such network, or it is another one
      than ``config`` says.
  """
  path = pathlib.Path(config.decode)
  lines = files.lines(files.decode(files.read(path), path))
  directory = _directory(config)
  place = _place(config, directory)
  content = saved_translator.configuration(place)
  trained = content['flags']
  _check(config, trained, directory)
  given = {name: getattr(config, name) for name in SEARCH}
  options = {name: trained[name] if v is None else v for name, v in given.items()}
  translator, weights = saved_translator.read(place, module, Decoding(**options))
  _say(f'{directory}, {_named(content["run"])}; {_named(options)}')
  if unknown := translator.unknown(lines):
    _say(f'{path}: {unknown} {trained["source_units"]} that training did not have')
  yield from translator.lines(weights, lines)


def _directory(config: Any) -> pathlib.Path:
  """That of the first of ``--arms``, if given; else of the baseline or the only one."""
  workdir = pathlib.Path(config.workdir)
  if config.arms and is_given(config, 'arms'):
    return workdir / str(config.arms[0])
  arms = saved_translator.found(workdir)
  if len(arms) > 1 and BASELINE not in arms:
    raise InputError(
      f'--arms: expected one of {", ".join(arms)}, as {workdir} has them'
    )
  return workdir / (arms[0] if len(arms) == 1 else BASELINE)


def _place(config: Any, directory: pathlib.Path) -> pathlib.Path:
  """That of the point that is given, where the arm has several; else of the first."""
  places = saved_translator.points(directory)
  if len(places) == 1:
    return places[0]
  runs = [saved_translator.configuration(place)['run'] for place in places]
  given = {name: own[0] for name, own in config.given().items() if len(own) == 1}
  given = {name: value for name, value in given.items() if name in runs[0]}
  for place, run in zip(places, runs, strict=True):
    if given.items() <= run.items():
      return place
  asked = ', '.join(f'--{name}={value:g}' for name, value in given.items())
  there = '; '.join(_named({name: run[name] for name in given}) for run in runs)
  raise InputError(f'{asked}: {directory} was trained with {there}')


def _check(config: Any, trained: Mapping[str, Any], directory: pathlib.Path) -> None:
  for name in NETWORK:
    given, there = getattr(config, name), trained.get(name)
    if is_given(config, name) and given != there:
      raise InputError(
        f'--{name}: expected {there}, as {directory} was trained with, got {given}'
      )


def _named(values: Mapping[str, Any]) -> str:
  return ', '.join(f'{name} {value}' for name, value in values.items())


def _say(text: str) -> None:
  print(text, file=sys.stderr)
