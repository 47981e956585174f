"""Texts and their translations, sentence by sentence."""

import dataclasses
import functools
import hashlib
import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from experiments.datasets import catalogue, files, wmt_files
from experiments.errors import InputError

WMT14 = 'wmt14_translate/de-en'
BLOCK = 1000  # examples read at once
_SGML, _XML = ('.sgm', '.sgml'), ('.xml',)
# What the paper validates on; tfds itself prepares the second alone.
_VALIDATION = ('newstest2012', 'newstest2013')


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Sentences and their translations.

  Attributes:
    sources: ``n`` sentences.
    targets: the translation of each.
  """

  sources: tuple[str, ...]
  targets: tuple[str, ...]

  def __post_init__(self) -> None:
    if len(self.sources) != len(self.targets):
      raise ValueError(f'{len(self.sources)} sources, {len(self.targets)} targets')

  def __len__(self) -> int:
    return len(self.sources)


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Splits of pairs.

  Attributes:
    name: what the user asked for.
    splits: ``'train'``, ``'validation'``, ``'test'`` and other test sets.
    dropped: by split, how many pairs were left out and why.
    parts: by split, the catalogue's names of what it is made of, if it is from there.
  """

  name: str
  splits: Mapping[str, Pairs]
  dropped: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
  parts: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def fingerprint(self) -> str:
    """sha256 over the names of the splits and all texts."""
    digest = hashlib.sha256()
    for split, pairs in sorted(self.splits.items()):
      digest.update(f'{split} {len(pairs)}\n'.encode())
      for source, target in zip(pairs.sources, pairs.targets, strict=True):
        # The lengths tell where one ends and the next begins.
        digest.update(f'{len(source)} {len(target)}\n{source}{target}'.encode())
    return digest.hexdigest()


def load(
  name: str,
  paths: Mapping[str, Sequence[tuple[str, str]]],
  longest: int = 0,
  translators: Sequence[str] = (),
) -> Corpus:
  """Reads the files of each split, source and target, one after the other.

  Args:
    name: of the corpus.
    paths: by split; see ``read``.
    longest: longer pairs are dropped, from training alone.
    translators: see ``read``.

  Raises:
    InputError: as ``read``; translators of files none of which is XML.
  """
  splits, dropped = {}, {}
  every = [
    pathlib.Path(path) for own in paths.values() for both in own for path in both
  ]
  if translators and not any(_kind(path) == _XML for path in every):
    raise InputError('--translator: applies to files of XML alone')
  for split, files_of_split in paths.items():
    limit = longest if split == 'train' else 0
    parts = [
      read(*both, longest=limit, translators=translators) for both in files_of_split
    ]
    splits[split] = Pairs(
      tuple(text for pairs, _ in parts for text in pairs.sources),
      tuple(text for pairs, _ in parts for text in pairs.targets),
    )
    counts: Counter[str] = Counter()
    for _, own in parts:
      counts.update(own)
    dropped[split] = dict(counts)
  return Corpus(name, splits, dropped)


def read(
  source_path: str | os.PathLike[str],
  target_path: str | os.PathLike[str],
  *,
  longest: int = 0,
  translators: Sequence[str] = (),
) -> tuple[Pairs, dict[str, int]]:
  """Reads two files that belong together.

  Names that end in ``.sgm`` are WMT's pseudo-SGML, in ``.xml`` its XML since 2021,
  where both may be one file; others hold a sentence a line. Each may be gzipped
  (``.gz``). Blanks around a sentence are left out.

  Args:
    source_path: a file.
    target_path: its translation.
    longest: pairs with more characters on either side are dropped; 0: none.
    translators: of the references, where an XML has several: the first of these that
      it has; none: its first.

  Returns:
    The pairs, and how many were dropped: ``'empty'`` on either side, too ``'long'``,
    and of XML ``'test suite'`` and ``'no reference'``.

  Raises:
    InputError: a file is missing, damaged or not in UTF-8, the two do not belong
      together, or nothing is left.
  """
  source, target = pathlib.Path(source_path), pathlib.Path(target_path)
  kind = _kind(source)
  if kind != _kind(target):
    raise InputError(f'{source}, {target}: expected two files of one format')
  dropped: dict[str, int] = {}
  if kind == _XML:
    texts, dropped = wmt_files.xml(source, target, translators)
  else:
    texts = (wmt_files.sgml if kind == _SGML else _plain)(source, target)
  pairs, others = _filtered(texts, longest)
  dropped = {**others, **dropped}
  if not pairs:
    why = ', '.join(f'{count} {reason}' for reason, count in dropped.items() if count)
    raise InputError(f'{source}, {target}: no pairs' + f' but {why}' * bool(why))
  return pairs, dropped


