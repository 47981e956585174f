"""The table of calibration and the reliability diagram, of runs made up for it."""

import fabricated
import numpy as np
import pytest

from experiments import calibration, calibration_plots, predictions, runs
from experiments.scores import calibration as scores

NLL = {'baseline': (0.5, 0.7), 'label_smoothing': (0.8, 1.1)}  # by seed, divided by T


def test_the_difference_is_that_to_the_baseline(tmp_path):
  for arm, values in NLL.items():
    rows = [
      fabricated.final_row(seed, 5.0 + 2 * seed, nll_scaled=value)
      for seed, value in enumerate(values)
    ]
    fabricated.write_lines(tmp_path / arm, [fabricated.header(arm, [0, 1]), *rows])
  found = runs.collect([tmp_path])
  lines = calibration.render(found, markdown=True).splitlines()
  cells = {line.split('|')[1].strip(): line.split('|') for line in lines if '|' in line}
  place = cells['arm'].index(next(c for c in cells['arm'] if c.strip() == 'nll / T'))
  # The standard error of 5 and 7 is 1.
  assert cells['baseline'][2].strip() == '6.00 ± 1.00'
  assert cells['baseline'][place].strip() == '0.600 ± 0.100'
  assert cells['label_smoothing'][place].strip() == '0.950 ± 0.150'
  # +0.3 and +0.4: t(1) times 0.05 is 0.635.
  difference = cells['label_smoothing'][place + 1].strip()
  assert difference == '+0.350 [-0.285, +0.985]'
  assert cells['label_smoothing'][place + 2].strip() == 'undecided'


def test_reliability_is_drawn_where_it_is(tmp_path, rng):
  """Bars of the plain logits in the middle of their bins; the line is scaled."""
  directory = fabricated.write_run(tmp_path, 'baseline', {0: 5.0})
  logits = 3 * rng.normal(size=(1, 400, 4)).astype(np.float32)
  labels = np.where(
    rng.random(400) < 0.5, logits[0].argmax(-1), rng.integers(0, 4, 400)
  )
  split = {'test': logits, 'validation': logits}
  predictions.write(directory, split, dict.fromkeys(split, labels))
  (axis,) = calibration_plots.reliability(runs.collect([tmp_path])).axes
  scale = scores.temperature(logits[0], labels)
  assert scale > 1.5
  scaled = (logits[0] / scale).astype(np.float32)
  bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axis.patches]
  for drawn, own in ((bars, logits[0]), (axis.lines[1].get_xydata(), scaled)):
    bins = scores.reliability(own, labels)
    enough = bins['count'] >= 10
    middle = (np.arange(15) + 0.5) / 15
    expected = np.stack([middle, bins['correct'] / np.maximum(bins['count'], 1)], 1)
    np.testing.assert_allclose(drawn, expected[enough], rtol=1e-6)
    # A bin's mean confidence lies in it.
    mean = bins['confidence'][enough] / bins['count'][enough]
    assert np.abs(mean - middle[enough]).max() == pytest.approx(0, abs=0.5 / 15)
