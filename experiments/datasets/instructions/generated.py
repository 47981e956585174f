"""A collection that the project makes: small tasks in ten categories.

They are written as Super-NaturalInstructions writes its tasks, and then read as those
are, by ``read``.
"""

import functools
import json
import pathlib

import numpy as np

from experiments.datasets.directories import made
from experiments.datasets.instructions.generated_rules import RULES, Rule

BENCHMARK = 'generated'
# Of these no function and no word of a definition's template is another category's.
HELD_OUT_CATEGORIES = 'comparison', 'sorting'
# One of each category that has four or more others to learn from.
HELD_OUT_TASKS = 'second_letter', 'last_item', 'title_case', 'minus_one', 'weekend'
_DEMONSTRATIONS = 3
_TRIES = 20
_VERSION = 1  # of the directory in the cache: another one where the rules change


def collection(cache: pathlib.Path, *, seed: int, examples: int) -> pathlib.Path:
  """The directory of the collection, made if it is not there.

  Args:
    cache: it is below.
    seed: of all that is drawn.
    examples: most of a task; there are fewer where a rule has no more to ask.
  """
  name = f'generated_instructions_{_VERSION}_{seed}_{examples}'
  write = functools.partial(_write, seed=seed, examples=examples)
  return made(cache / name, write)


def _write(directory: pathlib.Path, seed: int, examples: int) -> None:
  own = directory / BENCHMARK
  own.mkdir()
  for number, rule in enumerate(RULES, 1):
    random = np.random.default_rng((seed, number))
    content = _task(rule, random, examples)
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (own / f'task{number:03}_{rule.name}.json').write_text(f'{text}\n', 'utf-8')


def _task(rule: Rule, random: np.random.Generator, examples: int) -> dict[str, object]:
  """As the JSON of a task; no input comes twice."""
  drawn = dict(rule.make(random) for _ in range(_TRIES * examples))
  pairs = list(drawn.items())
  shown, asked = pairs[:_DEMONSTRATIONS], pairs[_DEMONSTRATIONS:][:examples]
  return {
    'Contributors': ['regularizers'],
    'Source': ['generated'],
    'URL': [],
    'Categories': [rule.category],
    'Reasoning': [],
    'Definition': [rule.definition],
    'Input_language': ['English'],
    'Output_language': [rule.language],
    'Instruction_language': ['English'],
    'Domains': [rule.category],
    'Positive Examples': [
      {'input': source, 'output': target, 'explanation': ''} for source, target in shown
    ],
    'Negative Examples': [],
    'Instances': [
      {'id': f'{rule.name}-{place}', 'input': source, 'output': [target]}
      for place, (source, target) in enumerate(asked)
    ],
    'Instance License': ['Apache-2.0'],
  }
