"""Learning rates that fall in steps."""

from collections.abc import Sequence

import optax


def falling(
  rate: float, shares: Sequence[float], factor: float, num_steps: int
) -> optax.Schedule:
  """``rate``, times ``factor`` from each share of the steps on.

  In a short training several of them may come at one step, and all count.

  Example:
    >>> schedule = falling(0.1, (0.5, 0.75), 0.1, num_steps=100)
    >>> [round(float(schedule(step)), 4) for step in (49, 50, 75)]
    [0.1, 0.01, 0.001]
  """
  falls: dict[int, float] = {}
  for share in shares:
    place = round(share * num_steps)
    falls[place] = falls.get(place, 1.0) * factor
  return optax.piecewise_constant_schedule(rate, falls)
