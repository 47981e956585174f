"""What is said of the translations of several arms, from made-up directories."""

import json
import pathlib
from collections.abc import Mapping, Sequence

import fabricated
import numpy as np
import pytest

from experiments import report, wmt_samples

REFERENCES = ('eins', 'zwei', 'drei', 'vier')


def translated(
  directory: pathlib.Path,
  arm: str,
  right: Mapping[int, Sequence[int]],
  references: Sequence[str] = REFERENCES,
  **values: float,
) -> None:
  """An arm whose seeds have these sentences right."""
  rows = [
    fabricated.final_row(
      *(seed, 0.0), exact=100 * len(own) / len(references), longer_exact=seed, **values
    )
    for seed, own in right.items()
  ]
  about = {'experiment': 'wmt', 'dataset': 'numbers', 'measure': 'exact'}
  header = fabricated.header(arm, list(right), data='one', **about)
  path = directory / arm / 'record.jsonl'
  before = path.read_text().splitlines()[1:] if path.exists() else []
  fabricated.write_lines(directory / arm, [header, *map(json.loads, before), *rows])
  with (directory / arm / 'translations.jsonl').open('a') as file:
    for seed, own in right.items():
      for split in ('test', 'longer'):
        for row, text in enumerate(references):
          line = {'split': split, 'seed': seed, 'source': f'{row}', 'target': text}
          line['translation'] = text if row in own else f'{text}?'
          file.write(json.dumps({**line, **values}) + '\n')


def test_differences_are_drawn_over_sentences_with_all_their_seeds(tmp_path):
  """Seeds that agree are no further sentences: two of them have one's interval."""
  for seeds in (1, 2):
    workdir = tmp_path / str(seeds)
    translated(workdir, 'baseline', dict.fromkeys(range(seeds), (0,)))
    translated(workdir, 'label_smoothing', dict.fromkeys(range(seeds), (0, 1, 2)))
  one, two = (wmt_samples.write(tmp_path / name) for name in ('1', '2'))
  assert one.count(' against ') == 2  # on two sets
  ours = next(line for line in one.splitlines() if ' against ' in line)
  assert ours in two
  draws = np.random.RandomState(0).binomial(4, 0.5, 100_000) / 4
  low, high = 100 * np.quantile(draws, [0.025, 0.975])
  assert ours == f'- label_smoothing against baseline: +50.00 [{low:+.2f}, {high:+.2f}]'


def test_arms_with_dropout_are_compared_with_dropout(tmp_path):
  translated(tmp_path, 'dropout', {0: (0,), 1: (0, 1)})
  translated(tmp_path, 'dropout+label_smoothing', {0: (0, 1), 1: (0, 1, 2)})
  text = wmt_samples.write(tmp_path)
  assert '- dropout+label_smoothing against dropout: +25.00 [' in text
  table = report.write_report([tmp_path], tmp_path)
  assert 'vs. dropout (95 %)' in table
  assert '+25.0 [+25.0, +25.0]' in table


def test_a_grid_is_as_many_arms(tmp_path):
  translated(tmp_path, 'baseline', {0: (0,)})
  translated(tmp_path, 'confidence_penalty', {0: (0, 1)}, weight=0.1)
  translated(tmp_path, 'confidence_penalty', {0: (0, 1, 2)}, weight=0.3)
  text = wmt_samples.write(tmp_path)
  assert '- confidence_penalty (weight 0.1) against baseline: +25.00 ' in text
  assert '- confidence_penalty (weight 0.3) against baseline: +50.00 ' in text
  assert '  - confidence_penalty (weight 0.3): drei\n' in text
  assert '  - confidence_penalty (weight 0.1): drei?\n' in text


def test_all_arms_and_all_test_sets_are_compared(tmp_path):
  translated(tmp_path, 'label_smoothing', {0: (0,)})
  translated(tmp_path, 'confidence_penalty', {0: (0, 1)})
  text = wmt_samples.write(tmp_path)
  for split in ('test', 'longer'):
    title = f'Difference in exact on {split}, bootstrap over the sentences (95 %):'
    assert f'{title}\n\n- confidence_penalty against label_smoothing: ' in text


def test_what_does_not_fit_is_named(tmp_path):
  translated(tmp_path, 'baseline', {0: (0,), 1: (0,)})
  translated(tmp_path, 'label_smoothing', {1: (0, 1), 2: (1,)})  # one seed in common
  translated(tmp_path, 'dropout', {0: (0,)}, references=('x', 'y'))
  translated(tmp_path, 'label_noise', {0: (0,)})
  (tmp_path / 'label_noise' / 'translations.jsonl').unlink()
  text = wmt_samples.write(tmp_path)
  assert '- label_smoothing against baseline: +25.00 ' in text
  assert text.endswith('of other sentences: dropout, label_noise.')
  assert 'dropout:' not in text
  assert 'On longer, mean over the seeds ± standard error:' in text
  assert '- baseline: exact 0.50 ± 0.50\n' in text
  assert (tmp_path / 'samples.md').read_text() == f'{text}\n'


@pytest.mark.parametrize('arms', [(), ('baseline',)])
def test_little_to_say(tmp_path, arms):
  fabricated.write_run(tmp_path, 'dropout', {0: 1.0})
  for arm in arms:
    translated(tmp_path, arm, {0: (0,)})
  assert 'against' not in wmt_samples.write(tmp_path)
