"""Label noise: what it draws, what it leaves alone, and what it saves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import regularizers as reg

CE = reg.cross_entropy
KEYS = jax.random.split(jax.random.key(5), 4000)
LABELS = jnp.array([0, 3])
PRIOR = np.array([0.1, 0.2, 0.3, 0.4])
WHERE = np.array([True, True, False, True])


def frequencies(rate: float, prior: object = None, where: object = None) -> np.ndarray:
  """How often each label, ``[2]``, became each class, ``[2, 4]``."""

  def reveal(logits: jax.Array, labels: jax.Array, where: object = None) -> jax.Array:
    return labels.astype(logits.dtype)

  noise, mask = reg.label_noise(rate, prior)(reveal), {}
  if where is not None:
    mask = {'where': jnp.asarray(where)}
  draw = jax.vmap(lambda key: noise(jnp.zeros((2, 4)), LABELS, key=key, **mask))
  drawn = np.asarray(jax.jit(draw)(KEYS)).astype(int)
  return np.stack([np.bincount(row, minlength=4) for row in drawn.T]) / len(KEYS)


@pytest.mark.parametrize(
  ('prior', 'where'),
  [(None, None), (None, np.tile(WHERE, (2, 1))), (PRIOR, None), (PRIOR, WHERE)],
  ids=['u', 'u-[N, V]', 'prior', 'prior-[V]'],
)
def test_frequencies(prior: object, where: object):
  """(1 − ε)·y + ε·prior, the prior renormalised over the allowed classes."""
  target = np.full(4, 0.25) if prior is None else PRIOR
  if where is not None:
    target = np.where(WHERE, target, 0) / target[WHERE].sum()
  expected = 0.6 * np.eye(4)[np.asarray(LABELS)] + 0.4 * target
  # Five standard errors of a frequency: one false alarm in 10⁵, and seeded.
  bound = 5 * np.sqrt(expected * (1 - expected) / len(KEYS))
  assert (abs(frequencies(0.4, prior, where) - expected) <= bound).all()


def test_rates_at_the_ends():
  np.testing.assert_array_equal(frequencies(0.0), np.eye(4)[np.asarray(LABELS)])
  only = np.array([0.0, 1.0, 0.0, 0.0])
  np.testing.assert_array_equal(frequencies(1.0, only), np.tile(only, (2, 1)))


@pytest.mark.parametrize('label', [-1, 4, -100, 2], ids=str)
def test_noise_hides_no_invalid_label(label: int):
  """The last one is in range, and on a masked class."""
  noise, labels = jax.jit(reg.label_noise(1.0)(CE)), np.array([label, 1])
  for key in KEYS[:5]:
    losses = noise(np.zeros((2, 4), np.float32), labels, key=key, where=WHERE)
    assert jnp.isnan(losses).tolist() == [True, False]


def test_nested_noises_draw_apart():
  """Two noises of one key are not the same noise twice."""
  prior = np.array([0.5, 0.5])
  reveal = lambda logits, labels: labels * 1.0  # noqa: E731
  twice = reg.chain(reg.label_noise(0.5, prior), reg.label_noise(0.5, prior))(reveal)
  once = reg.label_noise(0.5, prior)(reveal)
  logits, labels, key = jnp.zeros((400, 2)), jnp.zeros(400, int), jax.random.key(0)
  first, both = (np.asarray(f(logits, labels, key=key)) for f in (once, twice))
  # Label 1 with probability 1/4 after one, 3/8 after two: 4 standard errors apart.
  assert abs(first.mean() - 1 / 4) < 0.08
  assert abs(both.mean() - 3 / 8) < 0.08
  # Independent of the first draw where that left 0: 1/4 of those, never none of them.
  assert abs(both[first == 0].mean() - 1 / 4) < 0.1


def test_rate_may_be_a_schedule():
  noise = reg.label_noise(optax.linear_schedule(0.0, 1.0, 10), np.array([0.0, 1.0]))
  logits, labels = jnp.array([[0.0, 5.0]]), jnp.array([0])
  at = lambda step: noise(CE)(logits, labels, key=KEYS[0], step=step)  # noqa: E731
  np.testing.assert_allclose(at(0), CE(logits, labels))
  np.testing.assert_allclose(at(10), CE(logits, labels + 1))
  with pytest.raises(TypeError, match='rate is a schedule.*step='):
    noise(CE)(logits, labels, key=KEYS[0])


def test_memory_is_rows_and_classes():
  """No array of rows × classes is made for drawing, from a prior neither."""
  rows, classes = 64, 512
  prior = jnp.full(classes, 1 / classes)
  reveal = lambda logits, labels: labels * 1.0  # noqa: E731
  noise = reg.label_noise(0.5, prior)(reveal)

  def draw(logits: jax.Array, labels: jax.Array, key: jax.Array) -> jax.Array:
    return noise(logits, labels, key=key)

  compiled = jax.jit(draw).lower(
    jax.ShapeDtypeStruct((rows, classes), jnp.float32),
    jax.ShapeDtypeStruct((rows,), jnp.int32),
    jax.random.key(0),
  )
  # Working memory is a small part of the logits' own 128 KiB.
  used = compiled.compile().memory_analysis().temp_size_in_bytes
  assert used < rows * classes
