"""A multi-layer perceptron."""

from collections.abc import Sequence

import jax
from flax import nnx


class MLP(nnx.Module):
  """Fully connected layers with ReLU, each followed by dropout, then logits.

  The module holds parameters alone: dropout draws from the ``rngs`` of the
  call. It is off after ``model.eval()``, on after ``model.train()``.

  Example:
    >>> model = MLP(64, (32, 32), 10, dropout=0.5, rngs=nnx.Rngs(0))
    >>> images = jax.numpy.ones((4, 64))
    >>> logits = model(images, rngs=nnx.Rngs(dropout=1))  # training
    >>> logits = model(images, deterministic=True)  # evaluation
    >>> logits.shape
    (4, 10)
  """

  def __init__(
    self,
    in_features: int,
    hidden: Sequence[int],
    num_classes: int,
    *,
    dropout: float = 0.0,
    init_std: float | None = None,
    rngs: nnx.Rngs,
  ):
    """Draws the initial weights from ``rngs.params``; biases are zero.

    Args:
      in_features: size of an input row.
      hidden: sizes of the hidden layers.
      num_classes: number of logits.
      dropout: share of hidden units dropped in training.
      init_std: weights are N(0, ``init_std``²); None: He et al. (2015),
        N(0, 2 / fan-in) truncated at two standard deviations.
      rngs: key ``params``.
    """
    if init_std is None:
      kernel_init = nnx.initializers.he_normal()
    else:
      kernel_init = nnx.initializers.normal(init_std)
    sizes = (in_features, *hidden, num_classes)
    self.layers = nnx.List(
      nnx.Linear(fan_in, fan_out, kernel_init=kernel_init, rngs=rngs)
      for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True)
    )
    self.dropout = nnx.Dropout(dropout)

  def __call__(
    self,
    inputs: jax.Array,
    *,
    deterministic: bool | None = None,
    rngs: nnx.Rngs | None = None,
  ) -> jax.Array:
    """Logits ``[..., num_classes]`` of ``inputs [..., in_features]``.

    Args:
      inputs: rows of features.
      deterministic: True switches dropout off, False on; None leaves it to
        ``model.eval()`` and ``model.train()``.
      rngs: key ``dropout``; needed when dropout is on.
    """
    *hidden, last = self.layers
    for layer in hidden:
      inputs = nnx.relu(layer(inputs))
      inputs = self.dropout(inputs, deterministic=deterministic, rngs=rngs)
    return last(inputs)
