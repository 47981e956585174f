"""Flags of experiments whose networks turn sequences into sequences."""

import dataclasses

from experiments import config
from experiments.config import flag
from experiments.decoding import Decoding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Config):
  """The common flags, and those of attention and its search."""

  num_shapes: int = flag(
    None, 'most shapes of batches, each of which is compiled', config.count
  )
  embedding: int = flag(None, 'size of the vector of a symbol', config.count)
  attention: int = flag(None, 'units of the attention', config.count)
  dropout: float = flag(
    None, 'share of units dropped in arms with dropout', config.share
  )
  init_scale: float = flag(
    None,
    'initial weights are uniform in +-this; 0: by the size of a layer',
    config.non_negative,
  )
  clip: float = flag(None, 'bound on the norm of the gradient', config.positive)
  beam: int = flag(
    None,
    'hypotheses of the search; 1: the most probable symbol each time',
    config.count,
  )
  length_penalty: float = flag(
    None,
    'exponent of the length that the search divides scores by (Wu et al., 2016); 0: '
    'not at all',
    config.non_negative,
  )
  coverage_penalty: float = flag(
    None,
    'what places of the source that nothing looked at cost in the search (Wu et al., '
    '2016)',
    config.non_negative,
  )
  loss: str = flag(
    'dense',
    'dense, or fused: logits are not kept in memory',
    config.one_of('dense', 'fused'),
  )

  def search(self) -> Decoding:
    """How sequences are looked for."""
    return Decoding(self.beam, self.length_penalty, self.coverage_penalty)
