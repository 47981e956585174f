"""The DenseNet of the experiments as PyTorch's users write it."""

import torch
from torch import nn


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
    nn.init.zeros_(self[-1].bias)
