"""Packages of the extra ``benchmarks``, or one line that says how to install them."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from experiments.errors import ending, needs

if TYPE_CHECKING:
  import torch
  import transformers

__all__ = ['torch', 'transformers']


def __getattr__(name: str) -> ModuleType:
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  with ending():
    needs(name, extra='benchmarks')
  return importlib.import_module(name)
