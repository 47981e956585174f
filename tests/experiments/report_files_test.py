"""What the report prints and writes, and how its program ends."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from fabricated import write_run

from experiments import report
from experiments.errors import InputError

ROOT = pathlib.Path(__file__).parent.parent.parent
BASELINE = {0: 4.0, 1: 5.0, 2: 6.0}
SMOOTHED = {0: 3.0, 1: 4.5, 2: 4.0}


def test_the_files_hold_what_the_terminal_shows(tmp_path):
  write_run(tmp_path, 'baseline', BASELINE)
  write_run(tmp_path, 'label_smoothing', SMOOTHED)
  text = report.write_report([tmp_path], tmp_path / 'new' / 'output')
  written = (tmp_path / 'new' / 'output' / 'table.md').read_text()
  assert (tmp_path / 'new' / 'output' / 'table.png').read_bytes()[:4] == b'\x89PNG'
  rows = [line for line in written.splitlines() if line.startswith('|')]
  cells = [[cell.strip() for cell in row.strip('|').split('|')] for row in rows]
  assert len({len(row) for row in rows}) == 1  # aligned
  assert cells[0][:4] == ['arm', 'seeds', 'error %', 'vs. baseline (95 %)']
  assert cells[3] == [
    'label_smoothing',
    '3',
    '3.83 ± 0.44',
    '-1.17 [-3.06, +0.73]',
    'undecided',
    '0.100',
    '0.020',
    '0.300',
  ]
  for cell in cells[2] + cells[3]:
    assert cell in text
  assert 'How to read this.' in text
  assert 'How to read this.' in written


def test_the_output_cannot_be_written(tmp_path):
  write_run(tmp_path, 'baseline', BASELINE)
  (tmp_path / 'file').touch()
  with pytest.raises(InputError, match=f'{tmp_path}/file'):
    report.write_report([tmp_path], tmp_path / 'file')


def test_the_command(tmp_path, capsys):
  write_run(tmp_path / 'runs', 'baseline', BASELINE)
  report.main(['report', f'{tmp_path}/runs'])
  printed = capsys.readouterr()
  assert printed.err == ''
  assert printed.out.strip() == report.render(report.collect([tmp_path])).strip()


def test_all_that_lies_in_a_directory_may_be_named(tmp_path, capsys):
  """As a shell's ``runs/*`` does: the report's own pages are no runs."""
  write_run(tmp_path / 'runs' / 'digits', 'baseline', BASELINE)
  report.main(['report', f'{tmp_path}/runs'])
  expected = capsys.readouterr().out.partition('written:')[0]
  (tmp_path / 'runs' / 'README.md').touch()
  paths = [str(path) for path in sorted((tmp_path / 'runs').iterdir())]
  assert len(paths) == 4
  report.main(['report', *paths])
  assert capsys.readouterr().out == expected
  for path in ('missing.md', 'runs/digits/baseline/record.jsonl'):
    with pytest.raises(SystemExit):
      report.main(['report', *paths, f'{tmp_path}/{path}'])
    assert f'{path}: ' in capsys.readouterr().err


def test_a_reader_may_leave_early(tmp_path):
  """What is written is there all the same."""
  write_run(tmp_path / 'runs', 'baseline', BASELINE)
  command = [sys.executable, '-W', 'error', '-m', 'experiments.report']
  command += [f'{tmp_path}/runs', f'--output={tmp_path}/table']
  pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
  with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
    process.stdout.close()
    assert process.stderr.read() == ''
  assert process.returncode == 141
  written = {path.name for path in (tmp_path / 'table').iterdir()}
  assert written == {'table.md', 'table.png'}


def test_a_terminal_without_the_signs(tmp_path):
  write_run(tmp_path / 'runs', 'baseline', BASELINE)
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.report', tmp_path / 'runs'],
    env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stderr) == (0, '')
  assert ' ? ' in done.stdout


def test_results_of_the_repository_are_what_the_report_gives():
  readme = (ROOT / 'README.md').read_text()
  for name in ('digits', 'mnist', 'mnist_variants'):
    directory = ROOT / 'results' / name
    runs = [run for run in report.collect([directory]) if run.path.parent == directory]
    written = (directory / 'table.md').read_text()
    assert report.render(runs, markdown=True) == written
    # README has the table of its own command; the overview (overview_test) has all.
    if name == 'digits':
      assert '\n'.join(re.findall(r'^\|.*$', written, re.MULTILINE)) in readme


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], 'usage: python -m experiments.report RUN_DIR... [--output DIR]'),
    (['nowhere'], 'nowhere: no such directory'),
  ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, message):
  with pytest.raises(SystemExit) as caught:
    report.main(['report', *arguments])
  assert caught.value.code == 2
  printed = capsys.readouterr()
  assert (printed.out, printed.err) == ('', f'error: {message}\n')
