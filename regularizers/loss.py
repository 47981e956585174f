"""What a loss is: a value per position, called in one way."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from regularizers.categorical import Distribution, as_distribution
from regularizers.values import Value


class Loss(Value):
  """A loss: one value per position, never reduced.

  Call it with logits ``[..., V]`` (any floating type) or a distribution, and with
  labels: integers ``[...]`` or a distribution ``[..., V]``. The result ``[...]`` is
  float32 or wider, in nats. ``where`` masks classes (see `Categorical`); what
  varies from step to step is a keyword (``step``, ``teacher``, ``key``).
  """

  def __call__(
    self,
    logits: jax.Array | Distribution,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    **extra: Any,
  ) -> jax.Array:
    """The loss of every position, ``[...]``."""
    check_keywords(self, extra)
    out: jax.Array = of_prediction(
      lambda p: self.value(p, labels, **extra), logits, labels, where
    )
    return out

  def keywords(self) -> frozenset[str] | None:
    """Names of the keywords that it reads; None if it may be any."""
    return None

  def value(self, p: Distribution, labels: jax.Array, **extra: Any) -> jax.Array:
    """The loss of a distribution."""
    return functools.reduce(jnp.add, self.parts(p, labels, **extra).values())

  def parts(
    self, p: Distribution, labels: jax.Array, **extra: Any
  ) -> dict[str, jax.Array]:
    """The summands of `value` by name."""
    raise NotImplementedError


_VARYING = frozenset({'step', 'teacher', 'key'})


def check_keywords(loss: Loss, extra: dict[str, Any]) -> None:
  """Raises TypeError for a keyword that no member of the loss reads.

  What varies from step to step (``step``, ``teacher``, ``key``) may always be given,
  so that a training loop need not know its loss.
  """
  known = loss.keywords()
  unknown = sorted(set(extra) - _VARYING - (known or frozenset()))
  if known is None or not unknown:
    return
  hint = ''
  if 'mask' in unknown:
    hint = '; positions are masked where they are reduced: masked_mean(losses, mask)'
  expected = ', '.join(['where', *sorted(_VARYING | known)])
  raise TypeError(f'{loss}: unknown {", ".join(unknown)}; expected {expected}{hint}')


def of_prediction(
  function: Callable[[Distribution], Any], logits: Any, labels: Any, where: Any
) -> Any:
  """A function of the predicted distribution, for logits or a distribution.

  Of logits nothing but themselves is kept for the backward pass, in the dtype they
  come in: the copy that is masked or in float32 is made again, which under `jit` XLA
  merges with the first.
  """
  # Without a derivative there is nothing to keep, and without a copy the statistics
  # keep the logits alone.
  traced = isinstance(logits, jax.core.Tracer)
  if not traced or (where is None and logits.dtype.itemsize >= 4):
    return function(prepared(logits, labels, where))
  lean = jax.checkpoint(
    lambda logits: function(prepared(logits, labels, where)), prevent_cse=False
  )
  return lean(logits)


def prepared(logits: Any, labels: Any, where: Any) -> Distribution:
  """The distribution that all members of a loss are handed."""
  p = as_distribution(logits, where)
  knowing = getattr(p, 'knowing', None)
  return p if knowing is None else knowing(labels)


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Loss):
  """Cross-entropy −log p(labels) in nats, per position; use it as `cross_entropy`.

  For labels that are a distribution t it is −Σ_k t_k log p_k.

  Args:
    logits: ``[..., V]``, or a distribution.
    labels: integers ``[...]``, or class weights ``[..., V]`` of a floating type.
    where: optional mask of classes, broadcastable to ``[..., V]``. Not a mask of
      positions, which belongs into `masked_mean`.

  Returns:
    ``[...]``; NaN where a label is out of range or on a masked class.

  Raises:
    TypeError: logits or labels of the wrong kind of number; an unknown keyword.
    ValueError: shapes that do not match.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> print(reg.cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])).round(4))
    [1.3863 1.3863]
  """

  def keywords(self) -> frozenset[str] | None:
    return frozenset()

  def value(self, p: Distribution, labels: jax.Array, **extra: Any) -> jax.Array:
    return -p.log_prob(labels)

  def parts(
    self, p: Distribution, labels: jax.Array, **extra: Any
  ) -> dict[str, jax.Array]:
    return {'cross_entropy': self.value(p, labels)}

  def __str__(self) -> str:
    return 'cross_entropy'


cross_entropy = CrossEntropy()
