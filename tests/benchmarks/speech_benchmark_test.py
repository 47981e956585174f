"""The benchmark's recogniser in PyTorch is ours, and its page is whole."""

import pytest

pytest.importorskip('torch', reason='what is measured against is PyTorch')
pytest.importorskip('kaldi_native_fbank', reason='the extra `speech` is not installed')

from benchmarks import speech, torch_speech
from experiments.datasets.buckets import Shape
from experiments.decoding import Decoding
from experiments.models.attention import Location
from experiments.models.listener import Sizes


def case(merge: str) -> speech.Case:
  sizes = Sizes(3, 9, 4, 5, 2, 1, merge, 4, Location(2, 3))
  return speech.Case(sizes, Shape(5, 9, 4), Decoding(2, 0.0, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize('merge', ['concat', 'skip'])
def test_both_compute_the_same(merge: str):
  """The check that comes before timing."""
  speech.check_equal({'small': case(merge)})


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch):
  """Backward layers that begin in the padding."""
  twin = torch_speech.twin
  monkeypatch.setattr(torch_speech, 'twin', lambda *given: twin(*given, packed=False))
  with pytest.raises(AssertionError):
    speech.check_equal({'small': case('skip')})


def test_the_page(untimed):
  page = speech.page({'small': case('concat')}, 2, 'load average 0')
  rows = [line.split(' | ') for line in page.splitlines() if line.startswith('| small')]
  names = ['PyTorch', 'PyTorch, padding is read', 'ours']
  assert [row[1] for row in rows[:3]] == names
  assert [len(row) for row in rows] == [6, 6, 6, 5]


def test_the_cases_are_those_of_the_experiments():
  sizes = [own.sizes for own in speech.cases().values()]
  assert [(own.features, own.target, own.hidden) for own in sizes] == [
    *((123, 65, 64), (123, 65, 256), (243, 32, 256))
  ]
