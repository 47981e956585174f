"""Arms by name: what a training run adds to plain cross-entropy.

An arm is one name, or several joined by ``+``: ``dropout+confidence_penalty``.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import regularizers as reg
from experiments import config as configs
from experiments.errors import InputError
from regularizers.values import Value


@dataclasses.dataclass(frozen=True)
class Setting:
  """What a transform may need beside its values.

  Attributes:
    prior: ``[classes]``, how often each class occurs in training.
    num_steps: length of training.
  """

  prior: jax.Array
  num_steps: int


@dataclasses.dataclass(frozen=True)
class Part:
  """``make(setting, **values)`` is a transform; None: the model's affair."""

  values: tuple[str, ...]
  make: Callable[..., Any] | None


@dataclasses.dataclass(frozen=True)
class Annealed(Value):
  """−H(p), weak early in training and strong at its end.

  The ramp is part of the penalty, not a schedule in place of the weight: so the
  weight stays a leaf, and several weights are one program.
  """

  num_steps: int

  def __call__(
    self, p: reg.Distribution, labels: jax.Array, *, step: jax.Array
  ) -> jax.Array:
    return -jnp.clip(step / self.num_steps, 0.0, 1.0) * p.entropy()

  def __str__(self) -> str:
    return f'−min(1, step/{self.num_steps})·H(p)'


PARTS: Mapping[str, Part] = {
  'baseline': Part((), None),
  'dropout': Part((), None),
  'batch_norm': Part((), None),
  'label_smoothing': Part(
    ('epsilon',), lambda setting, epsilon: reg.label_smoothing(epsilon)
  ),
  'unigram_smoothing': Part(
    ('epsilon',),
    lambda setting, epsilon: reg.unigram_smoothing(epsilon, setting.prior),
  ),
  'label_noise': Part(('rate',), lambda setting, rate: reg.label_noise(rate)),
  'confidence_penalty': Part(
    ('weight',), lambda setting, weight: reg.confidence_penalty(weight)
  ),
  'confidence_threshold': Part(
    ('weight', 'threshold'),
    lambda setting, weight, threshold: reg.confidence_penalty(weight, threshold),
  ),
  'confidence_annealed': Part(
    ('weight',),
    lambda setting, weight: reg.add_penalty(
      Annealed(setting.num_steps), weight, name='confidence_annealed'
    ),
  ),
  'generalized_entropy': Part(
    ('weight', 'alpha'),
    lambda setting, weight, alpha: reg.generalized_entropy(weight, alpha),
  ),
}


def compared(default: Sequence[str] | None, *missing: str) -> Any:
  """The flag ``--arms`` of an experiment whose model has no part named in ``missing``.

  Args:
    default: the arms; None: they depend on other flags.
    *missing: names of parts.
  """
  names = ', '.join(name for name in PARTS if name not in missing)
  return configs.flag(
    default, f'what is compared: {names}, or some of them joined by +'
  )


def values(**by_name: float) -> dict[str, float]:
  """The values of all parts, by ``part.name``, where each name has one value."""
  return {
    f'{part}.{name}': by_name[name] for part in PARTS for name in PARTS[part].values
  }


def parts(arm: str) -> list[str]:
  """The names in ``arm``.

  Raises:
    InputError: one of them is unknown, there twice, or a baseline among others.
  """
  names = arm.split('+')
  for name in names:
    if name not in PARTS:
      known = ', '.join(PARTS)
      raise InputError(f'--arms: unknown arm {name!r}; choose from {known}')
    if names.count(name) > 1:
      raise InputError(f'--arms: {name} is twice in {arm!r}')
  if 'baseline' in names and len(names) > 1:
    raise InputError(f'--arms: baseline is an arm of its own, not a part of {arm!r}')
  return names


def refuse(arms: Sequence[str], part: str, reason: str) -> None:
  """For an experiment whose model has no such part.

  Raises:
    InputError: an arm has it.
  """
  for arm in arms:
    if part in parts(arm):
      raise InputError(f'--arms: no {part} in {arm!r}: {reason}')


def has_dropout(arm: str) -> bool:
  """Whether the network of ``arm`` has dropout."""
  return 'dropout' in parts(arm)


def dropped(config: Any, arm: str) -> Any:
  """A configuration with its dropout, or without if ``arm`` has none."""
  return config if has_dropout(arm) else dataclasses.replace(config, dropout=0.0)


def check_dropout(config: configs.Config, arms: Sequence[str], *names: str) -> None:
  """Refuses flags of dropout, ``names``, where none of ``arms`` has it."""
  if not any(map(has_dropout, arms)):
    configs.refuse(config, names, 'none of --arms has dropout')


@dataclasses.dataclass(frozen=True)
class Variant:
  """One combination of values.

  Attributes:
    values: all values of the arm, by ``part.name``.
    swept: those that differ between the variants of the arm, by name.
  """

  values: Mapping[str, float]
  swept: Mapping[str, float]


def value_names(arm: str) -> list[str]:
  """Names of the values that ``arm`` takes, each once."""
  return list(
    dict.fromkeys(value for name in parts(arm) for value in PARTS[name].values)
  )


def check(arms: Sequence[str], given: Mapping[str, Sequence[float]]) -> None:
  """Whether these arms can stand side by side and use all the values.

  Raises:
    InputError: an arm is unknown or there twice, or no arm takes a value.
  """
  if not arms:
    raise InputError(f'--arms: expected some of {", ".join(PARTS)}, got none')
  for arm in arms:
    if arms.count(arm) > 1:
      raise InputError(f'--arms: {arm} is there twice')
  used = {name for arm in arms for name in value_names(arm)}
  for name in given:
    if name not in used:
      takers = ', '.join(part for part in PARTS if name in PARTS[part].values)
      raise InputError(f'--{name}: none of --arms takes it; it is for {takers}')


def variants(
  arm: str, given: Mapping[str, Sequence[float]], defaults: Mapping[str, float]
) -> list[Variant]:
  """All combinations of the given values that ``arm`` takes.

  Args:
    arm: one name or several.
    given: values by name.
    defaults: by ``part.name``, for what is not given.
  """
  names = [name for name in value_names(arm) if name in given]
  result = []
  for combination in itertools.product(*(given[name] for name in names)):
    point = dict(zip(names, combination, strict=True))
    values = {
      f'{part}.{name}': point[name] if name in point else defaults[f'{part}.{name}']
      for part in parts(arm)
      for name in PARTS[part].values
    }
    swept = {name: point[name] for name in names if len(given[name]) > 1}
    result.append(Variant(values, swept))
  return result


def make_loss(arm: str, values: Mapping[str, float], setting: Setting) -> reg.Loss:
  """Cross-entropy and what ``arm`` adds to it, with values by ``part.name``."""
  transforms = []
  for name in parts(arm):
    part = PARTS[name]
    if part.make is not None:
      own = {value: values[f'{name}.{value}'] for value in part.values}
      transforms.append(part.make(setting, **own))
  return reg.chain(*transforms)(reg.cross_entropy)
