"""Flags to configurations, and what is wrong with them in one line."""

import dataclasses

import pytest
from absl import flags

from experiments import (
  arms,
  cifar10,
  codistillation,
  codistillation_batches,
  config,
  instruction_ablations,
  instructions,
  mnist,
  ptb,
  ptb_batch_norm,
  timit,
  wmt,
  wsj,
)
from experiments.errors import InputError

SPLITS = ('train', 'validation', 'test')


def parsed(*arguments: str) -> mnist.Config:
  values = flags.FlagValues()
  config._define(mnist.Config, values, config.by_flag(mnist.DEFAULTS, mnist.VALUES))
  values(['program', *arguments])
  return config._parsed(mnist.Config, values)


def test_without_flags_it_is_the_default_configuration():
  assert parsed() == mnist.Config()


@pytest.mark.parametrize(
  ('argument', 'expected'),
  [
    ('--workdir=runs/a', {'workdir': 'runs/a'}),
    ('--seeds=3', {'seeds': 3}),
    ('--learning_rate=1e-3', {'learning_rate': 1e-3}),
    ('--weight=0.5', {'weight': (0.5,)}),
    ('--epsilon=0.05, 0.1,0.2', {'epsilon': (0.05, 0.1, 0.2)}),
    (
      '--arms=baseline,dropout+label_smoothing',
      {'arms': ('baseline', 'dropout+label_smoothing')},
    ),
    ('--hidden=32,16', {'hidden': (32, 16)}),
    ('--novmap', {'vmap': False}),
    ('--vmap=false', {'vmap': False}),
    ('--select', {'select': True}),
  ],
)
def test_a_flag_is_a_field(argument, expected):
  assert parsed(argument) == dataclasses.replace(mnist.Config(), **expected)


@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('num_epochs', 'passes over the training data; default: 60 (digits), 20 (mnist)'),
    ('workdir', 'default: runs/digits (digits), runs/mnist (mnist)'),
    ('learning_rate', 'learning rate of the optimizer; default: 0.05'),
    ('alpha', 'default: 0.5 (generalized_entropy)'),
    ('weight', 'more than one: a grid; default: 1.0'),
    ('num_steps', 'training steps, in place of --num_epochs'),
  ],
)
def test_help_says_the_default(name, text):
  values = flags.FlagValues()
  config._define(mnist.Config, values, config.by_flag(mnist.DEFAULTS, mnist.VALUES))
  assert values[name].help.endswith(text)


PROGRAMS = {
  **{'mnist': mnist, 'cifar10': cifar10, 'wmt': wmt, 'timit': timit, 'wsj': wsj},
  **{'ptb': ptb, 'ptb_batch_norm': ptb_batch_norm, 'instructions': instructions},
  'codistillation': codistillation,
  'codistillation_batches': codistillation_batches,
  'instruction_ablations': instruction_ablations,
}
# Without a default: what is trained or read without them is said elsewhere.
OPTIONAL = {
  *('data_dir', 'manual_dir', 'checkpoint', 'held_out', 'decode', 'shares', 'streams'),
  *(f'{split}_{side}' for split in SPLITS for side in ('source', 'target')),
  *('num_epochs', 'num_steps', 'width'),
}
# The name is the same, what it takes is not.
OWN = {'dataset', 'model', 'size', 'hidden', 'batch_norm', 'exchange'}


def defined(program) -> flags.FlagValues:
  """Its flags, as its ``main`` defines them."""
  values, launch = flags.FlagValues(), config.launch
  config.launch = lambda own, run, defaults: config._define(own, values, defaults)
  try:
    program.main()
  finally:
    config.launch = launch
  return values


@pytest.mark.parametrize('name', PROGRAMS)
def test_help_tells_all_defaults(name):
  program = PROGRAMS[name]
  values = defined(program)
  for field in dataclasses.fields(program.Config):
    text, given = values[field.name].help, field.default not in (None, ())
    own = 'unused' in field.metadata or field.name in OPTIONAL
    assert text.count('default: ') == (not own and not given) or own, field.name


def test_a_flag_takes_the_same_in_all_programs():
  found: dict[str, dict[str, str]] = {}
  for name, program in PROGRAMS.items():
    takes = config.takes(program.Config)
    for field in dataclasses.fields(program.Config):
      if 'unused' not in field.metadata and field.name not in OWN:
        found.setdefault(field.name, {})[takes[field.name]] = name
  assert not [own for own in found.values() if len(own) > 1]
  assert found['loss'].keys() == {'str: one of dense, fused'}


@pytest.mark.parametrize(
  'argument',
  ['--seeds=many', '--weight=0.1,x', '--learning_rate=', '--vmap=2', '--beta=1'],
)
def test_what_cannot_be_parsed_is_an_error_of_the_flag_parser(argument):
  with pytest.raises(flags.Error, match=argument[2:].split('=')[0]):
    parsed(argument)


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    ('--seeds=abc', 'flag --seeds=abc: expected int'),
    ('--batch_size=1.5', 'flag --batch_size=1.5: expected int'),
    ('--weight=0.1,x', 'flag --weight=0.1,x: expected float,float,...'),
    ('--nosuchflag', "Unknown command line flag 'nosuchflag'"),
  ],
)
def test_and_the_program_ends_with_a_line_and_code_2(
  argument, message, monkeypatch, capsys
):
  values = flags.FlagValues()
  config._define(mnist.Config, values, {})
  monkeypatch.setattr(flags, 'FLAGS', values)
  assert config.given_flags(['program', 'word', '--seeds=3']) == ['program', 'word']
  with pytest.raises(SystemExit) as error:
    config.given_flags(['program', argument])
  assert error.value.code == 2
  assert capsys.readouterr().err == f'error: {message}\n'


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'num_epochs': 2, 'num_steps': 10},
      '--num_epochs and --num_steps: expected one of them, got both',
    ),
    ({'select_seeds': 2}, '--select_seeds: applies to --select alone'),
    ({'select_epochs': 2}, '--select_epochs: applies to --select alone'),
  ],
)
def test_flags_that_need_or_exclude_another(fields, message):
  with pytest.raises(InputError) as caught:
    mnist.Config(**fields)
  assert str(caught.value) == message


