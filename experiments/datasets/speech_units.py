"""What transcripts of speech are cut into: phones, or characters."""

from collections.abc import Sequence

from experiments.datasets.units import Characters


class Symbols(Characters):
  """Symbols with blanks between them, each a unit."""

  _between = ' '

  @staticmethod
  def _cut(text: str) -> Sequence[str]:
    return text.split()
