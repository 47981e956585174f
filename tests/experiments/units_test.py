"""Characters and pieces: special ids, and text that comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.datasets import pieces, units
from experiments.datasets.units import (
  END,
  PADDING,
  START,
  UNKNOWN,
  Characters,
  Pieces,
  Words,
)
from experiments.errors import InputError

TEXTS = ('zwei Hunde bellen', 'drei Hunde bellen laut', 'ein Hund bellt', 'süß!') * 5
SIZE = 50
ALPHABET = ''.join(sorted(set(''.join(TEXTS))))


@pytest.fixture(scope='module', params=['characters', 'pieces'])
def of_texts(request) -> units.Units:
  return (
    Characters.of(TEXTS) if request.param == 'characters' else Pieces.of(TEXTS, SIZE)
  )


def test_words_by_hand():
  words = Words.of(['forty-two, and', 'two hundred'])
  assert words.vocabulary == (',', '-', 'and', 'forty', 'hundred', 'two')
  ids = words.encode('two-hundred or  two')
  assert ids == [9, 5, 8, UNKNOWN, 9]
  assert words.decode(ids) == 'two - hundred \ufffd two'
  assert words.show([9, END]) == ['two', '⟨end⟩']
  assert words.sha256 != Characters(words.vocabulary).sha256


@given(text=st.text(ALPHABET))
def test_text_comes_back(of_texts, text):
  ids = of_texts.encode(text)
  assert of_texts.decode(ids) == text
  assert all(UNKNOWN < index < of_texts.size for index in ids)
  assert of_texts.encode_all([text, '', text]) == [ids, [], ids]


@given(text=st.text())
def test_any_text_encodes(of_texts, text):
  ids = of_texts.encode(text)
  assert not {PADDING, START, END} & set(ids)
  assert all(0 <= index < of_texts.size for index in ids)
  of_texts.decode(ids)


@pytest.mark.parametrize('name', ['<pad>', '<s>', '</s>', '<eos>', '<unk>', '\0'])
def test_names_of_special_ids_are_text(of_texts, name):
  assert not {PADDING, START, END} & set(of_texts.encode(name))


@given(ids=st.lists(st.integers(0, 20)))
def test_what_stands_around_a_text(of_texts, ids):
  body = [index for index in ids if index != END]
  text = of_texts.decode(body)
  assert of_texts.decode([START, *body, END, 5, 6, PADDING]) == text
  assert of_texts.decode([PADDING, *body]) == text


def test_unknown_characters(of_texts):
  ids = of_texts.encode('ein☃Hund')
  assert ids.count(UNKNOWN) == 1
  assert of_texts.decode(ids) == 'ein\ufffdHund'


def test_ids_that_are_none(of_texts):
  for index in (-1, of_texts.size):
    with pytest.raises(ValueError, match=f'^expected ids below {of_texts.size}, got'):
      of_texts.decode([5, index])
  of_texts.decode([END, of_texts.size])  # nobody reads what is behind the end


def test_sizes():
  characters = Characters.of(TEXTS)
  assert characters.size == 4 + len(ALPHABET)
  assert ''.join(characters.vocabulary) == ALPHABET
  assert Pieces.of(TEXTS, SIZE).size == SIZE
  assert Characters.of([]).size == 4


def test_digests_tell_units_apart():
  assert Characters.of(TEXTS).sha256 == Characters.of(TEXTS[::-1]).sha256
  assert Characters.of(TEXTS).sha256 != Characters.of(TEXTS[:2]).sha256
  assert Pieces.of(TEXTS, SIZE).sha256 == Pieces.of(TEXTS, SIZE).sha256
  assert Pieces.of(TEXTS, SIZE).sha256 != Pieces.of(TEXTS, SIZE - 1).sha256


def test_pieces_are_learned_once_for_a_text_and_size(tmp_path, monkeypatch):
  cache = str(tmp_path / 'new')
  first = Pieces.of(TEXTS, SIZE, cache)
  with monkeypatch.context() as patch:
    patch.setattr(pieces, 'train', None)
    again = Pieces.of(TEXTS, SIZE, cache)
  assert first.sha256 == again.sha256 == Pieces.of(TEXTS, SIZE).sha256
  others = Pieces.of(TEXTS[:-1] + ('noch einer',), SIZE, cache)
  assert others.sha256 != first.sha256
  Pieces.of(TEXTS, SIZE - 1, cache)
  assert len(list((tmp_path / 'new').iterdir())) == 3


def test_bad_files(tmp_path):
  cache = str(tmp_path)
  Pieces.of(TEXTS, SIZE, cache)
  (path,) = tmp_path.iterdir()
  content = path.read_bytes()
  for bad in (b'', b'junk', content[:100]):
    path.write_bytes(bad)
    with pytest.raises(InputError, match=f'^{path}: not word pieces .*: delete it$'):
      Pieces.of(TEXTS, SIZE, cache)
  path.write_bytes(pieces.train(['the cat sat on the mat'] * 5, 270))
  with pytest.raises(InputError, match=f'^{path}: expected {SIZE} pieces, found 270'):
    Pieces.of(TEXTS, SIZE, cache)
  language = pieces.train(['the cat sat on the mat'] * 5, 270)
  (tmp_path / path.name.replace(str(SIZE), '270')).write_bytes(language)
  with pytest.raises(InputError, match=r': pieces of another kind: delete it$'):
    Pieces.of(TEXTS, 270, cache)


@pytest.mark.parametrize('texts', [(), ('',), TEXTS])
def test_texts_too_short_for_so_many_pieces(texts):
  with pytest.raises(InputError, match=r'^--vocabulary: cannot learn 9999 pieces: .'):
    Pieces.of(texts, 9999)
