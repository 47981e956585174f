"""A class's share of the skew-Jensen divergence, and its derivative.

With m = (1 − α)u + αp, b = 1 − α, A = log(m/u) and B = log(m/p), the share is
−u·A/α − p·B/b. Each quotient is taken from a series where its numerator is small, which
covers α = 0 and α = 1; their sum, in which all but the square of p/u − 1 cancels, from
another where p is near u. Written so that XLA:CPU makes one loop of all of it but the
sum over the classes; two halves of one formula are half as fast. `row_sum` has a rule
for the whole row, by which a class's derivative is computed once, not for its sum and
again for itself.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from regularizers.kernels.relative import Side

_SMALL = 0.1
_LARGEST = 88.0  # its exponential is finite


@jax.custom_jvp
def skew(log_p: jax.Array, u: jax.Array, alpha: jax.Array) -> jax.Array:
  """What a class adds to [(1 − α)G(u) + αG(p) − G(m)] / (α(1 − α)), G(q) = Σ q log q.

  Args:
    log_p: ``[..., V]``; −inf is probability 0.
    u: the prior, broadcastable to it.
    alpha: in [0, 1], both ends included.

  Returns:
    ``[..., V]``, in nats, ≥ 0 but for rounding. The derivatives by log p and u are
    written by hand, that by alpha is autodiff's. By a u of 0 it is said to be 0.
  """
  p, gap, s, _, b = _parts(log_p, u, alpha)
  flat = jnp.abs(s) < _SMALL
  near = gap * jnp.where(flat, s, 0.0) * _square(jnp.where(flat, s, 0.0), alpha)
  far = -u * _first(log_p, u, alpha) - _second(log_p, u, alpha)
  # −p·log α/b where the prior excludes the class, without its limits' 0·∞ and 0/0.
  at_zero = jnp.where(b < _SMALL, _log1p_ratio(-b), -_log(alpha) / _not_zero(b))
  excluded = jnp.where(p > 0, jnp.where(alpha > 0, p * at_zero, jnp.inf), 0.0)
  return jnp.where(u > 0, jnp.where(flat, near, far), excluded)


def _parts(log_p: jax.Array, u: jax.Array, alpha: jax.Array) -> tuple[jax.Array, ...]:
  """p, p − u, p/u − 1, log(m/u), and 1 − α."""
  largest, b = float(np.finfo(log_p.dtype).max), 1 - alpha
  p, positive = jnp.exp(log_p), jnp.where(u > 0, u, 1.0)
  r = jnp.minimum(p * jnp.minimum(1 / positive, largest), largest)
  # Of α = 1 it is log(p/u), which outlives the underflow of p; b's term is 0 there, and
  # gives the derivative by α.
  at_one = log_p - jnp.log(positive) + b * _inverse(log_p, u)
  log_m = jnp.where(b == 0, at_one, jnp.log(jnp.where(b == 0, 1.0, b + alpha * r)))
  return p, p - u, jnp.where(u > 0, r - 1, 0.0), log_m, b


def _inverse(log_p: jax.Array, u: jax.Array) -> jax.Array:
  """u/p − 1, finite."""
  return u * jnp.exp(jnp.minimum(-log_p, _LARGEST)) - 1


def _first(log_p: jax.Array, u: jax.Array, alpha: jax.Array) -> jax.Array:
  """log(m/u)/α, minus the derivative by u; of a class that the prior excludes, 0."""
  _, _, s, log_m, _ = _parts(log_p, u, alpha)
  small = jnp.abs(alpha * s) < _SMALL
  near = s * _log1p_ratio(jnp.where(small, alpha * s, 0.0))
  return jnp.where(small, near, log_m / _not_zero(alpha))


def _second(log_p: jax.Array, u: jax.Array, alpha: jax.Array) -> jax.Array:
  """p·log(m/p)/b, minus the derivative by log p; where the prior excludes it, log α/b.

  With y = b(u/p − 1) it is (u − p)·log(1 + y)/y.
  """
  p, gap, _, log_m, b = _parts(log_p, u, alpha)
  y = b * _inverse(log_p, u)
  small = jnp.abs(y) < _SMALL
  near = -gap * _log1p_ratio(jnp.where(small, y, 0.0))
  # Floored, so that 0·log 0 is 0.
  lowest = float(np.finfo(log_p.dtype).min)
  log_r = jnp.maximum(log_p - jnp.log(jnp.where(u > 0, u, 1.0)), lowest)
  # log(m/p) is log α for a class of prior 0.
  log_ratio = jnp.where(u > 0, log_m - log_r, _log(alpha))
  second = jnp.where(small, near, p * log_ratio / _not_zero(b))
  infinite = (p > 0) & ~(u > 0) & (alpha == 0)
  return jnp.where(infinite, -jnp.inf, second)


def _log(alpha: jax.Array) -> jax.Array:
  """log α; of 0 it is 0: an infinity would make NaN of the slope of what reads it."""
  return jnp.log(_not_zero(alpha))


def _not_zero(b: jax.Array) -> jax.Array:
  return jnp.where(b > 0, b, 1.0)


def _terms(x: jax.Array) -> int:
  """Those of a series whose terms fall by |x| < 0.1 to the rounding of the dtype."""
  return 16 if x.dtype == jnp.float64 else 8


def _log1p_ratio(x: jax.Array) -> jax.Array:
  """log(1 + x)/x for |x| < 0.1."""
  total = jnp.zeros_like(x)
  for n in range(_terms(x), 0, -1):
    total = (1.0 if n % 2 else -1.0) / n + x * total
  return total


def _square(s: jax.Array, alpha: jax.Array) -> jax.Array:
  """The share over u·s² for p = u·(1 + s) and |s| < 0.1.

  Its series is Σ_{n≥2} (−s)^(n−2)·(1 + α + … + α^(n−2))/(n(n − 1)).
  """
  total, factors, factor = jnp.zeros_like(s), [], jnp.zeros_like(alpha)
  for _ in range(_terms(s)):
    factor = 1 + alpha * factor
    factors.append(factor)
  for index in range(len(factors) - 1, -1, -1):
    total = factors[index] / ((index + 1) * (index + 2)) - s * total
  return total


def _skew_jvp(primals: Any, tangents: Any) -> Any:
  log_p, u, alpha = primals
  d_log_p, d_u, d_alpha = tangents
  value = skew(log_p, u, alpha)
  slope = jnp.zeros_like(value)
  if not isinstance(d_log_p, SymbolicZero):
    slope = -_second(log_p, u, alpha) * d_log_p
  if not isinstance(d_u, SymbolicZero):
    slope = slope - _first(log_p, u, alpha) * d_u
  if not isinstance(d_alpha, SymbolicZero):
    by_parts = skew.fun
    _, other = jax.jvp(lambda a: by_parts(log_p, u, a), (alpha,), (d_alpha,))
    slope = slope + other
  return value, slope


skew.defjvp(_skew_jvp, symbolic_zeros=True)


@jax.custom_jvp
def row_sum(p: Side, u: jax.Array, alpha: jax.Array) -> jax.Array:
  """`skew`, summed over the classes of dense rows.

  Args:
    p: its logits ``[..., V]`` must be a distribution's, normalised by log_sum.
    u: the prior, of the same rank.
    alpha: in [0, 1].

  Returns:
    ``[...]``. The derivative by p is that of a function of its logits.
  """
  return skew(_log_p(p), u, alpha).sum(-1)


def _log_p(p: Side) -> jax.Array:
  logits, shift, log_sum = p
  return (logits - shift[..., None]) - log_sum[..., None]


def _row_sum_jvp(primals: Any, tangents: Any) -> Any:
  p, u, alpha = primals
  (d_logits, _, _), d_u, d_alpha = tangents
  value = row_sum(p, u, alpha)
  slope = jnp.zeros_like(value)

  def of_logits(
    tangent: jax.Array, p: Side, u: jax.Array, alpha: jax.Array
  ) -> jax.Array:
    log_p = _log_p(p)
    by_class = -_second(log_p, u, alpha)
    # Chosen, not only added up: of a plain sum, what reads it, and what that reads,
    # XLA:CPU makes one piece whose operands it writes out at the size of the logits.
    total = jnp.where(jnp.isneginf(p[2]), 0.0, by_class.sum(-1))
    return ((by_class - jnp.exp(log_p) * total[..., None]) * tangent).sum(-1)

  if not isinstance(d_logits, SymbolicZero):
    slope += jax.checkpoint(of_logits, prevent_cse=False)(d_logits, p, u, alpha)
  by_parts = row_sum.fun
  if not isinstance(d_u, SymbolicZero):
    slope += jax.jvp(lambda u: by_parts(p, u, alpha), (u,), (d_u,))[1]
  if not isinstance(d_alpha, SymbolicZero):
    slope += jax.jvp(lambda a: by_parts(p, u, a), (alpha,), (d_alpha,))[1]
  return value, slope


row_sum.defjvp(_row_sum_jvp, symbolic_zeros=True)
