"""Examples of docstrings are code: griffe knows them by the name in the plural."""

import re

import griffe


class Examples(griffe.Extension):
  """Turns ``Example:`` into the heading that griffe reads as a section."""

  def on_object(self, *, obj: griffe.Object, **_) -> None:
    """Before the docstring is parsed."""
    if obj.docstring:
      text = obj.docstring.value
      obj.docstring.value = re.sub(r'(?m)^( *)Example:$', r'\1Examples:', text)
