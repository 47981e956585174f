"""What every in-memory reader returns."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Splits of arrays that share their first axis.

  Attributes:
    name: what the user asked for, e.g. ``'digits'``.
    num_classes: number of classes of ``label``.
    splits: ``{'train' | 'validation' | 'test': {'image': [n, ...] float32,
      'label': [n] int32}}``.
    about: what else the records say of it.
  """

  name: str
  num_classes: int
  splits: Mapping[str, Arrays]
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def fingerprint(self) -> str:
    """sha256 over names, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for split in sorted(self.splits):
      for key, array in sorted(self.splits[split].items()):
        digest.update(f'{split}/{key}{array.dtype.str}{array.shape}'.encode())
        for start in range(0, len(array), _ROWS):  # it may be larger than the memory
          digest.update(np.ascontiguousarray(array[start : start + _ROWS]).tobytes())
    return digest.hexdigest()
