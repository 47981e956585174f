"""The Keras adapter against the plain loss: weights, masks, reductions, files."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import regularizers as reg

os.environ['KERAS_BACKEND'] = 'jax'
keras = pytest.importorskip('keras', reason='Keras is not installed')

from examples.keras_loss import KerasLoss  # noqa: E402

# Its own code is neither warning-free nor strict about ranks.
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning:keras')

LOSS = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.3))(
  reg.cross_entropy
)
CLASSES = 5


@pytest.fixture(autouse=True)
def _ranks():
  with jax.numpy_rank_promotion('allow'):
    yield


def batch(rng, *shape: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Logits, labels and weights, some of which are 0."""
  logits = jnp.asarray(rng.normal(size=(*shape, CLASSES)), jnp.float32)
  labels = jnp.asarray(rng.integers(0, CLASSES, shape))
  weights = rng.uniform(size=shape) * (rng.uniform(size=shape) < 0.7)
  return logits, labels, jnp.asarray(weights, jnp.float32)


REDUCTIONS = {
  'none': lambda losses, w: w * losses,
  'sum': reg.masked_sum,
  'sum_over_batch_size': lambda losses, w: reg.masked_sum(losses, w) / losses.size,
  'mean_with_sample_weight': reg.masked_mean,
}


@pytest.mark.parametrize('shape', [(6,), (3, 4)])
@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_reductions_and_sample_weights(rng, reduction, shape):
  logits, labels, weights = batch(rng, *shape)
  got = KerasLoss(LOSS, reduction=reduction)(labels, logits, weights)
  expected = REDUCTIONS[reduction](LOSS(logits, labels), weights)
  np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize('labels_as', ['column', 'distribution', 'integers'])
def test_labels(rng, labels_as):
  logits, labels, _ = batch(rng, 6)
  given = {
    'column': labels[:, None],
    'distribution': jax.nn.one_hot(labels, CLASSES),
    'integers': labels,
  }
  got = KerasLoss(LOSS)(given[labels_as], logits.astype(jnp.bfloat16))
  expected = LOSS(logits.astype(jnp.bfloat16), labels).mean()
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_step_of_fit_is_a_step_of_plain_jax(rng):
  _, labels, weights = batch(rng, 6)
  inputs = jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)
  model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(CLASSES)])
  before = [variable.value for variable in model.trainable_variables]

  def objective(params):
    kernel, bias = params
    return reg.masked_sum(LOSS(inputs @ kernel + bias, labels), weights) / 6

  value, gradient = jax.value_and_grad(objective)(before)
  expected = optax.apply_updates(before, jax.tree.map(lambda g: -0.5 * g, gradient))
  model.compile(keras.optimizers.SGD(0.5), KerasLoss(LOSS))
  history = model.fit(inputs, labels, sample_weight=weights, verbose=0)
  np.testing.assert_allclose(history.history['loss'], [value], rtol=1e-6)
  for variable, leaf in zip(model.trainable_variables, expected, strict=True):
    np.testing.assert_allclose(variable.value, leaf, rtol=1e-5, atol=1e-7)


def test_the_mask_of_an_embedding(rng):
  tokens = np.array([[1, 2, 3, 0], [4, 1, 0, 0]])
  labels = np.array([[2, 3, 1, -1], [1, 4, -1, -1]])
  model = keras.Sequential(
    [keras.layers.Embedding(5, 4, mask_zero=True), keras.layers.Dense(CLASSES)]
  )
  model.compile('sgd', KerasLoss(LOSS))
  expected = reg.masked_mean(LOSS(model(tokens), jnp.asarray(labels)), tokens != 0)
  got = model.evaluate(tokens, np.maximum(labels, 0), verbose=0)
  np.testing.assert_allclose(got, expected, rtol=1e-6)
  # As the module says: Keras multiplies by the mask, so this is loud, not wrong.
  assert np.isnan(model.evaluate(tokens, labels, verbose=0))


LOSSES = {
  'chain': LOSS,
  'hinge': reg.confidence_penalty(0.3, threshold=1.0)(reg.cross_entropy),
  'arrays': reg.class_weights(jnp.arange(1.0, 6.0))(
    reg.unigram_smoothing(0.1, jnp.array([0.4, 0.3, 0.1, 0.1, 0.1]))(reg.cross_entropy)
  ),
}


@pytest.mark.parametrize('name', LOSSES)
def test_a_saved_model_keeps_its_loss(rng, tmp_path, name):
  _, labels, _ = batch(rng, 6)
  inputs = rng.normal(size=(6, 2))
  model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(CLASSES)])
  model.compile('sgd', KerasLoss(LOSSES[name], reduction='sum', name='mine'))
  model.save(tmp_path / 'model.keras')
  loaded = keras.models.load_model(tmp_path / 'model.keras')
  assert str(loaded.loss.loss) == str(LOSSES[name])
  assert (loaded.loss.reduction, loaded.loss.name) == ('sum', 'mine')
  expected = model.evaluate(inputs, labels, verbose=0)
  assert loaded.evaluate(inputs, labels, verbose=0) == expected


def test_a_schedule_is_refused_by_name(rng):
  logits, labels, _ = batch(rng, 6)
  loss = reg.label_smoothing(optax.linear_schedule(0.0, 0.1, 10))(reg.cross_entropy)
  with pytest.raises(TypeError, match='label_smoothing is a schedule'):
    KerasLoss(loss)(labels, logits)
