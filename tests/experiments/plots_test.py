"""What the pictures show, read off the figures, and the files they become."""

import itertools
import math

import hypothesis
import matplotlib
import matplotlib.image
import matplotlib.text
import numpy as np
import pytest
from fabricated import header, train_rows, write_lines, write_predictions, write_run
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments import curves, plots
from experiments.errors import InputError

ARMS = ('baseline', 'dropout', 'label_smoothing', 'confidence_penalty', 'a', 'b')


@pytest.fixture
def runs(tmp_path, rng):
  """Six finished arms with predictions of three seeds."""
  for arm in ARMS:
    run = write_run(tmp_path / 'runs', arm, {0: 1.0, 1: 2.0, 2: 3.0})
    write_predictions(run, rng.dirichlet(np.full(10, 0.1), (3, 40)).astype(np.float32))
  return tmp_path / 'runs'


def drawn(figure) -> FigureCanvasAgg:
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return canvas


def test_curves_leave_out_what_was_tried_unless_it_is_asked_for(tmp_path):
  for folder, arms in (('', ('baseline', 'a')), ('select', ('a', 'b'))):
    for arm in arms:
      write_lines(
        tmp_path / folder / arm, [header(arm, [0]), *train_rows(0, {10: 1.0})]
      )

  def shown(*paths):
    (axis,) = curves.gradient_norms([tmp_path / path for path in paths]).axes
    return [text.get_text() for text in axis.texts]

  assert shown('') == ['baseline', 'a']
  assert shown('select') == shown('select/a', 'select/b') == ['a', 'b']
  assert len(shown('', 'select')) == 4


def test_the_histogram_counts_every_probability(tmp_path):
  probabilities = np.array([[[0.0, 0.01, 0.99], [1.0, 0.0, 0.0]]], np.float32)
  write_predictions(write_run(tmp_path, 'baseline', {0: 1.0}), probabilities)
  (axis,) = plots.confidence_histogram([tmp_path]).axes
  (stairs,) = axis.patches
  shares, edges, _ = stairs.get_data()
  assert (edges[0], edges[-1]) == (0, 1)
  assert shares.sum() == pytest.approx(1)
  assert (shares[0], shares[-1]) == pytest.approx((4 / 6, 2 / 6))
  assert axis.get_yscale() == 'log'


def test_the_histogram_has_a_panel_for_each_arm_in_order(runs):
  figure = plots.confidence_histogram([runs])
  assert [axis.get_title(loc='left') for axis in figure.axes] == list(ARMS)
  assert len({axis.patches[0].get_facecolor() for axis in figure.axes}) == len(ARMS)
  assert len({axis.get_ylim() for axis in figure.axes}) == 1
  drawn(figure)
  for axis in figure.axes[-4:]:  # the lowest of each column
    assert any(label.get_visible() for label in axis.get_xticklabels())


def test_curves_are_means_over_seeds_within_their_range(tmp_path):
  rows = [*train_rows(0, {10: 1.0, 20: 4.0}), *train_rows(1, {10: 3.0, 20: 2.0, 30: 9})]
  write_lines(tmp_path, [header('baseline', [0, 1]), *rows])
  (axis,) = curves.gradient_norms([tmp_path]).axes
  (line,), (band,) = axis.lines, axis.collections
  np.testing.assert_allclose(line.get_xydata(), [[10, 2], [20, 3]])
  corners = {(x, y) for x, y in band.get_paths()[0].vertices.tolist()}
  assert corners == {(10, 1), (10, 3), (20, 2), (20, 4)}


def test_attention_shows_symbols_as_they_are():
  """Dollars and backslashes of a text are no formula."""
  source, target = ['$$', '$^$', 'a_b'], ['$x$', '\\frac']
  figure = plots.attention(np.full((2, 3), 0.5), source, target, None)
  drawn(figure)
  (axis,) = figure.axes
  labels = [*axis.get_xticklabels(), *axis.get_yticklabels()]
  assert [label.get_text() for label in labels] == [*source, *target]
  assert not any(label.get_parse_math() for label in labels)


def test_a_long_record_is_averaged(tmp_path):
  norms = {step: float(step % 2 + 1) for step in range(1, 1201)}
  write_lines(tmp_path, [header('baseline', [0]), *train_rows(0, norms)])
  (axis,) = curves.gradient_norms([tmp_path]).axes
  steps, means = axis.lines[0].get_data()
  assert len(steps) == 120
  assert steps[0] == np.mean(range(1, 11))
  np.testing.assert_allclose(means, 1.5)


def test_values_of_a_grid_have_their_own_curves(tmp_path):
  rows = [row for w in (0.1, 2.0) for row in train_rows(0, {1: w, 2: w}, weight=w)]
  write_lines(tmp_path, [header('confidence_penalty', [0]), *rows])
  (axis,) = curves.gradient_norms([tmp_path]).axes
  assert [text.get_text() for text in axis.texts] == [
    'confidence_penalty (weight 0.1)',
    'confidence_penalty (weight 2)',
  ]
  assert [line.get_ydata()[-1] for line in axis.lines] == [0.1, 2.0]


