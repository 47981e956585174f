"""The two large set-ups of Anil et al. (2018), "Large scale distributed neural network
training through online distillation" (arXiv:1804.03235).

No copy of the paper was at hand: what stands under "from memory" is not confirmed.
"""

from collections.abc import Mapping
from typing import Any

from experiments.datasets import web_text
from experiments.models.resnet import RESNET_50

# Of both. The second term is simply added, from one step to the next and without a
# temperature.
EXCHANGE_EVERY = 50  # steps; the best of 50, 100 and 250
REPLICAS = 2

# From learning_rate on it is Goyal et al. (2017), "Accurate, Large Minibatch SGD"
# (arXiv:1706.02677), from memory; they hold their accuracy up to batches of 8,192. That
# Anil et al. follow them, and the burn-in, are known from accounts of others alone.
IMAGENET: Mapping[str, Any] = {
  'stages': RESNET_50,
  'width': 64,
  'image_size': 224,
  'batch_size': 16_384,  # of a replica; derived: 0.8 million examples in 50 steps
  'burn_in': 3000,  # steps
  'exchange_every': EXCHANGE_EVERY,
  'replicas': REPLICAS,
  'learning_rate': 0.1 * 16_384 / 256,  # 0.1 for each 256 examples of a batch
  'warm_up_epochs': 5,  # linear, from 0.1
  'momentum': 0.9,
  'nesterov': True,
  'weight_decay': 1e-4,  # not on scales and shifts of the normalisation
  'epochs': 90,
  'decay_epochs': (30, 60, 80),
  'decay': 10.0,  # what the rate is divided by
}

# All from memory but exchange_every and replicas. The learning rate and the burn-in are
# not known at all, so they are not here.
LANGUAGE: Mapping[str, Any] = {
  'dataset': 'c4/en',  # in place of their part of Common Crawl, 673 billion tokens
  'vocabulary': web_text.VOCABULARY,
  'layers': 2,
  'hidden': 1024,
  'embedding': 256,
  # `LanguageModel` has none: to be added, or its absence to be stated.
  'layer_norm': True,
  'unroll': 32,  # tokens; the state goes on and is never reset
  'batch_size': 128,  # of a worker, of which a replica has 32 to 256
  'optimizer': 'adam',
  'exchange_every': EXCHANGE_EVERY,
  'replicas': REPLICAS,
}
