"""Large text for language models: lm1b (Chelba et al. 2013), C4 (Raffel et al. 2019).

Only a part is read, as much as fits into the memory, and cut into word pieces that are
learned from its beginning. tensorflow-datasets shuffles the documents as it prepares
them, so the beginning is a random part.
"""

import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np

from experiments.datasets import catalogue
from experiments.datasets.corpus import Corpus
from experiments.datasets.pieces import Pieces, trained
from experiments.errors import InputError

HELD_OUT = {'lm1b': 'test', 'c4/en': 'validation'}  # halves: validation and test
VOCABULARY = 24_006  # of Anil et al. (2018), from memory
SAMPLE = 200_000  # documents that the word pieces are learned from
NUM_TRAIN = 200_000_000  # 0.8 GB
NUM_EVAL = 1_000_000
BLOCK = 1000  # documents read at once


def load(
  name: str,
  data_dir: str | None = None,
  *,
  vocabulary: int = VOCABULARY,
  num_train: int = NUM_TRAIN,
  num_eval: int = NUM_EVAL,
  sample: int = SAMPLE,
  cache_dir: str | None = None,
) -> Corpus:
  """Reads what ``tfds.builder(name)`` prepared as array_record.

  The split that the data set holds out is halved: its first documents are
  ``'validation'``, its last ones ``'test'``. After each document stands the end-of-text
  token, the corpus' ``eos``.

  Args:
    name: ``'lm1b'`` or ``'c4/en'``.
    data_dir: where tensorflow-datasets keeps data; None: its default.
    vocabulary: number of word pieces.
    num_train: how many tokens of training to keep; 0: all.
    num_eval: at most so many tokens of validation, and of test.
    sample: training documents that the word pieces are learned from.
    cache_dir: where the word pieces are kept; None: beside the documents.

  Raises:
    InputError: the data are not prepared, damaged or too few.
  """
  if name not in HELD_OUT:
    raise InputError(f'expected {" or ".join(HELD_OUT)}, got {name}')
  train = catalogue.Source(name, 'train', data_dir, raw=())
  held_out = catalogue.Source(name, HELD_OUT[name], data_dir, raw=())
  pieces = trained(
    documents(train, range(min(sample, len(train)))),
    vocabulary,
    _path(train, sample, vocabulary, cache_dir),
  )
  middle = len(held_out) // 2
  labels = {
    'train': _tokens(pieces, train, range(len(train)), num_train),
    'validation': _tokens(pieces, held_out, range(middle), num_eval),
    'test': _tokens(pieces, held_out, range(middle, len(held_out)), num_eval),
  }
  if num_train > len(labels['train']):
    raise InputError(
      f'--num_train: {num_train} is more than the {len(labels["train"])} tokens of '
      f'{train.version}'
    )
  return Corpus(
    name,
    len(pieces.vocabulary),
    {split: {'label': tokens} for split, tokens in labels.items()},
    {
      'vocabulary': len(pieces.vocabulary),
      'tokens': {split: len(tokens) for split, tokens in labels.items()},
      'version': train.version,
      'sha256': {
        'pieces': pieces.sha256,
        **{
          split: hashlib.sha256(t.tobytes()).hexdigest() for split, t in labels.items()
        },
      },
    },
    pieces.vocabulary,
  )


def documents(source: catalogue.Source, rows: range) -> Iterator[str]:
  """The texts of ``rows``."""
  for start in rows[::BLOCK]:
    for example in source.read(range(start, min(start + BLOCK, rows.stop))):
      yield catalogue.text(example['text'])


def _tokens(
  pieces: Pieces, source: catalogue.Source, rows: range, most: int
) -> np.ndarray:
  """The first ``most`` tokens of the texts, ended each by ``eos``; 0: all.

  Raises:
    InputError: there are no texts.
  """
  parts, count = [], 0
  for start in rows[::BLOCK]:
    block = range(start, min(start + BLOCK, rows.stop))
    encoded = pieces.encode(list(documents(source, block)))
    tokens = np.array([i for ids in encoded for i in (*ids, pieces.eos)], np.int32)
    parts.append(tokens)
    count += len(tokens)
    if most and count >= most:
      break
  if not count:
    raise InputError(f'{source.version}: expected more documents, found {len(source)}')
  return np.concatenate(parts)[: most or None]


def _path(
  source: catalogue.Source, sample: int, vocabulary: int, cache_dir: str | None
) -> pathlib.Path:
  root = source.directory if cache_dir is None else pathlib.Path(cache_dir)
  version = source.version.replace('/', '-')
  return root / f'{version}-{sample}-documents-{vocabulary}.model'
