"""Words of speech, letter by letter: WSJ, and synthetic speech in its form.

  python -m experiments.wsj

recognises the sentences of experiments.timit as characters, in 2 min 14 s on two cores.
Word error rate of the 96 utterances by speakers who are not in training, two seeds:

  baseline             12.8 ± 2.8 %
  label_smoothing       5.8 ± 0.5 %   -7.0 [-35.6, +21.6]
  unigram_smoothing     8.1 ± 1.9 %   -4.6 [-15.7, +6.5]
  confidence_penalty    3.3 ± 0.5 %   -9.5 [-38.1, +19.1]

``--manual_dir`` takes WSJ and the paper's configuration.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

from experiments import config, speech_config, speech_study, study
from experiments.config import by_flag, flag, unused
from experiments.datasets import speech_corpora
from experiments.datasets.speech import Speech
from experiments.errors import InputError
from experiments.measures import WORD_ERROR
from experiments.scores import speech as scores
from experiments.scores.translation import Score, character_error_rate
from experiments.speech_settings import WSJ_DATASETS, WSJ_SIZES, WSJ_VALUES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(speech_config.Config):
  """The flags of speech, and what is particular to words."""

  dataset: str = flag(
    None,
    'synthetic (embedded) or wsj (--manual_dir); default: wsj with --manual_dir',
    config.one_of(*WSJ_DATASETS),
  )
  data_dir: str | None = unused(None, '--manual_dir takes its place')
  batch_norm: bool = unused(False, 'the network has none')
  size: str = flag(
    None, 'sets what of the network is not given', config.one_of(*WSJ_SIZES['las'])
  )
  train_set: str = flag('si284', 'training set of WSJ', config.one_of('si84', 'si284'))


def filled(config: Config) -> Config:
  """What is not given, by data set and size."""
  default = 'wsj' if config.manual_dir else 'synthetic'
  config = dataclasses.replace(config, dataset=config.dataset or default)
  return speech_config.filled(config, WSJ_DATASETS, WSJ_SIZES)


def run(config: Config) -> pathlib.Path:
  """Trains all arms, or goes on with them; ends with table and plots."""
  config = dataclasses.replace(config, dataset=filled(config).dataset)
  speech_config.check(config, WSJ_DATASETS, WSJ_SIZES)
  if config.dataset == 'wsj' and config.manual_dir is None:
    raise InputError('--dataset=wsj: --manual_dir says where it is')
  return study.run(study_of(filled(config)))


def study_of(config: Config) -> study.Study:
  """What ``run`` trains and compares."""
  values = WSJ_VALUES[config.dataset]
  return speech_study.study_of('wsj', config, values, load, WORD_ERROR, scored)


@functools.lru_cache(maxsize=1)
def load(config: Config) -> Speech:
  """The corpus of a configuration."""
  options = speech_study.of_corpus(config)
  given = config.manual_dir, config.cache_dir, speech_study.synthetic(config)
  corpus = speech_corpora.wsj(*given, config.train_set, **options)
  return speech_study.described(corpus)


def scored(hypotheses: Sequence[str], references: Sequence[str]) -> Mapping[str, Score]:
  """Of texts."""
  return {
    'wer': scores.word_error_rate(hypotheses, references),
    'cer': character_error_rate(hypotheses, references),
  }


def main() -> None:
  """Reads the flags and runs."""
  cases = speech_config.cases(WSJ_DATASETS, WSJ_SIZES)
  config.launch(Config, run, by_flag(cases, WSJ_VALUES))


if __name__ == '__main__':
  main()
