"""Weights that change during training, in addition to optax's schedules."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from regularizers.values import check_number


@dataclasses.dataclass(frozen=True)
class BurnIn:
  """``step -> weight``; see `burn_in`."""

  weight: float
  steps: int
  ramp: int = 0

  def __post_init__(self) -> None:
    check_number('burn_in: weight', self.weight)
    check_number('burn_in: steps', self.steps)
    check_number('burn_in: ramp', self.ramp)

  def __call__(self, step: Any) -> Any:
    """0 before ``steps``, ``weight`` from ``steps + ramp`` on."""
    # Not subtracted from the step itself, which may be unsigned.
    since = jnp.asarray(step, jnp.float32) - self.steps
    share = jnp.clip((since + 1) / (self.ramp + 1), 0.0, 1.0)
    return self.weight * share

  def __str__(self) -> str:
    ramp = f', ramp={self.ramp}' if self.ramp else ''
    return f'burn_in[weight={self.weight:g}, steps={self.steps}{ramp}]'


def burn_in(weight: float, steps: int, ramp: int = 0) -> BurnIn:
  """A weight that is 0 at first: early predictions of peers are no help.

  Args:
    weight: ≥ 0, after the burn-in.
    steps: length of the burn-in: the weight is 0 at steps 0 to ``steps - 1``.
    ramp: steps over which the weight then grows to its full size; 0: it is there at
      once, as in the paper.

  Returns:
    A schedule: ``step -> weight``.

  Raises:
    ValueError: a number below 0.

  References:
    Anil et al., *Large Scale Distributed Neural Network Training through Online
    Distillation*, 2018.

  Example:
    >>> import regularizers as reg
    >>> weight = burn_in(1.0, steps=3000)
    >>> print(weight(2999), weight(3000))
    0.0 1.0
    >>> print(reg.codistillation(weight)(reg.cross_entropy))
    cross_entropy + burn_in[weight=1, steps=3000](step)·(CE(teacher, p))
  """
  return BurnIn(weight, steps, ramp)
