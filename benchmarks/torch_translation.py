"""The translation model and its search in PyTorch, as `benchmarks.translation` needs.

The layers of `experiments.models.seq2seq` without dropout: `torch.nn.LSTM` wherever a
whole sequence is there at once, a loop in Python over the layer that attends. What does
not depend on the state before is computed for all steps at once here too.
"""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import rnn

from experiments.datasets.units import END, PADDING, START
from experiments.models.seq2seq import RESIDUAL_FROM, Sizes

Pair = tuple[torch.Tensor, torch.Tensor]
_NEVER = -torch.inf


@dataclasses.dataclass(frozen=True)
class Memory:
  """What is attended to: values, keys and, at padded places, −∞."""

  values: torch.Tensor
  keys: torch.Tensor
  bias: torch.Tensor

  def repeated(self, count: int) -> 'Memory':
    """Every row ``count`` times."""
    parts = self.values, self.keys, self.bias
    return Memory(*(part.repeat_interleave(count, 0) for part in parts))


class Attention(nn.Module):
  """Bahdanau's, and the product of what it finds with the state for the gates."""

  def __init__(self, hidden: int, values: int, size: int):
    super().__init__()
    self.of_values = nn.Linear(values, size)
    self.of_query = nn.Linear(hidden, size, bias=False)
    self.energy = nn.Parameter(torch.empty(size))
    self.of_state = nn.Linear(values + hidden, 4 * hidden, bias=False)

  def memory(self, values: torch.Tensor, mask: torch.Tensor) -> Memory:
    bias = torch.zeros(mask.shape).masked_fill(~mask, _NEVER)
    return Memory(values, self.of_values(values), bias)

  def forward(
    self, memory: Memory, state: Pair, fed: torch.Tensor
  ) -> tuple[Pair, torch.Tensor]:
    """The state and the context after one step, fed its product ``[batch, 4·H]``."""
    query = self.of_query(state[0])[:, None]
    energies = torch.tanh(memory.keys + query) @ self.energy + memory.bias
    weights = torch.softmax(energies, -1)
    context = torch.bmm(weights[:, None], memory.values)[:, 0]
    gates = fed + self.of_state(torch.cat([context, state[0]], -1))
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return (torch.sigmoid(o) * torch.tanh(c), c), context


