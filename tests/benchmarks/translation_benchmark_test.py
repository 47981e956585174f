"""The benchmark's model in PyTorch is ours, and its page is whole."""

import pytest

pytest.importorskip('torch', reason='what is measured against is PyTorch')

from benchmarks import translation
from experiments.datasets.buckets import Shape
from experiments.models.seq2seq import Sizes

CASE = translation.Case(Sizes(9, 11, 4, 6, 3, 3, 5), Shape(5, 6, 7))


@pytest.mark.slow
def test_both_compute_the_same():
  """The check that comes before timing, on a small network of three layers."""
  translation.check_equal({'small': CASE}, (3,))


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch):
  monkeypatch.setattr(translation.torch_translation, 'RESIDUAL_FROM', 9)
  with pytest.raises(AssertionError):
    translation.check_training(CASE)


def test_the_page(untimed):
  page = translation.page({'small': CASE}, (3,), 2, 'load average 0')
  rows = [line for line in page.splitlines() if line.startswith('| small')]
  assert [row.split(' | ')[1] for row in rows] == [
    *('PyTorch', 'ours', 'ours, --loss=fused', 'PyTorch', 'ours')
  ]
  assert all(row.count('|') == 7 for row in rows)
