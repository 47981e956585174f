"""What experiments.timit and experiments.wsj put in for flags that are not given."""

from collections.abc import Mapping
from typing import Any

from experiments import arms

Defaults = Mapping[str, Mapping[str, Any]]
ARMS = ('baseline', 'label_smoothing', 'unigram_smoothing', 'confidence_penalty')

# Tuned on validation of the synthetic TIMIT, without an arm's regularizer and with it.
# A search that rewards length, not coverage, ends early where smoothing or the penalty
# has made all symbols, the end among them, more probable than they are.
_SMALL: Mapping[str, Any] = {
  'arms': ARMS,
  'embedding': 32,
  'hidden': 64,
  'layers': 2,
  'halvings': 2,
  'merge': 'concat',
  'attention': 64,
  'filters': 8,
  'filter_width': 9,
  'dropout': 0.2,
  'init_scale': 0.0,
  'optimizer': 'adam',
  'learning_rate': 0.004,
  'momentum': 0.9,
  'clip': 1.0,
  'decay_at': (0.7, 0.87),
  'decay': 0.3,
  'weight_decay': 0.0,
  'weight_noise': 0.0,
  'noise_from': 0,
  'beam': 4,
  'length_penalty': 0.0,
  'coverage_penalty': 0.5,
}
# The paper: 3 bidirectional layers and a decoder of 256 units, attention by a network
# of one layer, dropout 0.15, 6.5 million parameters; SGD with momentum. It does not say
# whether frames come to be fewer (with one halving these are 6.3 million) nor how long
# it trains; the schedule is ours. Five replicas train asynchronously there.
_TIMIT: Mapping[str, Any] = {
  'arms': ('dropout', *(f'dropout+{arm}' for arm in ARMS[1:])),
  'embedding': 256,
  'hidden': 256,
  'layers': 3,
  'halvings': 1,
  'merge': 'concat',
  'attention': 256,
  'filters': 10,
  'filter_width': 51,
  'dropout': 0.15,
  'init_scale': 0.0,
  'optimizer': 'sgd',
  'learning_rate': 0.01,
  'momentum': 0.9,
  'clip': 5.0,
  'decay_at': (0.7, 0.87),
  'decay': 0.1,
  'weight_decay': 0.0,
  'weight_noise': 0.0,
  'noise_from': 0,
  'beam': 10,
  'length_penalty': 0.0,
  'coverage_penalty': 0.5,
}
# The paper: 4 bidirectional layers with time halved three times, all of 256 units; its
# 6.6 million parameters are those of layers that skip frames. The rate falls after
# 400,000 and 500,000 of 650,000 steps. Eight GPUs train asynchronously there.
_WSJ: Mapping[str, Any] = {
  'arms': ARMS,
  'embedding': 32,
  'hidden': 256,
  'layers': 4,
  'halvings': 3,
  'merge': 'skip',
  'attention': 64,
  'filters': 10,
  'filter_width': 51,
  'dropout': 0.15,
  'init_scale': 0.075,
  'optimizer': 'adam',
  'learning_rate': 0.001,
  'momentum': 0.9,
  'clip': 1.0,
  'decay_at': (400 / 650, 500 / 650),
  'decay': 0.1,
  'weight_decay': 1e-6,
  'weight_noise': 0.075,
  'noise_from': 20_000,
  'beam': 10,
  'length_penalty': 0.0,
  'coverage_penalty': 0.5,
}
# Of --model=framewise. The second is that of Laurent et al. (2016): batches of 24.
_FRAMES: Mapping[str, Any] = {
  **_SMALL,
  'arms': ('baseline', 'batch_norm'),
  'learning_rate': 0.01,
}
_LAURENT: Mapping[str, Any] = {
  **_FRAMES,
  'hidden': 250,
  'layers': 5,
  'optimizer': 'sgd',
  'learning_rate': 1e-4,
  'decay_at': (),
  'clip': 5.0,
}

# By model and name.
TIMIT_SIZES: Mapping[str, Defaults] = {
  'las': {'small': _SMALL, 'timit': _TIMIT},
  'framewise': {'small': _FRAMES, 'laurent': _LAURENT},
}
WSJ_SIZES: Mapping[str, Defaults] = {'las': {'small': _SMALL, 'wsj': _WSJ}}

_QUICK = {'num_mel': 40, 'batch_frames': 3400, 'num_shapes': 1}
TIMIT_DATASETS: Defaults = {
  'synthetic': {
    'workdir': 'runs/timit_synthetic',
    'size': 'small',
    'seeds': 2,
    'speakers': 30,
    'num_steps': 200,
    **_QUICK,
  },
  'fsdd': {
    'workdir': 'runs/timit_fsdd',
    'size': 'small',
    'seeds': 2,
    'num_epochs': 10,
    'left_out': 'yweweler',
    **_QUICK,
    'num_shapes': 4,
  },
  'timit': {
    'workdir': 'runs/timit',
    'size': 'timit',
    'seeds': 1,
    'num_mel': 40,
    'batch_frames': 10_000,  # some 32 utterances
    'num_shapes': 6,
    'num_epochs': 100,
  },
}
WSJ_DATASETS: Defaults = {
  'synthetic': {
    'workdir': 'runs/wsj_synthetic',
    'size': 'small',
    'seeds': 2,
    'speakers': 30,
    'num_steps': 200,
    **_QUICK,
  },
  'wsj': {
    'workdir': 'runs/wsj',
    'size': 'wsj',
    'seeds': 1,
    'num_mel': 80,
    'batch_frames': 16_000,
    'num_shapes': 8,
    'num_steps': 650_000,
  },
}

_VALUES = arms.values(epsilon=0.2, rate=0.1, weight=1.0, threshold=1.0, alpha=0.5)
# The paper's for TIMIT; it does not give those for WSJ.
TIMIT_VALUES = dict.fromkeys(TIMIT_DATASETS, _VALUES)
WSJ_VALUES = dict.fromkeys(WSJ_DATASETS, _VALUES)
# The paper's for TIMIT, and below its weights those that suit a small network.
GRID = {
  'epsilon': (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8),
  'rate': (0.05, 0.1, 0.2, 0.3),
  'weight': (0.03, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
}
