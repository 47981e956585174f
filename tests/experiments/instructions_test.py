"""The program of instruction tuning: its task, its answers, and its whole run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import regularizers as reg
from experiments import (
  config,
  instruction_loading,
  instruction_results,
  instructions,
  opt_checkpoint,
)
from experiments.datasets.instructions import prompts
from experiments.datasets.instructions.collection import (
  Collection,
  Example,
  InstructionTask,
)
from experiments.datasets.instructions.splits import HeldOut, split
from experiments.datasets.instructions.tokens import Bytes
from experiments.errors import InputError
from experiments.instruction_answers import Answering
from experiments.instruction_data import Instructions, Options
from experiments.instruction_task import instructions as task_of
from experiments.models import generation, opt
from experiments.models.opt_layers import Sizes
from experiments.scores import instructions as scores

SIZES = Sizes(Bytes.size, 128, 16, layers=1, heads=2, ffn=32)
LOSS = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.2))(
  reg.cross_entropy
)


def module(rngs: nnx.Rngs) -> opt.OPT:
  return opt.OPT(SIZES, init_std=0.3, rngs=rngs)


@pytest.fixture(scope='module')
def data() -> Instructions:
  examples = tuple(Example(str(i), f'ask {i}', (f'{i}' * 3,)) for i in range(32))
  words = ('no',), ('yes',)
  labelled = tuple(Example(str(i), f'is {i}', words[i % 2]) for i in range(32))
  tasks = (
    InstructionTask('copy', 'own', 'c', ('Copy it.',), examples),
    InstructionTask('even', 'own', 'c', ('Is it odd?',), labelled),
  )
  own = Collection(tasks)
  levels = split(own, HeldOut((), ('own/even',)), seed=0, evaluated=4)
  return Instructions('own', own, levels, Bytes(), Options(64, 2), {'own/copy': 1.0})


@pytest.fixture(scope='module')
def answering(data):
  params, _ = task_of(module, {0: data}, Bytes.padding).init(jax.random.key(1))
  return Answering(opt.graph(SIZES), Bytes(), 128, 6), params


def test_a_packed_batch_is_its_examples_one_at_a_time(data):
  """Losses and gradients, with the regularizers, on the fused form."""
  task = task_of(module, {0: data}, Bytes.padding)
  params, rest = task.init(jax.random.key(0))
  packed = data.stream(0).batch(0)

  def summed(params, batch):
    outputs, _ = task.apply(params, rest, batch, None)
    value, statistics = task.objective(
      LOSS, outputs, batch, step=jnp.int32(0), key=jax.random.key(0)
    )
    return value * statistics['nll'][1], statistics['nll']

  run = jax.jit(jax.value_and_grad(summed, has_aux=True))
  (value, nll), gradient = run(params, packed)
  total, parts, sums = 0.0, None, np.zeros(2)
  for row in range(2):
    for segment in range(1, packed['segment'][row].max() + 1):
      (own, own_nll), own_gradient = run(params, _alone(packed, row, segment))
      total += own
      sums += np.array(own_nll)
      parts = jax.tree.map(jnp.add, parts, own_gradient) if parts else own_gradient
  np.testing.assert_allclose(total, value, rtol=1e-5)
  np.testing.assert_allclose(sums, np.array(nll), rtol=1e-5)
  scale = optax.tree.norm(gradient)
  jax.tree.map(
    lambda own, expected: np.testing.assert_allclose(own, expected, atol=2e-6 * scale),
    parts,
    gradient,
  )


def _alone(batch, row: int, segment: int):
  """One example at the start of the first row."""
  place = batch['segment'][row] == segment
  found = {name: np.zeros_like(array) for name, array in batch.items()}
  for name, array in batch.items():
    found[name][0, : place.sum()] = array[row][place]
  found['segment'][0, : place.sum()] = 1
  return found


@pytest.mark.parametrize('shots', [0, 1])
def test_answers_do_not_depend_on_their_neighbours(answering, data, shots):
  """Nor does the choice of an option, nor on how prompts are padded."""
  model, params = answering
  rows = {**data.levels.test['instances'], **data.levels.test['tasks']}
  together = model.answers(params, data.collection, rows, shots)
  alone = [
    answer
    for name, places in rows.items()
    for place in places
    for answer in model.answers(params, data.collection, {name: (place,)}, shots)
  ]
  assert together == alone
  chosen = {answer.text for answer in together if answer.task == 'own/even'}
  assert chosen <= {'yes', 'no'}


def test_writing_reads_what_ranking_reads(answering, data):
  """Up to the last of as many ids as there is room for."""

  class Reading(Answering):
    _write = None

  model, params = answering
  for positions in (128, 30, 7):
    read = []

    def write(params, ids, mask, read=read):
      read += [row[own].tolist() for row, own in zip(ids, mask, strict=True)]
      return generation.Written(ids[:, :0], np.zeros(len(ids), int), None)

    Reading._write = property(lambda self, write=write: write)
    own = Reading(model.graph, Bytes(), positions, 6)
    own.answers(params, data.collection, {'own/copy': (3,)}, 2)
    asked = next(own._asked(data.collection, {'own/copy': (3,)}, 2, 0))
    expected = prompts.encoded(asked.made(), Bytes(), 999)
    before = expected.ids[: -expected.counted.sum()].tolist()
    assert read[0] == before[-(positions - 6) :]


def test_an_option_may_be_empty_or_longer_than_what_is_read(answering):
  model, params = answering
  options = '', 'yes', 'x' * 200
  examples = (Example('1', 'is it?', ('yes',), options),)
  own = Collection((InstructionTask('t', 'own', 'c', (), examples),))
  for rule in scores.RULES:
    ranking = dataclasses.replace(model, rule=rule)
    (answer,) = ranking.answers(params, own, {'own/t': (0,)}, 0)
    assert answer.text in ('', 'yes')


def test_tasks_of_too_few_examples_for_all_sides(answering, data):
  model, params = answering
  task = data.collection.by_id['own/copy']
  few = dataclasses.replace(task, name='few', examples=task.examples[:3])
  own = Collection((few,))
  levels = split(own, HeldOut((), ()), seed=0, evaluated=4)
  options = Options(64, 2)
  alone = Instructions('own', own, levels, Bytes(), options, {'own/few': 1.0})
  with pytest.raises(InputError, match='validation: no example: expected tasks of 4'):
    assert alone.splits
  test = {**data.levels.test, 'instances': levels.test['instances']}
  more = dataclasses.replace(
    data,
    collection=Collection((*data.collection.tasks, few)),
    levels=dataclasses.replace(data.levels, test=test),
  )
  row, _ = instruction_results.scored(model, more, params, 'test', (0,), 'exact')
  assert row['score'] == row['tasks_0'] and 'instances_0' not in row


def test_how_probable_an_answer_is(answering, data):
  """In any order and any batch, and as the network says of it alone, unpadded."""
  model, params = answering
  task = data.collection.by_id['own/copy']
  made = [prompts.prompt(example, instruction='I') for example in task.examples]
  found = model._log_probs(params, made)
  np.testing.assert_allclose(model._log_probs(params, made[::-1])[::-1], found, 1e-5)
  np.testing.assert_allclose(model._log_probs(params, made[:1]), found[:1], 1e-5)
  encoded = prompts.encoded(made[0], Bytes(), 99)
  network = nnx.merge(model.graph, params, copy=True)
  ids, labels = encoded.ids[None, :-1], encoded.ids[1:]
  places = np.arange(len(labels))
  hidden = network(ids, np.ones_like(ids), places[None], deterministic=True)
  logits = np.array(network.logits(hidden)[0], np.float64)
  logits[:, Bytes.padding] = -np.inf
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  expected = log_p[places, labels][encoded.counted[1:]].sum()
  np.testing.assert_allclose(found[0], expected, 1e-5)


def test_pointwise_information_is_against_the_bare_answer(answering, data, monkeypatch):
  """Options of one probability without the prompt are ranked as their sums are."""
  model, params = answering
  asked = []

  def log_probs(self, params, made):
    asked.append([own.source for own in made])
    return [float(own.target == ' yes') for own in made]

  monkeypatch.setattr(Answering, '_log_probs', log_probs)
  own = dataclasses.replace(model, rule='pmi')
  found = own.answers(params, data.collection, {'own/even': (0, 1)}, 0)
  assert [answer.text for answer in found] == ['no', 'no']  # all equal: the first
  assert asked[1] == ['Answer:'] * 4
  assert asked[0][0].endswith('is 0\nAnswer:')


def run(tmp_path, **more):
  options = {
    'workdir': str(tmp_path / 'run'),
    'cache_dir': str(tmp_path / 'cache'),
    'size': 'tiny',
    'num_steps': 4,
    'text_steps': 2,
    'rows': 1,
    'length': 128,
    'answer': 4,
    'evaluated': 1,
    'shots': (0,),
    'arms': ('baseline', 'label_smoothing'),
    **more,
  }
  return instructions.run(instructions.Config(**options))


@pytest.mark.slow
def test_the_whole_program(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(instruction_loading, 'EXAMPLES', 12)
  options = {'export': True, 'streams': ('dialogue:0.1',), 'demonstrations': 2.0}
  workdir = run(tmp_path, **options)
  table = (workdir / 'levels.md').read_text()
  for name in ('untuned', 'baseline', 'label_smoothing', 'chance'):
    assert f'| {name} ' in table
  assert table in capsys.readouterr().out
  for picture in ('levels.png', 'validation.png', 'table.png'):
    assert (workdir / picture).stat().st_size > 1000
  lines = (workdir / 'baseline' / 'predictions.jsonl').read_text().splitlines()
  first = json.loads(lines[0])
  assert {'Task', 'Instance', 'prediction', 'level', 'shots'} <= {*first}
  mixture = [
    json.loads(line)
    for line in (workdir / 'baseline' / 'mixture.jsonl').read_text().splitlines()
  ]
  assert sum(row['rate'] for row in mixture) == pytest.approx(1)
  assert sum(row['drawn'] for row in mixture) > 0
  assert {'dialogue/visits', 'text'} <= {row['task'] for row in mixture}
  assert '| categories, 0, sorting |' in (workdir / 'categories.md').read_text()
  assert 'generated: 59 tasks' in (workdir / 'tasks.txt').read_text()
  exported = opt_checkpoint.read(workdir / 'label_smoothing' / 'opt' / '0')
  assert exported.sizes.vocabulary == Bytes.size
  assert exported.config['eos_token_id'] == Bytes.end
  before = (workdir / 'baseline' / 'record.jsonl').read_bytes()
  run(tmp_path, **options)
  assert (workdir / 'baseline' / 'record.jsonl').read_bytes() == before


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({'dataset': 'natural'}, '--data_dir'),
    ({'data_dir': 'x', 'dataset': 'generated'}, '--data_dir'),
    ({'batch_size': 3}, '--rows'),
    ({'num_epochs': 3}, '--num_steps'),
    ({'select': True, 'select_epochs': 2}, '--select_epochs: tasks are drawn'),
    ({'answer': 300}, '--answer'),
    ({'shares': ('a',)}, '--shares'),
    ({'arms': ('batch_norm',)}, 'batch_norm'),
    ({'data_dir': '/nowhere'}, '/nowhere'),
    ({'checkpoint': '/nowhere'}, '/nowhere'),
    ({'held_out': '/nowhere'}, '/nowhere'),
    ({'shares': ('other:1',)}, 'no benchmark other'),
    ({'shares': ('a:1', 'a:2')}, '--shares: a is there twice'),
    ({'streams': ('no:0.1',)}, '--streams: no no in'),
    ({'streams': ('reasoning:0.96',)}, '--streams: expected less than 1'),
    ({'streams_dir': 'x'}, '--streams_dir'),
    ({'streams': ('dialogue:-0.1',)}, '--streams: expected name:number, 0 or more'),
    ({'text_share': 1.0}, '--text_share: expected less than 1'),
    ({'temperature': 3.0}, '--temperature: applies to --mixture=temperature'),
    ({'shots': (0, 2, 0)}, '--shots: 0 is there twice'),
    ({'checkpoint': 'x', 'size': 'tiny'}, '--size: the network is that of --check'),
    ({'checkpoint': 'x', 'text_steps': 3}, '--text_steps: the network is that of'),
    ({'held_out_tasks': 1}, '--held_out_tasks: applies to --data_dir without'),
    ({'data_dir': 'x', 'held_out': 'y', 'held_out_categories': 1}, 'without --held'),
    ({'train_tasks': 46}, '--train_tasks: expected up to 45 that are there, got 46'),
    ({'train_categories': 11}, '--train_categories: expected up to 10'),
  ],
)
def test_bad_input(tmp_path, monkeypatch, given, message):
  monkeypatch.setattr(instruction_loading, 'EXAMPLES', 12)
  options = {'workdir': str(tmp_path / 'run'), 'cache_dir': str(tmp_path / 'cache')}
  with pytest.raises(InputError, match=message):
    instructions.run(instructions.Config(**{**options, **given}))


def test_a_text_that_fills_no_row(tmp_path, monkeypatch):
  monkeypatch.setattr(instruction_loading, 'EXAMPLES', 12)
  (tmp_path / 'short.txt').write_text('a' * 128)
  with pytest.raises(InputError, match='--text: expected more than 128 ids'):
    run(tmp_path, text=str(tmp_path / 'short.txt'))


def test_every_flag_has_help():
  for field in instructions.Config.__dataclass_fields__.values():
    assert field.metadata['help']
  assert issubclass(instructions.Config, config.Config)
