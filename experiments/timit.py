"""Phones of speech: TIMIT, synthetic speech in its form, and spoken digits.

  python -m experiments.timit

recognises short sentences that eSpeak NG says in voices that are not in training: 240
utterances of 30 speakers to train on, 96 of 12 to test, two seeds of 200 steps, 2 min
2 s on two cores. Phone error rate, which is that of a network with attention and beam
search:

  baseline              9.2 ± 2.9 %
  label_smoothing       5.0 ± 1.5 %   -4.2 [-21.8, +13.5]
  unigram_smoothing     7.4 ± 2.8 %   -1.8 [-3.2, -0.4]
  confidence_penalty    6.4 ± 2.6 %   -2.8 [-6.6, +1.0]

``--manual_dir`` takes TIMIT and the paper's configuration, ``--data_dir`` the Free
Spoken Digit Dataset, one of whose speakers is left out of training.
``--model=framewise`` tells the phone of every frame, without batch normalization and
with it.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

from experiments import config, speech_config, speech_study, study
from experiments.config import by_flag, flag
from experiments.datasets import phones, speech_corpora
from experiments.datasets.speech import Speech
from experiments.errors import InputError
from experiments.measures import PHONE_ERROR
from experiments.scores import speech as scores
from experiments.scores.translation import Score
from experiments.speech_settings import TIMIT_DATASETS, TIMIT_SIZES, TIMIT_VALUES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(speech_config.Config):
  """The flags of speech, and what is particular to phones."""

  dataset: str = flag(
    None,
    'synthetic (embedded), timit (--manual_dir) or fsdd (--data_dir); default: timit '
    'with --manual_dir, fsdd with --data_dir',
    config.one_of(*TIMIT_DATASETS),
  )
  model: str = flag(
    'las',
    'las: sequences of phones, by attention; framewise: the phone of every frame',
    config.one_of(*TIMIT_SIZES),
  )
  size: str = flag(
    None,
    'sets what of the network is not given',
    config.one_of(*dict.fromkeys(s for own in TIMIT_SIZES.values() for s in own)),
  )
  left_out: str = flag(
    None, 'speaker of fsdd who is in the test split alone', config.named
  )


def filled(config: Config) -> Config:
  """What is not given, by data set, model and size."""
  default = 'fsdd' if config.data_dir else 'synthetic'
  default = 'timit' if config.manual_dir else default
  config = dataclasses.replace(config, dataset=config.dataset or default)
  if config.model == 'framewise' and config.dataset == 'timit':
    config = dataclasses.replace(config, size=config.size or 'laurent')
  return speech_config.filled(config, TIMIT_DATASETS, TIMIT_SIZES)


def run(config: Config) -> pathlib.Path:
  """Trains all arms, or goes on with them; ends with table and plots."""
  config = dataclasses.replace(config, dataset=filled(config).dataset)
  speech_config.check(config, TIMIT_DATASETS, TIMIT_SIZES)
  for dataset, name in (('timit', 'manual_dir'), ('fsdd', 'data_dir')):
    if config.dataset == dataset and getattr(config, name) is None:
      raise InputError(f'--dataset={dataset}: --{name} says where it is')
  return study.run(study_of(filled(config)))


def study_of(config: Config) -> study.Study:
  """What ``run`` trains and compares."""
  values = TIMIT_VALUES[config.dataset]
  return speech_study.study_of('timit', config, values, load, PHONE_ERROR, scored)


@functools.lru_cache(maxsize=1)
def load(config: Config) -> Speech:
  """The corpus of a configuration."""
  options = speech_study.of_corpus(config)
  if config.dataset == 'fsdd':
    own = str(config.data_dir), config.cache_dir, config.left_out
    return speech_study.described(speech_corpora.fsdd(*own, **options))
  given = config.manual_dir, config.cache_dir, speech_study.synthetic(config)
  return speech_study.described(speech_corpora.timit(*given, **options))


def scored(hypotheses: Sequence[str], references: Sequence[str]) -> Mapping[str, Score]:
  """Of phones with blanks between them."""
  return {
    'per': scores.phone_error_rate(hypotheses, references, phones.FOLD_39),
    'per_61': scores.phone_error_rate(hypotheses, references, {}),
  }


def main() -> None:
  """Reads the flags and runs."""
  cases = speech_config.cases(TIMIT_DATASETS, TIMIT_SIZES)
  config.launch(Config, run, by_flag(cases, TIMIT_VALUES))


if __name__ == '__main__':
  main()
