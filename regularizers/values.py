"""Losses and transforms as values: frozen dataclasses that are pytrees."""

import dataclasses
import inspect
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Schedule = Callable[[Any], Any]
"""A function of the step, such as optax's."""

ScalarOrSchedule = float | jax.Array | Schedule
"""A number, a traced scalar, or a schedule: then the loss is called with ``step=``."""


class Value:
  """Base of the frozen dataclasses whose fields are weights, parts or settings.

  A field that holds a number, an array or another `Value` is a child of the
  pytree; a schedule, a function, a string, a bool or None is static. So weights
  can be traced, mapped over and changed without a new compilation.

  Two are equal if their fields are, arrays only if they are the same object: so
  each can be hashed, which `jax.jit` asks of the function it is given.
  """

  def __eq__(self, other: object) -> bool:
    return type(self) is type(other) and _compared(self) == _compared(other)

  def __hash__(self) -> int:
    return hash((type(self), _compared(self)))

  def __init_subclass__(cls, **kwargs: Any) -> None:
    super().__init_subclass__(**kwargs)
    # Said of every class, so that `dataclass` makes no other.
    for name in ('__eq__', '__hash__'):
      setattr(cls, name, cls.__dict__.get(name) or getattr(Value, name))
    jax.tree_util.register_pytree_with_keys(
      cls, _flatten_with_keys, _unflattener(cls), _flatten
    )


def _fields(value: Any) -> tuple[tuple[str, Any], ...]:
  return tuple((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))


def _compared(value: Any) -> tuple[Any, ...]:
  return tuple(
    ('array', id(field)) if isinstance(field, (np.ndarray, jax.Array)) else field
    for _, field in _fields(value)
  )


def _is_static(field: Any) -> bool:
  if isinstance(field, Value):
    return False
  return field is None or callable(field) or isinstance(field, (str, bool))


def _flatten_with_keys(value: Any) -> tuple[list[Any], Any]:
  children, static = [], []
  for name, field in _fields(value):
    if _is_static(field):
      static.append((name, field))
    else:
      children.append((jax.tree_util.GetAttrKey(name), field))
  return children, (tuple(key.name for key, _ in children), tuple(static))


def _flatten(value: Any) -> tuple[list[Any], Any]:
  children, aux = _flatten_with_keys(value)
  return [child for _, child in children], aux


def _unflattener(cls: type) -> Callable[[Any, Any], Any]:
  def unflatten(aux: Any, children: Any) -> Any:
    names, static = aux
    new: Any = object.__new__(cls)  # no checks: children may be tracers or anything
    for name, field in (*zip(names, children, strict=True), *static):
      object.__setattr__(new, name, field)
    return new

  return unflatten


def value_at(weight: ScalarOrSchedule, step: Any, name: str = 'weight') -> Any:
  """The weight itself, or the schedule's value at ``step``.

  Raises:
    TypeError: a schedule without a ``step``.
    ValueError: a weight that is not a scalar (map over the loss with `jax.vmap`).
  """
  if callable(weight) and step is None:
    raise TypeError(f'{name} is a schedule: call the loss with step=…')
  value: Any = weight(_signed(step)) if callable(weight) else weight
  if jnp.ndim(value) != 0:
    raise ValueError(
      f'{name}: expected a scalar, got shape {list(jnp.shape(value))}; '
      'to use several weights, jax.vmap over the loss'
    )
  return value


def _signed(step: Any) -> Any:
  """A step from which more can be subtracted: nnx counts them in uint32."""
  dtype = getattr(step, 'dtype', None)
  unsigned = dtype is not None and jnp.issubdtype(dtype, jnp.unsignedinteger)
  return jnp.asarray(step, jnp.int32) if unsigned else step


