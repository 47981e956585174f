"""The formats of WMT's test sets: pseudo-SGML until 2020, XML since 2021.

Both part a text into documents and numbered segments.
"""

import html
import pathlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.datasets import files
from experiments.errors import InputError

Texts = list[tuple[str, str]]  # source and target
# The end of a segment is missing where another one begins, or the line ends. No part of
# a line is looked at once for each tag that comes before it.
_TAG = re.compile(
  r'<(doc)\b([^<>]*)>|<(seg)\b([^<>]*)>(?:((?:(?!<seg\b).)*?)</seg>)?', re.IGNORECASE
)
# No parser of XML takes these files: a bare & is common.
_ENTITY = re.compile(
  r'&(?:quot|amp|lt|gt|apos|#\d{1,7}|#x[0-9a-f]{1,6});', re.IGNORECASE
)


class Segment(NamedTuple):
  """A line of pseudo-SGML."""

  document: str
  name: str
  text: str
  line: int


def sgml(source: pathlib.Path, target: pathlib.Path) -> Texts:
  """The segments of two files, such as ``newstest2014-ende-{src.en,ref.de}.sgm``.

  Raises:
    InputError: a line is broken, or the files differ in their segments.
  """
  sources, targets = list(_segments(source)), list(_segments(target))
  for one, other in zip(sources, targets, strict=False):
    if one[:2] != other[:2]:
      raise InputError(
        f'{target}: line {other.line}: expected segment {one.name} of document '
        f'{one.document!r} as in line {one.line} of {source}, found {other.name} of '
        f'{other.document!r}'
      )
  if len(sources) != len(targets):
    raise InputError(
      f'{target}: expected {len(sources)} segments as in {source}, found {len(targets)}'
    )
  return [(one.text, other.text) for one, other in zip(sources, targets, strict=True)]


def _segments(path: pathlib.Path) -> Iterator[Segment]:
  document = ''
  text = files.decode(files.read(path), path)
  for number, line in enumerate(files.lines(text), 1):
    for kind, attributes, content in _tags(line, path, number):
      if kind == 'doc':
        document = _attribute('docid', attributes)
        continue
      text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), content)
      name = _attribute('id', attributes)
      yield Segment(document, name, _blanks(text), number)


def _tags(line: str, path: pathlib.Path, number: int) -> Iterator[tuple[str, str, str]]:
  """Kind, attributes and content of the documents and segments that begin there."""
  found = list(_TAG.finditer(line))
  segments = [match for match in found if match[3]]
  complete = all(match[5] is not None for match in segments)
  if not complete or len(re.findall('</?seg', line, re.IGNORECASE)) != 2 * len(
    segments
  ):
    raise InputError(f'{path}: line {number}: expected <seg id=...>...</seg> in a line')
  for match in found:
    if match[1]:
      yield 'doc', match[2], ''
    else:
      yield 'seg', match[4], match[5]


def _attribute(name: str, tag: str) -> str:
  """Its value, ``''`` if it is not there."""
  value = r"""(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"""
  match = re.search(rf'\b{name}\s*=\s*{value}', tag, re.IGNORECASE)
  return next(filter(None, match.groups()), '') if match else ''


def _blanks(text: str) -> str:
  """One blank for several, and for the end of a line."""
  return ' '.join(text.split())


def xml(
  source: pathlib.Path, target: pathlib.Path, translators: Sequence[str]
) -> tuple[Texts, dict[str, int]]:
  """The segments of one file, or two: ``<src>`` of the first, ``<ref>`` of the second.

  Args:
    source: a file.
    target: another, or the same.
    translators: of the references, the first of them that are there; none: the one
      who comes first in the file.

  Returns:
    The texts, and how many segments belong to a test suite, how many have no reference.

  Raises:
    InputError: a file is no XML, segments have no name or one name, or a translation
      has no source.
  """
  sources, suites = _documents(source)
  targets = sources if target == source else _documents(target)[0]
  named = _translator(target, targets, translators)
  texts, missing = [], 0
  for document, element in sources.items():
    originals = _named(element.iterfind('.//src//seg'), source, document)
    matching = [
      segment
      for reference in targets.get(document, ET.Element('doc')).iter('ref')
      if reference.get('translator') == named
      for segment in reference.iter('seg')
    ]
    translations = _named(iter(matching), target, document)
    _refuse_others(target, document, translations.keys() - originals.keys())
    for name, text in originals.items():
      if translations.get(name):
        texts.append((text, translations[name]))
      else:
        missing += 1
  for document in targets.keys() - sources.keys():
    raise InputError(f'{target}: document {document!r} is not in {source}')
  return texts, {'test suite': suites, 'no reference': missing}


class _Builder(ET.TreeBuilder):
  """Refuses what is so deep that to look for elements takes its square."""

  _depth = 0

  def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
    self._depth += 1
    if self._depth > files.DEEPEST:
      raise ValueError(f'nested deeper than {files.DEEPEST}')
    return super().start(tag, attrs)

  def end(self, tag: str, /) -> ET.Element:
    self._depth -= 1
    return super().end(tag)


def _documents(path: pathlib.Path) -> tuple[dict[str, ET.Element], int]:
  """Documents by name, and the number of segments in test suites."""
  try:
    root = ET.fromstring(files.read(path), ET.XMLParser(target=_Builder()))
  except (ET.ParseError, LookupError, ValueError) as error:  # encodings are the latter
    raise InputError(f'{path}: not XML ({error})') from error
  documents: dict[str, ET.Element] = {}
  suites = 0
  for element in root.iter('doc'):
    name = element.get('id', '')
    if 'testsuite' in element.attrib:
      suites += sum(1 for _ in element.iterfind('.//src//seg'))
    elif name in documents:
      raise InputError(f'{path}: two documents {name!r}')
    else:
      documents[name] = element
  return documents, suites


def _translator(
  path: pathlib.Path, documents: dict[str, ET.Element], names: Sequence[str]
) -> str | None:
  """The first of ``names`` that is there, or of the file, which may be None.

  Raises:
    InputError: there is no reference, or none of these names.
  """
  references = [
    reference.get('translator')
    for element in documents.values()
    for reference in element.iter('ref')
  ]
  if not references:
    raise InputError(f'{path}: expected a <ref> in a <doc>, found none')
  there = [name for name in names if name in references]
  if names and not there:
    known = ', '.join(sorted({str(reference) for reference in references}))
    raise InputError(f'{path}: no translator {" or ".join(names)}, but {known}')
  return there[0] if there else references[0]


def _named(
  segments: Iterator[ET.Element], path: pathlib.Path, document: str
) -> dict[str, str]:
  """Texts by name."""
  texts: dict[str, str] = {}
  for segment in segments:
    name = segment.get('id')
    if name is None or name in texts:
      fault = 'without id' if name is None else f'{name} twice'
      raise InputError(f'{path}: document {document!r}: a segment {fault}')
    texts[name] = _blanks(''.join(segment.itertext()))
  return texts


def _refuse_others(path: pathlib.Path, document: str, names: set[str]) -> None:
  if names:
    raise InputError(
      f'{path}: document {document!r}: segment {min(names)} has no source'
    )
