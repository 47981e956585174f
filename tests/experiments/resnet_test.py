"""The residual network: its size, its statistics, and PyTorch's arithmetic."""

import doctest
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import regularizers as reg
from experiments.datasets.dataset import Dataset
from experiments.evaluate import evaluate
from experiments.models import resnet
from experiments.models.resnet import RESNET_50, Bottleneck, ResNet
from experiments.state import init_state, stack
from experiments.task import classification, functions
from experiments.train import training

SIDE, CLASSES = 16, 5


def module(rngs: nnx.Rngs, **options) -> ResNet:
  return ResNet(CLASSES, (1, 2), width=4, rngs=rngs, **options)


def images(n: int = 6, seed: int = 0) -> np.ndarray:
  random = np.random.default_rng(seed)
  return random.normal(0.3, 1.5, (n, SIDE, SIDE, 3)).astype(np.float32)


@functools.partial(nnx.jit, static_argnums=2)
def run(model, inputs, deterministic: bool):
  return model(inputs, deterministic=deterministic)


def size(tree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_resnet_50_has_the_published_number_of_weights():
  init, _ = functions(lambda rngs: ResNet(1000, RESNET_50, rngs=rngs))
  params, state = jax.eval_shape(init, jax.random.key(0))
  assert size(params) == 25_557_032
  assert size(state) == 53_120  # a mean and a variance for each scale


def test_initial_weights():
  init, _ = functions(lambda rngs: ResNet(1000, (1,), width=16, rngs=rngs))
  params, _ = jax.jit(init)(jax.random.key(0))
  first, second, last = params['blocks'][0]['norms'].values()
  assert np.all(first['scale'] == 1) and np.all(second['scale'] == 1)
  assert not np.any(last['scale'])
  kernel = params['blocks'][0]['convs'][1]['kernel']
  assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * 16)), rel=0.05)
  assert np.std(params['output']['kernel']) == pytest.approx(0.01, rel=0.02)
  assert not np.any(params['output']['bias'])


