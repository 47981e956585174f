"""Against PyTorch in float64: packed sequences, and normalisation around them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest
from models import LENGTHS, TIME, UNITS

torch = pytest.importorskip('torch', reason='PyTorch is not installed')

PAIRS = {'LSTM': 'LSTM', 'GRU': 'GRU', 'SimpleRNN': 'RNN'}


def tensor(array: Any) -> Any:
  return torch.tensor(np.asarray(array), requires_grad=True)


def outputs_and_gradients(model: Any, x: Any) -> tuple[Any, Any, Any]:
  """Of a batch of the usual lengths: outputs with carry, gradients of their sum."""
  run, params, stats = models.pure(model)

  @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
  def value(params: Any, x: jax.Array) -> Any:
    out, _ = run(params, stats, x, lengths=jnp.asarray(LENGTHS))
    return models.weighted(out), out

  (_, got), (by_params, by_x) = jax.jit(value)(params, jnp.asarray(x))
  return got, by_params, by_x


def packed(layer: Any, x: Any, carry: Any, lengths: np.ndarray) -> tuple[Any, Any]:
  """The layer on the valid frames alone."""
  pack = torch.nn.utils.rnn.pack_padded_sequence(
    x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
  )
  outputs, carry = layer(pack, carry)
  padded = torch.nn.utils.rnn.pad_packed_sequence(
    outputs, batch_first=True, total_length=x.shape[1]
  )
  return padded[0], carry


def twin(model: Any, cell: str, inputs: int) -> Any:
  """PyTorch's layers with the same weights."""
  layer = getattr(torch.nn, PAIRS[cell])(
    inputs,
    UNITS,
    num_layers=model.num_layers,
    bidirectional=model.bidirectional,
    batch_first=True,
    dtype=torch.float64,
  )
  ways = 2 if model.bidirectional else 1
  with torch.no_grad():
    for index, part in enumerate(model.directions):
      end = f'_l{index // ways}' + ('_reverse' if index % ways else '')
      for name, values in (
        ('weight_ih', part.input_kernel[...].T),
        ('weight_hh', part.recurrent_kernel[...].T),
        ('bias_ih', part.bias[...]),
      ):
        getattr(layer, name + end).copy_(torch.tensor(np.asarray(values)))
      bias = getattr(layer, 'bias_hh' + end).zero_()
      if part.recurrent_bias is not None:
        bias[-UNITS:] = torch.tensor(np.asarray(part.recurrent_bias[...]))
  return layer


def gradients_by_name(layer: Any, model: Any) -> list[dict[str, np.ndarray]]:
  """PyTorch's gradients under our names, a dictionary a direction."""
  found = []
  ways = 2 if model.bidirectional else 1
  for index, part in enumerate(model.directions):
    end = f'_l{index // ways}' + ('_reverse' if index % ways else '')
    grads = {
      'input_kernel': getattr(layer, 'weight_ih' + end).grad.T,
      'recurrent_kernel': getattr(layer, 'weight_hh' + end).grad.T,
      'bias': getattr(layer, 'bias_ih' + end).grad,
    }
    if part.recurrent_bias is not None:
      grads['recurrent_bias'] = getattr(layer, 'bias_hh' + end).grad[-UNITS:]
    found.append({name: grad.numpy() for name, grad in grads.items()})
  return found


def weighted(tensors: list[Any]) -> Any:
  """What `models.weighted` computes."""
  return sum(
    (t.reshape(-1) * torch.cos(torch.arange(t.numel(), dtype=t.dtype))).sum()
    for t in tensors
  )


def as_list(carry: Any) -> list[Any]:
  return list(carry) if isinstance(carry, tuple) else [carry]


@pytest.mark.parametrize('cell', PAIRS)
def test_layers_and_gradients(cell: str):
  """Two bidirectional layers, a carry from before, sequences of several lengths."""
  lengths, x = np.array([6, 3, 1, 4]), models.features()
  with jax.enable_x64(True):
    model = models.make(cell, num_layers=2, bidirectional=True)
    run, params, stats = models.pure(model)
    draw = np.random.default_rng(3)
    carry = jax.tree.map(
      lambda a: jnp.asarray(draw.normal(size=a.shape)), model.initial_carry(4)
    )

    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
    def value(params: Any, x: jax.Array, carry: Any) -> Any:
      out, _ = run(params, stats, x, carry, lengths=jnp.asarray(lengths))
      return models.weighted(out), out

    (_, got), grads = jax.jit(value)(params, jnp.asarray(x), carry)
  layer, x_torch = twin(model, cell, models.INPUTS), tensor(x)
  start = [tensor(array) for array in as_list(carry)]
  first = tuple(start) if cell == 'LSTM' else start[0]
  outputs, last = packed(layer, x_torch, first, lengths)
  weighted([outputs, *as_list(last)]).backward()
  expected = [outputs, *as_list(last)]
  models.close(jax.tree.leaves(got), [t.detach().numpy() for t in expected])
  by_params, by_x, by_carry = grads
  models.close(by_x, x_torch.grad.numpy())
  models.close(as_list(by_carry), [t.grad.numpy() for t in start])
  for index, wanted in enumerate(gradients_by_name(layer, model)):
    part = by_params['directions'][index]
    models.close({name: part[name][...] for name in wanted}, wanted)


def normalize(frames: Any, valid: Any, norm: Any, mode: str, eps: float) -> Any:
  """`F.batch_norm` of the packed valid frames ``[batch, time, features]``."""
  gamma, beta = norm
  out = torch.zeros_like(frames)
  steps = (
    [slice(None)] if mode == 'sequence' else [slice(t, t + 1) for t in range(TIME)]
  )
  for step in steps:
    there = torch.zeros_like(valid)
    there[:, step] = valid[:, step]
    packed_frames = torch.nn.functional.batch_norm(
      frames[there], None, None, gamma, beta, training=True, eps=eps
    )
    out = out.index_put((there,), packed_frames)
  return out


