"""Eight shapes in colour, drawn by rule, no download: a small set to over-fit on.

Three things keep a model from being certain. A share of the images shows a morph of
two shapes, whose label is drawn by how much it has of either: there, the true
probabilities are known and lie below 1, in every split. Colours, place, size and turn
say nothing of the label, and noise lies over all. And labels of training may be
replaced at random.
"""

import dataclasses

import numpy as np

from experiments.datasets.dataset import Arrays, Dataset
from experiments.datasets.noise import noisy, random_state
from experiments.errors import InputError

NAMES = ('disc', 'ring', 'square', 'triangle', 'cross', 'bar', 'crescent', 'flower')
NUM_CLASSES = len(NAMES)
NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 600, 500, 1000
_FIXED = 20170123  # validation and test are the same for every seed
_IMAGES, _NOISE = 1, 2  # streams of random numbers


@dataclasses.dataclass(frozen=True)
class Drawing:
  """How images are drawn; lengths are in halves of the image's side.

  Attributes:
    side: of an image in pixels.
    morphed: share of the images that are between two shapes.
    size: least and largest radius.
    turn: largest angle to either side, in radians.
    off_centre: farthest shift of the centre along either axis.
    contrast: least and largest distance of the two colours, by channel on average.
    shading: largest change of the background from the centre to an edge.
    grain: standard deviation of the noise on each channel of a pixel, in [0, 1].
  """

  side: int = 16
  morphed: float = 0.3
  size: tuple[float, float] = (0.65, 0.9)
  turn: float = 0.3
  off_centre: float = 0.1
  contrast: tuple[float, float] = (0.3, 0.6)
  shading: float = 0.1
  grain: float = 0.05


DRAWING = Drawing()


def load(
  num_train: int | None = NUM_TRAIN,
  label_noise: float = 0.0,
  seed: int = 0,
  drawing: Drawing = DRAWING,
) -> Dataset:
  """Draws the images; ``seed`` changes the training split alone.

  Args:
    num_train: number of training images; None: 600.
    label_noise: share of the training labels that is replaced by another class, drawn
      uniformly; which ones is drawn from ``seed``.
    seed: of the training images and of the noise.
    drawing: how they are drawn.

  Returns:
    ``image`` [n, side, side, 3] uint8 and ``label`` [n] int32.

  Raises:
    InputError: ``num_train`` or ``label_noise`` is out of range.
  """
  size = NUM_TRAIN if num_train is None else num_train
  if size < 1:
    raise InputError(f'num_train: expected at least 1, got {size}')
  if not 0 <= label_noise <= 1:
    raise InputError(f'label_noise: expected a share in [0, 1], got {label_noise}')
  random = random_state(seed, 0, _NOISE)
  train = dict(drawn(size, random_state(seed, 0, _IMAGES), drawing))
  train['label'] = noisy(train['label'], label_noise, NUM_CLASSES, random)
  splits = {
    'train': train,
    'validation': drawn(NUM_VALIDATION, random_state(_FIXED, 1), drawing),
    'test': drawn(NUM_TEST, random_state(_FIXED, 2), drawing),
  }
  return Dataset('shapes', NUM_CLASSES, splits)


def drawn(
  size: int, random: np.random.RandomState, drawing: Drawing = DRAWING
) -> Arrays:
  """``image`` [size, side, side, 3] uint8 and ``label`` [size] int32."""
  first = random.randint(NUM_CLASSES, size=size)
  second = (first + random.randint(1, NUM_CLASSES, size=size)) % NUM_CLASSES
  # What an image has of its second shape, and the probability that it is the label.
  share = random.uniform(0, 0.5, size) * (random.uniform(size=size) < drawing.morphed)
  label = np.where(random.uniform(size=size) < share, second, first)
  x, y = _placed(size, random, drawing)
  rows, outlines = np.arange(size), _outlines(x, y)
  inner, outer = outlines[first, rows], outlines[second, rows]
  mixed = share[:, None, None]
  distance = (1 - mixed) * inner + mixed * outer
  image = coloured(_covered(distance, x), random, drawing)
  return {'image': image, 'label': label.astype(np.int32)}


def _placed(
  size: int, random: np.random.RandomState, drawing: Drawing
) -> tuple[np.ndarray, np.ndarray]:
  """Where each pixel lies, as its shape sees it: ``[size, side, side]`` each."""
  line = (np.arange(drawing.side) + 0.5) * 2 / drawing.side - 1
  shift = random.uniform(-drawing.off_centre, drawing.off_centre, (2, size, 1, 1))
  x, y = line[None, None, :] - shift[0], line[None, :, None] - shift[1]
  turn = random.uniform(-drawing.turn, drawing.turn, (size, 1, 1))
  radius = random.uniform(*drawing.size, (size, 1, 1))
  across = (np.cos(turn) * x + np.sin(turn) * y) / radius
  return across, (np.cos(turn) * y - np.sin(turn) * x) / radius


def _outlines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """About the distance from the outline, below 0 inside, ``[classes, ...]``."""
  radius, angle = np.hypot(x, y), np.arctan2(y, x)
  turned = [2 * np.pi * k / 3 for k in range(3)]
  triangle = np.max([np.cos(t) * x + np.sin(t) * y for t in turned], axis=0) - 0.5
  return np.stack(
    [
      radius - 0.75,
      np.abs(radius - 0.65) - 0.22,
      _box(x, y, 0.65, 0.65),
      triangle,
      np.minimum(_box(x, y, 0.9, 0.28), _box(x, y, 0.28, 0.9)),
      _box(x, y, 0.95, 0.3),
      np.maximum(radius - 0.85, 0.65 - np.hypot(x - 0.5, y)),
      radius - 0.6 - 0.3 * np.cos(5 * angle),
    ]
  )


def _box(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
  return np.maximum(np.abs(x) - width, np.abs(y) - height)


def _covered(distance: np.ndarray, x: np.ndarray) -> np.ndarray:
  """Share of each pixel that lies within the outline, about."""
  # One step along a row is as long as a pixel, however it is turned.
  step = np.abs(np.diff(x, axis=2)).max((1, 2)) + np.abs(np.diff(x, axis=1)).max((1, 2))
  return np.clip(0.5 - distance / step[:, None, None], 0, 1)


def coloured(
  covered: np.ndarray, random: np.random.RandomState, drawing: Drawing = DRAWING
) -> np.ndarray:
  """Shape and background in two colours, shaded, and noise over both."""
  size, side, _ = covered.shape
  ground = random.uniform(0.25, 0.75, (size, 3))
  apart = random.normal(size=(size, 3))
  apart /= np.abs(apart).mean(1, keepdims=True)
  colour = ground + apart * random.uniform(*drawing.contrast, (size, 1))
  line = (np.arange(side) + 0.5) * 2 / side - 1
  slope = random.uniform(-drawing.shading, drawing.shading, (2, size, 1, 1))
  shade = slope[0] * line[None, None, :] + slope[1] * line[None, :, None]
  share = covered[..., None]
  image = (1 - share) * (ground[:, None, None] + shade[..., None])
  image = image + share * colour[:, None, None]
  image = image + drawing.grain * random.normal(size=image.shape)
  return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
