"""What tables compare, and how they show it."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Column:
  """Another mean of a table: its heading, and digits behind the point."""

  heading: str
  digits: int = 3


@dataclasses.dataclass(frozen=True)
class Measure:
  """A number of the final rows.

  Attributes:
    name: in the rows.
    heading: in the table.
    unit: behind a number in running text.
    columns: of what else the table shows, by name in the rows.
    how_to_read: stands below the table.
    digits: behind the point.
    more_is_better: otherwise less is.
    curve: name of what is drawn against the steps, where it is not this.
  """

  name: str
  heading: str
  unit: str
  columns: Mapping[str, Column]
  how_to_read: str
  digits: int = 2
  more_is_better: bool = False
  curve: str = ''


ERROR = Measure(
  name='error',
  heading='error %',
  unit=' %',
  columns={'nll': Column('nll'), 'ece': Column('ece'), 'entropy': Column('entropy')},
  how_to_read="""\
How to read this. Error is the mean over the seeds ± its standard error. The
difference to the baseline is taken seed by seed, so that what the seed decides
(first weights, order, draw of the data) cancels; in brackets stands its 95 %
t-interval. Differences are computed before rounding, so that the last digit may
differ from that of the rounded errors. "Better" and "worse" mean that the interval
leaves out 0, "undecided" that it does not, or that all differences are equal. The
intervals cover the seeds, not the choice of the test set, and are not corrected for
the number of arms. nll and entropy (nats) and ece are of the plain predictions,
without the regularizer. Label smoothing and a large weight of the confidence penalty
keep probabilities away from 0 and 1: the model becomes under-confident by
construction, which usually raises nll and ece even where the error falls.""",
)

PERPLEXITY = Measure(
  name='perplexity',
  heading='perplexity',
  unit='',
  columns={
    'validation_perplexity': Column('valid', 2),
    'last_validation_perplexity': Column('valid, end', 2),
    'train_perplexity': Column('train', 2),
    'entropy': Column('entropy'),
    'step': Column('step', 0),
  },
  how_to_read="""\
How to read this. Perplexities are exp of the mean negative log-likelihood of a token,
without the regularizer. The first is that of the test text at the epoch whose
validation perplexity is least, mean over the seeds ± its standard error. The difference
to the baseline is taken seed by seed, so that what the seed decides (first weights,
dropout) cancels; in brackets stands its 95 % t-interval. Differences are computed
before rounding. "Better" and "worse" mean that the interval leaves out 0, "undecided"
that it does not, or that all differences are equal. The intervals cover the seeds, not
the choice of the text, and are not corrected for the number of arms. Valid is that
least perplexity, "valid, end" the one after the last step: what lies between is
over-fitting. Train is the mean over the training row that ends at the step shown, with
dropout and while the weights change. Entropy (nats) is that of the predictions.""",
)

LOG_LOSS = Measure(
  name='nll',
  heading='log-loss',
  unit='',
  columns={
    'excess': Column('excess', 4),
    'error': Column('error %', 2),
    'perplexity': Column('perplexity', 2),
    'churn': Column('churn', 4),
    'disagreement': Column('disagree %', 2),
    'staleness': Column('stale', 0),
    'taught': Column('taught %', 0),
  },
  how_to_read="""\
How to read this. Log-loss (nats) is the mean negative log-likelihood of the test
examples after the last step, mean over the seeds ± its standard error. The difference
to the baseline is taken seed by seed, so that what the seed decides (first weights,
order) cancels; in brackets stands its 95 % t-interval. "Better" and "worse" mean that
the interval leaves out 0, "undecided" that it does not, or that all differences are
equal. Excess is the log-loss above that of the true probabilities, where they are
known. Churn is the mean total variation between the predictions of two retrains (for
two classes: the absolute difference of the probability), "disagree" the share of
examples for which they predict another class. Stale is how many steps old the peers
were in training, the mean over the steps that had any; taught the share of the steps
after the burn-in that had.""",
  digits=4,
)

_TRANSLATION = """\
Translations are of the test pairs after the last step; numbers are means over the seeds
± standard errors. The difference to the baseline is taken seed by seed, so that what
the seed decides (first weights, order, dropout) cancels; in brackets stands its 95 %
t-interval. "Better" and "worse" mean that the interval leaves out 0, "undecided" that
it does not, or that all differences are equal. Nll and entropy (nats) are of a target
symbol, given the right ones before it, without the regularizer."""

EXACT_MATCH = Measure(
  name='exact',
  heading='exact %',
  unit=' %',
  columns={
    'cer': Column('cer %', 2),
    'chrf': Column('chrF', 1),
    'nll': Column('nll', 4),
    'entropy': Column('entropy', 4),
    'longer_cer': Column('longer cer %', 1),
    'longer_nll': Column('longer nll'),
  },
  how_to_read=f"""\
