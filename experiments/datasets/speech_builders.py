"""TIMIT and WSJ for tensorflow-datasets, prepared from the directories of the LDC.

``tfds.builder('ldc_timit')`` and ``tfds.builder('ldc_wsj')`` know them once this module
is imported. TensorFlow is not needed.
"""

import abc
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.datasets import catalogue, timit, wsj
from experiments.datasets.catalogue import text
from experiments.datasets.utterances import Corpus, Interval, Utterance
from experiments.errors import InputError

STRICT, LENIENT = 'strict', 'skip_bad'
_BLOCK = 256  # examples


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """A way to read a corpus.

  Attributes:
    training: of WSJ.
    skip_bad: leave out what cannot be read.
  """

  training: str = ''
  skip_bad: bool = False


class _Speech(tfds.core.GeneratorBasedBuilder):
  """What the corpora have in common."""

  VERSION = tfds.core.Version('1.0.0')

  @abc.abstractmethod
  def corpus(self, root: pathlib.Path) -> Corpus:
    """The corpus in a directory."""

  def _info(self) -> Any:
    features = tfds.features
    spans = {'start': np.int64, 'end': np.int64, 'label': features.Text()}
    return tfds.core.DatasetInfo(
      builder=self,
      description=(type(self).__doc__ or '').strip(),
      features=features.FeaturesDict(
        {
          'name': features.Text(),
          'speaker': features.Text(),
          'text': features.Text(),
          'audio': features.Tensor(shape=(None,), dtype=np.int16),
          'rate': np.int64,
          'words': features.Sequence(spans),
          'phones': features.Sequence(spans),
        }
      ),
      metadata=tfds.core.MetadataDict(
        {'manual_dir': '', 'bad': {}, 'synthetic': False}
      ),
    )

  def _split_generators(self, dl_manager: Any) -> Mapping[str, Any]:
    root = pathlib.Path(os.fspath(dl_manager.manual_dir))
    corpus = self.corpus(root)
    self.info.metadata.update(
      manual_dir=str(root.resolve()), bad=dict(corpus.bad), synthetic=corpus.synthetic
    )
    return {split: self._generate_examples(own) for split, own in corpus.splits.items()}

  def _generate_examples(self, utterances: Any) -> Iterator[tuple[str, dict]]:
    for one in utterances:
      try:
        samples, rate = one.samples()
      except InputError as error:
        if not self.builder_config.skip_bad:
          raise
        self.info.metadata['bad'][one.name] = str(error)
        continue
      yield (
        one.name,
        {
          **{key: getattr(one, key) for key in ('name', 'speaker', 'text')},
          **{'audio': samples, 'rate': rate},
          'words': [interval._asdict() for interval in one.words],
          'phones': [interval._asdict() for interval in one.phones],
        },
      )


class LdcTimit(_Speech):
  """TIMIT, see `timit.read`."""

  MANUAL_DOWNLOAD_INSTRUCTIONS = 'manual_dir: the directory TIMIT of LDC93S1'
  BUILDER_CONFIGS = (
    Config(name=STRICT, description='all of it'),
    Config(name=LENIENT, description='what can be read', skip_bad=True),
  )

  def corpus(self, root: pathlib.Path) -> Corpus:
    return timit.read(root, skip_bad=self.builder_config.skip_bad)


class LdcWsj(_Speech):
  """WSJ0 and WSJ1, see `wsj.read`."""

  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'manual_dir: where the discs of LDC93S6 and LDC94S13 lie, or wsj0 and wsj1'
  )
  BUILDER_CONFIGS = tuple(
    Config(
      name=f'{training}_{name}',
      description=f'{training}, {name}',
      training=training,
      skip_bad=name == LENIENT,
    )
    for training in reversed(wsj.TRAINING)
    for name in (STRICT, LENIENT)
  )

  def corpus(self, root: pathlib.Path) -> Corpus:
    config = self.builder_config
    return wsj.read(root, training=config.training, skip_bad=config.skip_bad)


