"""Word pieces: parts of words that are learned from a text."""

import hashlib
import io
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.datasets.catalogue import kept, reason
from experiments.datasets.corpus import EOS, UNK
from experiments.errors import InputError

LONGEST = 16_384  # bytes of a line; sentencepiece skips longer ones
Options = Mapping[str, int | float | str | bool]
# An unknown character is its bytes.
LANGUAGE: Options = {
  **{'unk_id': 0, 'eos_id': 1, 'bos_id': -1, 'pad_id': -1},
  'byte_fallback': True,
}
# No bytes: 256 classes that hardly occur would take their share of the smoothing.
TRANSLATION: Options = {
  **{'pad_id': 0, 'bos_id': 1, 'eos_id': 2, 'unk_id': 3},
  'unk_surface': '\ufffd',
  'character_coverage': 1.0,
}


class Pieces:
  """Text as ids and back.

  Attributes:
    vocabulary: what the ids stand for; ``'▁'`` is a blank.
    eos: the id that ends a text; no text encodes to it.
    content: the model.
    sha256: of the model.
  """

  def __init__(self, model: bytes):
    """Reads what ``train`` returned.

    Raises:
      ValueError: it is not that.
    """
    import sentencepiece

    if not model:  # sentencepiece takes it
      raise ValueError('it is empty')
    try:
      self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
      raise ValueError(reason(error)) from error
    size = self._processor.get_piece_size()
    self.vocabulary = tuple(self._processor.id_to_piece(list(range(size))))
    self.eos = int(self._processor.eos_id())
    self.content = model
    self.sha256 = hashlib.sha256(model).hexdigest()
    if EOS not in self.vocabulary:
      raise ValueError(f'no {EOS} among {size} pieces')

  def encode(self, texts: list[str]) -> list[list[int]]:
    """The ids of each text."""
    encoded: list[list[int]] = self._processor.encode(texts)
    return encoded

  def decode(self, ids: Iterable[int]) -> str:
    """The text of some ids."""
    decoded: str = self._processor.decode([int(index) for index in ids])
    return decoded


def train(texts: Iterable[str], size: int, options: Options = LANGUAGE) -> bytes:
  """A model of ``size`` pieces, by merging the most frequent pairs of pieces.

  Counts of pairs are integers, so the same text gives the same model.

  Args:
    texts: of any number of lines.
    size: of the vocabulary, with ``<unk>``, the end of text and the 256 bytes.
    options: of sentencepiece: ``LANGUAGE`` or ``TRANSLATION``.

  Raises:
    InputError: the text is too short for so many pieces, or has too many characters.

  References:
    Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword
    Units", 2016.
  """
  import sentencepiece

  model = io.BytesIO()
  # What is trained on ends at a line, what is encoded need not.
  lines = (line for text in texts for line in text.splitlines() if line.strip())
  settings: dict[str, Any] = {
    'model_type': 'bpe',
    'max_sentence_length': LONGEST,
    # Text is left as it is, blanks too, so that it can be had back.
    'normalization_rule_name': 'identity',
    'remove_extra_whitespaces': False,
    'add_dummy_prefix': False,
    **{'unk_piece': UNK, 'eos_piece': EOS},
    **options,
    'num_threads': 1,  # it is written into the model
    'minloglevel': 2,
  }
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=lines, model_writer=model, vocab_size=size, **settings
    )
  except RuntimeError as error:
    # After the place in its source.
    fault = reason(error).rpartition(']')[2].strip() or 'no text'
    raise InputError(f'--vocabulary: cannot learn {size} pieces: {fault}') from error
  return model.getvalue()


def trained(
  texts: Iterable[str], size: int, path: pathlib.Path, options: Options = LANGUAGE
) -> Pieces:
  """The pieces kept in a file; learned and kept there the first time.

  Raises:
    InputError: they cannot be learned, or the file is something else.
  """
  try:
    pieces = Pieces(kept(path, lambda: train(texts, size, options)))
  except ValueError as error:
    raise InputError(f'{path}: not word pieces ({error}): delete it') from error
  if len(pieces.vocabulary) != size:
    raise InputError(
      f'{path}: expected {size} pieces, found {len(pieces.vocabulary)}: delete it'
    )
  return pieces
