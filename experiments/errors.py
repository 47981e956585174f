"""The one error class for bad input, and how a program ends with it."""

import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator


class InputError(Exception):
  """The user's flag, file or directory is wrong; the message names it.

  It is one line, whatever of a file or of its name stands in it.
  """

  def __str__(self) -> str:
    text = super().__str__()
    if text.isprintable():
      return text
    return ''.join(
      sign if sign.isprintable() else sign.encode('unicode_escape').decode()
      for sign in text
    )


def needs(*packages: str, extra: str = 'experiments') -> None:
  """Says what is not installed before hours are spent that come to nothing.

  Args:
    packages: named as they are imported.
    extra: which has them.

  Raises:
    InputError: some of them are missing.
  """
  missing = [name for name in packages if importlib.util.find_spec(name) is None]
  if missing:
    raise InputError(
      f"not installed: {', '.join(missing)}; see `pip install -e '.[{extra}]'`"
    )


@contextlib.contextmanager
def ending() -> Iterator[None]:
  """Around a program: ends it without a traceback, whatever the user did.

  An ``InputError`` is one line on stderr and exit code 2, Ctrl-C one line and 130.
  A reader who leaves early (``| head``) is no error: 141, what a shell reports of
  SIGPIPE. What a terminal's encoding does not have, such as ±, is written as ``?``.
  """
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors='replace')
  try:
    yield
    sys.stdout.flush()
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    raise SystemExit(2) from error
  except KeyboardInterrupt as error:
    print('\ninterrupted', file=sys.stderr)
    raise SystemExit(130) from error
  except BrokenPipeError as error:
    # What is still in the buffer goes nowhere, without a second error at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(141) from error
