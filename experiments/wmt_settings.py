"""What experiments.wmt puts in for flags that are not given."""

from collections.abc import Mapping
from typing import Any

from experiments import arms

# The paper: 8 layers of 512 units and 32,000 word pieces, dropout 0.3, beam 12; it says
# neither how the rate falls nor how long it trains.
SIZES: Mapping[str, Mapping[str, Any]] = {
  'tiny': {
    'embedding': 64,
    'hidden': 64,
    'encoder_layers': 1,
    'decoder_layers': 1,
    'attention': 64,
    'dropout': 0.2,
    'init_scale': 0.0,
    'beam': 4,
  },
  'small': {
    'embedding': 128,
    'hidden': 128,
    'encoder_layers': 2,
    'decoder_layers': 2,
    'attention': 128,
    'dropout': 0.3,
    'init_scale': 0.0,
    'beam': 12,
  },
  'paper': {
    'embedding': 512,
    'hidden': 512,
    'encoder_layers': 8,
    'decoder_layers': 8,
    'attention': 512,
    'dropout': 0.3,
    'init_scale': 0.04,
    'beam': 12,
  },
}
DATASETS: Mapping[str, Mapping[str, Any]] = {
  'numbers': {
    'workdir': 'runs/numbers',
    'size': 'tiny',
    'seeds': 3,
    'num_train': 400,
    'source_units': 'words',
    'target_units': 'chars',
    'batch_tokens': 2500,
    'num_shapes': 1,
    'learning_rate': 0.01,
    'num_steps': 120,
  },
  'text': {
    'workdir': 'runs/translation',
    'size': 'small',
    'seeds': 1,
    'num_train': 0,
    'source_units': 'pieces',
    'target_units': 'pieces',
    'vocabulary': 4000,
    'batch_tokens': 2000,
    'num_shapes': 6,
    'longest': 500,
    'learning_rate': 0.01,  # of 0.001 to 0.01 the one that learned first
    'num_epochs': 10,
  },
  # The learning rate and the epochs are ours.
  'wmt14': {
    'workdir': 'runs/wmt14',
    'size': 'paper',
    'seeds': 1,
    'num_train': 0,
    'source_units': 'pieces',
    'target_units': 'pieces',
    'vocabulary': 32_000,
    'batch_tokens': 4000,
    'num_shapes': 12,
    'longest': 500,
    'learning_rate': 0.001,
    'num_epochs': 5,
  },
}
ALL = {'clip': 1.0, 'length_penalty': 1.0, 'coverage_penalty': 0.0}
_VALUES = arms.values(epsilon=0.1, rate=0.1, weight=0.1, threshold=1.0, alpha=0.5)
VALUES: Mapping[str, Mapping[str, float]] = {
  **dict.fromkeys(DATASETS, _VALUES),
  'wmt14': {**_VALUES, 'confidence_penalty.weight': 2.5},
}
# The paper's, and below its weights those that suit a small network.
GRID = {
  'epsilon': (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
  'rate': (0.05, 0.1, 0.2, 0.3),
  'weight': (0.03, 0.1, 0.3, 0.5, 1.0, 2.5, 4.5),
}
