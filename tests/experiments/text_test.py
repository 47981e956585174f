"""Text as data: what the embedded one holds, and what is wrong with others."""

import hashlib
import itertools
import pathlib

import numpy as np
import pytest

from experiments.datasets import pydoc, streams, text
from experiments.datasets.corpus import EOS, UNK
from experiments.errors import InputError

PTB = {
  'ptb.train.txt': ' the cat sat \n the <unk> sat on N mats \n',
  'ptb.valid.txt': ' the dog sat \n',
  'ptb.test.txt': ' N mats \n',
}


def write(directory: pathlib.Path, files: dict[str, str]) -> str:
  for name, content in files.items():
    (directory / name).write_text(content, encoding='utf-8')
  return str(directory)


def words(corpus, split: str) -> list[str]:
  return [corpus.vocabulary[index] for index in corpus.splits[split]['label']]


# The embedded text


@pytest.mark.parametrize('unit', ['word', 'char'])
def test_pydoc_is_small_and_complete(unit):
  corpus = pydoc.load(unit)
  labels = {split: arrays['label'] for split, arrays in corpus.splits.items()}
  assert len(labels['train']) == pydoc.NUM_TRAIN[unit]
  for split in ('validation', 'test'):
    assert 25_000 < sum(map(len, pydoc.splits()[split])) < 60_000
    assert len(labels[split]) == corpus.about['tokens'][split] > 5_000
  assert corpus.num_classes == len(corpus.vocabulary) == len(set(corpus.vocabulary))
  assert EOS in corpus.vocabulary
  assert UNK in corpus.vocabulary
  assert all(array.dtype == np.int32 for array in labels.values())
  assert all(array.max() < corpus.num_classes for array in labels.values())
  counts = np.bincount(labels['train'], minlength=corpus.num_classes)
  assert (np.diff(counts) <= 0).all()  # the most frequent token is number 0
  known = [count for count, token in zip(counts, corpus.vocabulary) if token != UNK]  # noqa: B905
  assert min(known) >= 2


def test_records_name_the_text_of_this_python():
  about = pydoc.load().about
  lines = '\n'.join(pydoc.splits()['train'])
  assert about['sha256']['train'] == hashlib.sha256(lines.encode()).hexdigest()
  assert pydoc.load().fingerprint == pydoc.load().fingerprint
  assert pydoc.load(num_train=1000).fingerprint != pydoc.load().fingerprint


def test_what_is_held_out_does_not_occur_in_training():
  def twenty(lines: list[str]) -> list[tuple[str, ...]]:
    tokens = ' '.join(lines).split()
    return [tuple(tokens[i : i + 20]) for i in range(len(tokens) - 19)]

  splits = pydoc.splits()
  grams = {split: twenty(lines) for split, lines in splits.items()}
  for one, other in itertools.permutations(splits, 2):
    seen = set(grams[other])
    assert np.mean([gram in seen for gram in grams[one]]) < 0.01


# Directories


@pytest.mark.parametrize(
  'names', ['ptb.{}.txt', '{}.txt', 'wiki.{}.tokens', 'wiki.{}.raw']
)
def test_names_of_files(tmp_path, names):
  files = {
    names.format(split): PTB[f'ptb.{split}.txt'] for split in ('train', 'valid', 'test')
  }
  corpus = text.load(write(tmp_path, files))
  assert corpus.name == 'text'  # the Penn Treebank is larger
  assert words(corpus, 'train') == [
    *('the', 'cat', 'sat', EOS),
    *('the', UNK, 'sat', 'on', 'N', 'mats', EOS),
  ]
  assert words(corpus, 'validation') == ['the', UNK, 'sat', EOS]
  assert words(corpus, 'test') == ['N', 'mats', EOS]
  assert corpus.about['tokens'] == {'train': 11, 'validation': 4, 'test': 3}


def test_every_line_has_an_end_the_empty_and_the_last_one_too(tmp_path):
  files = {**PTB, 'ptb.test.txt': '\n the cat\r\n\n sat'}
  corpus = text.load(write(tmp_path, files))
  assert words(corpus, 'test') == [EOS, 'the', 'cat', EOS, EOS, 'sat', EOS]


def test_characters(tmp_path):
  files = {'train.txt': 'ab a\nb\n', 'valid.txt': 'a b\n', 'test.txt': 'b\n'}
  corpus = text.load(write(tmp_path, files), 'char')
  assert words(corpus, 'train') == ['a', 'b', ' ', 'a', EOS, 'b', EOS]
  assert words(corpus, 'validation') == ['a', ' ', 'b', EOS]
  files = {f'ptb.char.{split}.txt': 'a _ b\n' for split in ('train', 'valid')}
  write(tmp_path, files)  # one of the three is not there
  assert words(text.load(str(tmp_path), 'char'), 'train')[2] == ' '
  write(tmp_path, {'ptb.char.test.txt': '_ b'})
  for unit, tokens in (('char', ['_', 'b', EOS]), ('word', ['b', EOS])):
    assert words(text.load(str(tmp_path), unit), 'test') == tokens