def _kind(path: pathlib.Path) -> tuple[str, ...]:
  suffix = pathlib.Path(path.name.lower().removesuffix('.gz')).suffix
  return next((kind for kind in (_SGML, _XML) if suffix in kind), ())


def _plain(source: pathlib.Path, target: pathlib.Path) -> wmt_files.Texts:
  sides = [files.lines(files.decode(files.read(p), p)) for p in (source, target)]
  sources, targets = ([line.strip() for line in side] for side in sides)
  if len(sources) != len(targets):
    raise InputError(
      f'{target}: expected {len(sources)} lines as in {source}, found {len(targets)}'
    )
  return list(zip(sources, targets, strict=True))


def _filtered(
  texts: Iterable[tuple[str, str]], longest: int, count: int = 0
) -> tuple[Pairs, dict[str, int]]:
  """What is neither empty nor too long, up to ``count`` pairs."""
  kept: list[tuple[str, str]] = []
  dropped = {'empty': 0, 'long': 0}
  for pair in texts:
    if not all(pair):
      dropped['empty'] += 1
    elif longest and max(map(len, pair)) > longest:
      dropped['long'] += 1
    else:
      kept.append(pair)
      if len(kept) == count:
        break
  return Pairs(tuple(s for s, _ in kept), tuple(t for _, t in kept)), dropped


def wmt14(data_dir: str | None = None, num_train: int = 0, longest: int = 0) -> Corpus:
  """English to German, as ``tfds.builder('wmt14_translate/de-en')`` prepared it.

  Its own splits are ``train`` (Europarl v7, Common Crawl, News Commentary v9; 4.5
  million pairs), ``validation`` (newstest2013) and ``test`` (newstest2014). If splits
  of the names newstest2012 and newstest2013 were prepared, these two are validation.

  Args:
    data_dir: where tensorflow-datasets keeps data; None: its default.
    num_train: how many pairs of training to keep, the first, which tfds has drawn at
      random; 0: all.
    longest: as for ``load``.

  Raises:
    InputError: the data are not prepared, damaged or too few.
  """
  train = catalogue.Source(WMT14, 'train', data_dir, raw=())
  where = f' of {train.version}'
  check_count(num_train, len(train), where)  # before millions are read
  prepared: dict[str, tuple[str, ...]]
  prepared = {'train': ('train',), 'validation': ('validation',), 'test': ('test',)}
  if set(_VALIDATION) <= set(train.splits):
    prepared['validation'] = _VALIDATION
  splits, dropped = {}, {}
  for split, parts in prepared.items():
    sources = [catalogue.Source(WMT14, part, data_dir, raw=()) for part in parts]
    texts = itertools.chain.from_iterable(map(_examples, sources))
    limits = (longest, num_train) if split == 'train' else (0, 0)
    splits[split], dropped[split] = _filtered(texts, *limits)
    if not splits[split]:
      raise InputError(f'{train.version}, {split}: no pairs')
  check_count(num_train, len(splits['train']), where)
  return Corpus('wmt14', splits, dropped, prepared)


def check_count(num_train: int, there: int, where: str = '') -> None:
  """Raises InputError if there are fewer pairs of training than are wanted."""
  if num_train > there:
    raise InputError(f'--num_train: {num_train} is more than the {there} pairs{where}')


def _examples(source: catalogue.Source) -> Iterator[tuple[str, str]]:
  for start in range(0, len(source), BLOCK):
    for example in source.read(range(start, min(start + BLOCK, len(source)))):
      yield catalogue.text(example['en']).strip(), catalogue.text(example['de']).strip()
