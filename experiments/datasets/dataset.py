"""What every in-memory reader returns."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


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
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
