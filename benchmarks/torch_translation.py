"""The translation model and its search in PyTorch, as `benchmarks.translation` needs.

The layers of `experiments.models.seq2seq` without dropout: `torch.nn.LSTM` wherever a
whole sequence is there at once, a loop in Python over the layer that attends. What does
not depend on the state before is computed for all steps at once here too.
"""

import dataclasses
from typing import Any

import numpy as np

from benchmarks.extra import torch
from experiments.datasets.units import END, PADDING, START
from experiments.models.seq2seq import RESIDUAL_FROM, Sizes

nn = torch.nn
F = torch.nn.functional
rnn = torch.nn.utils.rnn

Pair = tuple[torch.Tensor, torch.Tensor]
Arrays = dict[str, np.ndarray]
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
    context, _ = self.look(memory, memory.keys + self.of_query(state[0])[:, None])
    return self.advance(state, context, fed), context

  def look(
    self, memory: Memory, inner: torch.Tensor
  ) -> tuple[torch.Tensor, torch.Tensor]:
    """Context and weights, of what goes into tanh."""
    energies = torch.tanh(inner) @ self.energy + memory.bias
    weights = torch.softmax(energies, -1)
    return torch.bmm(weights[:, None], memory.values)[:, 0], weights

  def advance(self, state: Pair, context: torch.Tensor, fed: torch.Tensor) -> Pair:
    """The state after a step."""
    gates = fed + self.of_state(torch.cat([context, state[0]], -1))
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class Torch(nn.Module):
  """Encoder and decoder with attention."""

  given = 'source', 'inputs'
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
    self.register_buffer('never', impossible(sizes.target), persistent=False)

  def encode(self, source: torch.Tensor) -> Memory:
    mask = source != PADDING
    frames = self.source(source)
    for index, layer in enumerate(self.encoder):
      if index == 0:
        frames = both_ways(layer, frames, mask)
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


def impossible(size: int) -> torch.Tensor:
  """Added to logits: −∞ for what never comes."""
  out = torch.zeros(size)
  out[[PADDING, START]] = _NEVER
  return out


def both_ways(
  layer: nn.Module, frames: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
  """Outputs of a layer whose way back begins at a sequence's own end."""
  packed = rnn.pack_padded_sequence(frames, mask.sum(1), True, enforce_sorted=False)
  width = frames.shape[1]
  return rnn.pad_packed_sequence(layer(packed)[0], True, total_length=width)[0]


def _above(index: int, below: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
  return outputs + below if index >= RESIDUAL_FROM else outputs


def loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
  """The mean cross-entropy of the symbols that are there.

  Args:
    model: takes what its ``given`` names.
    batch: of tensors.
  """
  labels = batch['label'].masked_fill(~batch['mask'], PADDING)
  logits = model(*(batch[name] for name in model.given))
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
  """The same model with the same weights."""
  model = Torch(sizes)
  load(model, as_torch(params))
  return model


def load(model: nn.Module, arrays: Arrays) -> None:
  """Gives a model these weights; biases of the states' products are 0."""
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      if 'bias_hh' in name:
        parameter.zero_()
  copies = {name: torch.tensor(array) for name, array in arrays.items()}
  lacking = model.load_state_dict(copies, strict=False)
  assert not lacking.unexpected_keys
  assert all('bias_hh' in name for name in lacking.missing_keys), lacking


def as_torch(params: Any) -> Arrays:
  """Our parameters, or gradients by them, by the names of those of `Torch`."""
  found = {
    'source.weight': np.asarray(params['source']['embedding']),
    'target.weight': np.asarray(params['target']['embedding']),
    **attending(params['first']),
    **linear('output', params['output']),
  }
  for part in ('encoder', 'others'):
    for index, layer in params.get(part, {}).items():
      found |= lstm(f'{part}.{index}', layer)
  return found


def attending(own: Any) -> Arrays:
  """Of the layer that attends, and what it is fed."""
  attention = own['attention']
  of_state = np.concatenate([own['of_context'], own['recurrent']])
  return {
    **linear('of_inputs', {'kernel': own['of_inputs'], 'bias': own['bias']}),
    **linear('attention.of_values', attention['of_values']),
    **linear('attention.of_query', attention['of_query']),
    **linear('attention.of_state', {'kernel': of_state}),
    'attention.energy': np.asarray(attention['energy']),
  }


def linear(name: str, own: Any) -> Arrays:
  """Kernel and, where it has one, bias."""
  found = {f'{name}.weight': np.asarray(own['kernel']).T}
  return found | {f'{name}.bias': np.asarray(own[key]) for key in own if key == 'bias'}


def lstm(name: str, layer: Any) -> Arrays:
  """Of a layer, one way or both."""
  found = {}
  for way, own in layer['directions'].items():
    end = '_l0' + '_reverse' * way
    found[f'{name}.weight_ih{end}'] = np.asarray(own['input_kernel']).T
    found[f'{name}.weight_hh{end}'] = np.asarray(own['recurrent_kernel']).T
    found[f'{name}.bias_ih{end}'] = np.asarray(own['bias'])
  return found


def tensors(batch: Arrays) -> dict[str, torch.Tensor]:
  """Of a batch of ours; ids are long, as the loss wants labels."""
  found = {name: torch.tensor(array) for name, array in batch.items()}
  return {n: a.long() if a.dtype == torch.int32 else a for n, a in found.items()}
