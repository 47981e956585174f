"""The DenseNet of the experiments as PyTorch's users write it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.extra import torch
from experiments.models.densenet import DenseNet as Ours
from experiments.models.densenet import Norm, Running

nn = torch.nn


class Layer(nn.Module):
  """Normalisation, ReLU, convolution, dropout, once or with a bottleneck before."""

  def __init__(self, fan_in: int, growth: int, bottleneck: bool, dropout: float):
    super().__init__()
    parts: list[nn.Module] = []
    if bottleneck:
      parts += norm_conv(1, fan_in, 4 * growth, dropout)
      fan_in = 4 * growth
    self.parts = nn.Sequential(*parts, *norm_conv(3, fan_in, growth, dropout))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, self.parts(x)], 1)


def norm_conv(size: int, fan_in: int, fan_out: int, dropout: float) -> list[nn.Module]:
  """Nothing is dropped, and no layer is there to do it, at 0."""
  conv = nn.Conv2d(fan_in, fan_out, size, padding=size // 2, bias=False)
  parts = [nn.BatchNorm2d(fan_in), nn.ReLU(inplace=True), conv]
  return [*parts, nn.Dropout(dropout, inplace=True)] if dropout else parts


class DenseNet(nn.Sequential):
  """Three dense blocks; see ``experiments.models.densenet.DenseNet``."""

  def __init__(
    self,
    num_classes: int,
    *,
    depth: int = 40,
    growth: int = 12,
    bottleneck: bool = False,
    reduction: float = 1.0,
    dropout: float = 0.0,
    channels: int = 3,
  ):
    width = 2 * growth if bottleneck else 16
    modules: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
    for block in range(3):
      for _ in range((depth - 4) // (6 if bottleneck else 3)):
        modules.append(Layer(width, growth, bottleneck, dropout))
        width += growth
      if block < 2:
        kept = int(width * reduction)
        modules += [*norm_conv(1, width, kept, dropout), nn.AvgPool2d(2)]
        width = kept
    pool = [nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)]
    super().__init__(*modules, *pool, nn.Flatten(), nn.Linear(width, num_classes))
    for module in self.modules():
      if isinstance(module, nn.Conv2d):  # by fan-out
        nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
    last: Any = self[-1]
    nn.init.zeros_(last.bias)


def under_their_names(ours: Ours, theirs: DenseNet) -> dict[str, torch.Tensor]:
  """Our arrays, or gradients in their place, as ``theirs.state_dict()`` has them."""
  kinds = nn.Conv2d, nn.BatchNorm2d, nn.Linear
  names = [name for name, m in theirs.named_modules() if isinstance(m, kinds)]
  return {
    f'{name}.{part}': torch.tensor(np.asarray(array))
    for name, parts in zip(names, _layers(ours), strict=True)
    for part, array in parts.items()
  }


def _layers(model: Ours) -> Iterator[dict[str, np.ndarray]]:
  """In the order in which PyTorch lists them."""
  yield _conv(model.stem)
  for index, block in enumerate(model.blocks):
    if index:
      transition = model.transitions[index - 1]
      yield _norm(transition, model.blocks[index - 1].running)
      yield _conv(transition.kernel)
    for layer, wide in enumerate(block.wide):
      running = block.running
      if block.narrow:
        yield _norm(block.narrow[layer], running)
        yield _conv(block.narrow[layer].kernel)
        running = block.inner[layer]
      yield _norm(wide, running)
      yield _conv(wide.kernel)
  yield _norm(model.norm, model.blocks[-1].running)
  output: Any = model.output
  kernel, bias = np.asarray(output.kernel[...]), np.asarray(output.bias[...])
  yield {'weight': kernel.T, 'bias': bias}


def _conv(kernel: Any) -> dict[str, np.ndarray]:
  return {'weight': np.asarray(kernel[...]).transpose(3, 2, 0, 1)}


def _norm(norm: Norm, running: Running) -> dict[str, np.ndarray]:
  scale = np.asarray(norm.scale[...])
  return {
    'weight': scale,
    'bias': np.asarray(norm.bias[...]),
    # Later layers of a block have more features; the first are the same.
    'running_mean': np.asarray(running.mean[...])[: len(scale)],
    'running_var': np.asarray(running.var[...])[: len(scale)],
  }


def divide_by_n(model: nn.Module) -> None:
  """Makes the running variances those over n; PyTorch's are those over n - 1."""

  def hook(norm: Any, inputs: tuple[torch.Tensor], _: object) -> None:
    (x,) = inputs
    if norm.training:
      n = x.numel() // x.shape[1]
      biased = x.detach().var((0, 2, 3), unbiased=False)
      # Not in place: the backward pass checks that it is as it was.
      norm.running_var = norm.running_var - norm.momentum * biased / (n - 1)

  for module in model.modules():
    if isinstance(module, nn.BatchNorm2d):
      module.register_forward_hook(hook)
