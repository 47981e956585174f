"""The predicted distribution, as every loss and penalty of a chain sees it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from regularizers.checks import (
  aligned,
  as_float,
  as_where,
  check_labels,
  check_prior_shape,
)
from regularizers.kernels import dense
from regularizers.kernels.relative import Side


@runtime_checkable
class Distribution(Protocol):
  """What losses and penalties may ask of a prediction; all values in nats.

  `sum` is the general primitive; the others are its fast special cases. A class
  that implements these methods works under every loss of the package.
  """

  @property
  def shape(self) -> tuple[int, ...]:
    """Shape ``[...]`` of a value per position."""

  @property
  def num_classes(self) -> int:
    """Size of the class axis."""

  def log_prob(self, labels: jax.Array) -> jax.Array:
    """log p(labels), ``[...]``."""

  def mean_log_prob(self, prior: jax.Array | None = None) -> jax.Array:
    """Σ_k prior_k log p_k, ``[...]``; the uniform mean without a prior."""

  def entropy(self) -> jax.Array:
    """−Σ p log p, ``[...]``."""

  def log_normalizer(self) -> jax.Array:
    """log Σ exp logits, ``[...]``."""

  def num_allowed(self) -> jax.Array | int:
    """How many classes are not masked, ``[...]`` or a number."""

  def allowed_prior(self, prior: jax.Array | None) -> jax.Array:
    """The prior (default: uniform) with the masked classes taken out."""

  def tempered(self, temperature: Any) -> 'Distribution':
    """The distribution of ``logits / temperature``, its log-normaliser apart."""

  def sum(self, phi: Callable[..., jax.Array], *class_arrays: Any) -> jax.Array:
    """Σ_k phi(log p_k, …), ``[...]``."""


@jax.tree_util.register_pytree_node_class
class Categorical:
  """Distribution over the last axis of dense logits; a frozen pytree.

  Made once, at the outermost call of a loss, and handed to every member. Its two
  row statistics are computed here; XLA drops the unused ones.

  Args:
    logits: ``[..., V]``, any floating type; computed with in float32 or wider.
      −inf means probability 0.
    where: booleans broadcastable to ``[..., V]``. False takes a class out: it has
      probability 0, no share in uniform or prior means, and gradient exactly 0.

  Raises:
    TypeError: logits are not floating.
    ValueError: no class axis, or ``where`` does not broadcast to the logits.

  Example:
    >>> import jax.numpy as jnp, regularizers as reg
    >>> p = reg.Categorical(jnp.zeros((3, 4)))
    >>> print(p.entropy().round(4))
    [1.3863 1.3863 1.3863]
  """

  logits: jax.Array
  where: jax.Array | None
  _scores: jax.Array
  _shift: jax.Array
  _log_sum: jax.Array
  _known: tuple[Any, jax.Array] | None = None

  def __init__(self, logits: jax.Array, where: jax.Array | None = None):
    logits = as_float(logits)
    scores = logits
    if where is not None:
      where = as_where(where, logits.shape)
      scores = jnp.where(where, logits, -jnp.inf)
    shift, log_sum = dense.log_normalizer(scores)
    self._set(logits, where, scores, shift, log_sum)

  def _set(self, *leaves: Any) -> None:
    for name, leaf in zip(_LEAVES, leaves, strict=True):
      object.__setattr__(self, name, leaf)

  def __setattr__(self, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f'cannot assign to {name!r}')

  def __repr__(self) -> str:
    masked = '' if self.where is None else ', where=…'
    return f'Categorical({self.logits.dtype}{list(self.logits.shape)}{masked})'

  def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
    """The arrays, as pytree leaves."""
    return tuple(getattr(self, name) for name in _LEAVES), None

  @classmethod
  def tree_unflatten(cls, aux: None, leaves: tuple[Any, ...]) -> 'Categorical':
    """Inverse of `tree_flatten`."""
    del aux
    new = object.__new__(cls)
    new._set(*leaves)
    return new

  @property
  def shape(self) -> tuple[int, ...]:
    """Shape ``[...]`` of a value per position."""
    return self.logits.shape[:-1]

  @property
  def num_classes(self) -> int:
    """Size of the class axis, ``V``."""
    return self.logits.shape[-1]

  def knowing(self, labels: Any) -> 'Categorical':
    """The same, with log p(labels) looked up once for all who will ask for it.

    Otherwise the backward pass of a chain scatters once for each of its members.
    """
    # A base that is not of this package may have labels of its own, of any form.
    array = isinstance(labels, (jax.Array, np.ndarray)) and labels.shape == self.shape
    if not array or not jnp.issubdtype(labels.dtype, jnp.integer):
      return self
    leaves, aux = self.tree_flatten()
    new = self.tree_unflatten(aux, leaves)
    object.__setattr__(new, '_known', (labels, self.log_prob(labels)))
    return new

  def split_log_probs(self) -> Side:
    """The scores, −inf where masked, and the two numbers a row to take off them."""
    return self._scores, self._shift, self._log_sum

  def log_probs(self) -> jax.Array:
    """log p of every class, ``[..., V]``; −inf where masked."""
    return self._scores - self._shift[..., None] - self._log_sum[..., None]

  def log_prob(self, labels: jax.Array) -> jax.Array:
    """log p(labels), in nats, ``[...]``.

    Args:
      labels: integers ``[...]``, or weights of the classes ``[..., V]`` (a
        distribution, say), for which it is Σ_k labels_k log p_k.

    Returns:
      ``[...]``. NaN where an integer label is out of range, or where a label is
      on, or gives weight to, a class that ``where`` masks.

    Raises:
      TypeError: floating labels of the shape of integer ones.
      ValueError: any other shape.
    """
    if self._known is not None and labels is self._known[0]:
      return self._known[1]
    labels = check_labels(labels, self.shape, self.num_classes)
    if jnp.issubdtype(labels.dtype, jnp.floating):
      return self._weighted_log_prob(labels)
    index = jnp.clip(labels, 0, self.num_classes - 1)[..., None]
    picked = jnp.take_along_axis(self._scores, index, -1)[..., 0]
    log_p = picked - self._shift - self._log_sum
    return jnp.where(self.valid(labels), log_p, jnp.nan)

  def valid(self, labels: jax.Array) -> jax.Array:
    """Whether integer labels ``[...]`` are in range and not masked."""
    inside = (labels >= 0) & (labels < self.num_classes)
    if self.where is None:
      return inside
    index = jnp.clip(labels, 0, self.num_classes - 1)[..., None]
    where = jnp.broadcast_to(self.where, self.logits.shape)
    return inside & jnp.take_along_axis(where, index, -1)[..., 0]

  def _weighted_log_prob(self, weights: jax.Array) -> jax.Array:
    weights = weights.astype(self.logits.dtype)
    total = weights.sum(-1) * self._log_sum
    out = dense.weighted_centred(weights, self._scores, self._shift) - total
    if self.where is None:
      return out
    return jnp.where(jnp.any((weights != 0) & ~self.where, -1), jnp.nan, out)

  def mean_log_prob(self, prior: jax.Array | None = None) -> jax.Array:
    """Σ_k prior_k log p_k, in nats, ``[...]``.

    Args:
      prior: class weights ``[V]``, used as they are; with ``where`` they are
        renormalised over the allowed classes. Default: uniform.

    Returns:
      ``[...]``; −inf where a class with weight has probability 0.
    """
    if prior is None and self.where is None:
      return dense.mean_centred(self._scores, self._shift) - self._log_sum
    weights = self.allowed_prior(prior)
    total = 1.0 if prior is None or self.where is not None else weights.sum(-1)
    mean = dense.weighted_centred(weights, self._scores, self._shift)
    return mean - total * self._log_sum

  def entropy(self) -> jax.Array:
    """Shannon entropy, in nats, ``[...]``; between 0 and log V."""
    return dense.entropy(self._scores, self._shift, self._log_sum)

  def log_normalizer(self) -> jax.Array:
    """log Σ exp logits over the allowed classes, ``[...]``."""
    return self._shift + self._log_sum

  def normalizer_parts(self) -> tuple[jax.Array, jax.Array]:
    """`log_normalizer` as a constant, which `tempered` removes, and the rest."""
    return self._shift, self._log_sum

  def num_allowed(self) -> jax.Array | int:
    """How many classes are not masked, ``[...]``; ``V`` without a mask."""
    return num_allowed(self.where, self.shape, self.num_classes)

  def allowed_prior(self, prior: jax.Array | None = None) -> jax.Array:
    """The prior without the masked classes: ``[V]``, or ``[..., V]`` if masked.

    Args:
      prior: ``[V]``; default uniform. Without a mask it is returned as it is.
    """
    return allowed_prior(prior, self.where, self.num_classes, self.logits.dtype)

  def tempered(self, temperature: Any) -> 'Categorical':
    """The distribution of ``logits / temperature``; its log-normaliser is shifted."""
    # Centred first: z/T of large logits would round away what tells them apart.
    return Categorical((self.logits - self._shift[..., None]) / temperature, self.where)

  def sum(self, phi: Callable[..., jax.Array], *class_arrays: Any) -> jax.Array:
    """Σ_k phi(log p_k, a_k, b_k, …): what any penalty can be written with.

    Args:
      phi: elementwise function of log p and of the class arrays.
      *class_arrays: broadcastable to ``[..., V]``; or a distribution, which stands
        for its log-probabilities.

    Returns:
      ``[...]``. Masked classes are left out. Nothing of size ``[..., V]`` is kept
      for the backward pass but the logits and the arrays given.

    Example:
      >>> p = Categorical(jnp.log(jnp.array([0.5, 0.25, 0.25])))
      >>> print(p.sum(lambda log_p: jnp.exp(2 * log_p)))  # Σ p²
      0.375
    """

    def row_sum(
      scores: jax.Array, shift: jax.Array, log_sum: jax.Array, *arrays: jax.Array
    ) -> jax.Array:
      log_p = scores - shift[..., None] - log_sum[..., None]
      if self.where is None:
        return phi(log_p, *arrays).sum(-1)
      where = jnp.broadcast_to(self.where, self.logits.shape)
      return where_allowed(where, phi, (log_p, *arrays)).sum(-1)

    # Not to be merged with the forward pass: to share what phi computes, XLA would
    # write it out at the size of the logits.
    lean: Callable[..., jax.Array] = jax.checkpoint(row_sum)
    rank = self._scores.ndim
    arrays = [aligned(class_array(a), rank) for a in class_arrays]
    return lean(self._scores, self._shift, self._log_sum, *arrays)


def where_allowed(
  mask: jax.Array, phi: Callable[..., jax.Array], arguments: Sequence[jax.Array]
) -> jax.Array:
  """phi of the classes that count, 0 elsewhere in value and gradient."""
  # The others get harmless arguments, so that no NaN enters a gradient.
  safe = [jnp.where(mask, a, jnp.zeros((), a.dtype)) for a in arguments]
  return jnp.where(mask, phi(*safe), 0.0)


def class_array(array: Any) -> jax.Array:
  """An array as it is; a distribution's log-probabilities."""
  log_probs = getattr(array, 'log_probs', None)
  return jnp.asarray(array) if log_probs is None else log_probs()


