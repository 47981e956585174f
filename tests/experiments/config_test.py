"""Flags to configurations, and what is wrong with them in one line."""

import dataclasses

import pytest
from absl import flags

from experiments import arms, config, mnist
from experiments.errors import InputError


def parsed(*arguments: str) -> mnist.Config:
  values = flags.FlagValues()
  config._define(mnist.Config, values)
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
  'argument',
  ['--seeds=many', '--weight=0.1,x', '--learning_rate=', '--vmap=2', '--beta=1'],
)
def test_what_cannot_be_parsed_is_an_error_of_the_flag_parser(argument):
  with pytest.raises(flags.Error, match=argument[2:].split('=')[0]):
    parsed(argument)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
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


def test_an_unknown_arm_lists_the_known_ones():
  with pytest.raises(
    InputError, match=r"--arms: unknown arm 'smooth'; choose from base"
  ):
    arms.parts('dropout+smooth')


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
