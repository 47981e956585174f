"""Bad collections of tasks, templates, and checkpoints of OPT with their tokenizers."""

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np
from safetensors.numpy import save_file

from experiments import opt_checkpoint
from experiments.datasets.instructions import read, splits
from experiments.datasets.instructions.collection import Collection
from experiments.datasets.instructions.tokens import Pieces
from experiments.errors import InputError
from experiments.models import opt_tensors
from experiments.models.opt_layers import Sizes
from experiments.opt_config import configuration

Case = tuple[Callable[[pathlib.Path], object], type[Exception], str]
DEEP = '[' * 100_000 + ']' * 100_000
NESTED = '[' * 900 + ']' * 900  # which Python reads, but may not write
HALF = '"\\ud800"'


def tasks(files: dict[str, str], message: str) -> Case:
  """Of a benchmark with these files."""

  def run(directory: pathlib.Path) -> object:
    for name, content in files.items():
      path = pathlib.Path(os.fsdecode(os.fsencode(directory) + b'/b/')) / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(content)
    return read.read(directory)

  return run, InputError, message


def natural(**changes: str) -> str:
  """A task of Super-NaturalInstructions; of JSON as it is given."""
  own = {'Definition': '"Say it."', 'Categories': '["one"]'}
  own['Instances'] = '[{"input": "a", "output": ["b"]}]'
  own |= changes
  return '{' + ', '.join(f'"{name}": {text}' for name, text in own.items()) + '}'


def yaml(own: str, message: str, **others: str) -> Case:
  """Of PromptSource."""
  rows = {'rows.jsonl': '{"x": "a"}\n'}
  files = {'templates.yaml': own, **rows, **others}
  return tasks({f'p/{name}': text for name, text in files.items()}, message)


def template(jinja: str, message: str, row: str = '{"x": "a"}') -> Case:
  one = json.dumps({'name': 'n', 'jinja': jinja})
  own = f'dataset: d\ntemplates: {{i: !Template {one}}}\n'
  return yaml(own, message, **{'rows.jsonl': row})


GOOD = json.dumps({'src': 'a', 'tgt': 'b'})
COT = 'a\tb\tc\n'
LAUGHS = 'a0: &a0 [ha]\n' + ''.join(
  f'a{i + 1}: &a{i + 1} [{", ".join([f"*a{i}"] * 10)}]\n' for i in range(12)
)
MERGED = 'a0: &a0 {x: 1}\n' + ''.join(
  f'a{i + 1}: &a{i + 1} {{<<: [{", ".join([f"*a{i}"] * 10)}]}}\n' for i in range(12)
)

