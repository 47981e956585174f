"""The problems that sharded_program.py computes and sharded_test.py compares."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import transforms

import regularizers as reg

EVEN = transforms.problem(4, 16, seed=3)
UNEVEN = transforms.problem(4, 13, seed=4)  # padding on two of eight devices
# Settings, and which losses of the table are computed in each.
PAIR = 'label_smoothing+confidence_penalty'
FINITE = ('threshold', 'reverse_kl', 'codistillation_reverse_kl')
SETTINGS = {
  'uneven': tuple(transforms.BY_NAME),
  'even': (PAIR,),
  'unchecked': (PAIR,),
  'product': (PAIR, 'codistillation_reverse_kl'),
  'padded_product': ('many', 'codistillation_reverse_kl'),
  'far': FINITE,
  'where': ('many', 'codistillation_squared_logits'),
  'whole_where': ('unigram_smoothing',),
}

# The fourth device has no possible class in any row, the fifth none in the second.
WHERE = np.random.default_rng(3).random((4, 16)) < 0.7
WHERE[:, 6:8] = WHERE[1, 8:10] = False
WHERE[np.arange(4), EVEN.labels] = WHERE[np.arange(4), UNEVEN.labels] = True

KEPT = np.ones((4, 16), bool)
KEPT[1:, 6:10] = False
KEPT[np.arange(4), EVEN.labels] = True
FAR = np.where(KEPT, EVEN.logits + 1e4, -np.inf).astype(np.float32)

PRIOR, WEIGHTS = EVEN.prior, EVEN.class_weights
SOFT = np.random.default_rng(5).dirichlet(np.full(16, 0.5), 4)
INVALID = np.array([[0, 12, 5, 6], [13, 15, -1, 16], [0, -100, 2**31 - 1, 12]])


def extra(case: Any, q: transforms.Problem) -> dict[str, Any]:
  """The keywords of a case in float32."""
  values = case.extra(q)
  return {k: v.astype(jnp.float32) if k == 'teacher' else v for k, v in values.items()}


def with_arrays(q: transforms.Problem) -> reg.Loss:
  return reg.chain(
    reg.unigram_smoothing(0.2, q.prior),
    reg.forward_kl(0.5, q.prior),
    reg.reverse_kl(0.5, q.prior),
    reg.class_weights(q.class_weights),
  )(reg.cross_entropy)


distilled = reg.distillation(0.6, 2.0)(reg.cross_entropy)


def own_penalty(prior: Any) -> reg.Loss:
  """A penalty as a user writes it, on the public statistics."""

  def gini(p: reg.Distribution, labels: jax.Array) -> jax.Array:
    collision = p.sum(lambda log_p, u: u * jnp.exp(2 * log_p), jnp.asarray(prior))
    return collision * p.entropy() - p.mean_log_prob() / reg.log_normalizer(p)

  return reg.add_penalty(gini, 0.3)(reg.cross_entropy)


def rows() -> tuple[Any, Any]:
  """Parameters, and a batch of 16 rows of which the devices have 4, 1, 0 and 3."""
  draw = np.random.default_rng(7)
  mask = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1])
  params = {'w': jnp.asarray(draw.normal(size=(3, 5)), jnp.float32)}
  batch = {'x': jnp.asarray(draw.normal(size=(16, 3)), jnp.float32)}
  batch['y'] = jnp.asarray(draw.integers(0, 5, 16))
  return params['w'], batch | {'mask': jnp.asarray(mask)}


BOTH = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.3))(
  reg.cross_entropy
)


def row_losses(params: Any, batch: Any) -> jax.Array:
  return BOTH(batch['x'] @ params, batch['y'])


def linear_mean(params: Any, batch: Any, count: jax.Array) -> jax.Array:
  x, y, mask = (batch[name] for name in ('x', 'y', 'mask'))
  return reg.linear_loss(BOTH, x, params, y, mask, count, chunk_size=3)


def sums(params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
  """Of a microbatch: what `accumulate_gradients` asks for."""
  losses = row_losses(params, batch)
  return reg.masked_sum(losses, batch['mask']), batch['mask'].sum()


ROWS, WIDTH, CLASSES = 24, 8, 64


def everything() -> reg.Loss:
  prior = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(CLASSES)), jnp.float32)
  return reg.chain(
    reg.label_smoothing(0.1),
    reg.confidence_penalty(0.1),
    reg.unigram_smoothing(0.1, prior),
    reg.forward_kl(0.1, prior),
    reg.reverse_kl(0.1, prior),
    reg.generalized_entropy(0.1, 0.5, prior),
    reg.z_loss(0.1),
  )(reg.cross_entropy)


def linear_problem() -> tuple[jax.Array, jax.Array, jax.Array]:
  """Hidden states, kernel and labels."""
  draw = np.random.default_rng(8)
  hidden, kernel = (
    jnp.asarray(draw.normal(size=shape), jnp.float32)
    for shape in ((ROWS, WIDTH), (WIDTH, CLASSES))
  )
  return hidden, kernel, jnp.asarray(draw.integers(0, CLASSES, ROWS))


# The mean of `everything`, on logits that are built and on those that are not.
DENSE = lambda h, k, y: everything()(h @ k, y).mean()  # noqa: E731
LINEAR: dict[str, Any] = {
  'LinearCategorical': lambda h, k, y: everything()(
    reg.LinearCategorical(h, k, chunk_size=16), y
  ).mean(),
  'linear_loss': lambda h, k, y: reg.linear_loss(everything(), h, k, y, chunk_size=8),
}


def share_of_rows(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> Any:
  """The same mean of rows that are split over the mesh axis 'data'."""
  loss = everything()
  part = reg.linear_loss(loss, hidden, kernel, labels, None, ROWS, chunk_size=4)
  return jax.lax.psum(part, 'data')  # type: ignore[no-untyped-call]
