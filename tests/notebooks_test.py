"""Every notebook runs from top to bottom, and is committed as it then looks."""

import base64
import importlib.util
import os
import pathlib
import re
import struct

import pytest

nbformat = pytest.importorskip('nbformat', reason='nbformat is not installed')
nbclient = pytest.importorskip('nbclient', reason='nbclient is not installed')
pytest.importorskip('ipykernel', reason='ipykernel is not installed')

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))
MAX_NOTEBOOK, MAX_PICTURE = 400_000, 200_000  # bytes
IMPORT = re.compile(r'^\s*(?:import|from) (\w+)', re.MULTILINE)


def need(notebook) -> None:
  """Skips where a notebook imports what is not installed, as equinox may not be."""
  source = '\n'.join(cell.source for cell in code(notebook))
  for name in sorted(set(IMPORT.findall(source))):
    if importlib.util.find_spec(name) is None:
      pytest.skip(f'{name} is not installed')


def code(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def kinds(cell) -> list[tuple[str, list[str]]]:
  """What a cell shows, without the pictures' bits: fonts differ between machines."""
  return [
    (output.output_type, sorted(output.get('data', {}))) for output in cell.outputs
  ]


def pictures(notebook) -> list[bytes]:
  outputs = [output for cell in code(notebook) for output in cell.outputs]
  found = [output.get('data', {}).get('image/png') for output in outputs]
  return [base64.b64decode(picture) for picture in found if picture]


def sizes(notebook) -> list[tuple[int, int]]:
  """Width and height of the pictures, from the header of a PNG file."""
  return [struct.unpack('>II', picture[16:24]) for picture in pictures(notebook)]


def test_there_are_notebooks():
  assert NOTEBOOKS


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_with_outputs_and_small(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  counts = [cell.execution_count for cell in code(notebook)]
  assert counts == list(range(1, len(counts) + 1)), 'run it from top to bottom and save'
  assert pictures(notebook)
  assert path.stat().st_size < MAX_NOTEBOOK
  assert all(len(picture) < MAX_PICTURE for picture in pictures(notebook))


# Whatever the kernel's own libraries warn of is not this project's.
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_without_an_error_and_shows_what_is_committed(path, monkeypatch):
  monkeypatch.delenv('MPLBACKEND', raising=False)  # conftest's draws no pictures
  monkeypatch.delenv('PYTHONPATH', raising=False)  # its first cell finds the checkout
  committed = nbformat.read(path, as_version=4)
  fresh = nbformat.read(path, as_version=4)
  need(fresh)
  for cell in code(fresh):
    cell.outputs = []
  # A CellExecutionError carries the traceback of the cell.
  nbclient.NotebookClient(
    fresh,
    timeout=300,
    kernel_name='python3',
    resources={'metadata': {'path': str(path.parent)}},  # as Jupyter starts it
  ).execute(env=dict(os.environ))
  assert list(map(kinds, code(fresh))) == list(map(kinds, code(committed)))
  # Not pixels, as fonts differ; but one more curve has one more name beside it.
  for drawn, size in zip(sizes(fresh), sizes(committed), strict=True):
    assert drawn == pytest.approx(size, rel=0.02)
  assert not [
    o for cell in code(fresh) for o in cell.outputs if o.get('name') == 'stderr'
  ]
