"""PyTorch's DenseNet is ours, and the benchmark's page is whole."""

import pytest

pytest.importorskip('torch', reason='what is measured against is PyTorch')

from benchmarks import images


@pytest.mark.parametrize('options', images.CHECKED, ids=['plain', 'bottleneck'])
def test_both_compute_the_same(options):
  """Logits, gradients and running statistics in float64, training and evaluation."""
  images.check_equal(**options)


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch):
  monkeypatch.setattr(images.torch_densenet, 'divide_by_n', lambda model: None)
  with pytest.raises(AssertionError, match='running_var'):
    images.check_equal(**images.CHECKED[0])  # compiled already


def test_the_page(untimed, monkeypatch: pytest.MonkeyPatch):
  one = {'PyTorch': float, 'ours': float}
  for name in ('densenet_steps', 'evaluation_steps', 'mlp_steps'):
    monkeypatch.setattr(images, name, lambda: one)
  page = images.page(2, 'load average 0')
  rows = [line for line in page.splitlines() if '**' in line]
  assert rows == [
    f'| {name} | 2 | **1.00** | 1.00–1.00 |' for _ in range(3) for name in one
  ]