def num_allowed(
  where: jax.Array | None, shape: tuple[int, ...], num_classes: int
) -> jax.Array | int:
  """How many classes a mask leaves; ``shape`` is that of the positions."""
  if where is None:
    return num_classes
  return jnp.maximum(jnp.broadcast_to(where, (*shape, num_classes)).sum(-1), 1)


def allowed_prior(
  prior: jax.Array | None, where: jax.Array | None, num_classes: int, dtype: Any
) -> jax.Array:
  """A prior (default: uniform) without the masked classes, renormalised."""
  uniform = jnp.full(num_classes, 1 / num_classes, dtype)
  prior = uniform if prior is None else jnp.asarray(prior, dtype)
  check_prior_shape(prior, num_classes)
  if where is None:
    return prior
  kept = jnp.where(where, aligned(prior, where.ndim), 0.0)
  mass = kept.sum(-1, keepdims=True)
  return kept / jnp.where(mass > 0, mass, 1.0)


_LEAVES = ('logits', 'where', '_scores', '_shift', '_log_sum')


def as_distribution(
  logits: Any, where: jax.Array | None = None, *, name: str = 'logits'
) -> Distribution:
  """Logits as a `Categorical`; a distribution as it is.

  Raises:
    ValueError: ``where`` with a distribution, which carries its own.
  """
  if isinstance(logits, Distribution):
    if where is not None:
      raise ValueError(f'where: give it to the distribution that is {name}')
    return logits
  return Categorical(logits, where)