@pytest.mark.parametrize('placement', ['input_to_hidden', 'layer_input'])
@pytest.mark.parametrize('mode', ['sequence', 'frame'])
def test_normalised_inputs(mode: str, placement: str):
  """A torch LSTM whose input kernel is the identity, fed with normalised products."""
  x = models.features()
  with jax.enable_x64(True):
    options = models.placed(placement, mode, epsilon=0.01, scale_init=0.7)
    model = models.make('LSTM', batch_norm=options)
    got, by_params, by_x = outputs_and_gradients(model, x)
  part = model.directions[0]
  x_torch, kernel = tensor(x), tensor(part.input_kernel[...])
  gamma = tensor(part.norm.scale[...])
  beta = None if part.norm.bias is None else tensor(part.norm.bias[...])
  valid = torch.tensor(np.arange(TIME)[None] < LENGTHS[:, None])
  layer = torch.nn.LSTM(4 * UNITS, UNITS, batch_first=True, dtype=torch.float64)
  with torch.no_grad():
    layer.weight_ih_l0.copy_(torch.eye(4 * UNITS))
    layer.weight_hh_l0.copy_(torch.tensor(np.asarray(part.recurrent_kernel[...]).T))
    for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
      bias.zero_()
    if part.bias is not None:
      layer.bias_ih_l0.copy_(torch.tensor(np.asarray(part.bias[...])))
  if placement == 'layer_input':
    products = normalize(x_torch, valid, (gamma, beta), mode, 0.01) @ kernel
  else:
    products = normalize(x_torch @ kernel, valid, (gamma, beta), mode, 0.01)
  outputs, (h, c) = packed(layer, products, None, LENGTHS)
  weighted([outputs, h, c]).backward()
  models.close(jax.tree.leaves(got), [t.detach().numpy() for t in (outputs, h, c)])
  models.close(by_x, x_torch.grad.numpy(), 1e-11)
  grads = by_params['directions'][0]
  wanted = {'input_kernel': kernel.grad, 'recurrent_kernel': layer.weight_hh_l0.grad.T}
  models.close(
    {name: grads[name][...] for name in wanted},
    {name: grad.numpy() for name, grad in wanted.items()},
    1e-11,
  )
  models.close(grads['norm']['scale'][...], gamma.grad.numpy(), 1e-11)
  if beta is not None:
    models.close(grads['norm']['bias'][...], beta.grad.numpy(), 1e-11)


def recursion_by_hand(part: Any, x: Any, parameters: Any, placement: str) -> Any:
  """An LSTM in PyTorch, `F.batch_norm` over the sequences that have the frame."""
  kernel, recurrent, gamma, bias = parameters
  h = c = torch.zeros(len(LENGTHS), UNITS, dtype=torch.float64)
  outputs = []
  for step in range(TIME):
    rows = torch.tensor(step < LENGTHS)
    norm = functools.partial(
      torch.nn.functional.batch_norm,
      running_mean=None,
      running_var=None,
      weight=gamma,
      training=True,
      eps=part.norm.options.epsilon,
    )
    by_x, by_h = (x[:, step] @ kernel)[rows], (h @ recurrent)[rows]
    if placement == 'pre_activation':
      total = norm(by_x + by_h) + bias
    else:
      total = by_x + norm(by_h) + bias
    i, f, g, o = total.chunk(4, -1)
    new_c = f.sigmoid() * c[rows] + i.sigmoid() * g.tanh()
    c = c.index_put((rows,), new_c)
    h = h.index_put((rows,), o.sigmoid() * new_c.tanh())
    outputs.append(torch.where(rows[:, None], h, 0.0))
  return torch.stack(outputs, 1), h[None], c[None]


@pytest.mark.parametrize('placement', ['hidden_to_hidden', 'pre_activation'])
def test_normalised_recursion(placement: str):
  """Against the recursion written out in PyTorch, gradients too."""
  x = models.features()
  with jax.enable_x64(True):
    options = models.placed(placement, epsilon=0.01, scale_init=0.1)
    model = models.make('LSTM', batch_norm=options)
    got, by_params, by_x = outputs_and_gradients(model, x)
  part = model.directions[0]
  bias = part.norm.bias if placement == 'pre_activation' else part.bias
  arrays = (part.input_kernel, part.recurrent_kernel, part.norm.scale, bias)
  x_torch, parameters = tensor(x), [tensor(array[...]) for array in arrays]
  expected = recursion_by_hand(part, x_torch, parameters, placement)
  weighted(list(expected)).backward()
  models.close(jax.tree.leaves(got), [t.detach().numpy() for t in expected])
  models.close(by_x, x_torch.grad.numpy(), 1e-11)
  grads = by_params['directions'][0]
  by_bias = grads['norm']['bias'] if placement == 'pre_activation' else grads['bias']
  found = (
    grads['input_kernel'],
    grads['recurrent_kernel'],
    grads['norm']['scale'],
    by_bias,
  )
  models.close([a[...] for a in found], [t.grad.numpy() for t in parameters], 1e-11)


def test_dropout_lies_between_the_layers():
  """As in PyTorch: with everything dropped the upper layer sees zeros, no other."""
  with jax.enable_x64(True):
    model = models.make('LSTM', num_layers=2, dropout_rate=1.0)
    got, _ = model(jnp.asarray(models.features()))
  layer = twin(model, 'LSTM', models.INPUTS)
  layer.dropout = 1.0
  expected, _ = layer(tensor(models.features()))
  models.close(got, expected.detach().numpy())
