"""The two large set-ups of Anil et al. (2018), "Large scale distributed neural network
training through online distillation" (arXiv:1804.03235).

No copy of the paper was at hand: what stands under "from memory" is not confirmed. Both
were tried on small data alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.datasets import imagenet, streams, web_text
from experiments.datasets.corpus import Corpus
from experiments.datasets.dataset import Dataset
from experiments.images import image_classification
from experiments.language import language_modelling
from experiments.models.language_model import LanguageModel
from experiments.models.resnet import RESNET_50, ResNet
from experiments.replica_model import Model
from experiments.task import Task, classification_steps

_EVAL_STREAMS = 128

# From the learning rate on it is Goyal et al. (2017), "Accurate, Large Minibatch SGD"
# (arXiv:1706.02677), from memory; they hold their accuracy up to batches of 8,192. That
# Anil et al. follow them, and the burn-in, are known from accounts of others alone.
IMAGENET: Mapping[str, Any] = {
  'seeds': 1,
  'weight': 1.0,
  'epsilon': 0.1,
  'hidden': RESNET_50,  # blocks of the stages
  'image_size': 224,
  'batch_size': 16_384,  # of a replica; derived: 0.8 million examples in 50 steps
  'burn_in': 3000,
  'learning_rate': 0.1 * 16_384 / 256,  # 0.1 for each 256 examples of a batch
  'num_epochs': 90,
}
_WARM_UP, _FALLS, _DECAY = 5, (30, 60, 80), 0.1  # epochs
_MOMENTUM, _WEIGHT_DECAY, _START = 0.9, 1e-4, 0.1

# All from memory. Rate and burn-in are ours: the paper's are not known. Its text is a
# part of Common Crawl of 673 billion tokens, and its LSTM has layer normalisation.
LANGUAGE: Mapping[str, Any] = {
  'seeds': 1,
  'weight': 1.0,
  'epsilon': 0.1,
  'hidden': (1024, 1024),
  'embedding': 256,
  'buckets': web_text.VOCABULARY,
  'num_train': web_text.NUM_TRAIN,
  'unroll': 32,  # the state goes on and is never reset
  'batch_size': 128,  # of a worker, of which a replica has 32 to 256
  'learning_rate': 0.001,
  'burn_in': 1000,
  'num_epochs': 1,
}


def _images(config: Any) -> Dataset:
  return imagenet.load(config.data_dir, image_size=config.image_size)


def _image_task(config: Any, datasets: Mapping[int, Dataset]) -> Task:
  classes = next(iter(datasets.values())).num_classes

  def module(rngs: nnx.Rngs) -> nnx.Module:
    return ResNet(classes, config.hidden, width=config.width or 64, rngs=rngs)

  return image_classification(module, datasets, config.batch_size)


def imagenet_rate(config: Any, dataset: Dataset) -> Callable[[jax.Array], jax.Array]:
  """By step: it warms up and falls by epochs of a replica's part."""
  per_epoch = max(1, classification_steps(config, dataset) // config.num_replicas)
  falls = {epoch * per_epoch: _DECAY for epoch in _FALLS}
  constant = optax.piecewise_constant_schedule(config.learning_rate, falls)
  start = min(_START, config.learning_rate)

  def rate(step: jax.Array) -> jax.Array:
    share = jnp.minimum(step / (_WARM_UP * per_epoch), 1.0)
    rising = start + share * (config.learning_rate - start)
    return jnp.where(share < 1.0, rising, constant(step))

  return rate


def _image_optimizer(config: Any, dataset: Dataset) -> optax.GradientTransformation:
  rate = imagenet_rate(config, dataset)
  return optax.chain(
    optax.add_decayed_weights(_WEIGHT_DECAY, mask=_matrices),
    optax.sgd(rate, momentum=_MOMENTUM, nesterov=True),
  )


def _matrices(params: Any) -> Any:
  """Not scales and shifts of the normalisation."""
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _text(config: Any) -> Corpus:
  return web_text.load(
    config.dataset,
    config.data_dir,
    vocabulary=config.buckets,
    num_train=config.num_train,
  )


def _text_task(config: Any, datasets: Mapping[int, Any]) -> Task:
  size = next(iter(datasets.values())).num_classes

  def module(rngs: nnx.Rngs) -> nnx.Module:
    units, layers = config.hidden[0], len(config.hidden)
    return LanguageModel(size, config.embedding, units, layers, rngs=rngs)

  return language_modelling(
    module,
    datasets,
    batch_size=config.batch_size,
    unroll=config.unroll,
    eval_streams=_EVAL_STREAMS,
  )


def _text_optimizer(config: Any, dataset: Any) -> optax.GradientTransformation:
  return optax.adam(config.learning_rate)


def _text_steps(config: Any, dataset: Any) -> int:
  size = len(dataset.splits['train']['label'])
  return streams.steps_per_epoch(size, config.batch_size, config.unroll)


RESNET = Model(
  {'imagenet': IMAGENET},
  _images,
  _image_task,
  _image_optimizer,
  classification_steps,
  {'imagenet': 'taken'},
)
LANGUAGE_MODEL = Model(
  {'lm1b': LANGUAGE, 'c4/en': LANGUAGE},
  _text,
  _text_task,
  _text_optimizer,
  _text_steps,
  {'lm1b': 'taken', 'c4/en': 'taken'},
)
