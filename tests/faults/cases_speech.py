"""Bad speech: recordings, and what corpora say of them."""

import io
import pathlib
import tempfile
import wave

import numpy as np
from cases_data import MANY, ZEROS, Case, archived, of, pipe

from experiments.datasets import fsdd, sphere, timit, trees, wsj, wsj_transcripts
from experiments.errors import InputError


def _recording() -> bytes:
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / 'a.wav'
    sphere.write(path, np.arange(6, dtype=np.int16), 8000)
    return path.read_bytes()


RECORDING = _recording()


def sound(content: bytes, message: str) -> Case:
  return of(sphere.read, 'a.wav', content, message)


def edited(before: bytes, after: bytes, size: int = 1024) -> bytes:
  """With a header of that size."""
  assert before in RECORDING
  head = RECORDING[:1024].replace(before, after).rstrip(b' ')
  return head.replace(b'   1024', b'%7d' % size).ljust(size) + RECORDING[1024:]


SOUNDS = {
  'empty': sound(b'', 'not a SPHERE file'),
  'RIFF': sound(b'RIFF' + bytes(2000), 'not a SPHERE file'),
  'a size in words': sound(b'NIST_1A\nmany\n', 'not a SPHERE file'),
  'half a header': sound(RECORDING[:100], 'its header has no end'),
  'a header of more than the file': sound(
    RECORDING.replace(b'   1024', b'999999999'), 'its header has no end'
  ),
  'no end': sound(edited(b'end_head', b'        '), 'its header has no end'),
  'cut off': sound(RECORDING[:-1], 'expected 6 samples, found 5'),
  'no samples': sound(RECORDING[:1024], 'expected 6 samples, found 0'),
  'no count': sound(
    edited(b'sample_count', b'sample_cows '), 'sample_count: .* nothing'
  ),
  'no rate': sound(edited(b'-i 8000', b'-i 0   '), 'sample_rate: .* of 1 or more'),
  'bytes': sound(edited(b'n_bytes -i 2', b'n_bytes -i 1'), 'found 1 in the order 01'),
  'no order': sound(edited(b'-s2 01', b'-s2 11'), 'in the order 11'),
  'of a trillion samples': sound(
    edited(b'count -i 6', b'count -i 999999999999'),
    'expected 999999999999 samples, found 6',
  ),
  'of many channels': sound(
    edited(b'channel_count -i 1', b'channel_count -i 99999999999'),
    'cut off: expected 599999999994',
  ),
  'a text of a length of 5,000 digits': sound(
    edited(b'-s2 01', b'-s' + b'9' * 5000 + b' 01', size=9000),
    'in the order of nothing',
  ),
  'a pipe': pipe(sphere.read, 'a.wav'),
}


def wav(rate: int = 8000) -> bytes:
  stream = io.BytesIO()
  with wave.open(stream, 'wb') as file:
    file.setparams((1, 2, rate, 0, 'NONE', ''))
    file.writeframes(bytes(2000))
  return stream.getvalue()


def locked(content: bytes) -> bytes:
  """An archive with the flag of a password in both headers."""
  found = bytearray(archived('7_ann_12.wav', [content]))
  found[6] |= 1
  found[found.rindex(b'PK\1\2') + 8] |= 1
  return bytes(found)


def _written(path: pathlib.Path, content: bytes) -> pathlib.Path:
  path.write_bytes(content)
  return path


def digits(path: pathlib.Path) -> object:
  return fsdd.read(path, 'ann')


def digit(path: pathlib.Path) -> object:
  return fsdd.Digit('7_ann_12', 'ann', path, path.read_bytes()).samples()


def phn(suffix: str, content: str, message: str) -> Case:
  """Of TIMIT's reader, below a directory."""

  def run(directory: pathlib.Path) -> object:
    folder = directory / 'TRAIN/DR1/FAAA0'
    folder.mkdir(parents=True)
    files_of = {'PHN': '0 9 h#\n', 'WRD': '0 9 a\n', 'TXT': '0 9 A.\n', 'WAV': ''}
    for name, own in {**files_of, suffix: content}.items():
      (folder / f'SX7.{name}').write_text(own)
    return timit.read(directory)

  return run, InputError, rf'SX7.{suffix}: .*{message}'


def ndx(line: str, message: str) -> Case:
  """Of WSJ's reader."""

  def run(directory: pathlib.Path) -> object:
    (directory / 'outside.wv1').write_text('')
    root = directory / 'discs'
    path = root / '11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx'
    path.parent.mkdir(parents=True)
    path.write_text(f'; synthetic\n{line}\n')
    return wsj.read(root, training='si84')

  return run, InputError, message


SPEECH = {
  **{f'sphere, {name}': case for name, case in SOUNDS.items()},
  'timit, a text with many blanks': phn(
    'TXT', f'0 9{" " * MANY}\nx\ny', 'expected one line: start end text'
  ),
  'timit, phones that go back': phn('PHN', '5 9 h#\n4 9 aa\n', 'the times go back'),
  'timit, a time of many digits': phn(
    'WRD', f'0 {"9" * 5000} a\n', 'line 1: expected start end label'
  ),
  'timit, no directory': (
    lambda directory: trees.files(directory / 'x', timit._WANTED),
    InputError,
    '--manual_dir: .*x: no such directory',
  ),
  'wsj, many slashes': ndx(f'a:{"/" * MANY} x', 'line 2: expected disc:path'),
  'wsj, a path that leads out': ndx(
    '11_13_1:../../../../../../outside', r'no \.\./.*outside.wv1 \(disc 11_13_1\)'
  ),
  'wsj, many brackets': of(
    wsj_transcripts.read,
    *('a.dot', b'A' + b'(' * MANY, r'line 1: expected words \(utterance\)'),
  ),
  'fsdd, packed zeros': (
    lambda directory: digits(
      _written(directory / 'a.zip', archived('7_ann_12.wav', ZEROS))
    ),
    InputError,
    'a.zip: .*more than 100 times',
  ),
  'fsdd, with a password': of(
    digits, 'a.zip', locked(wav()), 'not a zip file, or damaged'
  ),
  'fsdd, a pipe': pipe(digits, 'a.zip'),
  'fsdd, no rate': of(digit, 'a.wav', wav()[:24] + bytes(4) + wav()[28:], 'rate'),
  'fsdd, a size of more than the file': of(
    *(digit, 'a.wav', wav()[:16] + b'\xff\xff\xff\x7f' + wav()[20:], 'not a wav file')
  ),
  'fsdd, cut off': of(digit, 'a.wav', wav()[:-10], 'expected 1000 samples'),
}
