"""What ``--decode FILE`` does: lines, by a network that experiments.wmt has trained."""

import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments import saved_translator
from experiments.datasets import files
from experiments.decoding import Decoding
from experiments.errors import InputError
from experiments.runs import BASELINE
from experiments.saved_translator import Module

SEARCH = tuple(field.name for field in dataclasses.fields(Decoding))
# These say what is done now; all others, what was trained.
_FREE = {'workdir', 'arms', 'decode', 'data_dir', *SEARCH}


def translated(config: Any, module: Module) -> Iterator[str]:
  """The lines of ``config.decode``, by one of the arms in ``config.workdir``.

  All that decides what the network is comes from where it was trained; what else is
  given has to agree with that. Nothing is written.

  Args:
    config: of experiments.wmt; only its ``workdir`` has to be filled in.
    module: makes the network.

  Raises:
    InputError: the file cannot be read, there is no such network, or it was trained in
      another way than ``config`` says.
  """
  path = pathlib.Path(config.decode)
  lines = files.lines(files.decode(files.read(path), path))
  directory = _directory(config)
  trained = saved_translator.configuration(directory)
  _check(config, trained, directory)
  given = {name: getattr(config, name) for name in SEARCH}
  options = {name: trained[name] if v is None else v for name, v in given.items()}
  _, translator, weights = saved_translator.read(directory, module, Decoding(**options))
  _say(f'{directory}, seed 0; {", ".join(f"{n} {v}" for n, v in options.items())}')
  if unknown := translator.unknown(lines):
    _say(f'{path}: {unknown} {trained["source_units"]} that training did not have')
  yield from translator.lines(weights, lines)


def _directory(config: Any) -> pathlib.Path:
  """That of the first of ``--arms``, if given; else of the baseline or the only one."""
  workdir = pathlib.Path(config.workdir)
  if config.arms and config.arms != _defaults(config)['arms']:
    return workdir / str(config.arms[0])
  arms = saved_translator.found(workdir)
  if len(arms) > 1 and BASELINE not in arms:
    raise InputError(
      f'--arms: expected one of {", ".join(arms)}, as {workdir} has them'
    )
  return workdir / (arms[0] if len(arms) == 1 else BASELINE)


def _check(config: Any, trained: Mapping[str, Any], directory: pathlib.Path) -> None:
  for name, default in _defaults(config).items():
    given, there = getattr(config, name), trained.get(name)
    there = tuple(there) if isinstance(there, list) else there
    if name not in _FREE and given not in (default, there):
      raise InputError(
        f'--{name}: {_shown(given)}, but {directory} was trained with {_shown(there)}'
      )


def _shown(value: Any) -> str:
  return (
    ','.join(map(str, value))
    if isinstance(value, Sequence) and not isinstance(value, str)
    else str(value)
  )


def _defaults(config: Any) -> dict[str, Any]:
  return {field.name: field.default for field in dataclasses.fields(config)}


def _say(text: str) -> None:
  print(text, file=sys.stderr)
