"""The recogniser in PyTorch, as `benchmarks.speech` needs it.

The layers of `experiments.models.listener` without dropout: `torch.nn.LSTM` and
`torch.nn.Conv1d`, and a loop in Python over the layer that attends.
"""

from typing import Any

import numpy as np

from benchmarks import torch_translation
from benchmarks.extra import torch
from benchmarks.torch_translation import Arrays, Memory, Pair
from experiments.models.attention import Location
from experiments.models.listener import Sizes

nn = torch.nn
F = torch.nn.functional


class Attention(torch_translation.Attention):
  """With the convolution of the weights before (Chorowski et al., 2015)."""

  def __init__(self, hidden: int, values: int, size: int, location: Location):
    super().__init__(hidden, values, size)
    filters, width = location
    self.filters = nn.Conv1d(1, filters, width, padding=width // 2, bias=False)
    self.of_location = nn.Linear(filters, size, bias=False)

  def step(
    self, memory: Memory, state: Pair, before: torch.Tensor, fed: torch.Tensor
  ) -> tuple[Pair, torch.Tensor, torch.Tensor]:
    """The state, the context and the weights after one step."""
    moved = self.of_location(self.filters(before[:, None]).transpose(1, 2))
    query = self.of_query(state[0])[:, None]
    context, weights = self.look(memory, memory.keys + query + moved)
    return self.advance(state, context, fed), context, weights


class Torch(nn.Module):
  """Listener and speller."""

  given = 'frames', 'frames_mask', 'inputs'
  never: torch.Tensor

  def __init__(self, sizes: Sizes, *, packed: bool = True):
    """Draws weights.

    Args:
      sizes: of the network.
      packed: the layers pass padding by, as ours do; False: they read it as frames,
        which is the same only where there is none.
    """
    super().__init__()
    assert sizes.location is not None
    self.packed, self.merge = packed, sizes.merge
    self.whole = sizes.layers - sizes.halvings  # layers before time is halved
    hidden, values = sizes.hidden, 2 * sizes.hidden
    widths = [sizes.features, *[values] * (sizes.layers - 1)]
    doubled = 2 if sizes.merge == 'concat' else 1
    self.encoder = nn.ModuleList(
      nn.LSTM(
        width * (doubled if index >= self.whole else 1),
        hidden,
        batch_first=True,
        bidirectional=True,
      )
      for index, width in enumerate(widths)
    )
    self.target = nn.Embedding(sizes.target, sizes.embedding)
    self.of_inputs = nn.Linear(sizes.embedding, 4 * hidden)
    self.attention = Attention(hidden, values, sizes.attention, sizes.location)
    self.output = nn.Linear(hidden + values, sizes.target)
    never = torch_translation.impossible(sizes.target)
    self.register_buffer('never', never, persistent=False)

  def encode(self, frames: torch.Tensor, mask: torch.Tensor) -> Memory:
    for index, layer in enumerate(self.encoder):
      if index >= self.whole:
        frames, mask = _halved(frames, mask, self.merge)
      if self.packed:
        frames = torch_translation.both_ways(layer, frames, mask)
      else:
        frames, _ = layer(frames)
    return self.attention.memory(frames, mask)

  def forward(
    self, frames: torch.Tensor, mask: torch.Tensor, inputs: torch.Tensor
  ) -> torch.Tensor:
    """Logits ``[batch, target, V]``."""
    memory = self.encode(frames, mask)
    zeros = torch.zeros(len(frames), self.attention.of_query.in_features)
    state = zeros, zeros
    weights = torch.zeros(memory.bias.shape)
    weights[:, 0] = 1
    read = []
    for fed in self.of_inputs(self.target(inputs)).unbind(1):
      state, context, weights = self.attention.step(memory, state, weights, fed)
      read.append(torch.cat([state[0], context], -1))
    bias = self.output.bias + self.never
    return F.linear(torch.stack(read, 1), self.output.weight, bias)


def _halved(
  frames: torch.Tensor, mask: torch.Tensor, merge: str
) -> tuple[torch.Tensor, torch.Tensor]:
  if merge == 'skip':
    return frames[:, ::2], mask[:, ::2]
  frames = F.pad(frames, (0, 0, 0, frames.shape[1] % 2))
  return frames.reshape(len(frames), -1, 2 * frames.shape[2]), mask[:, ::2]


def twin(params: Any, sizes: Sizes, *, packed: bool = True) -> Torch:
  """The same model with the same weights."""
  model = Torch(sizes, packed=packed)
  torch_translation.load(model, as_torch(params))
  return model


def as_torch(params: Any) -> Arrays:
  """Our parameters, or gradients by them, by the names of those of `Torch`."""
  speller = params['speller']
  attention = speller['attention']
  location = {'kernel': attention['of_location']}
  filters = np.asarray(attention['filters']).T[:, None]
  found = {
    'target.weight': np.asarray(params['target']['embedding']),
    'attention.filters.weight': filters,
    **torch_translation.linear('attention.of_location', location),
    **torch_translation.attending(speller),
    **torch_translation.linear('output', params['output']),
  }
  for index, layer in params['listener']['layers'].items():
    found |= torch_translation.lstm(f'encoder.{index}', layer)
  return found
