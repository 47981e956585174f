"""Configurations: frozen dataclasses whose fields are flags.

Flags are defined and read under ``__main__`` alone, by ``launch``; everything else
takes a configuration, so tests and notebooks call ``run(Config(...))``.
"""

import dataclasses
import math
import sys
import typing
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from experiments.errors import InputError

# Fields that hold values of regularizers.
VALUE_NAMES = ('epsilon', 'weight', 'threshold', 'alpha', 'rate')

Check = tuple[str, Callable[[Any], bool]]

positive: Check = ('a number above 0', lambda value: 0 < value < math.inf)
non_negative: Check = ('a number, 0 or more', lambda value: 0 <= value < math.inf)
natural: Check = ('0 or more', lambda value: value >= 0)
count: Check = ('1 or more', lambda value: value >= 1)
share: Check = ('a share in [0, 1)', lambda value: 0 <= value < 1)
probability: Check = ('a number in [0, 1]', lambda value: 0 <= value <= 1)


def one_of(*names: str) -> Check:
  """The value is one of ``names``."""
  return f'one of {", ".join(names)}', lambda value: value in names


def flag(default: Any, help: str, check: Check | None = None) -> Any:
  """A field of a configuration; ``check`` is for each element of a tuple."""
  return dataclasses.field(default=default, metadata={'help': help, 'check': check})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """What all experiments share.

  A field that is not given is None until the experiment puts in its own default.
  """

  workdir: str = flag(None, 'directory of the runs')
  dataset: str = flag('', 'data set')
  arms: tuple[str, ...] = flag((), "names, or some joined by '+', of what is compared")
  data_dir: str | None = flag(None, 'directory of the data set')
  seeds: int = flag(5, 'number of runs an arm: seeds 0, 1, ...', count)
  num_epochs: int = flag(None, 'passes over the training data', count)
  num_steps: int | None = flag(None, 'training steps, instead of epochs', count)
  batch_size: int = flag(None, 'examples in a training batch', count)
  learning_rate: float = flag(None, 'of the optimizer', positive)
  eval_every: int | None = flag(None, 'steps from validation to validation', count)
  log_every: int | None = flag(None, 'steps from training row to training row', count)
  checkpoint_every: int | None = flag(None, 'steps between checkpoints', count)
  vmap: bool = flag(True, 'train the runs of an arm side by side')
  select: bool = flag(False, 'choose the values of the arms on validation first')
  select_seeds: int | None = flag(None, 'runs a value when choosing', count)
  select_epochs: int | None = flag(None, 'epochs when choosing', count)
  epsilon: tuple[float, ...] = flag((), 'label smoothing; more than one: a grid', share)
  weight: tuple[float, ...] = flag(
    (), 'weight of a penalty; more than one: a grid', non_negative
  )
  threshold: tuple[float, ...] = flag(
    (), 'entropy in nats below which a penalty acts', non_negative
  )
  alpha: tuple[float, ...] = flag((), 'order of a generalized entropy', probability)
  rate: tuple[float, ...] = flag((), 'share of labels replaced each step', share)

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      check = field.metadata.get('check')
      value = getattr(self, field.name)
      if check is None or value is None:
        continue
      expected, holds = check
      for element in value if isinstance(value, tuple) else [value]:
        if not holds(element):
          raise InputError(f'--{field.name}: expected {expected}, got {element!r}')

  def given(self) -> dict[str, tuple[float, ...]]:
    """The values of regularizers that the user set."""
    return {name: getattr(self, name) for name in VALUE_NAMES if getattr(self, name)}


def launch(config_class: type[Config], run: Callable[[Any], object]) -> None:
  """Reads the flags and calls ``run``; an input error is one line and exit code 2."""
  _define(config_class, flags.FLAGS)
  logging.set_verbosity(logging.FATAL)  # orbax tells all it does; --verbosity wins

  def start(arguments: list[str]) -> None:
    try:
      if len(arguments) > 1:
        raise InputError(f'unexpected argument {arguments[1]!r}: flags start with --')
      run(_parsed(config_class, flags.FLAGS))
    except InputError as error:
      print(f'error: {error}', file=sys.stderr)
      sys.exit(2)

  app.run(start)


def _define(config_class: type[Config], values: flags.FlagValues) -> None:
  hints = typing.get_type_hints(config_class)
  for field in dataclasses.fields(config_class):
    kind, text = hints[field.name], field.metadata['help']
    if kind is bool:
      default: Any = field.default
      option: flags.Flag = flags.BooleanFlag(field.name, default, text)
    else:
      option = flags.Flag(_Parser(kind), _Serializer(), field.name, field.default, text)
    flags.DEFINE_flag(option, values, module_name=sys.argv[0])  # shown by --help


def _parsed(config_class: type[Config], values: flags.FlagValues) -> Config:
  names = [field.name for field in dataclasses.fields(config_class)]
  given: dict[str, Any] = {name: values[name].value for name in names}
  return config_class(**given)


class _Parser(flags.ArgumentParser):
  """Of str, int, float, each also ``| None``, and comma-separated tuples of these."""

  def __init__(self, kind: Any):
    self._tuple = typing.get_origin(kind) is tuple
    kinds = [k for k in typing.get_args(kind) if k not in (type(None), ...)]
    self._element = kinds[0] if kinds else kind
    name = self._element.__name__
    self.syntactic_help = f'{name},{name},...' if self._tuple else name

  def parse(self, argument: Any) -> Any:
    if not isinstance(argument, str):  # a default
      return argument
    if self._tuple:
      return tuple(self._element(part.strip()) for part in argument.split(','))
    return self._element(argument)

  def flag_type(self) -> str:
    return self.syntactic_help


class _Serializer(flags.ArgumentSerializer):
  def serialize(self, value: Any) -> str:
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
