"""Files of MetaICL and CrossFit: ``{"task", "input", "output", "options"}`` a line.

TASK_K_SEED_SPLIT.jsonl; draws by other seeds hold the same examples, which count once.
"""

import pathlib
from collections.abc import Iterator, Sequence

from experiments.datasets.instructions import lines
from experiments.datasets.instructions.collection import Example, InstructionTask
from experiments.datasets.instructions.lines import Named
from experiments.errors import InputError

FIELDS = frozenset({'input', 'output'})


def read(paths: Sequence[pathlib.Path], named: Named) -> InstructionTask:
  """The task of its files.

  Raises:
    InputError: a line is no such object or of another task, its output is empty, or
      none of its options.
  """
  return lines.task(named, _examples(paths, named.name), paths)


def _examples(paths: Sequence[pathlib.Path], name: str) -> Iterator[Example]:
  seen = set()
  for path in paths:
    for where, content in lines.objects(path, name):
      own = content.get('task', name)
      if own != name:
        raise InputError(f'{where}: an example of another task, {own!r}')
      asked = lines.text(content, 'input', where)
      answer = lines.text(content, 'output', where)
      options = content.get('options') or []
      if not isinstance(options, list) or not all(isinstance(o, str) for o in options):
        raise InputError(f'{where}: options: expected a list of texts')
      if options and answer not in options:
        raise InputError(
          f'{where}: output: expected one of the options, got {answer!r}'
        )
      key = asked, answer, *options
      if key not in seen:
        seen.add(key)
        distinct = tuple(dict.fromkeys(options))
        yield Example(f'{name}-{len(seen) - 1}', asked, (answer,), distinct)
