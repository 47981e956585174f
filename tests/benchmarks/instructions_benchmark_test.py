"""The benchmark's model in PyTorch is ours, and its page is whole."""

import pytest

pytest.importorskip('torch', reason='what is measured against is PyTorch')
pytest.importorskip('transformers', reason='it is what is measured against')

from benchmarks import instructions
from experiments.models.opt_layers import Sizes

CASE = instructions.Case(Sizes(11, 20, 8, 1, 2, 12), 2, 10, 6, 5, 3)


@pytest.mark.slow
def test_both_compute_the_same(monkeypatch: pytest.MonkeyPatch):
  """The check that comes before timing; it can fail."""
  instructions.check_equal(CASE)
  labels = instructions.Case.batch

  def wrong(case: instructions.Case, examples: int) -> dict:
    return labels(case, 2 * examples)

  monkeypatch.setattr(instructions.Case, 'batch', wrong)
  with pytest.raises(AssertionError):
    instructions.check_equal(CASE)


def test_the_page(untimed):
  page = instructions.page({'small': CASE}, 2, 'load average 0')
  rows = [line for line in page.splitlines() if line.startswith('| small')]
  assert [row.split(' | ')[1] for row in rows] == [
    *('transformers, PyTorch', 'ours, logits', 'ours, linear_loss'),
    *('ours, logits', 'ours, linear_loss'),
    *('transformers, PyTorch', 'ours'),
  ]
  assert [row.count('|') for row in rows] == [7, 7, 7, 5, 5, 7, 7]