def test_steps_stand_in_place_of_epochs():
  config = mnist.filled(mnist.Config(num_steps=7))
  assert (config.num_steps, config.num_epochs) == (7, None)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('workdir', '', "--workdir: expected a name, got ''"),
    ('data_dir', '', "--data_dir: expected a name, got ''"),
    ('seeds', 0, '--seeds: expected 1 or more, got 0'),
    ('seeds', -2, '--seeds: expected 1 or more, got -2'),
    ('num_epochs', 0, '--num_epochs: expected 1 or more'),
    ('num_steps', 0, '--num_steps: expected 1 or more'),
    ('batch_size', 0, '--batch_size: expected 1 or more'),
    ('eval_every', 0, '--eval_every: expected 1 or more'),
    ('checkpoint_every', -1, '--checkpoint_every: expected 1 or more'),
    ('learning_rate', 0.0, '--learning_rate: expected a number above 0, got 0.0'),
    ('learning_rate', float('nan'), '--learning_rate: expected a number above 0'),
    ('learning_rate', float('inf'), '--learning_rate: expected a number above 0'),
    ('weight', (0.1, -1.0), '--weight: expected a number, 0 or more, got -1.0'),
    ('weight', (float('inf'),), '--weight: expected a number, 0 or more, got inf'),
    ('threshold', (-0.1,), '--threshold: expected a number, 0 or more'),
    ('epsilon', (1.0,), '--epsilon: expected a share in [0, 1), got 1.0'),
    ('epsilon', (float('nan'),), '--epsilon: expected a share in [0, 1)'),
    ('alpha', (1.5,), '--alpha: expected a number in [0, 1], got 1.5'),
    ('rate', (-0.5,), '--rate: expected a share'),
    ('dropout', 1.0, '--dropout: expected a share'),
    ('label_noise', -0.1, '--label_noise: expected a share'),
    ('momentum', 1.0, '--momentum: expected a share'),
    ('num_train', -1, '--num_train: expected 0 or more'),
    ('hidden', (32, 0), '--hidden: expected 1 or more, got 0'),
    ('dataset', 'cifar', "--dataset: expected one of digits, mnist, got 'cifar'"),
  ],
)
def test_what_is_out_of_range_names_the_flag(field, value, message):
  with pytest.raises(InputError) as caught:
    mnist.Config(**{field: value})
  assert str(caught.value).startswith(message)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (['dropout+smooth'], "--arms: unknown arm 'smooth'; choose from baseline, drop"),
    ([''], "--arms: unknown arm ''; choose from baseline, drop"),
    (['dropout+dropout'], "--arms: dropout is twice in 'dropout+dropout'"),
    (['baseline+dropout'], '--arms: baseline is an arm of its own, not a part of'),
    (['dropout+baseline'], '--arms: baseline is an arm of its own, not a part of'),
    (['dropout', 'baseline', 'dropout'], '--arms: dropout is there twice'),
  ],
)
def test_arms_that_cannot_be(names, message):
  with pytest.raises(InputError) as caught:
    arms.check(names, {})
  assert str(caught.value).startswith(message)


def test_a_value_that_no_arm_takes_names_those_that_would():
  given = {'weight': (1.0,), 'epsilon': (0.1, 0.2)}
  arms.check(['baseline', 'label_smoothing+confidence_penalty'], given)
  with pytest.raises(InputError) as caught:
    arms.check(['baseline', 'confidence_penalty'], given)
  assert str(caught.value) == (
    '--epsilon: none of --arms takes it; it is for label_smoothing, unigram_smoothing'
  )


def test_variants_are_all_combinations_of_what_an_arm_takes():
  defaults = mnist.VALUES['digits']
  given = {'epsilon': (0.1, 0.2), 'weight': (0.5,), 'alpha': (0.3, 0.4)}
  arm = 'label_smoothing+confidence_penalty'
  variants = arms.variants(arm, given, defaults)
  assert [variant.swept for variant in variants] == [{'epsilon': 0.1}, {'epsilon': 0.2}]
  assert variants[1].values == {
    'label_smoothing.epsilon': 0.2,
    'confidence_penalty.weight': 0.5,
  }
  assert [v.swept for v in arms.variants('baseline', given, defaults)] == [{}]
  (alone,) = arms.variants('generalized_entropy', {}, defaults)
  assert alone.values['generalized_entropy.alpha'] == 0.5


@pytest.mark.parametrize('dataset', mnist.DEFAULTS)
def test_every_arm_has_default_values(dataset):
  for arm in arms.PARTS:
    assert arms.variants(arm, {}, mnist.VALUES[dataset])
