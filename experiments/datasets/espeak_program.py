"""Speaks what it reads: eSpeak NG in a process of its own, run as ``python FILE``.

Standard library alone, for it forks: one child for each utterance, since eSpeak's
output depends on what its process said before. A request is a line of JSON, ``{"text",
"voice", "rate", "pitch"}``. The answer is a line of JSON, ``{"bytes", "phones",
"words"}`` or ``{"error"}``, and so many bytes of 16-bit samples behind it. The first
line is unasked for: ``{"rate"}`` of the samples, or ``{"error"}``.

Args:
  the library, and the directory of its data.
"""

import ctypes
import json
import os
import sys
from typing import Any

_SYNCHRONOUS = 2
_PHONEME_EVENTS, _DO_NOT_EXIT = 0x0001, 0x8000
_WORD, _PHONEME = 1, 7
_CHARACTERS, _UTF8 = 1, 1
_RATE, _PITCH = 1, 3


class _Id(ctypes.Union):
  _fields_ = (
    ('number', ctypes.c_int),
    ('name', ctypes.c_char_p),
    ('string', ctypes.c_ubyte * 8),  # ends before a zero, if there is one
  )


class _Event(ctypes.Structure):
  _fields_ = (
    ('type', ctypes.c_int),
    ('identifier', ctypes.c_uint),
    ('text_position', ctypes.c_int),
    ('length', ctypes.c_int),
    ('audio_position', ctypes.c_int),
    ('sample', ctypes.c_int),
    ('user_data', ctypes.c_void_p),
    ('id', _Id),
  )


_Callback = ctypes.CFUNCTYPE(
  ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def _speak(library: Any, text: str, voice: str, rate: int, pitch: int) -> bytes:
  """The answer to a request."""
  samples: list[bytes] = []
  phones: list[tuple[int, str]] = []
  words: list[tuple[int, int, int]] = []

  def heard(wave: Any, count: int, events: Any) -> int:
    if wave and count > 0:
      samples.append(ctypes.string_at(wave, 2 * count))
    for event in events:
      if not event.type:
        return 0
      if event.type == _PHONEME:
        name = bytes(event.id.string).split(b'\0')[0].decode()
        phones.append((event.sample, name))
      elif event.type == _WORD:
        words.append((event.sample, event.text_position - 1, event.length))
    return 0

  # A variant that does not exist would be passed over in silence.
  variant = voice.partition('+')[2]
  known = not variant or os.path.isfile(os.path.join('voices', '!v', variant))
  if not known or library.espeak_SetVoiceByName(voice.encode()):
    return _line(error=f'no voice {voice!r}')
  callback = _Callback(heard)
  library.espeak_SetSynthCallback(callback)
  library.espeak_SetParameter(_RATE, rate, 0)
  library.espeak_SetParameter(_PITCH, pitch, 0)
  content = text.encode() + b'\0'
  arguments = (content, len(content), 0, _CHARACTERS, 0, _UTF8, None, None)
  if library.espeak_Synth(*arguments):
    return _line(error=f'cannot speak {text!r}')
  wave = b''.join(samples)
  return _line(bytes=len(wave), phones=phones, words=words) + wave


def _line(**values: Any) -> bytes:
  return json.dumps(values).encode() + b'\n'


def _write(content: bytes) -> None:
  sys.stdout.buffer.write(content)
  sys.stdout.buffer.flush()


def main() -> None:
  path, data = sys.argv[1:]
  try:
    library: Any = ctypes.CDLL(path)
  except OSError as error:
    _write(_line(error=f'cannot load {path} ({error})'))
    return
  # A path of more than 160 bytes would be cut off.
  os.chdir(data)
  options = _PHONEME_EVENTS | _DO_NOT_EXIT
  rate = library.espeak_Initialize(_SYNCHRONOUS, 0, b'.', options)
  if rate <= 0:
    _write(_line(error=f'cannot use its data in {data}'))
    return
  _write(_line(rate=rate))
  for line in sys.stdin.buffer:
    child = os.fork()
    if not child:
      try:
        _write(_speak(library, **json.loads(line)))
      except BaseException as error:
        _write(_line(error=repr(error)))
      finally:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
      _write(_line(error=f'eSpeak NG ended with status {status}'))


if __name__ == '__main__':
  main()