TASKS = {
  'natural, deep JSON': tasks({'t.json': DEEP}, 't.json: not JSON'),
  'natural, a deep field': tasks({'t.json': natural(x=NESTED)}, 't.json: not JSON'),
  'natural, an empty file': tasks({'t.json': ''}, 't.json: an empty file'),
  'natural, another schema': tasks({'t.json': '{"a": 1}'}, 'expected an object with'),
  'natural, no text': tasks(
    {'t.json': natural(Definition=HALF)}, 't.json: not JSON .*half of a pair'
  ),
  'natural, a number of many digits': tasks(
    {'t.json': natural(Instances='9' * 5000)}, 't.json: not JSON'
  ),
  'natural, an empty answer': tasks(
    {'t.json': natural(Instances='[{"input": "a", "output": [""]}]')},
    'task t: instance 0: expected an output that is not empty',
  ),
  'lines, deep JSON': tasks({'t.jsonl': DEEP}, 't.jsonl:1: task t: not JSON'),
  'lines, no text': tasks(
    {'t.jsonl': f'{{"src": {HALF}, "tgt": "a"}}'}, 't.jsonl:1: .*half of a pair'
  ),
  'lines, a deep cell': tasks(
    {'t.jsonl': f'{{"struct_in": [[{NESTED}]], "seq_out": "a"}}'}, 't.jsonl:1: '
  ),
  'lines, a name that is a split alone': tasks({'_train.jsonl': '{}'}, '_train'),
  'a name that is not UTF-8': tasks(
    {'t\udcff.tsv': COT}, r'expected a name in UTF-8, found .*t\\udcff'
  ),
  'categories, deep JSON': tasks(
    {'t.jsonl': GOOD, 'categories.json': DEEP}, 'categories.json: not JSON'
  ),
  'flan, an unhashable template': tasks(
    {'t.tsv': COT, 'templates.py': 'PATTERNS = {[]: 1}'}, 'no templates can be read'
  ),
  'flan, deep templates': tasks(
    {'t.tsv': COT, 'templates.py': f'PATTERNS = {DEEP}'}, 'no templates can be read'
  ),
  'flan, a program': tasks(
    {'t.tsv': COT, 'templates.py': 'PATTERNS = __import__("os").getcwd()'},
    'no templates can be read',
  ),
  'yaml, entities of entities': yaml(
    f'{LAUGHS}dataset: *a12\ntemplates: {{}}\n', 'dataset: expected a text'
  ),
  'yaml, merged keys': yaml(f'{MERGED}dataset: d\ntemplates: {{}}\n', 'not YAML'),
  'yaml, a template that is a text': yaml(
    'dataset: d\ntemplates: {i: !Template x}\n', 'not YAML'
  ),
  'yaml, no such date': yaml('dataset: d\ntemplates: {i: 2001-99-99}\n', 'not YAML'),
  'yaml, an object of Python': yaml(
    'dataset: !!python/object/apply:os.getcwd []\ntemplates: {}\n', 'not YAML'
  ),
  'yaml, deep': yaml('[' * 100_000, 'not YAML'),
  'yaml, no text': yaml('dataset: "\\uD800"\ntemplates: {}\n', 'not YAML'),
  'template, a file': template(
    '{% include "/etc/passwd" %} ||| a', 'no loader for this environment'
  ),
  'template, the inside of Python': template(
    '{{ x.__class__.__mro__ }} ||| a', 'SecurityError'
  ),
  'template, more memory than there is': template(
    '{{ "a" * 10 ** 10 }} ||| a', 'MemoryError|OverflowError'
  ),
  'template, a deep row': template(
    '{{ x }} ||| a', 'rows.jsonl:1: ', f'{{"x": {NESTED}}}'
  ),
  'held out, deep JSON': (
    lambda directory: splits.read(_written(directory / 'h', DEEP), Collection(())),
    InputError,
    'h: expected {"categories"',
  ),
}


def _written(path: pathlib.Path, text: str) -> pathlib.Path:
  path.write_text(text)
  return path


SIZES = Sizes(8, 40, 8, layers=1, heads=2, ffn=8)
WEIGHTS = 'model.safetensors'
INDEX = f'{WEIGHTS}.index.json'


def checkpoint(directory: pathlib.Path) -> None:
  """A good one."""
  tensors = {
    f'model.decoder.{name}': np.zeros(shape, np.float32)
    for name, shape in opt_tensors.shapes(SIZES).items()
  }
  save_file(tensors, directory / WEIGHTS)
  (directory / 'config.json').write_text(json.dumps(configuration(SIZES, {})))
  (directory / 'tokenizer.json').write_text(TOKENIZER)


TOKENIZER = json.dumps(
  {
    'version': '1.0',
    'model': {'type': 'WordLevel', 'vocab': {'a': 0, 'b': 1}, 'unk_token': 'a'},
  }
)


VOCABULARY = json.dumps({'a': 0, 'b': 1, 'ab': 2})


def opt(change: Callable[[pathlib.Path], object], message: str) -> Case:
  """Of a checkpoint that was changed, and then of its tokenizer."""

  def run(directory: pathlib.Path) -> object:
    checkpoint(directory)
    change(directory)
    return opt_checkpoint.read(directory), Pieces(directory, SIZES.vocabulary)

  return run, InputError, message


def config(**changes: object) -> Callable[[pathlib.Path], object]:
  def change(directory: pathlib.Path) -> None:
    path = directory / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))

  return change


def text_of(name: str, text: str) -> Callable[[pathlib.Path], object]:
  return lambda directory: _written(directory / name, text)


def header(length: int, text: bytes = b'') -> Callable[[pathlib.Path], object]:
  content = length.to_bytes(8, 'little') + text
  return lambda directory: (directory / WEIGHTS).write_bytes(content)


def shard(name: str) -> Callable[[pathlib.Path], object]:
  return text_of(INDEX, json.dumps({'weight_map': {'model.a': name}}))


def _fifo(directory: pathlib.Path, name: str) -> None:
  (directory / name).unlink()
  os.mkfifo(directory / name)


