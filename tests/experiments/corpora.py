"""Small trees of files as the corpora of speech have them."""

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.datasets import sphere

RATE = 16_000


def sound(path: pathlib.Path, seed: int, count: int = 1600) -> None:
  """Some noise."""
  draw = np.random.default_rng(seed)
  path.parent.mkdir(parents=True, exist_ok=True)
  sphere.write(path, draw.integers(-500, 500, count).astype(np.int16), RATE)


def timit_utterance(stem: pathlib.Path, seed: int = 0) -> None:
  """The four files of one utterance."""
  sound(stem.with_suffix('.WAV'), seed)
  stem.with_suffix('.PHN').write_text(
    '0 400 h#\n400 900 dcl\n900 1000 d\n1000 1300 uw\n1300 1600 h#\n'
  )
  stem.with_suffix('.WRD').write_text('400 1300 do\n')
  stem.with_suffix('.TXT').write_text('0 1600 Do. \n')


def timit(
  root: pathlib.Path, speakers: Sequence[str], sentences: Sequence[str]
) -> None:
  """A tree; speakers are as ``TRAIN/DR1/FABC0``."""
  for seed, speaker in enumerate(speakers):
    for sentence in sentences:
      timit_utterance(root / speaker / sentence, seed)


def wsj_session(
  folder: pathlib.Path, session: str, texts: Sequence[str], kind: str = '.wv1'
) -> list[str]:
  """Recordings and their transcript; the names of the former."""
  names = [f'{session}{index:02x}' for index in range(1, len(texts) + 1)]
  for index, name in enumerate(names):
    sound(folder / f'{name}{kind}', index)
  lines = [
    f'{text} ({name.upper()})\n' for text, name in zip(texts, names, strict=True)
  ]
  (folder / f'{session}00.dot').write_text(''.join(lines))
  return names


def wsj(root: pathlib.Path) -> None:
  """Discs with two training sessions of WSJ0, one of WSJ1, and one to test each."""
  texts = ['one %percent', 'two [cough] <three>']
  lists = {
    '11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx': [
      ('11-1.1', 'wsj0/si_tr_s', '01ic02'),
      ('11-2.1', 'wsj0/si_tr_s', '401c02'),
    ],
    '13-34.1/wsj1/doc/indices/si_tr_s.ndx': [('13-1.1', 'wsj1/si_tr_s', '460c02')],
    '13-34.1/wsj1/doc/indices/h1_p0.ndx': [('13-16.1', 'WSJ1/SI_DT_20', '4k0c03')],
    '11-13.1/wsj0/doc/indices/test/nvp/si_et_20.ndx': [
      ('11-14.1', 'wsj0/si_et_20', '440c04')
    ],
  }
  for path, sessions in lists.items():
    lines = ['; made up']
    for disc, folder, session in sessions:
      own = f'{folder}/{session[:3]}'
      suffix = '' if 'si_et_20' in path else '.wv1'
      number = disc.replace('-', '_').replace('.', '_')
      for name in wsj_session(root / disc / own, session, texts):
        lines.append(f'{number}:{own.lower()}/{name}{suffix}')
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text('\n'.join([*lines, '']))
