"""OPT checkpoints of Hugging Face's layout, read from a directory and written to one.

config.json                    sizes, and what they call an architecture
model.safetensors              the tensors; or
model.safetensors.index.json   which file of several holds a tensor

Nothing pickled is ever read.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from experiments import records
from experiments.datasets import files
from experiments.errors import InputError
from experiments.models import opt_tensors
from experiments.models.opt_layers import Sizes
from experiments.opt_config import configuration, sizes_of

INDEX, SINGLE, CONFIG = (
  'model.safetensors.index.json',
  'model.safetensors',
  'config.json',
)
SHARD_BYTES = 5 * 10**9
_DTYPES = 'F32', 'F16', 'BF16'
# What goes with a checkpoint and is copied as it is.
TOKENIZER = (
  *('tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'),
  *('vocab.json', 'merges.txt', 'added_tokens.json', 'generation_config.json'),
)
_CONVERT = (
  "AutoModelForCausalLM.from_pretrained('{0}').save_pretrained('NEW_DIRECTORY') of "
  'transformers writes model.safetensors'
)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A network of `experiments.models.opt`.

  Attributes:
    sizes: of it.
    params: as `nnx.to_pure_dict` has those of ``OPT``; numpy, float32.
    config: all of ``config.json``.
  """

  sizes: Sizes
  params: Mapping[str, Any]
  config: Mapping[str, Any]


def read(directory: pathlib.Path) -> Checkpoint:
  """What is in the directory.

  Raises:
    InputError: there is no such checkpoint, it is damaged or of another architecture,
      or its tensors are not those of its configuration.
  """
  config = files.json_object(directory / CONFIG)
  sizes = sizes_of(config, directory / CONFIG)
  where = _files(directory)
  prefix = _prefix(where, directory)
  if sizes.layers > len(where):  # before so many names are made
    raise InputError(
      f'{directory}: {len(where)} tensors are too few for {sizes.layers} layers'
    )
  expected = opt_tensors.shapes(sizes)
  names = {prefix + name: shape for name, shape in expected.items()}
  for name in names:
    if name not in where:
      raise InputError(f'{directory}: no tensor {name}')
  for name, path in where.items():
    if name not in names and name != 'lm_head.weight':
      raise InputError(f'{path}: {name} is no tensor of an OPT of this {CONFIG}')
  opened = {path: _opened(path) for path in set(where.values())}

  def get(name: str, own: str = prefix) -> np.ndarray:
    path, shape = where[own + name], expected[name]
    return _tensor(opened[path], own + name, shape, path)

  if 'lm_head.weight' in where:
    path = where['lm_head.weight']
    head = _tensor(opened[path], 'lm_head.weight', expected[opt_tensors.TABLE], path)
    if not np.array_equal(head, get(opt_tensors.TABLE)):
      raise InputError(
        f'{path}: lm_head.weight: expected that of {prefix}{opt_tensors.TABLE}, '
        'to which it is tied'
      )
  return Checkpoint(sizes, opt_tensors.parameters(sizes, get), config)


def write(
  directory: pathlib.Path,
  sizes: Sizes,
  params: Mapping[str, Any],
  *,
  config: Mapping[str, Any] | None = None,
  tokenizer: pathlib.Path | None = None,
  shard_bytes: int = SHARD_BYTES,
) -> None:
  """Writes what ``read`` and ``transformers`` read; replaces what is there.

  Args:
    directory: made if it is missing.
    sizes: of the network.
    params: of ``OPT``.
    config: entries of ``config.json`` beside sizes: ids of special tokens, dropout.
    tokenizer: a directory whose tokenizer's files go with it.
    shard_bytes: most of a file, unless one tensor is larger.
  """
  with records.writing(directory):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONFIG).unlink(missing_ok=True)
    for path in [*directory.glob('model*.safetensors'), directory / INDEX]:
      path.unlink(missing_ok=True)
  prefix = opt_tensors.PREFIXES[0]
  tensors = opt_tensors.tensors(sizes, params)
  named = {prefix + name: array for name, array in tensors.items()}
  shards = list(_shards(named, shard_bytes))
  weight_map: dict[str, str] = {}
  for number, shard in enumerate(shards, 1):
    name = SINGLE
    if len(shards) > 1:
      name = f'model-{number:05}-of-{len(shards):05}.safetensors'
    weight_map |= dict.fromkeys(shard, name)
    records.write_whole(directory / name, save(shard, {'format': 'pt'}))
  if len(shards) > 1:
    total = {'total_size': sum(array.nbytes for array in named.values())}
    index = {'metadata': total, 'weight_map': weight_map}
    records.write_json(directory / INDEX, index)
  if tokenizer is not None:
    _copied(tokenizer, directory)
  # The last one: where it is, the others are.
  records.write_json(directory / CONFIG, configuration(sizes, config or {}))