def test_rare_tokens_and_a_short_training_text(tmp_path):
  files = {'train.txt': 'a a b b c\n', 'valid.txt': 'a c d\n', 'test.txt': 'b\n'}
  corpus = text.load(write(tmp_path, files), min_count=2)
  assert words(corpus, 'train') == ['a', 'a', 'b', 'b', UNK, EOS]
  assert words(corpus, 'validation') == ['a', UNK, UNK, EOS]
  short = text.load(str(tmp_path), num_train=2, min_count=2)
  assert words(short, 'train') == ['a', 'a']
  assert words(short, 'validation') == ['a', UNK, UNK, EOS]


BAD = {
  'no split': (
    {name: PTB[name] for name in ('ptb.train.txt', 'ptb.test.txt')},
    r'expected ptb.valid.txt too$',
  ),
  'nothing': ({}, r'expected ptb.\{train,valid,test\}.txt, or .*wiki'),
  'empty': ({**PTB, 'ptb.valid.txt': ''}, r'ptb.valid.txt: expected text, found none$'),
  'blank': ({**PTB, 'ptb.test.txt': '\n \n'}, r'ptb.test.txt: expected text, found'),
  'unknown': (
    {**PTB, 'ptb.train.txt': 'the cat sat\n', 'ptb.test.txt': 'the\ncat dog\n'},
    r"ptb.valid.txt: line 1: 'dog' is not in the training text, .* --min_count=2",
  ),
  'short': (PTB, r'--num_train: 12 is more than the 11 tokens of .*ptb.train.txt$'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_text_is_one_line(tmp_path, case):
  files, message = BAD[case]
  with pytest.raises(InputError, match=message) as caught:
    text.load(write(tmp_path, files), num_train=12 if case == 'short' else 0)
  assert '\n' not in str(caught.value)


def test_text_that_is_no_utf_8(tmp_path):
  write(tmp_path, PTB)
  (tmp_path / 'ptb.valid.txt').write_bytes('the café\n'.encode('latin-1'))
  with pytest.raises(InputError, match=r'valid.txt: expected text in UTF-8, byte 7 is'):
    text.load(str(tmp_path))


def test_directories_that_are_none(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(InputError, match=r'expected a directory of text, .* is a file'):
    text.load(str(tmp_path / 'file'))
  with pytest.raises(InputError, match=r'nowhere is not there'):
    text.load(str(tmp_path / 'nowhere'))


# Streams


TOKENS = np.arange(1, 48, dtype=np.int32)


@pytest.mark.parametrize('count', [1, 2, 5, 7, 60])
@pytest.mark.parametrize('unroll', [1, 4, 100])
def test_every_token_of_an_evaluation_is_a_label_once(count, unroll):
  batches = list(streams.evaluation(TOKENS, 0, count, unroll))
  assert len({batch['label'].shape for batch in batches}) == 1
  labels = np.concatenate([batch['label'][batch['mask']] for batch in batches])
  inputs = np.concatenate([batch['inputs'][batch['mask']] for batch in batches])
  np.testing.assert_array_equal(np.sort(labels), TOKENS)
  np.testing.assert_array_equal(inputs, labels - 1)  # the one before; 0 is the end


def test_a_stream_goes_on_from_batch_to_batch():
  length = -(-len(TOKENS) // 5)
  parts: list[list[np.ndarray]] = []
  for batch in streams.evaluation(TOKENS, 0, 5, 4):
    if batch['start']:
      parts.append([])
    parts[-1].append(np.where(batch['mask'], batch['label'], 0))
  rows = np.concatenate([np.concatenate(part, axis=1) for part in parts])
  for index in range(5):
    expected = TOKENS[index * length : (index + 1) * length]
    np.testing.assert_array_equal(rows[index][: len(expected)], expected)
    assert not rows[index][len(expected) :].any()


def test_training_reads_every_stream_in_order_and_starts_anew():
  per_epoch = streams.steps_per_epoch(len(TOKENS), 3, 4)
  assert per_epoch == 3  # 47 tokens: streams of 15, of which 12 are read
  batches = list(itertools.islice(streams.training(TOKENS, 0, 3, 4, 0), 7))
  assert [bool(batch['start']) for batch in batches] == [True, False, False] * 2 + [
    True
  ]
  epoch = np.concatenate([batch['label'] for batch in batches[:3]], axis=1)
  np.testing.assert_array_equal(epoch, TOKENS[:45].reshape(3, 15)[:, :12])
  for batch in batches:
    np.testing.assert_array_equal(batch['inputs'], batch['label'] - 1)
  later = next(streams.training(TOKENS, 0, 3, 4, 5))
  for name, array in later.items():
    np.testing.assert_array_equal(array, batches[5][name])


def test_a_batch_larger_than_the_text():
  with pytest.raises(InputError, match=r'a batch of 12 x 4 tokens is more than the 47'):
    next(streams.training(TOKENS, 0, 12, 4, 0))
