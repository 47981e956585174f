"""Losses of other make, as the base of a chain."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.categorical import Categorical, Distribution
from regularizers.checks import as_array, check_per_position
from regularizers.loss import Loss


@dataclasses.dataclass(frozen=True)
class Plain(Loss):
  """A loss function of other make, called with plain logits.

  Attributes:
    function: ``(logits, labels, **accepted) -> [...]``.
  """

  function: Callable[..., jax.Array]

  def value(self, p: Distribution, labels: jax.Array, **extra: Any) -> jax.Array:
    if not isinstance(p, Categorical):
      raise TypeError(
        f'{self} needs dense logits, got {type(p).__name__}; '
        'linear_loss computes any loss in chunks of them'
      )
    extra = accepted(self.function, extra)
    if p.where is not None:
      if 'where' not in accepted(self.function, {'where': None}):
        raise TypeError(f'{self} takes no where')
      extra['where'] = jnp.broadcast_to(p.where, p.logits.shape)
    value = self.function(p.logits, labels, **extra)
    return _without_invalid(check_per_position(str(self), value, p.shape), p, labels)

  def keywords(self) -> frozenset[str] | None:
    names = keyword_names(self.function)
    return None if names is None else frozenset(names)

  def parts(
    self, p: Distribution, labels: jax.Array, **extra: Any
  ) -> dict[str, jax.Array]:
    return {str(self): self.value(p, labels, **extra)}

  def __str__(self) -> str:
    return str(getattr(self.function, '__name__', repr(self.function)))


def _without_invalid(value: jax.Array, p: Categorical, labels: Any) -> jax.Array:
  """NaN under integer labels that are out of range or masked, as everywhere."""
  try:
    labels = as_array('labels', labels)
  except TypeError:  # labels of its own, such as a dict
    return value
  if labels.shape != p.shape or not jnp.issubdtype(labels.dtype, jnp.integer):
    return value
  return jnp.where(p.valid(labels), value, jnp.nan)


def accepted(function: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
  """Those of the keywords that the function takes."""
  names = keyword_names(function)
  if names is None:
    return dict(extra)
  return {name: value for name, value in extra.items() if name in names}


def keyword_names(function: Callable[..., Any]) -> set[str] | None:
  """Keywords that it takes beside its first two arguments; None if any."""
  try:
    parameters = list(inspect.signature(function).parameters.values())
  except (TypeError, ValueError):  # some builtins have no signature
    return None
  if any(p.kind is p.VAR_KEYWORD for p in parameters):
    return None
  kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
  return {p.name for p in parameters[2:] if p.kind in kinds}
