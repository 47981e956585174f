"""Word pieces, and the large texts they are for."""

import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import prepared
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

import regularizers as reg
from experiments.datasets import pieces, web_text
from experiments.datasets.corpus import EOS, UNK
from experiments.errors import InputError
from experiments.language import language_modelling
from experiments.models.language_model import LanguageModel
from experiments.state import init_state, stack
from experiments.train import training

VOCABULARY, SAMPLE = 330, 30
TRAIN, HELD_OUT = 60, 21
WORDS = (
  'the',
  'cat',
  'sat',
  'on',
  'a',
  'mat',
  'while',
  'seven',
  'others',
  'were',
  'too',
)


def document(split: str, row: int) -> str:
  random = np.random.default_rng([row, len(split)])
  return f'{split} {row}: ' + ' '.join(random.choice(WORDS, 12)) + '.'


def write(directory: pathlib.Path) -> str:
  examples = {
    split: [{'text': document(split, row)} for row in range(size)]
    for split, size in (('train', TRAIN), ('test', HELD_OUT))
  }
  return prepared.prepare('lm1b', directory, examples)


@pytest.fixture(scope='module')
def directory(tmp_path_factory) -> str:
  return write(tmp_path_factory.mktemp('lm1b'))


def load(directory: str | None, name: str = 'lm1b', **options):
  fields = {'vocabulary': VOCABULARY, 'sample': SAMPLE, 'num_train': 0, **options}
  return web_text.load(name, directory, **fields)


def model_of(directory: pathlib.Path) -> pathlib.Path:
  (path,) = directory.rglob('*.model')
  return path


def texts(corpus, split: str, model: pathlib.Path) -> list[str]:
  """The documents of a split."""
  own = pieces.Pieces(model.read_bytes())
  ids = corpus.splits[split]['label']
  (ends,) = np.nonzero(ids == corpus.eos)
  parts = np.split(ids, ends + 1)
  assert not len(parts.pop())  # after the last one stands an end, too
  return [own.decode(part[:-1]) for part in parts]


def refuses(message: str, function, *args, **options) -> None:
  with pytest.raises(InputError, match=message) as caught:
    function(*args, **options)
  assert '\n' not in str(caught.value)


# Word pieces


@pytest.fixture(scope='module')
def learned() -> pieces.Pieces:
  rows = [document('train', row) for row in range(TRAIN)]
  return pieces.Pieces(pieces.train(rows, VOCABULARY))


@given(st.text(st.characters(exclude_categories=('Cs',), exclude_characters='\0▁')))
def test_text_comes_back_as_it_was(learned, text):
  (ids,) = learned.encode([text])
  assert learned.decode(ids) == text
  assert learned.eos not in ids
  assert learned.vocabulary.index(UNK) not in ids


@pytest.mark.parametrize(
  'text', ['', ' ', '  two  blanks ', 'a\n\nb\t', f'{EOS} {UNK}', '日本 é', 'the cat']
)
def test_hard_texts_come_back_too(learned, text):
  (ids,) = learned.encode([text])
  assert learned.decode(ids) == text
  assert learned.eos not in ids


def test_frequent_words_are_one_piece_and_the_vocabulary_says_which(learned):
  assert len(learned.vocabulary) == len(set(learned.vocabulary)) == VOCABULARY
  (ids,) = learned.encode(['on the cat'])
  assert ''.join(learned.vocabulary[i] for i in ids) == 'on▁the▁cat'
  assert '▁the' in learned.vocabulary
  assert learned.vocabulary[learned.eos] == EOS


def test_the_same_text_gives_the_same_pieces():
  rows = [document('train', row) for row in range(TRAIN)]
  assert pieces.train(rows, 300) == pieces.train(iter(rows), 300)
  assert pieces.train(rows[1:], 300) != pieces.train(rows, 300)


@pytest.mark.parametrize(
  ('rows', 'size', 'message'),
  [
    (['the cat'], 20, r'Vocabulary size is smaller than required_chars. 20 vs'),
    (['the cat'], 5000, 'Vocabulary size too high .5000'),
    ([' ', ''], 300, 'cannot learn 300 pieces: no text'),
  ],
)
def test_pieces_that_cannot_be_learned(rows, size, message):
  refuses(message, pieces.train, rows, size)


# The corpus


def test_every_document_is_there_once(tmp_path, directory):
  corpus = load(directory, cache_dir=str(tmp_path))
  model = model_of(tmp_path)
  found = {split: texts(corpus, split, model) for split in corpus.splits}
  expected = {
    'train': {document('train', row) for row in range(TRAIN)},
    'held out': {document('test', row) for row in range(HELD_OUT)},
  }
  assert len(found['train']) == TRAIN
  assert set(found['train']) == expected['train']
  validation, test = set(found['validation']), set(found['test'])
  assert (len(found['validation']), len(found['test'])) == (10, 11)
  assert not validation & test
  assert validation | test == expected['held out']
  for split, arrays in corpus.splits.items():
    assert arrays['label'].dtype == np.int32
    assert corpus.about['tokens'][split] == len(arrays['label'])
  assert (corpus.name, corpus.num_classes) == ('lm1b', VOCABULARY)
  assert corpus.about['version'] == 'lm1b/1.1.0'


