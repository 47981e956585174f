"""The one error class for bad input: shown as one line, exit code 2."""


class InputError(Exception):
  """The user's flag, file or directory is wrong; the message names it."""
