"""What transcripts of speech are cut into: phones, or characters."""

import re
from collections.abc import Sequence

from experiments.datasets.units import Characters


class Symbols(Characters):
  """Symbols with blanks between them, each a unit."""

  _between = ' '

  @staticmethod
  def _cut(text: str) -> Sequence[str]:
    return text.split()


class Letters(Characters):
  """Characters, but what stands in angle brackets, as ``<NOISE>``, is one unit."""

  @staticmethod
  def _cut(text: str) -> Sequence[str]:
    return re.findall(r'<[^<> ]+>|.', text, re.DOTALL)
