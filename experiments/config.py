"""Configurations: frozen dataclasses whose fields are flags.

Flags are defined and read under ``__main__`` alone, by ``launch``; everything else
takes a configuration, so tests and notebooks call ``run(Config(...))``.
"""

import dataclasses
import math
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import app, flags, logging

from experiments import signals
from experiments.errors import InputError, ending

# Fields that hold values of regularizers.
VALUE_NAMES = ('epsilon', 'weight', 'threshold', 'alpha', 'rate')

Check = tuple[str, Callable[[Any], bool]]
# By flag and case (a data set, an arm): what an experiment puts in.
Defaults = Mapping[str, Mapping[str, Any]]

positive: Check = ('a number above 0', lambda value: 0 < value < math.inf)
non_negative: Check = ('a number, 0 or more', lambda value: 0 <= value < math.inf)
natural: Check = ('0 or more', lambda value: value >= 0)
named: Check = ('a name', bool)
count: Check = ('1 or more', lambda value: value >= 1)
share: Check = ('a share in [0, 1)', lambda value: 0 <= value < 1)
probability: Check = ('a number in [0, 1]', lambda value: 0 <= value <= 1)


def one_of(*names: str) -> Check:
  """The value is one of ``names``."""
  return f'one of {", ".join(names)}', lambda value: value in names


def flag(default: Any, help: str, check: Check | None = None) -> Any:
  """A field of a configuration; ``check`` is for each element of a tuple."""
  return dataclasses.field(default=default, metadata={'help': help, 'check': check})


def unused(default: Any, reason: str) -> Any:
  """A field that all experiments have, in one that has no use for it."""
  metadata = {'help': f'not used here: {reason}', 'unused': reason}
  return dataclasses.field(default=default, metadata=metadata)


def again(base: type['Config'], name: str, default: Any) -> Any:
  """The field ``name`` of ``base`` with another default."""
  metadata = base.__dataclass_fields__[name].metadata
  return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """What all experiments share.

  A field that is not given is None until the experiment puts in its own default.
  """

  workdir: str = flag(None, 'directory that holds a directory for every arm', named)
  dataset: str = flag('', 'name of the data set')
  arms: tuple[str, ...] = flag((), "names, or some joined by '+', of what is compared")
  data_dir: str | None = flag(None, 'directory that holds the data set', named)
  seeds: int = flag(None, 'number of runs an arm: seeds 0, 1, ...', count)
  num_epochs: int | None = flag(None, 'passes over the training data', count)
  num_steps: int | None = flag(None, 'training steps, in place of --num_epochs', count)
  batch_size: int = flag(None, 'number of examples in a training batch', count)
  learning_rate: float = flag(None, 'learning rate of the optimizer', positive)
  eval_every: int | None = flag(
    None, 'steps between evaluations on validation; default: a twelfth of all', count
  )
  log_every: int | None = flag(
    None, 'steps that a training row averages over; default: a sixtieth of all', count
  )
  checkpoint_every: int | None = flag(
    None, 'steps between checkpoints; default: a third of all', count
  )
  vmap: bool = flag(False, 'train the runs of an arm side by side')
  select: bool = flag(False, 'choose the values of the arms on validation first')
  select_seeds: int | None = flag(
    None, 'number of runs a value with --select; default: --seeds', count
  )
  select_epochs: int | None = flag(
    None, 'passes over the data with --select; default: the full length', count
  )
  epsilon: tuple[float, ...] = flag(
    (), 'strength of label smoothing; more than one: a grid', share
  )
  weight: tuple[float, ...] = flag(
    (), 'weight of the penalty; more than one: a grid', non_negative
  )
  threshold: tuple[float, ...] = flag(
    (),
    'entropy in nats below which the penalty acts; more than one: a grid',
    non_negative,
  )
  alpha: tuple[float, ...] = flag(
    (), 'order of the generalized entropy; more than one: a grid', probability
  )
  rate: tuple[float, ...] = flag(
    (), 'share of labels replaced each step; more than one: a grid', share
  )

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      check = field.metadata.get('check')
      value = getattr(self, field.name)
      if 'unused' in field.metadata:
        refuse(self, [field.name], field.metadata['unused'])
      if check is None or value is None:
        continue
      expected, holds = check
      for element in value if isinstance(value, tuple) else [value]:
        if not holds(element):
          raise InputError(f'--{field.name}: expected {expected}, got {element!r}')
    if self.num_epochs is not None and self.num_steps is not None:
      raise InputError('--num_epochs and --num_steps: expected one of them, got both')
    for name in ('select_seeds', 'select_epochs'):
      if getattr(self, name) is not None and not self.select:
        raise InputError(f'--{name}: applies to --select alone')

  def given(self) -> dict[str, tuple[float, ...]]:
    """The values of regularizers that the user set."""
    return {name: getattr(self, name) for name in VALUE_NAMES if getattr(self, name)}


def is_given(config: Config, name: str) -> bool:
  """Whether the user set a flag, before anything is filled in."""
  default = config.__dataclass_fields__[name].default
  return bool(getattr(config, name) != default)


def refuse(config: Config, names: Iterable[str], reason: str) -> None:
  """For flags that say nothing beside the others.

  Raises:
    InputError: one of them is given.
  """
  for name in names:
    if is_given(config, name):
      raise InputError(f'--{name}: {reason}')


def single(config: Config) -> None:
  """For experiments that take no grid.

  Raises:
    InputError: a value of a regularizer is given several times.
  """
  for name, values in config.given().items():
    if len(values) > 1:
      raise InputError(f'--{name}: expected one value, got {len(values)}')


