"""Any loss of regularizers as a `keras.losses.Loss`, for Keras 3 on the JAX backend.

Sample weights, masks and the reduction are Keras's own. Keras multiplies by them, and
0 · NaN is NaN: let padding hold a label that is a class (``np.maximum(labels, 0)``).
Keras hands no step to a loss, so weights here are numbers, not schedules.
"""

import dataclasses
import importlib
from typing import Any

import jax
import jax.numpy as jnp
import keras

import regularizers as reg


@keras.saving.register_keras_serializable('regularizers')
class KerasLoss(keras.losses.Loss):
  """A loss of logits.

  Args:
    loss: of regularizers, or any function of (logits, labels).
    **options: name, reduction and dtype, as every Keras loss has them.
  """

  def __init__(self, loss: reg.Loss = reg.cross_entropy, **options: Any):
    super().__init__(**{'dtype': 'float32', **options})
    self.loss = loss

  def call(self, y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    """The loss of every position, for Keras to weight and reduce."""
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
      y_true = y_true[..., 0]  # Keras likes labels as a column
    if y_true.ndim < y_pred.ndim:
      y_true = y_true.astype(jnp.int32)  # it has made them float32
    return self.loss(y_pred, y_true)

  def get_config(self) -> dict[str, Any]:
    """What a saved model keeps: numbers and names, so no code is loaded with it."""
    config = {**super().get_config(), 'dtype': self.dtype}
    return {**config, 'loss': to_config(self.loss)}

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> 'KerasLoss':
    """Inverse of `get_config`."""
    return cls(**{**config, 'loss': from_config(config['loss'])})


def to_config(value: Any) -> Any:
  """Losses are frozen dataclasses: their class and fields say it all."""
  if not dataclasses.is_dataclass(value):
    return keras.saving.serialize_keras_object(value)
  fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
  _, module = type(value).__module__.split('.')  # of regularizers
  name = f'{module}.{type(value).__name__}'
  return {'value': name, 'fields': {k: to_config(v) for k, v in fields.items()}}


def from_config(config: Any) -> Any:
  """Inverse of `to_config`."""
  if not (isinstance(config, dict) and set(config) == {'value', 'fields'}):
    return keras.saving.deserialize_keras_object(config)
  module, name = config['value'].split('.')
  cls = getattr(importlib.import_module(f'regularizers.{module}'), name)
  return cls(**{k: from_config(v) for k, v in config['fields'].items()})
