"""Bad run directories, flags, and copies of replicas."""

import io
import json
import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from cases_data import ZEROS, archived, sparse

from experiments import cifar10, mnist, predictions, ptb, records, runner, wmt
from experiments import codistillation_report as churns
from experiments.checkpoints import Checkpoints
from experiments.errors import InputError
from experiments.runs import Run, collect
from experiments.saved_translator import configuration
from regularizers.exchange import Directory, ExchangeError, files

Case = tuple[Callable[[pathlib.Path], object], type[Exception], str]
DEEP = '[' * 100_000 + ']' * 100_000


def write(path: pathlib.Path, content: str | bytes) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content.encode() if isinstance(content, str) else content)
  return path


HEADER: dict[str, Any] = {
  **{'kind': 'header', 'experiment': 'mnist', 'dataset': 'digits', 'arm': 'baseline'},
  **{'objective': 'o', 'seeds': [0], 'data': 'd'},
}
ROW: dict[str, Any] = {'step': 1, 'split': 'test', 'seed': 0, 'error': 1.0}


def record(text: str, message: str) -> Case:
  def run(directory: pathlib.Path) -> object:
    return collect([write(directory / 'r/record.jsonl', text).parent])

  return run, InputError, rf'r/record.jsonl: {message}'


def head(message: str, **changes: object) -> Case:
  return record(f'{json.dumps(HEADER | changes)}\n', f'line 1: .*{message}')


def row(message: str, **changes: object) -> Case:
  lines = [HEADER, ROW | {'final': True} | changes]
  return record(''.join(f'{json.dumps(own)}\n' for own in lines), f'line 2: {message}')


RECORDS = {
  'record, deep JSON': record(f'{DEEP}\n', 'line 1 is not JSON'),
  'record, not UTF-8': (
    lambda directory: records.read(write(directory / 'record.jsonl', b'\xff\n')),
    InputError,
    r'not a text file \(byte 0\)',
  ),
  'record, a pipe': (
    lambda directory: (os.mkfifo(directory / 'record.jsonl'), collect([directory])),
    InputError,
    'cannot read .*record.jsonl: not a regular file',
  ),
  'record, a terabyte': sparse(
    records.read, 'record.jsonl', 'bytes, which do not fit into the'
  ),
  'record, a seed that is a list': head("'seeds'", seeds=[[1]]),
  'record, a seed that is a text': head("'seeds'", seeds=[0, 'a'], data='d'),
  'record, a measure that is a list': head("'measure'", measure=[]),
  'record, a step that is a text': row("expected a number 'step'", step='9'),
  'record, a split that is a list': row("expected a text 'split'", split=['test']),
  'record, a weight that is a list': row("expected a number 'weight'", weight=[1]),
  'record, cut back, no step': (
    lambda directory: records.cut_back(
      write(directory / 'record.jsonl', '{}\n{"a": 1}\n'), {}, 1
    ),
    InputError,
    'record.jsonl: line 2: expected a row with a step',
  ),
  'config.json, deep JSON': (
    lambda directory: (
      write(directory / 'config.json', DEEP),
      runner.check(directory, {}),
    ),
    InputError,
    'config.json is not JSON',
  ),
  'config.json, not UTF-8': (
    lambda directory: (
      write(directory / 'config.json', b'\xff'),
      runner.check(directory, {}),
    ),
    InputError,
    'config.json is not JSON',
  ),
  'translator, deep JSON': (
    lambda directory: configuration(
      write(directory / 'model' / 'config.json', DEEP).parent
    ),
    InputError,
    'not the configuration of a translator',
  ),
}


def npz(content: bytes, message: str, name: str = predictions.NAME) -> Case:
  """Of the arrays beside a record."""

  def run(directory: pathlib.Path) -> object:
    own = _run(directory, content, name)
    if name == predictions.NAME:
      return predictions.read(own, 'labels')
    return churns.of_run(own)

  return run, InputError, rf'{name}: expected a.* .*{message}'


def _run(directory: pathlib.Path, content: bytes, name: str = predictions.NAME) -> Run:
  write(directory / name, content)
  return Run(directory, HEADER, ())


def member(*blocks: bytes) -> bytes:
  return archived('labels.npy', blocks)


def npy(array: np.ndarray) -> bytes:
  stream = io.BytesIO()
  np.lib.format.write_array(stream, array)
  return stream.getvalue()


def shaped(shape: str) -> bytes:
  """With a header of that shape, and no numbers."""
  text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}"
  text = text.ljust(117) + '\n'
  return b'\x93NUMPY\1\0' + len(text).to_bytes(2, 'little') + text.encode()


OBJECTS = npy(np.array([{}], object))
ARRAYS = {
  'predictions, pickled': npz(b'\x80\x04N.', 'pickle'),
  'predictions, pickled inside': npz(member(OBJECTS), 'allow_pickle=False'),
  'predictions, of 10^15 numbers': npz(member(shaped('1000000000000000,')), ''),
  'predictions, of a shape that is none': npz(member(shaped('-1,')), ''),
  'predictions, packed zeros': (
    lambda directory: predictions.read(
      _run(directory, member(shaped('65536000,'), *ZEROS)), 'labels'
    ),
    InputError,
    'predictions.npz: .*more than 100 times',
  ),
  'predictions, a member cut off': npz(member(shaped('3,')), ''),
  'predictions, deep header': npz(member(shaped('(' * 90 + ')' * 9)), ''),
  'churn, pickled inside': npz(member(OBJECTS), '', 'churn.npz'),
  'churn, none': npz(b'', '', 'churn.npz'),
}