def _files(directory: pathlib.Path) -> dict[str, pathlib.Path]:
  """Where each tensor is."""
  index = directory / INDEX
  if not index.exists():
    path = directory / SINGLE
    if path.exists():
      return dict.fromkeys(_opened(path).keys(), path)
    if list(directory.glob('pytorch_model*.bin')):
      raise InputError(
        f'{directory}: its weights are pickled, which is never read: '
        f'{_CONVERT.format(directory)}'
      )
    raise InputError(f'{directory}: neither {SINGLE} nor {INDEX} is there')
  weight_map = files.json_object(index).get('weight_map')
  if not isinstance(weight_map, dict) or not all(
    isinstance(name, str) and pathlib.PurePath(name).name == name not in ('', '..')
    for name in weight_map.values()
  ):
    raise InputError(f'{index}: expected a weight_map of file names')
  found: dict[str, pathlib.Path] = {}
  for name in sorted(set(weight_map.values())):
    path = directory / name
    found |= dict.fromkeys(_opened(path).keys(), path)
  for tensor, name in weight_map.items():
    if found.get(tensor) != directory / name:
      raise InputError(f'{directory / name}: no tensor {tensor}, as {INDEX} says')
  return found


def _prefix(where: Mapping[str, Any], directory: pathlib.Path) -> str:
  for prefix in opt_tensors.PREFIXES:
    if prefix + opt_tensors.TABLE in where:
      return prefix
  expected = opt_tensors.PREFIXES[0] + opt_tensors.TABLE
  raise InputError(f'{directory}: no tensor {expected}')


def _opened(path: pathlib.Path) -> Any:
  files.check(path)
  try:
    # numpy has no bfloat16 of its own; arrays of JAX do.
    return safe_open(path, framework='flax')
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror or error}') from error
  except SafetensorError as error:
    raise InputError(f'{path}: not safetensors, or damaged ({error})') from error


def _tensor(
  opened: Any, name: str, shape: tuple[int, ...], path: pathlib.Path
) -> np.ndarray:
  found = opened.get_slice(name)
  given, dtype = tuple(found.get_shape()), found.get_dtype()
  if given != shape:
    raise InputError(f'{path}: {name}: expected shape {shape}, got {given}')
  if dtype not in _DTYPES:
    raise InputError(f'{path}: {name}: expected one of {_DTYPES}, got {dtype}')
  return np.asarray(opened.get_tensor(name))


def _shards(
  tensors: Mapping[str, np.ndarray], most: int
) -> Iterator[dict[str, np.ndarray]]:
  shard: dict[str, np.ndarray] = {}
  size = 0
  for name, array in tensors.items():
    if shard and size + array.nbytes > most:
      yield shard
      shard, size = {}, 0
    shard[name] = array
    size += array.nbytes
  yield shard


def _copied(source: pathlib.Path, directory: pathlib.Path) -> None:
  if source.resolve() == directory.resolve():
    return
  with records.writing(directory):
    for name in TOKENIZER:
      if (source / name).exists():
        shutil.copyfile(source / name, directory / name)