def test_no_more_is_kept_than_asked_for(tmp_path, directory):
  options = {'cache_dir': str(tmp_path)}
  whole = load(directory, **options)
  part = load(directory, num_train=100, num_eval=70, **options)
  for split, size in (('train', 100), ('validation', 70), ('test', 70)):
    expected = whole.splits[split]['label'][:size]
    np.testing.assert_array_equal(part.splits[split]['label'], expected)
  size = len(whole.splits['train']['label'])
  message = f'--num_train: {size + 1} is more than the {size} tokens of lm1b/1.1.0'
  refuses(message, load, directory, num_train=size + 1, **options)


def test_blocks_change_nothing(tmp_path, directory, monkeypatch):
  whole = load(directory, cache_dir=str(tmp_path / 'a'))
  monkeypatch.setattr(web_text, 'BLOCK', 7)
  again = load(directory, cache_dir=str(tmp_path / 'b'))
  assert whole.fingerprint == again.fingerprint
  assert whole.about == again.about


def test_pieces_are_learned_once_for_a_sample_and_size(
  tmp_path, directory, monkeypatch
):
  cache = str(tmp_path)
  first = load(directory, cache_dir=cache)
  assert model_of(tmp_path).name == 'lm1b-1.1.0-30-documents-330.model'
  with monkeypatch.context() as patch:
    patch.setattr(pieces, 'train', None)
    assert load(directory, cache_dir=cache).fingerprint == first.fingerprint
  load(directory, cache_dir=cache, vocabulary=320)
  load(directory, cache_dir=cache, sample=10)
  assert len(list(tmp_path.iterdir())) == 3


class InMemory(list):
  """What tensorflow-datasets would read."""

  def __init__(self, builder, split: str, **_):
    self.dataset_info = builder.info
    size = TRAIN if split == 'train' else HELD_OUT
    super().__init__({'text': document(split, row)} for row in range(size))

  def __getitems__(self, rows):
    return [self[row] for row in rows]


@pytest.mark.parametrize(('name', 'held_out'), web_text.HELD_OUT.items())
def test_splits_as_the_catalogue_has_them(tmp_path, name, held_out):
  def make(builder, **options) -> InMemory:
    return InMemory(builder, **options)  # a method, which a class would not become

  with tfds.testing.mock_data(as_data_source_fn=make):
    corpus = load(None, name, cache_dir=str(tmp_path))
  found = {split: texts(corpus, split, model_of(tmp_path)) for split in corpus.splits}
  expected = [document(held_out, row) for row in range(HELD_OUT)]
  assert found['validation'] + found['test'] == expected
  assert found['train'] == [document('train', row) for row in range(TRAIN)]
  assert corpus.about['version'].startswith(f'{name}/')


def test_a_language_model_trains_on_it(directory, tmp_path):
  corpus = load(directory, cache_dir=str(tmp_path))
  task = language_modelling(
    lambda rngs: LanguageModel(corpus.num_classes, 4, 4, 1, rngs=rngs),
    {0: corpus},
    **{'batch_size': 2, 'unroll': 5, 'eval_streams': 2},
  )
  losses, optimizer = stack([reg.cross_entropy]), optax.sgd(0.1)
  state = init_state(task, losses, optimizer, (0,))
  steps = training(*(task, losses, optimizer, state), num_steps=1, log_every=1)
  ((state, (row,)),) = steps
  assert row['nll'] == pytest.approx(np.log(VOCABULARY), rel=0.05)
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.runs.params))


# What is wrong with data


def test_no_data(tmp_path, directory):
  refuses('expected lm1b or c4/en, got c4', load, directory, 'c4')
  refuses('nowhere: no such directory', load, str(tmp_path / 'nowhere'))
  for name in web_text.HELD_OUT:
    message = f'split train of {name} in {tmp_path}: prepare it with .*array_record'
    refuses(message, load, str(tmp_path), name)


def test_bad_caches(tmp_path, directory):
  cache = str(tmp_path)
  load(directory, cache_dir=cache)
  path = model_of(tmp_path)
  content = path.read_bytes()
  for bad in (b'', b'junk', content[:100]):
    path.write_bytes(bad)
    refuses(f'{path}: not word pieces .*: delete it', load, directory, cache_dir=cache)
  path.write_bytes(pieces.train([document('train', 0)] * 2, 290))
  message = f'{path}: expected 330 pieces, found 290: delete it'
  refuses(message, load, directory, cache_dir=cache)
  refuses(f'--cache_dir: {path}.*: File exists', load, directory, cache_dir=str(path))


def test_a_damaged_file(tmp_path, directory):
  shutil.copytree(directory, tmp_path / 'copy')
  path = next((tmp_path / 'copy').rglob('*-train.array_record*'))
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  message = r'lm1b/1.1.0, train: cannot read example \d+: '
  refuses(message, load, str(tmp_path / 'copy'), cache_dir=str(tmp_path))
  assert not list(tmp_path.glob('*.model'))


def test_too_few_documents(tmp_path):
  rows = [{'text': document('train', row)} for row in range(TRAIN)]
  prepared.prepare('lm1b', tmp_path, {'train': rows, 'test': rows[:1]})
  refuses('lm1b/1.1.0: expected more documents, found 1', load, str(tmp_path))
