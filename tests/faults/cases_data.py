"""Bad data: images, text, translations and clicks."""

import gzip
import io
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable

from PIL import Image

from experiments.datasets import (
  cifar10,
  class_folders,
  click_lines,
  files,
  idx,
  parallel,
  text,
)
from experiments.errors import InputError

Read = Callable[[pathlib.Path], object]
Case = tuple[Read, type[Exception], str]
MANY = 200_000
ZEROS = [bytes(1 << 20)] * 250


def of(read: Read, name: str, content: bytes, message: str) -> Case:
  """Of a file with that content; its name comes before the message."""

  def run(directory: pathlib.Path) -> object:
    path = directory / name
    path.write_bytes(content)
    return read(path)

  return run, InputError, rf'{name}: .*{message}'


def packed(read: Read, name: str, message: str) -> Case:
  """Of a few kilobytes that hold zeros in great number."""

  def run(directory: pathlib.Path) -> object:
    with gzip.open(directory / name, 'wb') as file:
      for block in ZEROS:
        file.write(block)
    return read(directory / name)

  return run, InputError, rf'{name}: .*{message}'


def archived(name: str, blocks: Iterable[bytes]) -> bytes:
  """An archive of one file."""
  stream = io.BytesIO()
  packed = zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED, compresslevel=1)
  with packed as archive, archive.open(name, 'w') as file:
    for block in blocks:
      file.write(block)
  return stream.getvalue()


def pipe(read: Read, name: str) -> Case:
  """Of a pipe that nobody writes to: to open it is to wait for ever."""

  def run(directory: pathlib.Path) -> object:
    os.mkfifo(directory / name)
    return read(directory / name)

  return run, InputError, rf'cannot read .*{name}: not a regular file$'


def sparse(read: Read, name: str, message: str) -> Case:
  """Of a terabyte that takes no room on the disk."""

  def run(directory: pathlib.Path) -> object:
    with (directory / name).open('wb') as file:
      file.truncate(1 << 40)
    return read(directory / name)

  return run, InputError, message


