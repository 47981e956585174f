"""PromptSource: templates of a data set, which lies beside them as lines of JSON.

Every example is put into one of the templates of the data set's original task, chosen
at random, so that the size of a task does not grow with its templates (Iyer et al.,
2022, appendix A). Templates that make nothing of an example in a branch of theirs leave
it to the others. Nothing is cut off: PromptSource's own ``truncate`` is off.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from experiments.datasets import files
from experiments.datasets.instructions import lines
from experiments.datasets.instructions.collection import Example, InstructionTask
from experiments.datasets.instructions.templating import SECONDS, Templates
from experiments.errors import InputError

FILE = 'templates.yaml'


@dataclasses.dataclass(frozen=True)
class Template:
  """One way to ask.

  Attributes:
    name: in the file.
    jinja: of input and target, with ``|||`` between.
    choices: Jinja, too, of what the answer is chosen from.
    original: it asks what the data set is for.
  """

  name: str
  jinja: str
  choices: str | None
  original: bool


def read(
  path: pathlib.Path,
  data: Sequence[pathlib.Path],
  benchmark: str,
  *,
  strict: bool = True,
  seconds: float = SECONDS,
) -> tuple[InstructionTask, list[str]]:
  """The task of a data set, and what was left out, one line each.

  Args:
    path: of the templates.
    data: lines of JSON.
    benchmark: that the task is of.
    strict: a template that fails is an error, not left out.
    seconds: that a template may take for an example.

  Raises:
    InputError: a file is at fault, or no template makes anything of any example.
  """
  name, templates = load(path)
  if not data:
    raise InputError(f'{path}: task {name}: no data beside it, in .jsonl')
  able = [template for template in templates if template.original]
  if not able:
    raise InputError(f'{path}: task {name}: no template of the original task')
  filling = _Filling(path, name, able, strict)
  with Templates(seconds) as process:
    examples = [
      example
      for own in data
      for where, line in lines.numbered(own, name)
      if (example := filling.example(process, where, line)) is not None
    ]
  if not examples:
    raise InputError(f'{path}: task {name}: no examples: {"; ".join(filling.notes())}')
  return InstructionTask(
    name, benchmark, benchmark, (), tuple(examples)
  ), filling.notes()


def load(path: pathlib.Path) -> tuple[str, list[Template]]:
  """The name of the data set, and its templates in the order of their names.

  Raises:
    InputError: it is no such file.
  """
  try:
    content = yaml.load(files.decode(files.read(path), path), _Loader)
  except _NOT_YAML as error:
    raise InputError(f'{path}: not YAML ({" ".join(str(error).split())})') from error
  if not isinstance(content, dict) or not isinstance(content.get('templates'), dict):
    raise InputError(f'{path}: expected dataset and templates')
  name, subset = content.get('dataset'), content.get('subset')
  for key, given in {'dataset': name, 'subset': subset or ''}.items():
    if not isinstance(given, str | int):
      raise InputError(f'{path}: {key}: expected a text, got a {type(given).__name__}')
  name = f'{name}/{subset}' if subset else str(name)
  own = content['templates'].items()
  found = [_template(key, fields, f'{path}: task {name}') for key, fields in own]
  return name, sorted(found, key=lambda template: template.name)


class _Loader(yaml.SafeLoader):
  """Knows PromptSource's two tags, as objects."""

  def flatten_mapping(self, node: yaml.MappingNode) -> None:
    """Values may be referred to, not copied: copies of copies fill any memory."""
    for key, _ in node.value:
      if key.tag == 'tag:yaml.org,2002:merge':
        raise yaml.constructor.ConstructorError(None, None, 'a key <<', key.start_mark)

  def construct_scalar(self, node: yaml.ScalarNode) -> Any:
    value = super().construct_scalar(node)
    if isinstance(value, str):
      value.encode()  # fails for half of a pair of surrogates
    return value


# Beside its own errors, what it makes of `!!int x`, a month 13, and the like.
_NOT_YAML = (
  *(yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError),
  *(AttributeError, OverflowError),
)


def _constructed(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
  if not isinstance(node, yaml.MappingNode):
    raise yaml.constructor.ConstructorError(
      None, None, f'{node.tag}: expected an object', node.start_mark
    )
  return loader.construct_mapping(node, deep=True)


for _tag in ('!Template', '!TemplateMetadata'):
  _Loader.add_constructor(_tag, _constructed)


def _template(key: Any, fields: Any, where: str) -> Template:
  if not isinstance(fields, dict):
    raise InputError(f'{where}: template {key}: expected an object')
  try:
    name, jinja = lines.text(fields, 'name'), lines.text(fields, 'jinja')
  except InputError as error:
    raise InputError(f'{where}: template {key}: {error}') from error
  choices, metadata = fields.get('answer_choices'), fields.get('metadata')
  if choices is not None and not isinstance(choices, str):
    raise InputError(f'{where}: template {name!r}: answer_choices: expected a text')
  # Of those that do not say it, most do.
  original = (
    not isinstance(metadata, dict) or metadata.get('original_task') is not False
  )
  return Template(name, jinja, choices or None, original)


class _Filling:
  """Examples of one data set, and what happens meanwhile."""

  def __init__(
    self, path: pathlib.Path, name: str, templates: Sequence[Template], strict: bool
  ):
    self._where = f'{path}: task {name}'
    self._name, self._templates, self._strict = name, list(templates), strict
    self._failed: list[str] = []
    self._count = self._empty = 0

  def example(self, process: Templates, where: str, line: str) -> Example | None:
    """Of the first template that has an input and a target for it."""
    place, self._count = self._count, self._count + 1
    try:
      row = lines.fields(line)
    except InputError as error:
      self._fails(f'{where}: {error}')
      return None
    random = np.random.default_rng((place, *self._name.encode()))
    order = random.permutation(len(self._templates))
    for template in [self._templates[index] for index in order]:
      try:
        filled = process.fill(template.jinja, template.choices, row, place)
      except InputError as error:
        self._fails(f'{self._where}: template {template.name!r}: {where}: {error}')
        self._templates.remove(template)
        continue
      if len(filled.parts) == 2 and all(filled.parts):
        asked, answer = filled.parts
        options = tuple(dict.fromkeys(filled.options or ()))
        able = answer in options and len(options) > 1
        name = f'{self._name}-{place}'
        return Example(name, asked, (answer,), options if able else ())
    self._empty += 1
    return None

  def notes(self) -> list[str]:
    """What was left out."""
    own = [f'{self._where}: {self._empty} of {self._count} examples: nothing made']
    return self._failed + (own if self._empty else [])

  def _fails(self, fault: str) -> None:
    if self._strict:
      raise InputError(fault)
    self._failed.append(fault)
