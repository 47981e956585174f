"""What experiments.instructions puts in for flags that are not given."""

from collections.abc import Mapping
from typing import Any

from experiments import arms

# Heads of 64 units, inner layers four times as wide, as OPT's. `tiny` is for tests.
SIZES: Mapping[str, Mapping[str, int]] = {
  'tiny': {'hidden': 64, 'layers': 2},
  'small': {'hidden': 256, 'layers': 2},
  'medium': {'hidden': 512, 'layers': 6},
}
DATASETS: Mapping[str, Mapping[str, Any]] = {
  'generated': {
    'workdir': 'runs/instructions',
    'size': 'small',
    'seeds': 1,
    'length': 256,
    'rows': 6,
    'answer': 32,
    'evaluated': 6,
    'free': 'exact',
    'learning_rate': 1e-3,
    'num_steps': 500,
    'text_steps': 60,
  },
  'natural': {
    'workdir': 'runs/natural',
    'size': 'small',
    'seeds': 2,
    'length': 512,
    'rows': 4,
    'answer': 64,
    'evaluated': 50,
    'free': 'rouge',
    'learning_rate': 1e-3,
    'num_steps': 1000,
    'text_steps': 500,
  },
}
VALUES: Mapping[str, Mapping[str, float]] = dict.fromkeys(
  DATASETS, arms.values(epsilon=0.1, rate=0.1, weight=0.1, threshold=1.0, alpha=0.5)
)
GRID = {
  'epsilon': (0.05, 0.1, 0.2),
  'rate': (0.05, 0.1, 0.2),
  'weight': (0.03, 0.1, 0.3, 1.0),
}