def test_running_statistics_move_in_training_alone():
  init, merged = functions(module)
  params, before = init(jax.random.key(0))
  batch = images()
  model, _ = merged(params, before, None)
  stem = np.asarray(model.stem(batch))
  for _ in range(2):
    run(model, batch, False)
  mean, var = stem.mean((0, 1, 2)), stem.var((0, 1, 2))
  norm = model.stem_norm
  np.testing.assert_allclose(norm.mean[...], 0.19 * mean, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(norm.var[...], 0.81 + 0.19 * var, rtol=1e-4)
  model, _ = merged(params, before, None)
  alone = run(model, batch[:1], True)
  np.testing.assert_allclose(run(model, batch, True)[:1], alone, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(model.stem_norm.var[...], 1)


def test_half_precision_gives_float32_logits_near_those_of_full():
  full, half = (
    run(module(nnx.Rngs(0), dtype=dtype), images(), False)
    for dtype in (None, jnp.bfloat16)
  )
  assert half.dtype == jnp.float32
  difference = np.abs(np.asarray(full) - half).max()
  assert 0 < difference < 0.05 * np.abs(full).max()


def test_runs_train_side_by_side_and_learn():
  random = np.random.default_rng(0)
  label = random.integers(0, CLASSES, 40).astype(np.int32)
  colours = random.normal(0, 2, (CLASSES, 1, 1, 3))
  image = images(40) + colours[label]
  split = {'image': image.astype(np.float32), 'label': label}
  data = Dataset('tiny', CLASSES, {'train': split, 'test': split})

  def small(rngs: nnx.Rngs) -> ResNet:
    return ResNet(CLASSES, (1,), width=4, rngs=rngs)

  task = classification(small, {0: data, 1: data}, 20)
  losses, optimizer = stack([reg.cross_entropy] * 2), optax.sgd(0.03, momentum=0.9)
  start = state = init_state(task, losses, optimizer, (0, 1))
  steps = training(*(task, losses, optimizer, state), num_steps=60, log_every=60)
  *_, (state, _) = steps
  rows = evaluate(task, losses, state, 'test')
  before = evaluate(task, losses, start, 'test')
  for row, first in zip(rows, before, strict=True):
    assert row['nll'] < 0.2 * first['nll']
  mean = np.asarray(state.runs.model_state['stem_norm']['mean'])
  assert mean.shape == (2, 4)
  assert not np.allclose(mean[0], mean[1])


def test_the_example_runs():
  assert doctest.testmod(resnet).attempted > 3
  assert doctest.testmod(resnet).failed == 0


# Against PyTorch


def bottleneck(torch, fan_in: int, width: int, stride: int):
  """The block as PyTorch's users write it."""
  nn = torch.nn

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      fan_out = 4 * width
      sizes = ((fan_in, width, 1, 1), (width, width, 3, stride), (width, fan_out, 1, 1))
      self.convs = nn.ModuleList(
        nn.Conv2d(a, b, k, s, padding=k // 2, bias=False) for a, b, k, s in sizes
      )
      self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _, _ in sizes)
      self.shortcut = nn.Identity()
      if stride != 1 or fan_in != fan_out:
        self.shortcut = nn.Sequential(
          nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), nn.BatchNorm2d(fan_out)
        )

    def forward(self, x):
      out = x
      for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
        out = norm(conv(out))
        out = out.relu() if index < 2 else out
      return (out + self.shortcut(x)).relu()

  return Block()


def network(torch):
  """The network of ``module``."""
  nn = torch.nn
  return nn.Sequential(
    nn.Conv2d(3, 4, 7, 2, padding=3, bias=False),
    nn.BatchNorm2d(4),
    nn.ReLU(),
    nn.MaxPool2d(3, 2, padding=1),
    *(bottleneck(torch, *sizes) for sizes in ((4, 4, 1), (16, 8, 2), (32, 8, 1))),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(32, CLASSES),
  )


def layers(model) -> list:
  """Convolutions, normalisations and matrices in the order in which PyTorch lists."""
  if isinstance(model, Bottleneck):
    found = [*model.convs, *model.norms]
    return found + ([model.projection, model.projection_norm] if model.projects else [])
  blocks = [layer for block in model.blocks for layer in layers(block)]
  return [model.stem, model.stem_norm, *blocks, model.output]


def randomised(torch, theirs) -> list:
  """Gives every layer other weights, lest zeros hide a fault; the layers."""
  found = [m for m in theirs.modules() if hasattr(m, 'weight')]
  for layer in found:
    for parameter in layer.parameters():
      torch.nn.init.normal_(parameter, 0.1, 0.5 if parameter.ndim == 1 else 0.2)
  return found


def copy(theirs: list, model) -> None:
  ours = layers(model)
  assert len(ours) == len(theirs)
  for to, source in zip(ours, theirs, strict=True):
    weight = source.weight.detach().numpy()
    if isinstance(to, nnx.BatchNorm):
      to.scale[...] = jnp.asarray(weight)
    else:
      axes = (2, 3, 1, 0) if weight.ndim == 4 else (1, 0)
      to.kernel[...] = jnp.asarray(weight.transpose(axes))
    if to.bias is not None:
      to.bias[...] = jnp.asarray(source.bias.detach().numpy())


def divide_by_n(norm, inputs, _) -> None:
  """A hook: PyTorch's running variance is that over n - 1, flax's that over n."""
  if norm.training:
    (x,) = inputs
    n = x.numel() // x.shape[1]
    norm.running_var -= 0.1 * x.var((0, 2, 3), unbiased=False) / (n - 1)


@pytest.mark.parametrize('part', ['same', 'projects', 'strides', 'network'])
def test_it_is_pytorchs(part):
  torch = pytest.importorskip('torch')
  torch.manual_seed(0)
  sizes = {'same': (16, 4, 1), 'projects': (3, 4, 1), 'strides': (3, 4, 2)}
  if part == 'network':
    model, theirs, inputs = module(nnx.Rngs(0)), network(torch), images(6)
  else:
    model = Bottleneck(*sizes[part], rngs=nnx.Rngs(0))
    theirs = bottleneck(torch, *sizes[part])
    shape = (6, SIDE, SIDE, sizes[part][0])
    inputs = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  found = randomised(torch, theirs)
  for layer in found:
    if isinstance(layer, torch.nn.BatchNorm2d):
      layer.register_forward_hook(divide_by_n)
  copy(found, model)
  for training_mode in (True, True, False):
    theirs.train(training_mode)
    with torch.no_grad():
      expected = theirs(torch.tensor(inputs.transpose(0, 3, 1, 2))).numpy()
    got = np.asarray(run(model, jnp.asarray(inputs), not training_mode))
    if expected.ndim == 4:
      expected = expected.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