FLAGS = {
  'seeds': (lambda _: mnist.Config(seeds=0), '--seeds: expected 1 or more, got 0'),
  'learning_rate': (
    lambda _: mnist.Config(learning_rate=float('nan')),
    '--learning_rate: expected a number above 0, got nan',
  ),
  'weight': (
    lambda _: ptb.Config(weight=(float('inf'),)),
    '--weight: expected a number, 0 or more, got inf',
  ),
  'epsilon': (lambda _: wmt.Config(epsilon=(1.0,)), r'--epsilon: expected a share in'),
  'num_steps': (
    lambda _: cifar10.Config(num_steps=1, num_epochs=1),
    '--num_epochs and --num_steps: expected one of them, got both',
  ),
  'arms': (
    lambda directory: mnist.run(mnist.Config(workdir=str(directory), arms=('x',))),
    "--arms: unknown arm 'x'",
  ),
  'data_dir': (
    lambda directory: ptb.run(
      ptb.Config(workdir=str(directory / 'w'), data_dir=str(directory / 'x'))
    ),
    '--data_dir: expected a directory of text, .*x is not there',
  ),
  'workdir': (
    lambda directory: mnist.run(
      mnist.Config(workdir=str(write(directory / 'file', '') / 'w'))
    ),
    'cannot write .*file is a file',
  ),
  'workdir, a name that is too long': (
    lambda directory: mnist.run(mnist.Config(workdir=str(directory / ('a' * 5000)))),
    'File name too long',
  ),
  'workdir, no name of a file': (
    lambda directory: mnist.run(mnist.Config(workdir=str(directory / 'a\0b'))),
    'null byte',
  ),
}

TREE = {'w': jnp.ones(3)}
ABOUT: dict[str, Any] = {'step': '3', 'replica': '1', 'num_replicas': '2'}


def sealed(header: dict[str, Any], data: bytes = bytes(12)) -> bytes:
  """A file whose checksum holds, whatever its header says."""
  header = {
    '__metadata__': {'crc32': '00000000', **header.pop('about', ABOUT)}
  } | header
  text = json.dumps(header).encode()
  head = len(text).to_bytes(8, 'little') + text
  sum = files._checksum([head, data])
  return head.replace(b'00000000', sum, 1) + data


def copy(content: bytes, message: str) -> Case:
  """Of a peer; what is wrong with a file alone is a warning, and then nothing."""

  def run(directory: pathlib.Path) -> object:
    write(directory / 'replica-1' / '00000001-0000000003.safetensors', content)
    with Directory(directory, 0, 2, 1, background=False) as own:
      with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        own(0, TREE, own.init(TREE))
      for warning in caught:
        raise ExchangeError(str(warning.message))
    return None

  return run, ExchangeError, message


LEAF = {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 12]}
EXCHANGE = {
  'cut off': copy(sealed({'w': LEAF})[:-4], 'is damaged: the checksum'),
  'a header of more than the file': copy((1 << 62).to_bytes(8, 'little'), 'cut off'),
  'deep JSON': copy(
    len(DEEP).to_bytes(8, 'little') + DEEP.encode(), 'is damaged: .*recursion'
  ),
  'a leaf of more than the file': copy(
    sealed({'w': {**LEAF, 'shape': [1 << 40], 'data_offsets': [0, 1 << 42]}}),
    'is damaged: cannot reshape',
  ),
  'a type that is none': copy(sealed({'w': {**LEAF, 'dtype': 'X'}}), 'is damaged'),
  'a step that is a number': copy(
    sealed({'w': LEAF, 'about': {**ABOUT, 'step': 3}}), 'is damaged'
  ),
  'a step of many digits': copy(
    sealed({'w': LEAF, 'about': {**ABOUT, 'step': '9' * 5000}}), 'it has no step'
  ),
  'a step that 32 bits do not hold': copy(
    sealed({'w': LEAF, 'about': {**ABOUT, 'step': str(1 << 31)}}), 'it has no step'
  ),
  'no step': copy(sealed({'w': LEAF, 'about': {'num_replicas': '2'}}), 'has no step'),
  'other replicas': copy(
    sealed({'w': LEAF, 'about': {**ABOUT, 'num_replicas': '3'}}), 'one of 3 replicas'
  ),
  'another shape': copy(
    sealed({'w': {**LEAF, 'shape': [3, 1]}}), r'expected shape \[3\], got \[3, 1\]'
  ),
  'another leaf': copy(sealed({'v': LEAF}), 'no leaf w'),
}


def _full(directory: pathlib.Path) -> None:
  Checkpoints(write(directory / 'file', '') / 'checkpoints')


CASES = {
  **RECORDS,
  **ARRAYS,
  **{f'--{name}': (run, InputError, words) for name, (run, words) in FLAGS.items()},
  **{f'exchange, {name}': case for name, case in EXCHANGE.items()},
  'checkpoints, no place': (_full, InputError, 'cannot write .*file/checkpoints'),
}
