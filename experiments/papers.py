"""Results as the papers print them, to stand beside ours."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Figure:
  """A published number.

  Attributes:
    value: as printed, in the unit of the table.
    plus_minus: what stands behind ±, None where nothing does.
    digits: behind the point, as printed.
  """

  value: float
  plus_minus: float | None = None
  digits: int = 2

  def __str__(self) -> str:
    if self.plus_minus is None:
      return f'{self.value:.{self.digits}f}'
    return f'{self.value:.{self.digits}f} ± {self.plus_minus:.{self.digits}f}'


@dataclasses.dataclass(frozen=True)
class Table:
  """A published table: columns by heading, and the arms that have figures there."""

  source: str
  remarks: str
  columns: Mapping[str, Mapping[str, Figure]]


_PEREYRA = (
  'Pereyra, Tucker, Chorowski, Kaiser, Hinton, "Regularizing Neural Networks '
  'by Penalizing Confident Output Distributions", 2017 (arXiv:1701.06548)'
)
_LAURENT = (
  'Laurent, Pereyra, Brakel, Zhang, Bengio, "Batch Normalized Recurrent Neural '
  'Networks", 2016 (arXiv:1510.01378), Table 2'
)


def _printed(*values: float) -> list[Figure]:
  return [Figure(value, digits=1) for value in values]


def _normalized(train: tuple[float, float], valid: tuple[float, float]) -> Table:
  """Of the baseline, and with frame-wise normalization of the input's term."""
  arms = ('baseline', 'batch_norm')
  return Table(
    source=_LAURENT,
    remarks='It has no test perplexity, and one seed.',
    columns={
      'paper valid': dict(zip(arms, _printed(*valid), strict=True)),
      'paper train': dict(zip(arms, _printed(*train), strict=True)),
    },
  )


_PTB_ARMS = (
  *('baseline', 'label_noise', 'label_smoothing', 'unigram_smoothing'),
  'confidence_penalty',
)


def _bleu(value: float, plus_minus: float | None = None) -> Figure:
  return Figure(value, plus_minus, 2 if plus_minus is None or plus_minus < 0.1 else 1)


def _error(value: float, plus_minus: float | None = None) -> Figure:
  return Figure(value, plus_minus, 1)


