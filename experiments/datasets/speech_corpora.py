"""Corpora of speech as experiments take them: TIMIT, WSJ, spoken digits."""

import os
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

from experiments.datasets import espeak, phones, synthetic_speech
from experiments.datasets import fsdd as fsdd_files
from experiments.datasets import timit as timit_files
from experiments.datasets import wsj as wsj_files
from experiments.datasets.directories import default_cache
from experiments.datasets.recordings import Settings
from experiments.datasets.speech import Speech, Split
from experiments.datasets.speech_features import Features, Sound, prepare
from experiments.datasets.speech_units import Letters, Symbols
from experiments.datasets.units import Units
from experiments.datasets.utterances import Corpus

Path = str | os.PathLike[str]
SYNTHETIC = 'synthetic'


class Options(TypedDict, total=False):
  """What all corpora have in common.

  Attributes:
    num_mel: number of filters; 40.
    batch_frames: frames of a batch, with the padding; 4000.
    num_shapes: most shapes of batches; 4.
    multiple: of which the frames of a batch are one; 8.
    skip_bad: leave out recordings that are missing or damaged, and say which.
  """

  num_mel: int
  batch_frames: int
  num_shapes: int
  multiple: int
  skip_bad: bool


def timit(
  manual_dir: Path | None = None,
  cache_dir: Path | None = None,
  settings: Settings | None = None,
  **options: Unpack[Options],
) -> Speech:
  """TIMIT's 61 phones.

  Args:
    manual_dir: the corpus; None: synthetic speech in its form.
    cache_dir: where synthetic speech and features are kept; None: with the user's other
      caches.
    settings: size of the synthetic corpus.
    **options: see ``Options``.

  Raises:
    InputError: files are missing or damaged, or a package is not installed.
  """
  cache, root = _cache(cache_dir), manual_dir
  if root is None:
    root = synthetic_speech.timit(cache, settings or Settings())
  corpus = timit_files.read(pathlib.Path(root), skip_bad=options.get('skip_bad', False))
  units = Symbols(tuple(sorted(phones.PHONES)))
  splits = {
    split: [_Said(one, ' '.join(phone.label for phone in one.phones)) for one in own]
    for split, own in corpus.splits.items()
  }
  name, about = _origin(corpus, manual_dir)
  return _speech(name, splits, units, cache, about, options)


def wsj(
  manual_dir: Path | None = None,
  cache_dir: Path | None = None,
  settings: Settings | None = None,
  train: str = 'si284',
  **options: Unpack[Options],
) -> Speech:
  """The characters of WSJ: dev93 for validation, eval92 for testing.

  Args:
    manual_dir: the corpora; None: synthetic speech in their form.
    cache_dir: as of ``timit``.
    settings: as of ``timit``.
    train: ``'si284'`` or ``'si84'``.
    **options: see ``Options``.

  Raises:
    InputError: files are missing or damaged, or a package is not installed.
  """
  cache, root = _cache(cache_dir), manual_dir
  if root is None:
    root = synthetic_speech.wsj(cache, settings or Settings())
  corpus = wsj_files.read(
    pathlib.Path(root), training=train, skip_bad=options.get('skip_bad', False)
  )
  # All letters, for a small corpus may lack some.
  texts = [one.text for one in corpus.splits['train']]
  units = Letters.of([string.ascii_uppercase, *texts])
  splits = {
    split: [_Said(one, one.text) for one in own] for split, own in corpus.splits.items()
  }
  name, about = _origin(corpus, manual_dir)
  return _speech(name, splits, units, cache, {**about, 'train': train}, options)


def _origin(corpus: Corpus, manual_dir: Path | None) -> tuple[str, dict[str, Any]]:
  """The name of the data set, and what the records say of where it comes from."""
  about = {'speakers': corpus.speakers, 'bad': dict(corpus.bad)}
  if manual_dir is not None:
    if corpus.synthetic:
      return SYNTHETIC, {**about, 'synthetic': 'as its files say'}
    return corpus.name, about
  made_by = f'eSpeak NG, espeakng-loader {espeak.version()}'
  return SYNTHETIC, {**about, 'synthetic': made_by}


def fsdd(
  data_dir: Path,
  cache_dir: Path | None = None,
  left_out: str = 'yweweler',
  **options: Unpack[Options],
) -> Speech:
  """Spoken digits, as phones.

  Args:
    data_dir: ``recordings.zip``, or a directory with what is in it.
    cache_dir: as of ``timit``.
    left_out: the speaker who is in no split but ``'test'``.
    **options: see ``Options``.

  Raises:
    InputError: files are missing or damaged, or a package is not installed.
  """
  read = fsdd_files.read(data_dir, left_out)
  splits = {split: [_Said(one, one.text) for one in own] for split, own in read.items()}
  units = Symbols(tuple(fsdd_files.vocabulary()))
  about = {'left_out': left_out}
  return _speech('fsdd', splits, units, _cache(cache_dir), about, options)


class _Said(NamedTuple):
  """A recording, and what is recognised of it."""

  sound: Sound
  text: str


def _cache(directory: Path | None) -> pathlib.Path:
  return default_cache() if directory is None else pathlib.Path(directory)


def _speech(
  name: str,
  splits: Mapping[str, Sequence[_Said]],
  units: Units,
  cache: pathlib.Path,
  about: Mapping[str, Any],
  options: Options,
) -> Speech:
  """Features and texts of what can be read."""
  num_mel, skip_bad = options.get('num_mel', 40), options.get('skip_bad', False)
  bad = dict(about.get('bad', {}))
  utterances = {}
  for split, own in splits.items():
    features = prepare([said.sound for said in own], cache, num_mel, skip_bad)
    bad |= features.bad
    utterances[split] = _split(features, own)
  about = {
    **about,
    'utterances': {split: len(own.texts) for split, own in utterances.items()},
    'frames': {split: len(own.features.values) for split, own in utterances.items()},
    'features': f'{num_mel} mel filters and energy, two deltas, by speaker',
    'bad': bad,
  }
  sizes = (options.get('batch_frames', 4000), options.get('num_shapes', 4))
  speech = Speech(name, utterances, units, *sizes, options.get('multiple', 8), about)
  plans = speech.plans.items()
  about['padding'] = {split: round(plan.waste, 3) for split, plan in plans}
  return speech


def _split(features: Features, own: Sequence[_Said]) -> Split:
  """What was said in the recordings that could be read."""
  said = {one.sound.name: one for one in own}
  there = [said[name] for name in features.names]
  phones = [getattr(one.sound, 'phones', ()) for one in there]
  return Split(features, [one.text for one in there], phones if all(phones) else None)