@dataclasses.dataclass(frozen=True)
class Prepared(Utterance):
  """An utterance whose samples are in a prepared file.

  Attributes:
    source: of the examples.
    row: of this one.
  """

  source: catalogue.Source | None = dataclasses.field(
    default=None, repr=False, compare=False
  )
  row: int = 0

  def samples(self) -> tuple[np.ndarray, int]:
    assert self.source is not None
    example = self.source[self.row]
    return example['audio'], int(example['rate'])


def read(
  name: str,
  manual_dir: pathlib.Path,
  data_dir: pathlib.Path,
  *,
  training: str = 'si284',
  skip_bad: bool = False,
) -> Corpus:
  """A corpus, prepared if it is not.

  Args:
    name: ``'timit'`` or ``'wsj'``.
    manual_dir: its directory.
    data_dir: where what is prepared is kept.
    training: of WSJ.
    skip_bad: leave out what cannot be read.

  Raises:
    InputError: the corpus cannot be read, or another one has been prepared there.
  """
  if not manual_dir.is_dir():
    raise InputError(f'--manual_dir: {manual_dir}: no such directory')
  config = LENIENT if skip_bad else STRICT
  if name == wsj.NAME:
    config = f'{training}_{config}'
  kind = {timit.NAME: LdcTimit, wsj.NAME: LdcWsj}[name]
  make = functools.partial(
    kind, config=config, data_dir=os.fspath(data_dir), file_format='array_record'
  )
  builder = make()
  try:
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(
        manual_dir=os.fspath(manual_dir), try_download_gcs=False
      )
    )
  except FileExistsError:  # another process was faster
    builder = make()
  about = builder.info.metadata
  if about['manual_dir'] != str(manual_dir.resolve()):
    raise InputError(
      f'--data_dir: {builder.data_dir}: prepared from {about["manual_dir"]}, not from '
      f'{manual_dir}: delete it'
    )
  splits = {
    split: _utterances(f'{builder.name}/{config}', split, data_dir)
    for split in ('train', 'validation', 'test')
  }
  return Corpus(name, splits, about['bad'], about['synthetic'])


def _utterances(name: str, split: str, data_dir: pathlib.Path) -> list[Prepared]:
  """By name; what is said of them stands in an index, for the recordings are large.

  Raises:
    InputError: the index is damaged.
  """
  source = catalogue.Source(name, split, os.fspath(data_dir), raw=[])
  path = source.directory / f'{split}_index.json'
  content = catalogue.kept(path, lambda: _index(source))
  try:
    result = [
      Prepared(
        *(name, speaker, source.directory, said),
        words=_intervals(words),
        phones=_intervals(phones),
        source=source,
        row=row,
      )
      for row, (name, speaker, said, words, phones) in enumerate(json.loads(content))
    ]
    if len(result) != len(source):
      raise ValueError(f'{len(result)} of {len(source)} examples')
  except (ValueError, TypeError) as error:
    raise InputError(f'{path}: not an index: delete it ({error})') from error
  return sorted(result, key=lambda one: one.name)


def _intervals(spans: Any) -> tuple[Interval, ...]:
  return tuple(Interval(*span) for span in spans)


def _index(source: catalogue.Source) -> bytes:
  """All of the examples but their recordings, as JSON."""
  lines = []
  rows = range(len(source))
  for block in (rows[start : start + _BLOCK] for start in rows[::_BLOCK]):
    for example in source.read(block):
      texts = [text(example[key]) for key in ('name', 'speaker', 'text')]
      lines.append([*texts, _spans(example['words']), _spans(example['phones'])])
  return json.dumps(lines).encode()


def _spans(spans: Mapping[str, Any]) -> list[tuple[int, int, str]]:
  keys = spans['start'], spans['end'], spans['label']
  return [
    (int(start), int(end), text(label)) for start, end, label in zip(*keys, strict=True)
  ]
