"""The overview of all results: what it holds, and that the committed one is fresh."""

import datetime
import html.parser
import pathlib

import pytest
from fabricated import write_run

from experiments import overview, report
from experiments.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]
DATE = datetime.date(2026, 1, 2)


class Links(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.found, self.tags = [], set()

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    self.found += [value for name, value in attrs if name in ('src', 'href')]


@pytest.fixture
def collection(tmp_path):
  for name in ('one', 'two'):
    write_run(tmp_path / name, 'baseline', {0: 4.0, 1: 5.0, 2: 6.0})
    write_run(tmp_path / name, 'label_smoothing', {0: 3.0, 1: 4.0, 2: 5.1})
    (tmp_path / name / 'README.md').write_text('# How')
    (tmp_path / name / 'curve.png').write_bytes(b'')
  return tmp_path


def test_links_are_relative_and_lead_somewhere(collection):
  assert overview.is_collection(collection)
  assert not overview.is_collection(collection / 'one')
  text, page = overview.write(collection, DATE)
  parser = Links()
  parser.feed(page.read_text())
  assert 'script' not in parser.tags
  assert set(parser.found) == {
    *('one/README.md', 'one/curve.png', 'two/README.md', 'two/curve.png')
  }
  assert all((collection / link).exists() for link in parser.found)
  assert '2026-01-02' in text.read_text()
  assert text.read_text().count('**-0.97 [-1.11, -0.82]**') == 2  # in short
  assert '<b>-0.97 [-1.11, -0.82]</b>' in page.read_text()


def test_update_renews_what_is_between_the_markers(collection):
  file = collection / 'page.md'
  file.write_text(f'above\n{overview.START}\nold\n{overview.END}\nbelow\n')
  overview.update(file, collection)
  text = file.read_text()
  assert text.startswith('above\n') and text.endswith('\nbelow\n')
  assert 'old' not in text and '-0.97 [-1.11, -0.82]' in text
  assert '(one)' in text and '(two)' in text  # else nothing tells them apart
  file.write_text('nothing')
  with pytest.raises(InputError, match='once each'):
    overview.update(file, collection)


def test_settings_of_one_directory_are_one_line_of_the_readme(tmp_path):
  slopes = {'better': 3.0, 'worse': 9.0, 'also': 3.5}
  for name, first in slopes.items():
    place = tmp_path / 'levels' / name
    write_run(place, 'baseline', {0: 4.0, 1: 5.0 + (name == 'also'), 2: 6.0})
    write_run(place, 'label_smoothing', {0: first, 1: first + 1, 2: first + 2.1})
  write_run(tmp_path / 'other', 'baseline', {0: 7.0, 1: 8.0})
  write_run(tmp_path / 'other', 'label_smoothing', {0: 7.0, 1: 9.0})
  full, short = (overview.evidence(tmp_path, series=s) for s in (False, True))
  assert len(full) - len(short) == 2
  levels = next(line for line in short if '(levels), 3 settings' in line[0])
  assert levels[2:5] == ['3', '5.00–5.33', 'better: 1 of 3, worse: 1']
  assert levels[5] == '—'
  assert [line for line in short if line != levels] == [
    line for line in full if '(levels/' not in line[0]
  ]


def test_readme_option_wants_a_collection(collection, capsys):
  argv = ['report', str(collection / 'one')]
  with pytest.raises(SystemExit) as error:
    report.main(argv, readme=str(collection / 'page.md'))
  assert error.value.code == 2
  assert '--readme' in capsys.readouterr().err


def test_committed_overview_and_readme_are_fresh(tmp_path):
  """If not: python -m experiments.report results/ --readme README.md."""
  results = ROOT / 'results'
  found, short = overview.parts(results), overview.evidence(results)
  for name, make in (
    (overview.MARKDOWN, overview.markdown),
    (overview.PAGE, overview.page),
  ):
    committed = (results / name).read_text()
    assert overview.undated(make(found, short, DATE)) == overview.undated(committed)
  copy = tmp_path / 'README.md'
  copy.write_text((ROOT / 'README.md').read_text())
  overview.update(copy, results)
  assert copy.read_text() == (ROOT / 'README.md').read_text()
