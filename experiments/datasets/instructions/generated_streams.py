"""What is mixed into the tasks: reasons before answers, and dialogues.

DIRECTORY/reasoning/*_train.tsv   in the form of FLAN's chains of thought
DIRECTORY/dialogue/visits.jsonl   in that of metaseq; all of a dialogue is learned
"""

import functools
import json
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from experiments.datasets.directories import made
from experiments.datasets.instructions import generated_words as words
from experiments.datasets.instructions.generated_rules import Random, one

_COUNT = 400  # of each task
_VERSION = 1
Reasoned = tuple[str, str, str]  # question, answer and explanation
_NAMES = 'Ada', 'Ben', 'Cleo', 'Dan', 'Eva', 'Finn', 'Gus', 'Ida', 'Jo', 'Kim'


def collection(cache: pathlib.Path, *, seed: int) -> pathlib.Path:
  """The directory of both, made if it is not there, below ``cache``."""
  write = functools.partial(_write, seed=seed)
  return made(cache / f'generated_streams_{_VERSION}_{seed}', write)


def _write(directory: pathlib.Path, seed: int) -> None:
  reasoning, dialogue = directory / 'reasoning', directory / 'dialogue'
  reasoning.mkdir()
  dialogue.mkdir()
  for number, (name, make) in enumerate(_REASONED.items()):
    random = np.random.default_rng((seed, 1, number))
    rows = dict.fromkeys('\t'.join(make(random)) for _ in range(_COUNT))
    (reasoning / f'{name}_train.tsv').write_text('\n'.join(rows) + '\n', 'utf-8')
  random = np.random.default_rng((seed, 2))
  said = dict.fromkeys(_dialogue(random) for _ in range(_COUNT))
  texts = [json.dumps({'src': '', 'tgt': own}) for own in said]
  (dialogue / 'visits.jsonl').write_text('\n'.join(texts) + '\n', 'utf-8')


def _shopping(random: Random) -> Reasoned:
  name, thing = one(random, _NAMES), one(random, words.TOOLS)
  first, more, lost = (int(n) for n in random.integers(2, 30, 3))
  lost = min(lost, first)
  left = first - lost
  question = (
    f'{name} has {first} of the kind {thing}, loses {lost} and buys {more}. How many '
    f'are there now?'
  )
  why = f'{first} - {lost} = {left}, and {left} + {more} = {left + more}.'
  return question, str(left + more), why


def _ages(random: Random) -> Reasoned:
  older, younger = (one(random, _NAMES[start::2]) for start in (0, 1))
  age, between, later = (int(n) for n in random.integers(2, 20, 3))
  question = (
    f'{younger} is {age} years old. {older} is {between} years older. How old is '
    f'{older} in {later} years?'
  )
  now = age + between
  why = (
    f'{older} is {age} + {between} = {now} now, and {now} + {later} = {now + later}.'
  )
  return question, str(now + later), why


def _places(random: Random) -> Reasoned:
  animal, colour = one(random, words.ANIMALS), one(random, words.COLOURS)
  other = one(random, [own for own in words.COLOURS if own != colour])
  swapped = bool(random.integers(2))
  question = (
    f'The {animal} is in the {colour} room. It {"goes" if swapped else "looks"} to the '
    f'{other} one. Which room is it in?'
  )
  why = 'To go is to be elsewhere.' if swapped else 'To look is to stay.'
  return question, other if swapped else colour, why


_REASONED: Mapping[str, Callable[[Random], Reasoned]] = {
  'shopping': _shopping,
  'ages': _ages,
  'places': _places,
}


def _dialogue(random: Random) -> str:
  first, second = (one(random, _NAMES[start::2]) for start in (0, 1))
  animal, verb = one(random, words.ANIMALS), one(random, words.VERBS)
  colour, hour = one(random, words.COLOURS), int(random.integers(1, 12))
  return '\n'.join(
    [
      f'{first}: Hello {second}, did you see my {animal}?',
      f'{second}: The {colour} one? I saw it at {hour}.',
      f'{first}: Yes. What did it do?',
      f'{second}: I think it wanted to {verb}. Shall we go and see?',
      f'{first}: Let us go at {hour + 1}.',
    ]
  )
