"""Losses for classifiers and sequence models that do not become overconfident.

Wrap your loss:

  >>> import jax.numpy as jnp
  >>> import regularizers as reg
  >>> loss = reg.chain(reg.label_smoothing(0.1), reg.confidence_penalty(0.1))(
  ...   reg.cross_entropy
  ... )
  >>> losses = loss(jnp.zeros((2, 4)), jnp.array([0, 3]))  # one value per position
  >>> print(reg.masked_mean(losses).round(4))
  1.2477
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from regularizers import metrics as metrics
from regularizers.accumulation import accumulate_gradients as accumulate_gradients
from regularizers.accumulation import microbatches as microbatches
from regularizers.base import add_penalty as add_penalty
from regularizers.base import chain as chain
from regularizers.base import terms as terms
from regularizers.categorical import Categorical as Categorical
from regularizers.categorical import Distribution as Distribution
from regularizers.categorical import bernoulli as bernoulli
from regularizers.categorical import entropy as entropy
from regularizers.categorical import log_normalizer as log_normalizer
from regularizers.categorical import log_prob as log_prob
from regularizers.categorical import mean_log_prob as mean_log_prob
from regularizers.confidence import confidence_penalty as confidence_penalty
from regularizers.confidence import forward_kl as forward_kl
from regularizers.confidence import generalized_entropy as generalized_entropy
from regularizers.confidence import reverse_kl as reverse_kl
from regularizers.distillation import codistillation as codistillation
from regularizers.distillation import distillation as distillation
from regularizers.divergence import kl_divergence as kl_divergence
from regularizers.linear import LinearCategorical as LinearCategorical
from regularizers.linear_loss import linear_loss as linear_loss
from regularizers.loss import Loss as Loss
from regularizers.loss import cross_entropy as cross_entropy
from regularizers.reductions import masked_mean as masked_mean
from regularizers.reductions import masked_sum as masked_sum
from regularizers.schedules import burn_in as burn_in
from regularizers.sharded import ShardedCategorical as ShardedCategorical
from regularizers.smoothing import label_noise as label_noise
from regularizers.smoothing import label_smoothing as label_smoothing
from regularizers.smoothing import unigram_prior as unigram_prior
from regularizers.smoothing import unigram_smoothing as unigram_smoothing
from regularizers.weighting import class_weights as class_weights
from regularizers.weighting import z_loss as z_loss

if TYPE_CHECKING:
  from regularizers import exchange as exchange
  from regularizers import nn as nn

__version__ = '0.1.0'

__all__ = [
  'Categorical',
  'Distribution',
  'LinearCategorical',
  'Loss',
  'ShardedCategorical',
  'accumulate_gradients',
  'add_penalty',
  'bernoulli',
  'burn_in',
  'chain',
  'class_weights',
  'codistillation',
  'confidence_penalty',
  'cross_entropy',
  'distillation',
  'entropy',
  'exchange',
  'forward_kl',
  'generalized_entropy',
  'kl_divergence',
  'label_noise',
  'label_smoothing',
  'linear_loss',
  'log_normalizer',
  'log_prob',
  'masked_mean',
  'masked_sum',
  'mean_log_prob',
  'metrics',
  'microbatches',
  'reverse_kl',
  'terms',
  'unigram_prior',
  'unigram_smoothing',
  'z_loss',
]


def __getattr__(name: str) -> ModuleType:
  """`exchange` and `nn` when they are asked for.

  The one would be a quarter of the time of an import, the other needs flax.
  """
  if name in ('exchange', 'nn'):
    return importlib.import_module(f'regularizers.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return [*__all__, 'nn']  # which `import *` leaves out: it works with jax alone
