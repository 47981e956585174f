"""Images of none of the classes: what a model should be unsure of."""

import numpy as np

from experiments.datasets import shapes
from experiments.datasets.noise import random_state

NAMES = ('textures', 'digits', 'noise')
SIZE = 1000
_SEED = 1701


def images(name: str, side: int, size: int = SIZE) -> np.ndarray:
  """``[n, side, side, 3]`` uint8; the same whenever it is called.

  Args:
    name: ``'textures'``: stripes, checks and blotches in the colours of `shapes`;
      ``'digits'``: scikit-learn's digits, enlarged; ``'noise'``: each channel of each
      pixel for itself.
    side: of an image in pixels.
    size: number of images, at most 1,797 digits.
  """
  random = random_state(_SEED, NAMES.index(name))
  if name == 'digits':
    return _digits(side, size)
  if name == 'noise':
    return random.randint(0, 256, (size, side, side, 3)).astype(np.uint8)
  covered = np.stack([_texture(side, random) for _ in range(size)])
  return shapes.coloured(covered, random)


def grey(colours: np.ndarray) -> np.ndarray:
  """``[n, side * side]`` float32 in [0, 1], the form of MNIST's images."""
  mean = colours.astype(np.float32).mean(-1) / np.float32(255)
  return mean.reshape(len(mean), -1)


def _digits(side: int, size: int) -> np.ndarray:
  from sklearn import datasets  # takes a second: only where it is needed

  found = datasets.load_digits().images[:size]
  pixels = np.arange(side) * found.shape[1] // side
  large = found[:, pixels[:, None], pixels[None, :]] * (255 / 16)
  return np.repeat(np.round(large).astype(np.uint8)[..., None], 3, axis=-1)


def _texture(side: int, random: np.random.RandomState) -> np.ndarray:
  """Shares in [0, 1] of a second colour."""
  y, x = np.mgrid[0:side, 0:side]
  kind = random.randint(3)
  if kind == 2:  # blotches: low frequencies in random phase
    frequency = np.minimum(np.arange(side), side - np.arange(side))
    weight = np.exp(-(np.hypot(*np.meshgrid(frequency, frequency)) ** 2) / 8)
    waves = np.fft.ifft2(weight * np.fft.fft2(random.normal(size=(side, side)))).real
    return np.asarray(waves > np.median(waves), float)
  turn, period = random.uniform(0, np.pi), random.uniform(3, 8)
  across = (np.cos(turn) * x + np.sin(turn) * y) * 2 * np.pi / period
  down = (np.cos(turn) * y - np.sin(turn) * x) * 2 * np.pi / period
  phases = random.uniform(0, 2 * np.pi, 2)
  waves = np.sin(across + phases[0])
  if kind == 1:
    waves = waves * np.sin(down + phases[1])
  return np.clip(0.5 + 2 * waves, 0, 1)
