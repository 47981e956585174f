"""The Wall Street Journal corpora: WSJ0, LDC93S6, and WSJ1, LDC94S13.

Training is on si84 (WSJ0) or si284 (both), validation on dev93, the test on eval92: the
lists of the discs, which have recordings of the close microphone, ``.wv1``. They may
lie in a directory for each disc, such as ``11-13.1``, or be merged into ``wsj0`` and
``wsj1``.

References:
  Paul and Baker, "The Design for the Wall Street Journal-based CSR Corpus", 1992.
"""

import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.datasets import files, trees, utterances, wsj_transcripts
from experiments.datasets.utterances import Corpus, Utterance
from experiments.errors import InputError

NAME = 'wsj'
_DISCS = 'wsj0/doc/indices', 'wsj1/doc/indices'
# The disc that has a list, and the list.
_SI84 = '11_13_1', f'{_DISCS[0]}/train/tr_s_wv1.ndx'
_SI200 = '13_34_1', f'{_DISCS[1]}/si_tr_s.ndx'
LISTS = {
  'si84': (_SI84,),
  'si284': (_SI84, _SI200),
  'dev93': (('13_34_1', f'{_DISCS[1]}/h1_p0.ndx'),),
  'eval92': (('11_13_1', f'{_DISCS[0]}/test/nvp/si_et_20.ndx'),),
}
SIZES = {'si84': 7138, 'si284': 37_416, 'dev93': 503, 'eval92': 333}
TRAINING = ('si84', 'si284')

# Duplicates, which the usual number of si84 does not count.
_DROPPED = '11_2_1', 'wsj0/si_tr_s/401/'
_WANTED = re.compile(r'.*\.(?:wv1|dot|ndx)')
_ENTRY = re.compile(r'\s*(\w+)\s*:\s*/*+(\S+)\s*')
_DOT = re.compile(r'(\w{6})00\.dot')


class _Entry(NamedTuple):
  """What a list says of a recording."""

  disc: str
  path: str
  place: str  # in the list


class _Tree:
  """The files of the corpora, wherever the discs are."""

  def __init__(self, root: pathlib.Path):
    self.root = root
    self.synthetic = utterances.synthetic(root)  # or a list says so
    self._by_name: dict[str, list[tuple[str, pathlib.Path]]] = {}
    self._sessions: dict[str, list[pathlib.Path]] = {}
    self._transcripts: dict[pathlib.Path, dict[str, str]] = {}
    for key, path in sorted(trees.files(root, _WANTED).items()):
      name = key.rpartition('/')[2]
      self._by_name.setdefault(name, []).append((key, path))
      if match := _DOT.fullmatch(name):
        self._sessions.setdefault(match[1], []).append(path)

  def find(self, disc: str, path: str) -> pathlib.Path | None:
    """A file by its path on a disc; on that disc, if several have it."""
    found = {}
    for key, file in self._by_name.get(path.rpartition('/')[2], ()):
      if f'/{key}'.endswith(f'/{path}'):
        above = key.removesuffix(path).rstrip('/').rpartition('/')[2]
        found[re.sub('[-.]', '_', above)] = file
    return found.get(disc, next(iter(found.values()), None))

  def text(self, name: str) -> str:
    """What is said in an utterance.

    Raises:
      InputError: its transcript is missing or broken, or has no word.
    """
    for path in self._sessions.get(name[:6], ()):
      if path not in self._transcripts:
        self._transcripts[path] = wsj_transcripts.read(path)
      if name in self._transcripts[path]:
        text = self._transcripts[path][name]
        if not text:
          raise InputError(f'{path}: utterance {name} has no word')
        return text
    raise InputError(f'{self.root}: no transcript of {name} in a {name[:6]}00.dot')


def read(
  root: pathlib.Path, *, training: str = 'si284', skip_bad: bool = False
) -> Corpus:
  """The corpora in a directory.

  The sizes of the lists are checked, but for those that say in a comment, ``;``, that
  they are synthetic.

  Args:
    root: the directory of the discs.
    training: ``'si84'`` or ``'si284'``.
    skip_bad: leave out what is missing or has no transcript.

  Raises:
    InputError: a list, recording or transcript is missing or broken, or the number of
      utterances is not what it should be.
  """
  if training not in TRAINING:
    raise InputError(f'--train_set: expected {" or ".join(TRAINING)}, got {training!r}')
  tree = _Tree(root)
  bad: dict[str, str] = {}
  lists = {'train': training, 'validation': 'dev93', 'test': 'eval92'}
  splits = {
    split: _utterances(tree, name, bad, skip_bad) for split, name in lists.items()
  }
  return Corpus(NAME, splits, bad, tree.synthetic)


def _utterances(
  tree: _Tree, name: str, bad: dict[str, str], skip_bad: bool
) -> Sequence[Utterance]:
  """The recordings of a list; what is wrong with the others goes to ``bad``."""
  found: dict[str, Utterance] = {}
  listed, synthetic = set(), False
  for disc, path in LISTS[name]:
    index = tree.find(disc, path)
    if index is None:
      raise InputError(f'--manual_dir: {tree.root}: {name}: no {path} (disc {disc})')
    content = files.decode(files.read(index), index)
    synthetic |= bool(re.search(r'(?mi)^\s*;.*\bsynthetic\b', content))
    tree.synthetic |= synthetic
    for entry in _entries(index, content):
      own = pathlib.PurePosixPath(entry.path).stem
      listed.add(own)
      try:
        utterance = _utterance(tree, entry, own)
        if found.setdefault(own, utterance) != utterance:
          raise InputError(f'{utterance.path}: {entry.place}: {own} a second time')
      except InputError as error:
        if not skip_bad:
          raise
        bad[own] = str(error)
  fault = _fault(name, len(listed), len(found), synthetic)
  if fault and (not skip_bad or not found):
    raise InputError(f'{tree.root}: {fault}')
  if fault:
    bad[name] = f'{tree.root}: {fault}'
  return [found[own] for own in sorted(found)]


def _entries(index: pathlib.Path, content: str) -> Iterator[_Entry]:
  for number, line in enumerate(files.lines(content), 1):
    if not line.strip() or line.lstrip().startswith(';'):
      continue
    match = _ENTRY.fullmatch(line.lower())
    if match is None:
      raise InputError(f'{index}: line {number}: expected disc:path, found {line:.60}')
    disc, path = match.groups()
    if disc == _DROPPED[0] and path.startswith(_DROPPED[1]):
      continue
    path = f'{path.removesuffix(".wv1")}.wv1'
    yield _Entry(disc, path, f'{index}: line {number}')


def _utterance(tree: _Tree, entry: _Entry, name: str) -> Utterance:
  path = tree.find(entry.disc, entry.path)
  if path is None:
    raise InputError(f'{entry.place}: no {entry.path} (disc {entry.disc})')
  return Utterance(name, name[:3], path, tree.text(name))


def _fault(name: str, listed: int, found: int, synthetic: bool) -> str:
  """What is wrong with the number of utterances."""
  expected = listed if synthetic else SIZES[name]
  if found == expected and found:
    return ''
  return f'{name}: expected {expected or "some"} utterances, found {found}'