# By experiment, data set and size. An arm without a figure was not measured there.
TABLES: Mapping[tuple[str, str, str], Table] = {
  ('mnist', 'mnist', ''): Table(
    source=f'{_PEREYRA}, Table 1: test error %',
    remarks=(
      'The paper does not state batch size, epochs, dropout rate, number of seeds '
      'or what ± means, and has no arm without regularization.'
    ),
    columns={
      'paper %': {
        'dropout': Figure(1.28, 0.06),
        'label_smoothing': Figure(1.23, 0.06),
        'confidence_penalty': Figure(1.17, 0.06),
      }
    },
  ),
  ('cifar10', 'cifar10', ''): Table(
    source=f'{_PEREYRA}, Table 2: test error %',
    remarks=(
      'DenseNet-40-12, 300 epochs without augmentation; dropout is in all arms. The '
      'paper states neither its rate nor momentum, weight decay or number of seeds.'
    ),
    columns={
      'paper %': {
        'dropout': Figure(7.04),
        'dropout+label_smoothing': Figure(6.89),
        'dropout+confidence_penalty': Figure(6.77),
      }
    },
  ),
  ('ptb', 'ptb', 'small'): _normalized((78.5, 62.5), (119.2, 120.9)),
  ('ptb', 'ptb', 'medium'): _normalized((49.1, 41.0), (89.0, 90.6)),
  ('ptb', 'ptb', 'large'): Table(
    source=f'{_PEREYRA}, Table 3; batch_norm: {_LAURENT}',
    remarks='One seed; 55 epochs; the baseline is that of Zaremba et al. (2014).',
    columns={
      'paper test': dict(
        zip(_PTB_ARMS, _printed(78.4, 77.7, 76.6, 76.3, 74.7), strict=True)
      ),
      'paper valid': {
        **dict(zip(_PTB_ARMS, _printed(82.2, 79.7, 78.9, 79.1, 77.8), strict=True)),
        'batch_norm': Figure(97.4, digits=1),
      },
    },
  ),
  ('wmt', 'wmt14', 'paper'): Table(
    source=f'{_PEREYRA}, Table 4: BLEU',
    remarks=(
      'Tokenised BLEU of newstest2014 and of newstest2012 and 2013; ± of 5 seeds. The '
      'paper states neither the schedule of the rate nor the length of training.'
    ),
    columns={
      'paper test': {
        'baseline': _bleu(21.24),
        'label_smoothing': _bleu(22.42),
        'confidence_penalty': _bleu(22.52),
        'dropout': _bleu(23.41, 0.04),
        'dropout+label_smoothing': _bleu(23.52, 0.03),
        'dropout+unigram_smoothing': _bleu(23.57, 0.02),
        'dropout+confidence_penalty': _bleu(23.4, 0.1),
      },
      'paper valid': {
        'baseline': _bleu(22.33),
        'label_smoothing': _bleu(23.85),
        'confidence_penalty': _bleu(23.25),
        'dropout': _bleu(24.1, 0.1),
        'dropout+label_smoothing': _bleu(24.3, 0.1),
        'dropout+unigram_smoothing': _bleu(24.3, 0.1),
        'dropout+confidence_penalty': _bleu(24.3, 0.1),
      },
    },
  ),
  ('timit', 'timit', 'timit'): Table(
    source=f'{_PEREYRA}, Table 5: phone error rate %',
    remarks=(
      'Dropout is in all arms; ± of 5 seeds. The paper states neither the beam nor the '
      'length of training; its five replicas train asynchronously.'
    ),
    columns={
      'paper test': {
        'dropout': _error(23.2, 0.4),
        'dropout+label_smoothing': _error(21.6, 0.2),
        'dropout+confidence_penalty': _error(22.0, 0.4),
      },
      'paper valid': {
        'dropout': _error(21.0, 0.1),
        'dropout+label_smoothing': _error(19.3, 0.1),
        'dropout+confidence_penalty': _error(19.9, 0.2),
      },
    },
  ),
  ('wsj', 'wsj', 'wsj'): Table(
    source=f'{_PEREYRA}, Table 6: word error rate %',
    remarks=(
      'Of eval92 and dev93; means of 2 runs, unigram_smoothing of 6 with their '
      'standard deviation. The paper does not state the values of the arms.'
    ),
    columns={
      'paper test': {
        'baseline': _error(14.2),
        'label_smoothing': _error(11.3),
        'unigram_smoothing': Figure(11.0, 0.35),
        'confidence_penalty': _error(12.7),
      },
      'paper valid': {
        'baseline': _error(17.9),
        'label_smoothing': _error(14.7),
        'unigram_smoothing': Figure(14.0, 0.25),
        'confidence_penalty': _error(17.2),
      },
    },
  ),
  ('timit_frames', 'timit', 'laurent'): Table(
    source=_LAURENT.replace('Table 2', 'Table 1: frame error rate %'),
    remarks=(
      'Theirs is of WSJ with 3,546 classes, which need an alignment that is not in the '
      'corpus: the figures say what to expect of the difference, not of the values.'
    ),
    columns={
      'WSJ dev': {'baseline': Figure(33, digits=0), 'batch_norm': Figure(34, digits=0)},
      'WSJ train': {
        'baseline': Figure(28, digits=0),
        'batch_norm': Figure(22, digits=0),
      },
      'WSJ dev FCE': {'baseline': Figure(1.11), 'batch_norm': Figure(1.19)},
      'WSJ train FCE': {'baseline': Figure(0.95), 'batch_norm': Figure(0.73)},
    },
  ),
}


def table(experiment: str, dataset: str, size: str = '') -> Table | None:
  """The published table of this experiment on this data set, if there is one."""
  return TABLES.get((experiment, dataset, size))
