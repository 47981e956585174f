"""Results as the papers print them, to stand beside ours."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Figure:
  """A published number.

  Attributes:
    value: as printed, in the unit of the table.
    plus_minus: what stands behind ±, None where nothing does.
  """

  value: float
  plus_minus: float | None = None

  def __str__(self) -> str:
    spread = '' if self.plus_minus is None else f' ± {self.plus_minus:.2f}'
    return f'{self.value:.2f}{spread}'


@dataclasses.dataclass(frozen=True)
class Table:
  """A published table: arms and what is known of them."""

  source: str
  remarks: str
  figures: Mapping[str, Figure]


# By experiment and data set. An arm without a figure was not measured there.
TABLES: Mapping[tuple[str, str], Table] = {
  ('mnist', 'mnist'): Table(
    source=(
      'Pereyra, Tucker, Chorowski, Kaiser, Hinton, "Regularizing Neural Networks '
      'by Penalizing Confident Output Distributions", 2017 (arXiv:1701.06548), '
      'Table 1: test error %'
    ),
    remarks=(
      'The paper does not state batch size, epochs, dropout rate, number of seeds '
      'or what ± means, and has no arm without regularization.'
    ),
    figures={
      'dropout': Figure(1.28, 0.06),
      'label_smoothing': Figure(1.23, 0.06),
      'confidence_penalty': Figure(1.17, 0.06),
    },
  ),
}


def table(experiment: str, dataset: str) -> Table | None:
  """The published table of this experiment on this data set, if there is one."""
  return TABLES.get((experiment, dataset))
