"""The one rule for types: sums, states and statistics are float32 or wider."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def widened(dtype: Any) -> np.dtype[Any]:
  """float32, or the type itself where it is wider.

  Not by promotion, which there is none of for 8 bits, nor for any two types under
  ``jax.numpy_dtype_promotion('strict')``.
  """
  dtype = np.dtype(dtype)
  wider = jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize >= 4
  return dtype if wider else np.dtype(np.float32)