def test_names_of_curves_do_not_overlap_and_tell_runs_apart(tmp_path):
  for name in ('x', 'y'):
    for index in range(5):
      lines = [
        header(f'arm {index}', [0]),
        *train_rows(0, {1: 1.0, 2: 1 + index / 100}),
      ]
      write_lines(tmp_path / name / f'arm {index}', lines)
  figure = curves.gradient_norms([tmp_path])
  renderer = drawn(figure).get_renderer()
  texts = figure.axes[0].texts
  assert {str(tmp_path / 'x' / 'arm 0'), str(tmp_path / 'y' / 'arm 0')} <= {
    text.get_text() for text in texts
  }
  boxes = [matplotlib.text.Text.get_window_extent(text, renderer) for text in texts]
  for one, other in itertools.combinations(boxes, 2):
    assert not one.overlaps(other)
  for box in boxes:
    assert figure.bbox.y0 <= box.y0
    assert box.y1 <= figure.bbox.y1


@hypothesis.given(
  heights=st.lists(st.floats(0, 1), min_size=1, max_size=8), gap=st.floats(0.01, 0.1)
)
def test_heights_are_spread_in_order_within_the_axes(heights, gap):
  places = curves._spread(heights, gap)
  order = np.argsort(heights, kind='stable')
  assert (np.diff(np.array(places)[order]) >= gap - 1e-9).all()
  assert min(places) >= -1e-9
  assert max(places) <= 1 + 1e-9
  if len(heights) == 1:
    assert places == heights


def test_a_table_shows_every_cell_inside_the_picture():
  header = ['arm', 'error %', '', 'nll']
  rows = [['baseline', '1.23 ± 0.45', '', '0.1'], ['a' * 40, '—', 'undecided', '0.2']]
  sections = [('first', header, rows), ('second', header[:2], [['b', '2']])]
  figure = plots.table_image(sections, caption='the caption')
  renderer = drawn(figure).get_renderer()
  texts = [text for text in figure.texts if text.get_text()]
  assert {text.get_text() for text in texts} == (
    {*header, *itertools.chain(*rows), 'b', '2', 'first', 'second', 'the caption'}
    - {''}
  )
  boxes = [text.get_window_extent(renderer) for text in texts]
  for one, other in itertools.combinations(boxes, 2):
    assert not one.overlaps(other)
  for box in boxes:
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0
    assert box.y1 <= figure.bbox.y1


def test_files_are_small_and_the_same_every_time(runs, tmp_path):
  table = [('t', ['arm', 'error'], [[arm, '1.00'] for arm in ARMS])]
  for draw, name in (
    (lambda path: plots.confidence_histogram([runs], path), 'confidence.png'),
    (lambda path: curves.gradient_norms([runs], path), 'gradient_norm.png'),
    (lambda path: plots.table_image(table, path), 'table.png'),
  ):
    draw(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert len(content) < 200_000
    image = matplotlib.image.imread(tmp_path / name)
    assert min(image.shape[:2]) > 200
  assert plots.table_image(table, tmp_path / 'again.png')
  assert (tmp_path / 'again.png').read_bytes() == content


def test_no_state_is_left_behind(runs):
  before = dict(matplotlib.rcParams)
  plots.confidence_histogram([runs])
  curves.gradient_norms([runs])
  assert dict(matplotlib.rcParams) == before
  assert not matplotlib._pylab_helpers.Gcf.figs


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (None, 'no such file; has the run finished'),
    (b'', "expected an array 'probabilities'"),
    (b'PK\x03\x04 broken', "expected an array 'probabilities'"),
    (b'\x93NUMPY', "expected an array 'probabilities'"),
  ],
)
def test_bad_predictions(tmp_path, content, message):
  run = write_run(tmp_path, 'baseline', {0: 1.0})
  if content is not None:
    (run / 'predictions.npz').write_bytes(content)
  with pytest.raises(InputError, match=f'predictions.npz: {message}'):
    plots.confidence_histogram([tmp_path])


@pytest.mark.parametrize(
  'save', [lambda file: np.savez(file, logits=[1.0]), lambda file: np.save(file, [1.0])]
)
def test_predictions_of_another_form(tmp_path, save):
  run = write_run(tmp_path, 'baseline', {0: 1.0})
  with (run / 'predictions.npz').open('wb') as file:
    save(file)
  with pytest.raises(InputError, match="expected an array 'probabilities'"):
    plots.confidence_histogram([tmp_path])


def test_a_record_without_gradient_norms(tmp_path):
  write_lines(tmp_path, [header('baseline', [0, 1]), *train_rows(0, {1: math.pi})])
  write_lines(tmp_path / 'empty', [header('baseline', [0])])
  with pytest.raises(InputError, match='no run has a gradient norm'):
    curves.gradient_norms([tmp_path / 'empty'])
  (axis,) = curves.gradient_norms([tmp_path]).axes  # the other run has one
  assert len(axis.lines) == 1


def test_a_picture_that_cannot_be_written(runs, tmp_path):
  with pytest.raises(InputError, match='cannot write .*missing'):
    curves.gradient_norms([runs], tmp_path / 'missing' / 'plot.png')
