"""What experiments.timit and experiments.wsj share: network, task, optimizer."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from experiments import arms, rates, runner, speech_results, study
from experiments.config import steps
from experiments.datasets.recordings import Settings
from experiments.datasets.speech import Speech
from experiments.datasets.speech_corpora import Options
from experiments.evaluate import Row
from experiments.framewise import framewise
from experiments.measures import FRAME_ERROR, Measure
from experiments.models.attention import Location
from experiments.models.framewise import Framewise
from experiments.models.listener import LAS, Sizes
from experiments.speech_results import Recognizer, Scores
from experiments.speech_settings import GRID
from experiments.state import State
from experiments.task import Batch, Model, Task
from experiments.translation import translation
from experiments.weight_noise import weight_noise
from regularizers.nn import SequenceBatchNorm

Load = Callable[[Any], Speech]


def study_of(
  name: str,
  config: Any,
  values: Mapping[str, float],
  load: Load,
  measure: Measure,
  scores: Scores,
) -> study.Study:
  """What is trained and compared.

  Args:
    name: of the experiment.
    config: with its defaults filled in.
    values: of the arms, by ``part.name``.
    load: ``config -> corpus``.
    measure: of recognised texts.
    scores: of recognised texts.
  """
  frames = config.model == 'framewise'

  def data(config: Any, final: bool) -> dict[int, Speech]:
    del final  # validation is never trained on
    return dict.fromkeys(range(config.seeds), load(config))

  def final(
    config: Any,
    datasets: Mapping[int, Speech],
    job: runner.Job,
    state: State,
    split: str,
  ) -> list[Row]:
    if frames:
      return speech_results.final_frames(datasets[0], job, state, split)
    own = recognizer(config, datasets[0])
    return speech_results.final(own, scores, job, state, split)

  return study.Study(
    name=f'{name}_frames' if frames else name,
    config=config,
    defaults=values,
    grid=GRID,
    data=data,
    of_arm=of_arm,
    task=task,
    optimizer=optimizer,
    steps_per_epoch=steps_per_epoch,
    pictures=speech_results.pictures,
    measure=FRAME_ERROR if frames else measure,
    chain=1,
    final=final,
    undecisive=('manual_dir', 'cache_dir'),
  )


def of_corpus(config: Any) -> Options:
  """What of a configuration decides how a corpus is read."""
  return {
    'num_mel': config.num_mel,
    'batch_frames': config.batch_frames,
    'num_shapes': config.num_shapes,
    'multiple': 2**config.halvings,
    'skip_bad': config.skip_bad,
  }


def synthetic(config: Any) -> Settings | None:
  """Of the synthetic corpus."""
  return Settings(train=config.speakers) if config.dataset == 'synthetic' else None


def described(corpus: Speech) -> Speech:
  """With a line that goes below the table."""
  about, bad = corpus.about, corpus.about['bad']
  counts = [f'{count:,} {split}' for split, count in about['utterances'].items()]
  # What is said of a split is that it is not as large as it should be.
  sizes = [
    split + bad[split].rpartition(split)[2]
    for split in about['utterances']
    if split in bad
  ]
  unread = len(bad) - len(sizes)
  parts = [
    f'synthetic speech ({about["synthetic"]})' if 'synthetic' in about else '',
    f'utterances: {", ".join(counts)}',
    f'tested on {about["left_out"]}, who is left out' if 'left_out' in about else '',
    *sizes,
    f'left out as they cannot be read: {unread}, see record.jsonl' if unread else '',
    f'{about["padding"]["train"]:.1%} of the frames of training batches are padding',
  ]
  summary = '; '.join(part for part in parts if part)
  return dataclasses.replace(corpus, about={**about, 'summary': f'{summary}.'})


def of_arm(config: Any, arm: str) -> Any:
  """With dropout and batch normalization, or without."""
  config = dataclasses.replace(
    config, batch_norm=config.batch_norm or 'batch_norm' in arms.parts(arm)
  )
  return arms.dropped(config, arm)


def task(config: Any, datasets: Mapping[int, Speech]) -> Task:
  """Frames to sequences, or to classes of each."""
  own = module(config, datasets[0])
  if config.model == 'framewise':
    made = framewise(own, datasets)
  else:
    fused = config.loss == 'fused'
    made = translation(own, datasets, fused=fused, source=frames_of)
  if config.weight_noise:
    made = weight_noise(made, config.weight_noise, config.noise_from)
  return made


def frames_of(batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Frames and their mask."""
  return batch['frames'], batch['frames_mask']


def module(config: Any, corpus: Speech) -> Model:
  """Makes the network."""
  if config.model == 'framewise':
    norm = SequenceBatchNorm() if config.batch_norm else None
    shape = corpus.source, config.hidden, config.layers, corpus.num_classes
    return lambda rngs: Framewise(
      *shape, batch_norm=norm, dropout=config.dropout, rngs=rngs
    )
  options = {'dropout': config.dropout, 'init_scale': config.init_scale}
  own = sizes(config, corpus.source, corpus.num_classes)
  return lambda rngs: LAS(own, **options, rngs=rngs)


def sizes(config: Any, features: int, target: int) -> Sizes:
  """Of the network with attention, for frames of ``features`` and ``target`` ids."""
  return Sizes(
    features,
    target,
    embedding=config.embedding,
    hidden=config.hidden,
    layers=config.layers,
    halvings=config.halvings,
    merge=config.merge,
    attention=config.attention,
    location=Location(config.filters, config.filter_width) if config.filters else None,
  )


@functools.lru_cache(maxsize=4)
def recognizer(config: Any, corpus: Speech) -> Recognizer:
  """The networks of a configuration, with its search; arms share its programs."""
  return Recognizer(module(config, corpus), corpus, config.search(), 2**config.halvings)


def optimizer(
  config: Any, datasets: Mapping[int, Speech]
) -> optax.GradientTransformation:
  """Adam or SGD with momentum, of a bounded gradient; the rate falls in steps."""
  num_steps = steps(config, steps_per_epoch(config, datasets[0]))
  rate = rates.falling(config.learning_rate, config.decay_at, config.decay, num_steps)
  own = optax.adam(rate)
  if config.optimizer == 'sgd':
    own = optax.sgd(rate, momentum=config.momentum)
  return optax.chain(
    optax.add_decayed_weights(config.weight_decay),
    optax.clip_by_global_norm(config.clip),
    own,
  )


def steps_per_epoch(config: Any, corpus: Speech) -> int:
  """Batches in a pass over the utterances."""
  del config
  return corpus.plans['train'].steps_per_epoch