def pieces(directory: pathlib.Path, merges: bytes) -> None:
  """The tokenizer in its older form."""
  (directory / 'tokenizer.json').unlink()
  (directory / 'vocab.json').write_text(VOCABULARY)
  (directory / 'merges.txt').write_bytes(merges)


HUGE = json.dumps(
  {'a': {'dtype': 'F32', 'shape': [1 << 40], 'data_offsets': [0, 1 << 42]}}
).encode()

CHECKPOINTS = {
  'opt, a billion layers': opt(
    config(num_hidden_layers=10**9), 'too few for 1000000000 layers'
  ),
  'opt, a billion units': opt(config(hidden_size=10**9), 'no tensor .*project_in'),
  'opt, deep JSON': opt(text_of('config.json', DEEP), 'config.json: not JSON'),
  'opt, a header of more than the file': opt(header(1 << 62), 'not safetensors'),
  'opt, a tensor of more than the file': opt(
    header(len(HUGE), HUGE), 'not safetensors'
  ),
  'opt, deep JSON in the header': opt(
    header(2 * 10**5, DEEP.encode()), 'not safetensors'
  ),
  'opt, a pipe': opt(
    lambda directory: _fifo(directory, WEIGHTS),
    f'cannot read .*{WEIGHTS}: not a regular file',
  ),
  'opt, a shard above': opt(shard('..'), 'expected a weight_map of file names'),
  'opt, a shard elsewhere': opt(shard('/etc/passwd'), 'expected a weight_map of file'),
  'opt, a shard below': opt(shard('a/b'), 'expected a weight_map of file names'),
  'opt, a shard without a name': opt(shard(''), 'expected a weight_map of file names'),
  'opt, a shard of no name of a file': opt(shard('a\0b'), 'null byte'),
  'opt, a shard of a long name': opt(shard('a' * 5000), 'cannot read .*aaa'),
  'opt, a deep index': opt(text_of(INDEX, DEEP), f'{INDEX}: not JSON'),
  'tokenizer, deep JSON': opt(text_of('tokenizer.json', DEEP), 'not a tokenizer'),
  'tokenizer, another kind': opt(
    text_of('tokenizer.json', '{"model": {"type": "x"}}'), 'not a tokenizer'
  ),
  'tokenizer, an id that is none': opt(
    config(pad_token_id=8), 'pad_token_id: expected an id below 8, got 8'
  ),
  'tokenizer, ids with gaps': opt(
    text_of('tokenizer.json', TOKENIZER.replace('"b": 1', '"b": 99')),
    'the tokenizer has 100 ids, the network 8',
  ),
  'tokenizer, nothing for what is unknown': (
    lambda directory: _unknown(directory).encode('c'),
    InputError,
    'not a tokenizer .*UNK',
  ),
  'tokenizer, a pipe': opt(
    lambda directory: _fifo(directory, 'tokenizer.json'),
    'cannot read .*tokenizer.json: not a regular file',
  ),
  'tokenizer, a piece that is none': opt(
    lambda directory: pieces(directory, b'a c\n'), 'not a tokenizer .*`c`'
  ),
  # The package panics.
  'tokenizer, a piece that is made of two and none': opt(
    lambda directory: (
      pieces(directory, b'a b\n'),
      _written(directory / 'vocab.json', '{"a": 0, "b": 1}'),
    ),
    'not a tokenizer .*range end index',
  ),
  'tokenizer, pieces in a pipe': opt(
    lambda directory: (pieces(directory, b''), _fifo(directory, 'merges.txt')),
    'cannot read .*merges.txt: not a regular file',
  ),
  'tokenizer, alone': (
    lambda directory: Pieces(_alone(directory, '['), 8),
    InputError,
    'not JSON',
  ),
  'tokenizer, no configuration': (
    lambda directory: Pieces(_alone(directory, '[]'), 8),
    InputError,
    'config.json: expected a JSON object',
  ),
}


def _unknown(directory: pathlib.Path) -> Pieces:
  _alone(directory, '{}')
  text = TOKENIZER.replace('"unk_token": "a"', '"unk_token": "none"')
  _written(directory / 'tokenizer.json', text)
  return Pieces(directory, 8)


def _alone(directory: pathlib.Path, text: str) -> pathlib.Path:
  _written(directory / 'tokenizer.json', TOKENIZER)
  _written(directory / 'config.json', text)
  return directory
