"""Fills Jinja templates, as a process of its own that may be killed.

A line of JSON in, ``{"template", "choices", "row", "seed"}``, a line out,
``{"parts", "options"}`` or ``{"error"}``. A template that takes too long ends the
process, too much memory is an error: neither can be had within the caller's process.
Nothing of the project is imported here.
"""

import collections
import functools
import json
import random
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import jinja2.meta
import jinja2.sandbox

_MEMORY = 2**30  # bytes
_LONGEST = 1_000_000  # characters
_SEPARATOR = '|||'
_PROTECTED = '\ue000\ue001\ue000'  # stands for a separator that is in the data


def _environment() -> jinja2.Environment:
  """With what templates of PromptSource expect."""
  made = jinja2.sandbox.SandboxedEnvironment()
  del made.globals['lipsum']  # random texts
  made.globals['zip'] = zip
  made.filters['choice'] = random.choice
  made.filters['most_frequent'] = _most_frequent
  made.filters['highlight'] = str
  return made


def _most_frequent(items: Sequence[Any]) -> list[Any]:
  counts = collections.Counter(items)
  most = max(counts.values(), default=0)
  return [item for item, count in counts.items() if count == most]


_ENVIRONMENT = _environment()


@functools.lru_cache(maxsize=256)
def _template(source: str) -> tuple[jinja2.Template, frozenset[str]]:
  """Compiled, and the names it takes from the data."""
  fields = jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(source))
  known = {*_ENVIRONMENT.globals, 'answer_choices'}
  return _ENVIRONMENT.from_string(source), frozenset(fields - known)


def _filled(source: str, row: Mapping[str, Any]) -> list[str]:
  template, fields = _template(source)
  missing = sorted(fields - {*row})
  if missing:
    raise LookupError(f'the data have no field {", ".join(missing)}')
  pieces, length = [], 0
  for piece in template.generate(row):
    pieces.append(piece)
    length += len(piece)
    if length > _LONGEST:
      raise ValueError(f'more than {_LONGEST:,} characters')
  parts = ''.join(pieces).split(_SEPARATOR)
  return [part.replace(_PROTECTED, _SEPARATOR).strip() for part in parts]


def _protected(value: Any) -> Any:
  if isinstance(value, str):
    return value.replace(_SEPARATOR, _PROTECTED)
  if isinstance(value, list):
    return [_protected(own) for own in value]
  if isinstance(value, dict):
    return {name: _protected(own) for name, own in value.items()}
  return value


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
  random.seed(request['seed'])
  row = {name.replace('-', '_'): _protected(v) for name, v in request['row'].items()}
  if 'answer_choices' in row:
    raise LookupError('the data have a field answer_choices, which templates reserve')
  options = None
  if request['choices']:
    options = _filled(request['choices'], row)
    row['answer_choices'] = [_protected(option) for option in options]
  return {'parts': _filled(request['template'], row), 'options': options}


def main() -> None:
  """Until there are no more lines; a template may take argv[1] seconds."""
  resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
  seconds = float(sys.argv[1])
  for line in sys.stdin:
    # What a signal does is not caught, so that it ends one long instruction, too.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
      answer = _answer(json.loads(line))
    except Exception as error:  # whatever a template does
      kind = type(error).__name__
      answer = {'error': f'{kind}: {error}'.rstrip(': ').replace('\n', ' ')[:300]}
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(answer), flush=True)


if __name__ == '__main__':
  main()
