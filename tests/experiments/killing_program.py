"""Runs experiments, shrunk, in a process of its own.

  python killing_program.py ROOT NAME...           to their ends
  python killing_program.py ROOT --kill NAME...    killed before they are

Every case runs in ROOT/NAME.
"""

import contextlib
import dataclasses
import importlib
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import speaking
from matplotlib.figure import Figure

from experiments import instruction_loading, runner
from experiments.datasets import shapes, speech_corpora


@dataclasses.dataclass(frozen=True)
class Case:
  """A run of an experiment.

  Attributes:
    program: its module.
    fields: of its configuration.
    dies: the save of this step, or of one after it, is not reached.
  """

  program: str
  fields: Mapping[str, Any]
  dies: int


_SPEECH = {
  **{'seeds': 1, 'num_steps': 4, 'embedding': 3, 'hidden': 3, 'attention': 3},
  **{'filters': 2, 'filter_width': 3, 'beam': 2, 'checkpoint_every': 2},
}
_TEXT = {
  **{'seeds': 1, 'hidden': 8, 'num_train': 900, 'unroll': 10, 'decay_after': 1},
  **{'num_epochs': 2, 'eval_every': 7, 'checkpoint_every': 5},
}
_REPLICAS = {
  **{'exchange': 'local', 'num_train': 200, 'hidden': (8,), 'seeds': 1},
  **{'num_steps': 20, 'burn_in': 4, 'exchange_every': 5, 'checkpoint_every': 7},
}
_INSTRUCTIONS = {
  **{'size': 'tiny', 'num_steps': 4, 'rows': 1, 'text_steps': 2, 'length': 128},
  **{'answer': 4, 'evaluated': 1, 'shots': (0,), 'checkpoint_every': 2},
}
CASES: Mapping[str, Case] = {
  'mnist': Case(
    'mnist',
    {
      **{'arms': ('dropout+label_noise',), 'hidden': (8,), 'seeds': 2},
      **{'num_steps': 8, 'eval_every': 3, 'checkpoint_every': 3},
    },
    dies=6,
  ),
  'cifar10': Case(
    'cifar10',
    {
      **{'arms': ('dropout+label_smoothing',), 'num_train': 20, 'batch_size': 10},
      **{'num_epochs': 2, 'seeds': 2, 'depth': 7, 'growth': 2, 'augment': True},
      **{'eval_every': 2, 'checkpoint_every': 2},
    },
    dies=4,
  ),
  # Carried state of the layers, running statistics, dropout.
  'ptb': Case(
    'ptb', {**_TEXT, 'dropout': 0.3, 'layers': 2, 'arms': ('batch_norm',)}, dies=10
  ),
  'ptb_batch_norm': Case(
    'ptb_batch_norm',
    {
      **{**_TEXT, 'tokens': 'char', 'arms': ('batch_norm',), 'learning_rates': (0.01,)},
      **{'checkpoint_every': 2},
    },
    dies=4,
  ),
  'wmt': Case(
    'wmt',
    {
      **{'arms': ('unigram_smoothing',), 'num_train': 24, 'seeds': 1, 'num_steps': 6},
      **{'batch_tokens': 500, 'embedding': 6, 'hidden': 6, 'attention': 4, 'beam': 2},
      **{'checkpoint_every': 2},
    },
    dies=4,
  ),
  'timit': Case('timit', {**_SPEECH, 'arms': ('label_smoothing',)}, dies=4),
  # Noise on the weights from a step on.
  'wsj': Case(
    'wsj',
    {
      **{**_SPEECH, 'arms': ('unigram_smoothing',), 'loss': 'fused', 'merge': 'skip'},
      **{'weight_noise': 0.1, 'noise_from': 2, 'weight_decay': 1e-6},
    },
    dies=4,
  ),
  'frames': Case(
    'timit',
    {
      **{'model': 'framewise', 'arms': ('batch_norm',), 'hidden': 3, 'seeds': 1},
      **{'num_steps': 4, 'checkpoint_every': 2},
    },
    dies=4,
  ),
  'codistillation': Case(
    'codistillation',
    {**_REPLICAS, 'model': 'mnist', 'batch_size': 16, 'arms': ('codistillation',)},
    dies=14,
  ),
  'codistillation_batches': Case(
    'codistillation_batches',
    {
      **_REPLICAS,
      **{'batch_sizes': (16, 32), 'learning_rates': (0.1,), 'target': 2.0},
      **{'arms': ('codistillation',), 'gain': 0.9},
    },
    dies=14,
  ),
  'instructions': Case(
    'instructions', {**_INSTRUCTIONS, 'arms': ('label_smoothing',)}, dies=4
  ),
  'instruction_ablations': Case(
    'instruction_ablations', {**_INSTRUCTIONS, 'variations': ('zipf_2_suffix',)}, dies=4
  ),
}


def main(root: pathlib.Path, *names: str) -> None:
  with contextlib.ExitStack() as patches:
    for patch in _small():
      patches.enter_context(patch)
    if names[0] == '--kill':
      for name in names[1:]:
        importlib.import_module(f'experiments.{CASES[name].program}')
      for name in names[1:]:
        _kill(root, name)
      return
    for name in names:
      _run(root, name)


def _kill(root: pathlib.Path, name: str) -> None:
  """In a fork: nothing was computed yet, so jax has no threads, and is imported."""
  child = os.fork()
  if not child:
    try:
      with mock.patch.object(runner, '_save', _until(CASES[name])):
        _run(root, name)
    finally:
      os._exit(1)
  _, status = os.waitpid(child, 0)
  killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
  assert killed, f'{name} was not killed'
  saved = any((root / name).rglob('checkpoints/*'))
  assert saved, f'{name}: there is nothing to go on from'


def _run(root: pathlib.Path, name: str) -> None:
  case = CASES[name]
  module = importlib.import_module(f'experiments.{case.program}')
  # Caches are common to whole and killed runs; nothing of them depends on either.
  own = {'workdir': str(root / name), 'cache_dir': str(root.parent / 'cache')}
  there = {field.name for field in dataclasses.fields(module.Config)}
  fields = {key: value for key, value in own.items() if key in there}
  module.run(module.Config(**fields, **case.fields))


def _small() -> list[Any]:
  """Data that take no time, and no pictures."""
  corpora = {name: speaking.corpus(name == 'timit') for name in ('timit', 'wsj')}
  spoken = {name: (lambda *_, own=own, **__: own) for name, own in corpora.items()}
  return [
    mock.patch.multiple(shapes, NUM_VALIDATION=30, NUM_TEST=40),
    mock.patch.multiple(speech_corpora, create=True, **spoken),
    mock.patch.object(instruction_loading, 'EXAMPLES', 12),
    mock.patch.object(Figure, 'savefig', lambda *_, **__: None),
  ]


def _until(case: Case) -> Callable[..., None]:
  original = runner._save

  def save(checkpoints: Any, step: int, state: Any) -> None:
    if step >= case.dies:
      os.kill(os.getpid(), signal.SIGKILL)
    original(checkpoints, step, state)

  return save


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
