"""A directory of training, validation and test text, such as the Penn Treebank's.

One sentence or paragraph a line, tokens parted by blanks: ``ptb.train.txt``,
``ptb.valid.txt`` and ``ptb.test.txt`` (Mikolov et al. 2010), or the names below.
In ``ptb.char.train.txt`` and so on blanks part characters: ``'char'`` reads these files
where there are others too, and a token is what stands between two blanks.
"""

import dataclasses
import hashlib
import pathlib

from experiments.datasets import files
from experiments.datasets.corpus import Corpus, Lines, encode, tokenized
from experiments.errors import InputError

# WikiText's files are the third.
NAMES = ('ptb.{}.txt', '{}.txt', 'wiki.{}.tokens', 'wiki.{}.raw', 'ptb.char.{}.txt')
_CHARACTERS = NAMES[-1]
_SPLITS = {'train': 'train', 'validation': 'valid', 'test': 'test'}
# Of Mikolov's Penn Treebank, the ends of lines counted.
PTB = {'train': 929_589, 'validation': 73_760, 'test': 82_430}


def load(
  data_dir: str, unit: str = 'word', num_train: int = 0, min_count: int = 1
) -> Corpus:
  """Reads the three files of a directory.

  Args:
    data_dir: the directory.
    unit: of prediction, ``'word'`` or ``'char'``.
    num_train: how many tokens of training to keep; 0: all.
    min_count: a token that training has less often becomes ``<unk>``.

  Returns:
    A corpus whose name is ``'ptb'`` if it is as large as the Penn Treebank, split by
    split, ``'text'`` otherwise.

  Raises:
    InputError: a file is missing, empty, not in UTF-8, or holds unknown tokens.
  """
  texts = {split: read(path, unit) for split, path in find(data_dir, unit).items()}
  corpus = encode('text', texts, num_train, min_count)
  if unit == 'word' and corpus.about['tokens'] == PTB:
    return dataclasses.replace(corpus, name='ptb')
  return corpus


def find(data_dir: str, unit: str = 'word') -> dict[str, pathlib.Path]:
  """The file of each split, of characters first if they are the unit.

  Raises:
    InputError: there is no directory, or a file is missing.
  """
  root = pathlib.Path(data_dir)
  if not root.is_dir():
    fault = 'is a file' if root.exists() else 'is not there'
    raise InputError(f'--data_dir: expected a directory of text, {root} {fault}')
  faults = []
  for names in sorted(NAMES, key=lambda n: unit == 'char' and n != _CHARACTERS):
    paths = {split: root / names.format(part) for split, part in _SPLITS.items()}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if not missing:
      return paths
    if len(missing) < len(paths):
      faults.append(f'{root}: expected {" and ".join(missing)} too')
  if faults:
    raise InputError(faults[0])
  first, *others = (names.format('{train,valid,test}') for names in NAMES)
  raise InputError(f'{root}: expected {first}, or {", ".join(others)}')


def read(path: pathlib.Path, unit: str) -> Lines:
  """Tokens of every line, the empty ones too.

  Raises:
    InputError: the file cannot be read, or is not text in UTF-8.
  """
  content = files.read(path)
  # An empty file is an empty line.
  lines = files.lines(files.decode(content, path)) or ['']
  digest = hashlib.sha256(content).hexdigest()
  if path.name.startswith(_CHARACTERS.split('{')[0]):
    unit = 'word'  # blanks part them
  return Lines(str(path), [tokenized(line, unit) for line in lines], digest)