def png(width: int, height: int) -> bytes:
  """Of that size by its header, with pixels for one row."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    sum = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', sum)

  header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  pixels = zlib.compress(bytes(1 + 3 * min(width, 100)))
  parts = [chunk(b'IHDR', header), chunk(b'IDAT', pixels), chunk(b'IEND', b'')]
  return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def image(content: bytes, message: str) -> Case:
  """One of a class beside a good one."""

  def run(directory: pathlib.Path) -> object:
    for name in ('a', 'b'):
      (directory / name).mkdir()
      Image.new('RGB', (2, 2)).save(directory / name / '1.png')
    (directory / 'a' / '0.png').write_bytes(content)
    return class_folders.read(directory)

  return run, InputError, rf'a/0.png: not an image that can be read: .*{message}'


def both(path: pathlib.Path) -> object:
  return parallel.read(path, path)


def ptb(content: bytes, message: str) -> Case:
  def run(directory: pathlib.Path) -> object:
    for part in ('train', 'test'):
      (directory / f'ptb.{part}.txt').write_text('a b <unk>\n')
    (directory / 'ptb.valid.txt').write_bytes(content)
    return text.load(str(directory))

  return run, InputError, message


LONG = 'a' * 5000
LAUGHS = (
  '<!DOCTYPE a [<!ENTITY a0 "ha">'
  + ''.join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(12))
  + ']><dataset><doc id="a"><src><seg id="1">&a12;</seg></src></doc></dataset>'
).encode()
OUTSIDE = (
  b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
  b'<dataset><doc id="a"><src><seg id="1">&x;</seg></src></doc></dataset>'
)

IMAGES = {
  'idx, of more than the file': of(
    *(lambda path: idx.read(path, 3), 'a'),
    b'\0\0\x08\3' + struct.pack('>III', 60_000, 1 << 16, 1 << 15),
    'truncated, or a corrupt header: expected 128849018880000 bytes',
  ),
  'idx, packed, of more than it can hold': of(
    *(lambda path: idx.read(path, 1), 'a.gz'),
    gzip.compress(b'\0\0\x08\1' + struct.pack('>I', 1 << 31)),
    'truncated, or a corrupt header',
  ),
  'idx, a pipe': pipe(lambda path: idx.read(path, 1), 'a'),
  'idx, a packed pipe': pipe(lambda path: idx.read(path, 1), 'a.gz'),
  'idx, no name of a file': (
    lambda directory: idx.read(f'{directory}/a\0b', 1),
    InputError,
    'cannot read .*null byte',
  ),
  'idx, a name that is too long': (
    lambda directory: idx.read(f'{directory}/{LONG}', 1),
    InputError,
    'File name too long',
  ),
  'cifar10, a terabyte': sparse(
    cifar10.read_binary, 'a.bin', 'a.bin: trailing bytes: .* found 1099511627776 bytes'
  ),
  'cifar10, a pipe': pipe(cifar10.read_binary, 'a.bin'),
  'cifar10, a label that is none': of(
    *(lambda path: cifar10.read_binary(path, 1), 'a.bin', b'\x0a' + bytes(3072)),
    'expected labels 0 to 9, found 10',
  ),
  'images, none': image(b'', ''),
  'images, cut off': image(png(2, 2)[:-30], ''),
  'images, of 10^10 pixels': image(png(100_000, 100_000), ''),
  'images, of 10^8 pixels': image(png(10_000, 10_000), ''),
  # Pillow would start Ghostscript.
  'images, a program': image(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n', ''),
  'images, a pipe': pipe(lambda path: class_folders.read(_class_of(path)), '0.png'),
}


def _class_of(path: pathlib.Path) -> pathlib.Path:
  (path.parent / 'x' / 'a').mkdir(parents=True)
  (path.parent / 'x' / 'b').mkdir()
  path.rename(path.parent / 'x' / 'a' / path.name)
  Image.new('RGB', (2, 2)).save(path.parent / 'x' / 'b' / '1.png')
  return path.parent / 'x'


TEXT = {
  'text, packed zeros': packed(files.read, 'a.gz', 'more than 100 times'),
  'text, a pipe': pipe(files.read, 'a'),
  'text, a terabyte': sparse(files.read, 'a.txt', 'a.txt: .* do not fit into'),
  'text, no name of a file': (
    lambda directory: files.read(directory / 'a\0b'),
    InputError,
    'cannot read .*null byte',
  ),
  'text, a name that is too long': (
    lambda directory: files.read(directory / LONG),
    InputError,
    'File name too long',
  ),
  'text, an endless one': (
    lambda directory: files.read(pathlib.Path('/dev/zero')),
    InputError,
    'cannot read /dev/zero: not a regular file',
  ),
  'ptb, not UTF-8': ptb(b'a b\n\xff', r'ptb.valid.txt: .* byte 4 is not \(line 2\)'),
  'ptb, empty': ptb(b'', 'ptb.valid.txt: expected text, found none'),
  'sgml, half tags': of(both, 'a.sgm', b'<doc ' * MANY, ''),
  'sgml, documents without an end': of(both, 'a.sgm', b'<doc>' * MANY, ''),
  'sgml, segments without an end': of(
    both, 'a.sgm', b'<seg id="1">' * MANY, 'line 1: expected <seg id=...>...</seg>'
  ),
  'xml, entities of entities': of(both, 'a.xml', LAUGHS, 'not XML'),
  'xml, another file': of(both, 'a.xml', OUTSIDE, 'not XML'),
  'xml, deep': of(
    both, 'a.xml', b'<src>' * MANY + b'</src>' * MANY, r'not XML \(.*nested'
  ),
  'xml, an unknown encoding': of(
    both, 'a.xml', b'<?xml version="1.0" encoding="hex"?><a/>', 'not XML'
  ),
}
for _case in ('half tags', 'documents without an end'):
  TEXT[f'sgml, {_case}'] = (TEXT[f'sgml, {_case}'][0], InputError, 'a.sgm: no pairs')

CLICKS = {
  'criteo, one long line': of(
    *(lambda path: list(click_lines.read(path, 1 << 16)), 'train.txt'),
    *(b'1' * (1 << 20), 'line 1: longer than 10000 bytes'),
  ),
  'criteo, a number of many digits': of(
    *(lambda path: list(click_lines.read(path)), 'train.txt'),
    *(b'1\t' + b'9' * 30 + b'\t' * 38, 'field 2: expected an integer of up to 18'),
  ),
  'criteo, packed zeros': packed(
    lambda path: list(click_lines.read(path)),
    *('train.txt.gz', 'line 1: longer than 10000 bytes'),
  ),
  'criteo, a pipe': pipe(lambda path: list(click_lines.read(path)), 'train.txt'),
}