def check_number(
  name: str,
  number: Any,
  *,
  low: float = 0.0,
  high: float = np.inf,
  above: bool = False,
  optional: bool = False,
) -> None:
  """Raises ValueError unless ``low <= number <= high``, when it is concrete.

  Args:
    name: what the message calls it.
    number: a number, an array, or a tracer or schedule (not checked).
    low: smallest allowed value.
    high: largest allowed value.
    above: whether ``low`` itself is excluded.
    optional: whether it may be None.
  """
  if isinstance(number, Value):  # losses can be called too, but are no schedules
    raise TypeError(f'{name}: expected a number or a schedule, got {number}')
  if number is None and optional:
    return
  if number is None or isinstance(number, (bool, str)):
    raise TypeError(f'{name}: expected a number or a schedule, got {number!r}')
  if callable(number) or isinstance(number, jax.core.Tracer):
    return
  try:
    numbers = np.asarray(number, dtype=np.float64)
  except (TypeError, ValueError) as error:
    raise TypeError(f'{name}: expected a number, got {number!r}') from error
  inside = (numbers > low if above else numbers >= low) & (numbers <= high)
  inside &= np.isfinite(numbers)
  if not np.all(inside):
    bound = f'{"(" if above else "["}{low:g}, {high:g}{")" if high == np.inf else "]"}'
    wrong = numbers[~inside][0] if numbers.ndim else number
    raise ValueError(f'{name}: expected a number in {bound}, got {wrong!r}')


def check_constant(name: str, number: Any, **bounds: Any) -> None:
  """As `check_number`, of a plain number: no schedule, no array.

  Raises:
    TypeError: not a number of Python or numpy.
    ValueError: out of bounds.
  """
  if not isinstance(number, numbers.Real) or isinstance(number, bool):
    raise TypeError(f'{name}: expected a number, got {number!r}')
  check_number(name, number, **bounds)


def as_count(name: str, number: Any) -> int:
  """An integer > 0, numpy's too, or a ValueError."""
  if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < 1:
    raise ValueError(f'{name}: expected an integer > 0, got {number!r}')
  return int(number)


def check_prior(name: str, prior: Any) -> None:
  """Raises ValueError unless a concrete prior is ``[V]``, ≥ 0 and sums to one."""
  if prior is None or isinstance(prior, jax.core.Tracer):
    return
  try:
    prior = np.asarray(prior, dtype=np.float64)
  except (TypeError, ValueError) as error:
    raise TypeError(f'{name}: expected probabilities [V], got {prior!r}') from error
  if prior.ndim != 1:
    raise ValueError(f'{name}: expected shape [V], got {list(prior.shape)}')
  if not np.all(prior >= 0):
    raise ValueError(f'{name}: expected probabilities, got {prior.min():g}')
  if abs(prior.sum() - 1) > 1e-3:
    raise ValueError(f'{name}: expected a sum of 1, got {prior.sum():g}')


def show(number: Any) -> str:
  """A number, a schedule or an array in few characters."""
  if callable(number):
    return f'{_show_schedule(number)}(step)'
  if isinstance(number, jax.core.Tracer) or np.ndim(number):
    return f'array{list(np.shape(number))}'
  if isinstance(number, (bool, int, float, np.ndarray, np.generic, jax.Array)):
    return f'{float(number):.6g}'
  return repr(number)


def _show_schedule(schedule: Schedule) -> str:
  """Name and settings, e.g. ``polynomial_schedule[init_value=0, …]``."""
  if dataclasses.is_dataclass(schedule):
    return str(schedule)
  name = getattr(schedule, '__qualname__', type(schedule).__name__)
  name = name.split('.<locals>')[0].rsplit('.', 1)[-1]
  if not inspect.isfunction(schedule):
    return name
  settings = inspect.getclosurevars(schedule).nonlocals
  numbers = {k: v for k, v in settings.items() if isinstance(v, (int, float))}
  if not numbers:
    return name
  return f'{name}[{", ".join(f"{k}={v:g}" for k, v in numbers.items())}]'
