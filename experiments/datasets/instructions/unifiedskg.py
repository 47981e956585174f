"""UnifiedSKG's pairs of sequences, in whose input a structure stands as text.

``{"seq_in", "seq_out"}`` a line; in place of ``seq_in`` there may be ``text_in`` and
``struct_in``, which are put together as Xie et al., 2022, put them together; a
structure that is a table, ``{"header": [...], "rows": [[...]]}``, a list of triples or
an object is written as text first.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.datasets.instructions import lines
from experiments.datasets.instructions.collection import InstructionTask
from experiments.errors import InputError

FIELDS = frozenset({'seq_out'})
_TURNS = ' || '  # between the last turn of a conversation and those before it


def read(
  paths: Sequence[pathlib.Path], named: lines.Named, skipped: list[str] | None = None
) -> InstructionTask:
  """The task of its files; see ``lines.task``."""
  return lines.task(named, paths, _made, skipped)


def linearized(structure: Any) -> str:
  """A table, triples or an object as text; a text as it is.

  Raises:
    ValueError: it is something else.

  Example:
    >>> linearized({'header': ['city', 'size'], 'rows': [['Bonn', 3], ['Ulm', 1]]})
    'col : city | size row 1 : Bonn | 3 row 2 : Ulm | 1'
    >>> linearized([['Bonn', 'lies on', 'Rhine'], ['Ulm', 'lies on', 'Danube']])
    'Bonn : lies on : Rhine | Ulm : lies on : Danube'
    >>> linearized({'street': ['id', 'name'], 'town': ['id']})
    '| street : id , name | town : id'
  """
  if isinstance(structure, str):
    return structure
  if isinstance(structure, Mapping):
    if {'header', 'rows'} <= {*structure}:
      return _table(structure['header'], structure['rows'])
    return ' '.join(f'| {name} : {_cells(own)}' for name, own in structure.items())
  if isinstance(structure, list) and all(isinstance(own, list) for own in structure):
    return ' | '.join(' : '.join(map(str, own)) for own in structure)
  raise ValueError('a text, a table, a list of triples or an object')


def _table(header: Any, rows: Any) -> str:
  if not isinstance(header, list) or not isinstance(rows, list):
    raise ValueError('header and rows that are lists')
  parts = ['col : ' + ' | '.join(map(str, header))]
  for number, row in enumerate(rows, 1):
    if not isinstance(row, list) or len(row) != len(header):
      raise ValueError(f'as many cells in row {number} as in the header')
    parts.append(f'row {number} : ' + ' | '.join(map(str, row)))
  return ' '.join(parts)


def _cells(own: Any) -> str:
  return ' , '.join(map(str, own)) if isinstance(own, list) else str(own)


def _made(line: str) -> lines.Made:
  content = lines.fields(line)
  return lines.Made(_asked(content), lines.text(content, 'seq_out'))


def _asked(content: Mapping[str, Any]) -> str:
  if 'seq_in' in content:
    return lines.text(content, 'seq_in')
  try:
    structure = linearized(content.get('struct_in', ''))
  except ValueError as error:
    raise InputError(f'struct_in: expected {error}') from error
  said = lines.text({'text_in': '', **content}, 'text_in', empty=True)
  if not said.strip() and not structure.strip():
    raise InputError('expected seq_in, or text_in and struct_in')
  last, *before = said.split(_TURNS, 1)
  parts = [last] if last.strip() else []
  parts += [f'structured knowledge: {structure}'] if structure.strip() else []
  parts += [f'context: {before[0]}'] if before else []
  return ' ; '.join(parts)
