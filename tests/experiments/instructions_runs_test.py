"""What a run of instruction tuning learns, asks and writes, part by part."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import regularizers as reg
from experiments import (
  instruction_loading,
  instruction_results,
  instructions,
  opt_checkpoint,
)
from experiments.datasets.instructions import leakage
from experiments.datasets.instructions.collection import (
  Collection,
  Example,
  InstructionTask,
)
from experiments.datasets.instructions.splits import HeldOut, split
from experiments.datasets.instructions.tokens import Bytes
from experiments.instruction_answers import Answer, Answering
from experiments.instruction_data import Instructions, Options
from experiments.instruction_task import instructions as task_of
from experiments.models import opt
from experiments.models.opt_layers import Sizes

SIZES = Sizes(Bytes.size, 64, 16, layers=1, heads=2, ffn=32)


@pytest.fixture
def data() -> Instructions:
  long = Example('long', 'ask', ('x' * 99,))
  examples = tuple(Example(str(i), f'ask {i}' * (i % 3 + 1), ('y',)) for i in range(32))
  task = InstructionTask('t', 'own', 'c', ('Do it.', 'Go on.'), (*examples, long))
  own = Collection((task,))
  levels = split(own, HeldOut((), ()), seed=0, evaluated=4)
  return Instructions('own', own, levels, Bytes(), Options(64, 2), {'own/t': 1.0})


def texts(encoded) -> list[str]:
  return [Bytes().decode(own.ids.tolist()) for own in encoded]


def test_evaluation_is_of_its_split_with_the_first_instruction(data):
  task = data.collection.by_id['own/t']
  sides = {'validation': data.levels.validation, 'test': data.levels.test['instances']}
  for name, rows in sides.items():
    expected = [
      task.examples[i] for i in rows['own/t'] if task.examples[i].name != 'long'
    ]
    found = texts(data.evaluation(name))
    assert found == [f'Do it.\n{e.input}\nAnswer: y' for e in expected]


def test_training_has_all_instructions_drops_what_is_long_and_mixes_lengths(data):
  stream = data.stream(0)
  rows = stream.window(0)
  found = texts(own for row in rows for own in row.examples)
  starts = {text.split('\n')[0] for text in found}
  assert starts == {'Do it.', 'Go on.'}
  held = (*data.levels.validation['own/t'], *data.levels.test['instances']['own/t'])
  assert (stream.dropped > 0) == (32 not in held)
  first = [len(row.examples[0].ids) for row in rows]
  assert first != sorted(first, reverse=True)


def test_the_loss_leaves_out_padding_and_is_a_mean(data):
  def module(rngs: nnx.Rngs) -> opt.OPT:
    return opt.OPT(SIZES, rngs=rngs)

  task = task_of(module, {0: data}, Bytes.padding)
  batch = data.stream(0).batch(0)
  hidden = jax.random.normal(jax.random.key(0), (2, 64, 16))
  kernel = jax.random.normal(jax.random.key(1), (16, Bytes.size))
  found = []
  for own in (kernel, kernel.at[:, Bytes.padding].set(9.0)):
    value, sums = task.objective(
      *(reg.cross_entropy, (hidden, own), batch),
      step=jnp.int32(0),
      key=jax.random.key(0),
    )
    np.testing.assert_allclose(sums['loss'][0] / sums['loss'][1], value, rtol=1e-6)
    assert sums['loss'][1] == batch['mask'].sum()
    found.append(value)
  np.testing.assert_allclose(*found, rtol=1e-6)


def test_demonstrations_differ_and_stand_between_the_separators(data):
  own = Answering(None, Bytes(), 64, 6, separator='@@')
  asked = list(own._asked(data.collection, data.levels.test['instances'], 2, 0))
  shown = [tuple(t for t, _ in a.made().parts[1:-2]) for a in asked]
  assert len({*shown}) > 1
  assert all(a.made().source.count('@@') == 3 for a in asked)


def test_as_many_demonstrations_as_the_row_says(data):
  asked = []

  def answers(params, collection, rows, shots):
    asked.append(shots)
    return [Answer('own/t', '0', '', 0.0, 0.0, 0.0)]

  answering = types.SimpleNamespace(
    answers=answers, rule='sum', longest=6, separator='\n'
  )
  row, _ = instruction_results.scored(answering, data, None, 'test', (0, 3), 'exact')
  assert asked == [0, 3] and {'instances_0', 'instances_3'} <= {*row}


def test_options_are_right_or_wrong_and_free_answers_have_parts():
  options = Answer('a', '0', 'x', 0.0, 40.0, 50.0)
  free = Answer('b', '0', 'x', 0.0, 40.0, 0.0)
  assert instruction_results._by_task([options, free], 'rouge')[0] == {
    'a': [0.0],
    'b': [40.0],
  }
  assert instruction_results._by_task([free], 'exact')[0] == {'b': [0.0]}


def test_every_seed_is_scored_and_exported_by_its_own_weights(
  tmp_path, monkeypatch, data
):
  job = types.SimpleNamespace(
    **{'task': None, 'losses': (), 'points': [{}, {}], 'seeds': (0, 1)},
    **{'directory': tmp_path, 'num_steps': 1},
  )
  own = []
  for module in (instruction_results, instructions):
    monkeypatch.setattr(module, 'weights_of', lambda state, index: (index, None))
  monkeypatch.setattr(instruction_results, 'stack', lambda losses: losses)
  rows = [{'seed': 0}, {'seed': 1}]
  monkeypatch.setattr(instruction_results, 'evaluate', lambda *given: rows)
  monkeypatch.setattr(
    instruction_results,
    'scored',
    lambda answering, data, params, *given: (own.append(params) or {}, []),
  )
  both = {0: data, 1: data}
  instruction_results.final(None, both, job, None, 'test', (0,), 'exact')
  assert own == [0, 1]
  written = []
  monkeypatch.setattr(
    opt_checkpoint, 'write', lambda path, sizes, params, **more: written.append(params)
  )
  instructions._exported(instructions.Config(size='tiny'), job, None)
  assert written == [0, 1]


def test_a_checkpoint_is_what_tuning_starts_from_and_what_is_untuned(tmp_path):
  model = opt.OPT(SIZES, rngs=nnx.Rngs(0))
  params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
  opt_checkpoint.write(tmp_path / 'opt', SIZES, params)
  config = instructions.Config(
    checkpoint=str(tmp_path / 'opt'), workdir='x', num_steps=9, learning_rate=0.1
  )
  jax.tree.map(np.testing.assert_array_equal, instructions._start(config), params)
  base = instructions.base_study(instructions.filled(config)).config
  assert (base.num_steps, base.learning_rate) == (1, 1e-30)


def test_no_cap_and_what_is_told_of_leakage(tmp_path, monkeypatch, data):
  counts = {'b': {'x': 10, 'y': 9990}}
  monkeypatch.setattr(instruction_loading, '_by_benchmark', lambda counted: counts)
  config = instructions.Config(cap=0, text_share=0.0)
  own = instruction_loading._shares(config, data.collection, data.levels, ())
  assert own == pytest.approx({'x': 0.001, 'y': 0.999})
  pairs = [leakage.Shared('t', 'e', share, ('web',)) for share in (0.01, 0.5)]
  monkeypatch.setattr(leakage, 'shared', lambda collection, levels: pairs)
  found = instruction_loading._leakage(data.collection, data.levels)
  assert found == {'shared_origins': ['web'], 'shared_words': ['e 50.0% in t']}
