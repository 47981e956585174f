"""NIST's SPHERE files, written here in all their kinds."""

import os
import pathlib
import sys

import numpy as np
import pytest

from experiments.datasets import sphere
from experiments.errors import InputError

HEADER = """\
NIST_1A
   1024
database_id -s5 TIMIT
speaker -s12 a name -i 70
sample_count -i {count}
channel_count -i {channels}
sample_rate -i 8000
sample_n_bytes -i 2
sample_byte_format -s2 {order}
end_head
"""
SAMPLES = np.array([0, 1, -1, 258, -32768, 32767], np.int16)

CONVERTER = """\
#!{python}
import sys, wave
assert sys.argv[1:4] == ['-p', '-f', 'wav'], sys.argv
content = open(sys.argv[4], 'rb').read()[1024:]
if not content:
  sys.exit('no samples')
with wave.open(sys.stdout.buffer, 'wb') as file:
  file.setparams((1, 2, 8000, len(content) // 2, 'NONE', ''))
  file.writeframes(bytes(255 - byte for byte in content))
"""


def content(order: str = '01', channels: int = 1, count: int = 6, size: int = 1024):
  text = HEADER.format(order=order, channels=channels, count=count)
  text = text.replace('   1024', f'{size:7d}')
  kind = '<i2' if order == '01' else '>i2'
  return text.encode().ljust(size) + SAMPLES.astype(kind).tobytes()


def write(path: pathlib.Path, content: bytes) -> pathlib.Path:
  path.write_bytes(content)
  return path


@pytest.mark.parametrize('shape', [(6,), (3, 2), (0,)])
def test_what_is_written_is_read(tmp_path, shape):
  path = tmp_path / 'a.wav'
  samples = np.resize(SAMPLES, shape)
  sphere.write(path, samples, 16_000)
  read, rate = sphere.read(path)
  np.testing.assert_array_equal(read, samples, strict=True)
  assert rate == 16_000
  assert path.stat().st_size == 1024 + 2 * samples.size


@pytest.mark.parametrize(
  ('options', 'expected'),
  [
    ({}, SAMPLES),
    ({'order': '10'}, SAMPLES),
    ({'size': 2048}, SAMPLES),
    ({'count': 4}, SAMPLES[:4]),  # what lies behind them is left
    ({'channels': 2, 'count': 3}, SAMPLES.reshape(3, 2)),
  ],
)
def test_kinds(tmp_path, options, expected):
  samples, rate = sphere.read(write(tmp_path / 'a.wav', content(**options)))
  np.testing.assert_array_equal(samples, expected, strict=True)
  assert rate == 8000


def test_missing_file(tmp_path):
  with pytest.raises(InputError, match=r'cannot read .*b\.wav: No such file'):
    sphere.read(tmp_path / 'b.wav')


def test_wrong_samples(tmp_path):
  with pytest.raises(ValueError, match=r'got float64 \[2\]'):
    sphere.write(tmp_path / 'a.wav', np.zeros(2), 8000)


def shortened(tail: bytes) -> bytes:
  coding = b'sample_coding -s26 pcm,embedded-shorten-v2.00\nend_head'
  return content().replace(b'end_head', coding)[:1024] + tail


def test_compressed_without_a_program(tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', str(tmp_path))
  path = write(tmp_path / 'a.wv1', shortened(b'12'))
  with pytest.raises(InputError, match=r'a\.wv1: .*shorten-v2\.00: install sph2pipe'):
    sphere.read(path)


def test_compressed(tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
  program = tmp_path / 'sph2pipe'
  program.write_text(CONVERTER.format(python=sys.executable))
  program.chmod(0o755)
  inverted = (~SAMPLES).astype('<i2').tobytes()
  path = write(tmp_path / 'a.wv1', shortened(inverted))
  np.testing.assert_array_equal(sphere.read(path)[0], SAMPLES, strict=True)
  for tail, fault in (
    (b'', r'sph2pipe cannot read it \(no samples\)'),
    (inverted[:-2], 'expected 6 samples, found 5'),
  ):
    with pytest.raises(InputError, match=fault):
      sphere.read(write(path, shortened(tail)))