class Torch(nn.Module):
  """Encoder and decoder with attention."""

  never: torch.Tensor

  def __init__(self, sizes: Sizes):
    super().__init__()
    hidden, embedding = sizes.hidden, sizes.embedding
    self.source = nn.Embedding(sizes.source, embedding)
    self.target = nn.Embedding(sizes.target, embedding)
    widths = [embedding, 2 * hidden, *[hidden] * sizes.encoder]
    self.encoder = nn.ModuleList(
      nn.LSTM(widths[index], hidden, batch_first=True, bidirectional=index == 0)
      for index in range(sizes.encoder)
    )
    values = widths[sizes.encoder]
    self.of_inputs = nn.Linear(embedding, 4 * hidden)
    self.attention = Attention(hidden, values, sizes.attention)
    self.others = nn.ModuleList(
      nn.LSTM(hidden + values, hidden, batch_first=True)
      for _ in range(1, sizes.decoder)
    )
    self.output = nn.Linear(hidden, sizes.target)
    out = torch.zeros(sizes.target)
    out[[PADDING, START]] = _NEVER
    self.register_buffer('never', out, persistent=False)

  def encode(self, source: torch.Tensor) -> Memory:
    mask = source != PADDING
    frames = self.source(source)
    for index, layer in enumerate(self.encoder):
      if index == 0:  # the way back begins at a sequence's own end
        lengths = mask.sum(1)
        packed = rnn.pack_padded_sequence(frames, lengths, True, enforce_sorted=False)
        outputs, _ = layer(packed)
        width = source.shape[1]
        frames, _ = rnn.pad_packed_sequence(outputs, True, total_length=width)
      else:
        frames = _above(index, frames, layer(frames)[0])
    return self.attention.memory(frames, mask)

  def forward(self, source: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Logits ``[batch, target, V]``."""
    memory = self.encode(source)
    state, _ = self.start(len(source))
    found = []
    for fed in self.of_inputs(self.target(inputs)).unbind(1):
      state, context = self.attention(memory, state, fed)
      found.append((state[0], context))
    frames, contexts = (torch.stack(part, 1) for part in zip(*found, strict=True))
    for index, layer in enumerate(self.others, 1):
      outputs, _ = layer(torch.cat([frames, contexts], -1))
      frames = _above(index, frames, outputs)
    return self.logits(frames)

  def start(self, batch: int) -> tuple[Pair, list[Pair]]:
    zeros = torch.zeros(batch, self.output.in_features)
    return (zeros, zeros), [(zeros[None], zeros[None]) for _ in self.others]

  def step(
    self, memory: Memory, first: Pair, others: list[Pair], ids: torch.Tensor
  ) -> tuple[torch.Tensor, Pair, list[Pair]]:
    """Logits ``[batch, V]`` and the states after ids ``[batch]``."""
    fed = self.of_inputs(self.target(ids))
    first, context = self.attention(memory, first, fed)
    frames, after = first[0], []
    for index, (layer, before) in enumerate(zip(self.others, others, strict=True), 1):
      outputs, state = layer(torch.cat([frames, context], -1)[:, None], before)
      after.append(state)
      frames = _above(index, frames, outputs[:, 0])
    return self.logits(frames), first, after

  def logits(self, frames: torch.Tensor) -> torch.Tensor:
    return F.linear(frames, self.output.weight, self.output.bias + self.never)


def _above(index: int, below: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
  return outputs + below if index >= RESIDUAL_FROM else outputs


def loss(model: Torch, batch: dict[str, torch.Tensor]) -> torch.Tensor:
  """The mean cross-entropy of the symbols that are there."""
  labels = batch['label'].masked_fill(~batch['mask'], PADDING)
  logits = model(batch['source'], batch['inputs'])
  return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PADDING)


@dataclasses.dataclass(frozen=True)
class Found:
  """``ids`` ``[batch, beam, length]`` and ``scores``, −∞ where there is none."""

  ids: torch.Tensor
  scores: torch.Tensor


@torch.inference_mode()
def beam_search(
  model: Torch, source: torch.Tensor, *, beam: int, length: int, length_penalty: float
) -> Found:
  """As `experiments.scores.beam_search`, without a coverage penalty."""
  batch, size = len(source), model.output.out_features
  memory = model.encode(source).repeated(beam)
  first, others = model.start(batch * beam)
  ids = torch.full((batch, beam, length), PADDING)
  log_probs = torch.full((batch, beam), _NEVER)
  log_probs[:, 0] = 0
  found = Found(ids, torch.full_like(log_probs, _NEVER))
  fed = torch.full((batch * beam,), START)
  rows = torch.arange(batch)[:, None]
  for count in range(1, length + 1):
    logits, first, others = model.step(memory, first, others, fed)
    totals = log_probs[..., None] + logits.log_softmax(-1).view(batch, beam, size)
    best, places = totals.flatten(1).topk(2 * beam)
    parents, symbols = places // size, places % size
    grown = ids[rows, parents]
    grown[..., count - 1] = symbols
    ends = symbols == END
    scores = best / ((5 + count) / 6) ** length_penalty
    scores = scores.masked_fill(~ends, _NEVER)[:, :beam]
    found = _merged(found, Found(grown[:, :beam], scores))
    log_probs, kept = best.masked_fill(ends, _NEVER).topk(beam)
    ids, fed = grown[rows, kept], symbols[rows, kept].flatten()
    chosen = (parents[rows, kept] + rows * beam).flatten()
    first = first[0][chosen], first[1][chosen]
    others = [(h[:, chosen], c[:, chosen]) for h, c in others]
    bound = log_probs[:, 0] / ((5 + length) / 6) ** length_penalty
    if not (bound > found.scores[:, -1]).any():
      break
  return _filled(found, Found(ids, log_probs / ((5 + count) / 6) ** length_penalty))


def _merged(one: Found, other: Found) -> Found:
  scores, chosen = torch.cat([one.scores, other.scores], 1).topk(one.scores.shape[1])
  rows = torch.arange(len(chosen))[:, None]
  return Found(torch.cat([one.ids, other.ids], 1)[rows, chosen], scores)


def _filled(found: Found, cut: Found) -> Found:
  """Those that were cut off stand behind those that ended."""
  beam = found.scores.shape[1]
  scores = torch.cat([found.scores, cut.scores], 1)
  kinds = (torch.arange(2 * beam) >= beam) + 2 * (scores == _NEVER)
  order = kinds.argsort(dim=1, stable=True)[:, :beam]
  rows = torch.arange(len(order))[:, None]
  return Found(torch.cat([found.ids, cut.ids], 1)[rows, order], scores[rows, order])


def twin(params: Any, sizes: Sizes) -> Torch:
  """The same model with the same weights; biases of the states' products are 0."""
  model = Torch(sizes)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      if 'bias_hh' in name:
        parameter.zero_()
  copies = {name: torch.tensor(a) for name, a in as_torch(params).items()}
  lacking = model.load_state_dict(copies, strict=False)
  assert not lacking.unexpected_keys
  assert all('bias_hh' in name for name in lacking.missing_keys), lacking
  return model


def as_torch(params: Any) -> dict[str, np.ndarray]:
  """Our parameters, or gradients by them, by the names of those of `Torch`."""
  first, attention = params['first'], params['first']['attention']
  kernels = {
    'of_inputs.weight': first['of_inputs'],
    'attention.of_values.weight': attention['of_values']['kernel'],
    'attention.of_query.weight': attention['of_query']['kernel'],
    'attention.of_state.weight': np.concatenate(
      [first['of_context'], first['recurrent']]
    ),
    'output.weight': params['output']['kernel'],
  }
  others = {
    'source.weight': params['source']['embedding'],
    'target.weight': params['target']['embedding'],
    'of_inputs.bias': first['bias'],
    'attention.of_values.bias': attention['of_values']['bias'],
    'attention.energy': attention['energy'],
    'output.bias': params['output']['bias'],
  }
  for part in ('encoder', 'others'):
    for index, layer in params.get(part, {}).items():
      for way, own in layer['directions'].items():
        name = f'{part}.{index}.{{}}_l0' + '_reverse' * way
        kernels[name.format('weight_ih')] = own['input_kernel']
        kernels[name.format('weight_hh')] = own['recurrent_kernel']
        others[name.format('bias_ih')] = own['bias']
  turned = {name: np.asarray(array).T for name, array in kernels.items()}
  return turned | {name: np.asarray(array) for name, array in others.items()}


def arrays(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
  """Of a batch of ours; ids are long, as the loss wants labels."""
  found = {name: torch.tensor(array) for name, array in batch.items()}
  return {name: a if a.dtype == torch.bool else a.long() for name, a in found.items()}
