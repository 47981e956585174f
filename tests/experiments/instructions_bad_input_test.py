"""Bad input to instruction tuning: one clear line each, before anything is trained."""

import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import save_file

from experiments import instructions
from experiments.datasets.instructions import promptsource
from experiments.errors import InputError
from experiments.models import opt_tensors
from experiments.models.opt_layers import Sizes
from experiments.opt_config import configuration

SIZES = Sizes(8, 40, 8, layers=1, heads=2, ffn=8)
FC1 = 'model.decoder.layers.0.fc1.weight'
Tensors = dict[str, np.ndarray]


def task(**changes) -> str:
  own = {'Definition': 'Say it.', 'Categories': ['one']}
  own['Instances'] = [{'input': f'{i}', 'output': [f'{i}']} for i in range(9)]
  return json.dumps({**own, **changes})


def tasks(directory: pathlib.Path, **files: str) -> None:
  """Two good ones, and others; two underscores in a name stand for its dot."""
  both = {'good__json': task(), 'other__json': task(Categories=['two'])}
  for name, text in {**both, **files}.items():
    (directory / name.replace('__', '.')).write_text(text)


def templates(jinja: str) -> dict[str, str]:
  one = json.dumps({'name': 'n', 'jinja': jinja, 'answer_choices': None})
  return {
    'templates__yaml': f'dataset: d\ntemplates: {{i: !Template {one}}}\n',
    'rows__jsonl': '{"x": "a"}\n',
  }


LOOP = '{% for i in range(99999) %}' * 2 + '{% endfor %}' * 2

TASKS: dict[str, tuple[dict[str, str], str]] = {
  'broken JSON': ({'bad__json': '{"Definition": '}, 'bad.json: not JSON'),
  'empty JSON': ({'bad__json': ''}, 'bad.json: an empty file'),
  'a wrong schema': ({'bad__json': '{"a": 1}'}, 'expected an object with Definition'),
  'no instances': ({'bad__json': task(Instances=[])}, 'task bad: no Instances'),
  'an empty output': (
    {'bad__json': task(Instances=[{'input': 'a', 'output': ['']}])},
    'task bad: instance 0: expected an output that is not empty',
  ),
  'broken JSON lines': ({'bad__jsonl': '{'}, 'bad.jsonl:1: task bad: not JSON'),
  'a template that raises': (
    templates('{{ 1 // 0 }} ||| a'),
    "template 'n': {}/rows.jsonl:1: task d: ZeroDivisionError",
  ),
  'a template that loops': (
    templates(f'{LOOP} ||| a'),
    "template 'n': {}/rows.jsonl:1: task d: it takes longer than",
  ),
}


@pytest.mark.parametrize('case', TASKS)
def test_bad_tasks(tmp_path: pathlib.Path, monkeypatch, case: str):
  monkeypatch.setitem(promptsource.read.__kwdefaults__, 'seconds', 0.5)
  files, message = TASKS[case]
  tasks(tmp_path, **files)
  fails(tmp_path, message.replace('{}', str(tmp_path)), data_dir=str(tmp_path))


def test_a_share_of_an_unknown_benchmark(tmp_path: pathlib.Path):
  tasks(tmp_path)
  message = f'--shares: no benchmark flan; there are {tmp_path.name}'
  held = {'held_out_categories': 1, 'held_out_tasks': 0}
  fails(tmp_path, message, data_dir=str(tmp_path), shares=('flan:1',), **held)


def test_rows_that_the_network_does_not_read(tmp_path: pathlib.Path):
  tasks(tmp_path)
  held = {'held_out_categories': 1, 'held_out_tasks': 0}
  message = '--length: expected up to 1024, what the network reads, got 1025'
  fails(tmp_path, message, data_dir=str(tmp_path), length=1025, **held)


def lost(found: Tensors) -> None:
  del found[FC1]


def more(found: Tensors) -> None:
  found['score.weight'] = np.ones(3, np.float32)


def turned(found: Tensors) -> None:
  found[FC1] = np.zeros((3, 8), np.float32)


CHECKPOINTS: dict[str, tuple[Callable[[Tensors], None], str]] = {
  'a missing tensor': (lost, f'no tensor {FC1}'),
  'an extra tensor': (more, 'score.weight is no tensor of an OPT'),
  'another shape': (turned, f'{FC1}: expected shape (8, 8), got (3, 8)'),
  'another tokenizer': (lambda found: None, 'the tokenizer has 9 ids, the network 8'),
}


@pytest.mark.parametrize('case', CHECKPOINTS)
def test_bad_checkpoints(tmp_path: pathlib.Path, case: str):
  change, message = CHECKPOINTS[case]
  directory = tmp_path / 'opt'
  directory.mkdir()
  found = {
    f'model.decoder.{name}': np.zeros(shape, np.float32)
    for name, shape in opt_tensors.shapes(SIZES).items()
  }
  change(found)
  save_file(found, directory / 'model.safetensors')
  (directory / 'config.json').write_text(json.dumps(configuration(SIZES, {})))
  words = {'<pad>': 0} | {f'w{i}': i for i in range(1, 9)}
  tokenizer = {
    'version': '1.0',
    'model': {'type': 'WordLevel', 'vocab': words, 'unk_token': '<pad>'},
  }
  (directory / 'tokenizer.json').write_text(json.dumps(tokenizer))
  tasks(tmp_path)
  fails(tmp_path, message, data_dir=str(tmp_path), checkpoint=str(directory))


def fails(tmp_path: pathlib.Path, message: str, **given) -> None:
  workdir = tmp_path / 'run'
  with pytest.raises(InputError) as caught:
    instructions.run(instructions.Config(workdir=str(workdir), **given))
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)
  assert not workdir.exists()
