"""In every framework the documented formula is what training minimises."""

import importlib

import by_hand
import jax
import numpy as np
import pytest

from examples.problem import blobs

EPSILON, WEIGHT, STEP, NUM_STEPS = 0.1, 0.1, 3, 30

# module: (the framework, logits of what train() returns, the penalty's weight)
CASES = {
  'flax_nnx': ('flax', lambda model, x: model(x), WEIGHT),
  'flax_linen': (
    'flax',
    lambda state, x: state.apply_fn({'params': state.params}, x),
    0.2 * STEP / 50,
  ),
  'equinox_mlp': ('equinox', lambda model, x: jax.vmap(model)(x), WEIGHT),
  'keras_fit': ('keras', lambda model, x: model(x), WEIGHT),
}


@pytest.mark.filterwarnings('ignore::DeprecationWarning:keras')
@pytest.mark.parametrize('name', CASES)
def test_training_minimises_the_formula(name, monkeypatch):
  framework, logits, weight = CASES[name]
  monkeypatch.setenv('KERAS_BACKEND', 'jax')
  pytest.importorskip(framework, reason=f'{framework} is not installed')
  example = importlib.import_module(f'examples.{name}')
  inputs, labels = blobs()
  # Keras adds a bias [n] to a batch [m, n].
  with jax.numpy_rank_promotion('allow'):
    model, _ = example.train(STEP)
    _, losses = example.train(NUM_STEPS)
    expected = by_hand.losses(logits(model, inputs), labels, EPSILON, weight).mean()
  np.testing.assert_allclose(losses[STEP], expected, rtol=2e-6)
  assert len(losses) == NUM_STEPS
  assert losses[-1] < 0.5 * losses[0]