def by_flag(
  fields: Mapping[str, Mapping[str, Any]], values: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, Any]]:
  """What an experiment puts in, by flag and then by case.

  Args:
    fields: of its configuration, by case (a data set, a size; '': always) and name.
    values: of its arms, by case and ``part.name``.
  """
  result: dict[str, dict[str, Any]] = {}
  for case, own in fields.items():
    for name, value in own.items():
      result.setdefault(name, {})[case] = value
  for case, own in values.items():
    for key, value in own.items():
      part, name = key.split('.')
      same = all(other.get(key) == value for other in values.values())
      result.setdefault(name, {})[part if same else f'{part} on {case}'] = value
  return result


def takes(config_class: type[Config]) -> dict[str, str]:
  """What each flag takes, in words."""
  parsers = _parsers(config_class)
  return {name: parser.syntactic_help for name, parser in parsers.items()}


def steps(config: Any, per_epoch: int) -> int:
  """The length of training, given in either way, or filled in."""
  if config.num_steps is not None:
    return int(config.num_steps)
  assert config.num_epochs is not None
  return int(config.num_epochs * per_epoch)


Filled = typing.TypeVar('Filled', bound=Config)


def fill(config: Filled, defaults: Mapping[str, Any]) -> Filled:
  """With the defaults of the fields that are not given."""
  missing = {name: defaults[name] for name in defaults if getattr(config, name) is None}
  if config.num_steps is not None:
    missing.pop('num_epochs', None)  # the steps stand in their place
  if config.num_epochs is not None:
    missing.pop('num_steps', None)
  return dataclasses.replace(config, **missing)


def launch(
  config_class: type[Config], run: Callable[[Any], object], defaults: Defaults
) -> None:
  """Reads the flags and calls ``run``.

  Args:
    config_class: its fields are the flags.
    run: of the experiment.
    defaults: what ``run`` puts in for a flag that is not given, for --help.
  """
  _define(config_class, flags.FLAGS, defaults)
  logging.set_verbosity(logging.FATAL)  # orbax tells all it does; --verbosity wins

  def start(arguments: list[str]) -> None:
    with signals.leaving(), ending():
      if len(arguments) > 1:
        raise InputError(f'unexpected argument {arguments[1]!r}: flags start with --')
      run(_parsed(config_class, flags.FLAGS))

  app.run(start, flags_parser=given_flags)


def given_flags(arguments: Sequence[str]) -> list[str]:
  """Reads the flags, in place of absl's own end: an error is one line and exit code 2.

  Returns:
    What is no flag, the name of the program first.
  """
  with ending():
    try:
      return list(flags.FLAGS(arguments))
    except flags.Error as error:
      raise InputError(str(error)) from error


def _define(
  config_class: type[Config], values: flags.FlagValues, defaults: Defaults
) -> None:
  parsers = _parsers(config_class)
  for field in dataclasses.fields(config_class):
    text = field.metadata['help'] + _default(defaults.get(field.name, {}))
    if isinstance(field.default, bool):
      option: flags.Flag = flags.BooleanFlag(field.name, field.default, text)
    else:
      parser = parsers[field.name]
      option = flags.Flag(parser, _Serializer(), field.name, field.default, text)
      if field.default == ():
        option.default_as_str = None  # the text says it
    flags.DEFINE_flag(option, values, module_name=sys.argv[0])  # shown by --help


def _default(by_case: Mapping[str, Any]) -> str:
  """Says each value and its cases, or the one that several have."""
  cases: dict[str, list[str]] = {}
  for case, value in by_case.items():
    cases.setdefault(_Serializer().serialize(value) or 'none', []).append(case)
  if not cases:
    return ''
  if len(cases) == 1 and (len(by_case) > 1 or '' in by_case):
    return f'; default: {next(iter(cases))}'
  said = [f'{value} ({", ".join(own)})' for value, own in cases.items()]
  return f'; default: {", ".join(said)}'


def _parsers(config_class: type[Config]) -> 'dict[str, _Parser]':
  hints = typing.get_type_hints(config_class)
  return {
    field.name: _Parser(hints[field.name], (field.metadata.get('check') or ('',))[0])
    for field in dataclasses.fields(config_class)
  }


def _parsed(config_class: type[Config], values: flags.FlagValues) -> Config:
  names = [field.name for field in dataclasses.fields(config_class)]
  given: dict[str, Any] = {name: values[name].value for name in names}
  return config_class(**given)


class _Parser(flags.ArgumentParser):
  """Of str, int, float, each also ``| None``, and comma-separated tuples of these.

  There is one for the same arguments: absl keeps them.
  """

  def __init__(self, kind: Any, expected: str):
    self._tuple = typing.get_origin(kind) is tuple
    kinds = [k for k in typing.get_args(kind) if k not in (type(None), ...)]
    self._element = kinds[0] if kinds else kind
    name = self._element.__name__
    self._name = f'{name},{name},...' if self._tuple else name
    self.syntactic_help = f'{self._name}: {expected}' if expected else self._name

  def parse(self, argument: Any) -> Any:
    if not isinstance(argument, str):  # a default
      return argument
    try:
      if self._tuple:
        return tuple(self._element(part.strip()) for part in argument.split(','))
      return self._element(argument)
    except ValueError as error:
      raise ValueError(f'expected {self._name}') from error

  def flag_type(self) -> str:
    return self.syntactic_help


class _Serializer(flags.ArgumentSerializer):
  def serialize(self, value: Any) -> str:
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