How to read this. Exact is the share of translations without a fault, cer the edit
distance in characters by the length of the references. "Longer" are numbers of more
digits than any in training.
{_TRANSLATION}""",
  digits=1,
  more_is_better=True,
  curve='nll',
)

BLEU = Measure(
  name='bleu',
  heading='BLEU',
  unit='',
  columns={
    'multi_bleu': Column('tokenised', 2),
    'validation_multi_bleu': Column('valid, tok.', 2),
    'chrf': Column('chrF', 1),
    'exact': Column('exact %', 1),
    'nll': Column('nll'),
    'entropy': Column('entropy'),
  },
  how_to_read=f"""\
How to read this. BLEU and chrF are sacrebleu's of the text as it is written, with the
signatures in the record; "tokenised" is BLEU by the rule of multi-bleu.perl after
sacrebleu's 13a tokeniser, which is nearest to what the paper prints; "valid, tok." is
the same of validation, after the last step.
{_TRANSLATION}""",
  more_is_better=True,
  curve='nll',
)

_SPEECH = """\
Figures are of the test utterances after the last step; they are means over the seeds ±
standard errors. The difference to the baseline is taken seed by seed, so that what the
seed decides (first weights, order, dropout) cancels; in brackets stands its 95 %
t-interval. "Better" and "worse" mean that the interval leaves out 0, "undecided" that
it does not, or that all differences are equal. The intervals cover the seeds, not the
choice of the utterances. Valid is the same of the validation utterances."""

_SYMBOLS = """\
Nll and entropy (nats) are of a symbol, given the right ones before it, without the
regularizer. Onward is the share of steps at which attention does not go back, its mean
place half a place or more behind that of the step before."""

PHONE_ERROR = Measure(
  name='per',
  heading='PER %',
  unit=' %',
  columns={
    'validation_per': Column('valid', 2),
    'per_61': Column('of 61', 2),
    'nll': Column('nll'),
    'entropy': Column('entropy'),
    'onward': Column('onward %', 1),
  },
  how_to_read=f"""\
How to read this. PER is the edit distance in phones by the number of phones said, both
folded to 39 classes with q left out; "of 61" is without that. The record has the
protocol beside the figures.
{_SPEECH}
{_SYMBOLS}""",
  curve='nll',
)

WORD_ERROR = Measure(
  name='wer',
  heading='WER %',
  unit=' %',
  columns={
    'validation_wer': Column('valid', 2),
    'cer': Column('cer %', 2),
    'nll': Column('nll'),
    'entropy': Column('entropy'),
    'onward': Column('onward %', 1),
  },
  how_to_read=f"""\
How to read this. WER is the edit distance in words by the number of words said, cer
that in characters; words are those between the blanks of the characters recognised. The
record has the protocol beside the figures.
{_SPEECH}
{_SYMBOLS}""",
  curve='nll',
)

FRAME_ERROR = Measure(
  name='fer',
  heading='FER %',
  unit=' %',
  columns={
    'validation_fer': Column('valid', 2),
    'train_fer': Column('train', 2),
    'nll': Column('FCE'),
    'validation_nll': Column('valid FCE'),
    'train_nll': Column('train FCE'),
  },
  how_to_read=f"""\
How to read this. FER is the share of frames whose phone is wrong, of 61, without
folding or decoding; FCE the mean cross-entropy (nats) of a frame, without the
regularizer. Train is the same network on the training utterances.
{_SPEECH}""",
)

SCORE = Measure(
  name='score',
  heading='score %',
  unit=' %',
  columns={
    'instances_0': Column('instances', 1),
    'tasks_0': Column('tasks', 1),
    'categories_0': Column('categories', 1),
    'nll': Column('nll'),
    'entropy': Column('entropy'),
  },
  how_to_read="""\
How to read this. Score is the mean over three levels (other examples of the tasks that
were trained on, other tasks of their categories, tasks of other categories), each with
and without demonstrations; the columns are without. Where there are options the most
probable one is the answer, else what greedy decoding writes. Numbers are means over the
seeds ± standard errors. The difference to the baseline is taken seed by seed; in
brackets stands its 95 % t-interval. "Better" and "worse" mean that the interval leaves
out 0, "undecided" that it does not, or that all differences are equal. Nll and entropy
(nats) are of an id of the answers of all levels, without the regularizer.""",
  digits=1,
  more_is_better=True,
  curve='nll',
)

MEASURES = {
  measure.name: measure
  for measure in (
    *(ERROR, PERPLEXITY, LOG_LOSS, EXACT_MATCH, BLEU),
    *(PHONE_ERROR, WORD_ERROR, FRAME_ERROR, SCORE),
  )
}
