"""A classifier in Keras 3 on JAX: compile, fit and save with a loss of regularizers.

python -m examples.keras_fit
"""

import os

os.environ['KERAS_BACKEND'] = 'jax'  # before keras is imported
import keras

import regularizers as reg
from examples.keras_loss import KerasLoss
from examples.problem import blobs

LOSS = reg.chain(
  reg.label_smoothing(0.1),
  reg.confidence_penalty(0.1),
)(reg.cross_entropy)


def train(num_steps: int = 50) -> tuple[keras.Model, list[float]]:
  """The trained model, and the loss before every step."""
  inputs, labels = blobs()
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [
      keras.Input((2,)),
      keras.layers.Dense(16, activation='relu'),
      keras.layers.Dense(3),  # logits: no softmax
    ]
  )
  model.compile(keras.optimizers.Adam(0.02), KerasLoss(LOSS))
  if not num_steps:
    return model, []
  # One batch an epoch, so that an epoch's loss is that of one step.
  history = model.fit(
    inputs, labels, batch_size=len(labels), epochs=num_steps, verbose=0
  )
  return model, history.history['loss']


if __name__ == '__main__':
  _, losses = train()
  print(f'{LOSS}: from {losses[0]:.3f} to {losses[-1]:.3f}')