def class_sum(p: Distribution, values: jax.Array) -> jax.Array:
  """Σ_k values_k of values ``[..., V]``; of all devices' if the classes are split."""
  blocks = getattr(p, 'blocks', None)
  out: jax.Array = values.sum(-1) if blocks is None else blocks.class_sum(values)
  return out


def bernoulli(logit: jax.Array) -> Categorical:
  """The two-class case: label 1 has probability sigmoid(logit).

  Args:
    logit: ``[...]``, floating.

  Returns:
    A `Categorical` over ``{0, 1}`` for use wherever logits are expected.

  Example:
    >>> print(bernoulli(jnp.array([0.0])).log_prob(jnp.array([1])).round(4))
    [-0.6931]
  """
  logit = jnp.asarray(logit)
  return Categorical(jnp.stack([jnp.zeros_like(logit), logit], axis=-1))


def log_prob(logits: Any, labels: jax.Array) -> jax.Array:
  """log p(labels) of logits or a distribution; see `Categorical.log_prob`.

  Example:
    >>> print(log_prob(jnp.zeros(4), jnp.array(0)).round(4))
    -1.3863
  """
  return as_distribution(logits).log_prob(labels)


def mean_log_prob(logits: Any, prior: jax.Array | None = None) -> jax.Array:
  """Σ_k prior_k log p_k, ``[...]``; see `Categorical.mean_log_prob`.

  Example:
    >>> print(mean_log_prob(jnp.log(jnp.array([0.9, 0.1]))).round(4))
    -1.204
  """
  return as_distribution(logits).mean_log_prob(prior)


def entropy(logits: Any, where: jax.Array | None = None) -> jax.Array:
  """Shannon entropy of logits ``[..., V]`` or a distribution, in nats, ``[...]``.

  Example:
    >>> print(entropy(jnp.array([0.0, 0.0, -jnp.inf])).round(4))
    0.6931
  """
  return as_distribution(logits, where).entropy()


def log_normalizer(logits: Any, where: jax.Array | None = None) -> jax.Array:
  """log Σ exp logits over the allowed classes, ``[...]``.

  Example:
    >>> print(log_normalizer(jnp.array([1.0, 1.0, -jnp.inf])).round(4))
    1.6931
  """
  return as_distribution(logits, where).log_normalizer()
