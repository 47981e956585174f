"""Parts of photographs, scaled to one size and normalised."""

import io
import math
from typing import Any

import numpy as np

# Of ImageNet's training images, in [0, 1], by channel.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
CENTRE = 224 / 256  # of the short side, as evaluation is usually done
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
ATTEMPTS = 10
_FORMATS = 'JPEG', 'PNG'
_PIXELS = 1 << 26  # a few bytes can say that there are more

Box = tuple[float, float, float, float]  # left, upper, right, lower


def decoded(content: bytes) -> Any:
  """A PIL image in RGB.

  Raises:
    OSError, ValueError, SyntaxError: it is damaged, or has more than 8 bits a channel.
  """
  from PIL import Image, UnidentifiedImageError

  try:
    # Of the other formats some start programs.
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      if image.width * image.height > _PIXELS:
        raise ValueError(f'{image.width}x{image.height} are too many pixels')
      if image.mode.startswith(('I', 'F')):  # it would become white
        raise ValueError('more than 8 bits a channel')
      return image.convert('RGB')
  except UnidentifiedImageError as error:  # it says where in the memory
    raise ValueError(f'not {" or ".join(_FORMATS)}, or damaged') from error
  except (OSError, ValueError, SyntaxError):
    raise
  except Exception as error:  # of a damaged file it raises whatever comes up
    raise ValueError(f'{type(error).__name__}: {error}') from error


def centre(width: int, height: int) -> Box:
  """The central square of 224 / 256 of the short side.

  The same part as if the short side were scaled to 256 and 224 x 224 cut out.
  """
  side = CENTRE * min(width, height)
  left, upper = (width - side) / 2, (height - side) / 2
  return left, upper, left + side, upper + side


def drawn(width: int, height: int, random: np.random.RandomState) -> Box:
  """A part of 8 to 100 % of the area and 3:4 to 4:3 (Szegedy et al. 2015).

  What does not fit is drawn again; after ten times, it is the central square.
  """
  for _ in range(ATTEMPTS):
    area = random.uniform(*AREA) * width * height
    aspect = math.exp(random.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    across, down = math.sqrt(area * aspect), math.sqrt(area / aspect)
    if across <= width and down <= height:
      left = random.uniform(0, width - across)
      upper = random.uniform(0, height - down)
      return left, upper, left + across, upper + down
  return centre(width, height)


def normalised(image: Any, box: Box, size: int, flip: bool = False) -> np.ndarray:
  """``[size, size, 3]`` float32 of the part ``box`` of a PIL image."""
  from PIL import Image

  scaled = image.resize((size, size), Image.Resampling.BILINEAR, box)
  pixels = np.asarray(scaled, np.float32) / np.float32(255)
  return ((pixels[:, ::-1] if flip else pixels) - MEAN) / STD
