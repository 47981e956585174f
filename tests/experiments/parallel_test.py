"""Parallel text in WMT's formats, and what is wrong with it."""

import gzip
import pathlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.datasets import parallel
from experiments.datasets.parallel import Corpus, Pairs, read
from experiments.errors import InputError

Files = dict[str, str | bytes]


def write(directory: pathlib.Path, files: Files) -> list[pathlib.Path]:
  paths = [directory / name for name in files]
  for path, content in zip(paths, files.values(), strict=True):
    data = content.encode() if isinstance(content, str) else content
    packed = path.suffix.lower() == '.gz'
    path.write_bytes(gzip.compress(data) if packed else data)
  return paths


def pairs_of(directory: pathlib.Path, files: Files, **options) -> list[tuple[str, str]]:
  paths = write(directory, files)
  pairs, _ = read(paths[0], paths[-1], **options)
  return list(zip(pairs.sources, pairs.targets, strict=True))


def refuses(message: str, directory: pathlib.Path, files: Files, **options) -> None:
  paths = write(directory, files)
  with pytest.raises(InputError, match=message) as caught:
    read(paths[0], paths[-1], **options)
  assert '\n' not in str(caught.value)
  assert str(directory) in str(caught.value)


# A sentence a line

PLAIN = 'one\ntwo words\nthree\n', 'eins\nzwei Wörter\ndrei\n'
THREE = [('one', 'eins'), ('two words', 'zwei Wörter'), ('three', 'drei')]


@pytest.mark.parametrize(
  ('source', 'target'),
  [
    PLAIN,
    (PLAIN[0].rstrip('\n'), PLAIN[1]),
    (PLAIN[0].replace('\n', '\r\n'), PLAIN[1]),
    ('\ufeff' + PLAIN[0], '\ufeff' + PLAIN[1]),
    (PLAIN[0].replace('one', ' one\t'), PLAIN[1]),
  ],
)
@pytest.mark.parametrize(
  'names', [('a.en', 'a.de'), ('a.en.gz', 'a.de'), ('a', 'b.gz')]
)
def test_lines(tmp_path, source, target, names):
  assert pairs_of(tmp_path, {names[0]: source, names[1]: target}) == THREE


@pytest.mark.parametrize('sign', ['\0', '\u2028', '\u2029', '\x85', '\x0b', '\f', '\r'])
def test_only_line_feeds_part_lines(tmp_path, sign):
  files = {'en': f'a{sign}b\nc\n', 'de': 'd\ne\n'}
  assert pairs_of(tmp_path, files) == [(f'a{sign}b', 'd'), ('c', 'e')]


@pytest.mark.parametrize('encoding', ['utf-16-le', 'utf-16-be'])
def test_utf_16_without_a_mark(tmp_path, encoding):
  """Of many texts it is UTF-8 as well, of twice the characters."""
  content = 'one\ntwo łyds\n'.encode(encoding)
  message = r'en: expected text in UTF-8, 12 of 26 bytes are 0, as in UTF-16$'
  refuses(message, tmp_path, {'en': content, 'de': content})


def test_what_is_dropped_is_counted(tmp_path):
  files: Files = {
    'en': 'a\n\n b \n12345\n1234\nc\n',
    'de': 'd\ne\n\t\n1\n12345\n1234\n',
  }
  paths = write(tmp_path, files)
  pairs, dropped = read(*paths)
  assert pairs.sources == ('a', '12345', '1234', 'c')
  assert dropped == {'empty': 2, 'long': 0}
  pairs, dropped = read(*paths, longest=4)
  assert pairs == Pairs(('a', 'c'), ('d', '1234'))
  assert dropped == {'empty': 2, 'long': 2}


def test_only_training_is_cut_by_length(tmp_path):
  source, target = map(str, write(tmp_path, {'en': 'a\nbcd\n', 'de': 'd\ne\n'}))
  corpus = parallel.load('x', dict.fromkeys(('train', 'test'), [(source, target)]), 2)
  assert len(corpus.splits['train']) == 1
  assert len(corpus.splits['test']) == 2
  assert corpus.dropped['train'] == {'empty': 0, 'long': 1}
  assert corpus.dropped['test'] == {'empty': 0, 'long': 0}
  assert corpus.name == 'x'


def test_several_files_of_a_split(tmp_path):
  files = {'en': 'a\n\n', 'de': 'b\n\n', 'both.GZ': 'c\nabc'}
  en, de, packed = map(str, write(tmp_path, files))
  corpus = parallel.load('x', {'train': [(en, de), (packed, packed)]}, 2)
  assert corpus.splits['train'] == Pairs(('a', 'c'), ('b', 'c'))
  assert corpus.dropped['train'] == {'empty': 1, 'long': 1}


BAD: dict[str, tuple[Files, str]] = {
  'lines': (
    {'en': 'a\nb\n', 'de': 'a\n'},
    r'de: expected 2 lines as in .*en, found 1$',
  ),
  'empty': ({'en': '', 'de': ''}, r'en, .*de: no pairs$'),
  'blank': ({'en': '\n\n', 'de': 'a\n\n'}, r'en, .*de: no pairs but 2 empty$'),
  'utf8': ({'en': b'a\nb\xff\n', 'de': 'a\nb\n'}, r'en: .* byte 3 is not \(line 2\)$'),
  'no gzip': (
    {'en': 'a', 'x.sgm': 'b'},
    r'en, .*x.sgm: expected two files of one form',
  ),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_lines(tmp_path, case):
  files, message = BAD[case]
  refuses(message, tmp_path, files)


def test_files_that_are_none(tmp_path):
  (path,) = write(tmp_path, {'en': 'a'})
  with pytest.raises(InputError, match=r'^cannot read .*nowhere: No such file'):
    read(path, tmp_path / 'nowhere')
  with pytest.raises(InputError, match=r'^cannot read .*: Is a directory'):
    read(tmp_path, path)


def test_bad_gzip(tmp_path):
  content = gzip.compress(b'one\ntwo\n' * 1000)
  en, de = tmp_path / 'en.gz', tmp_path / 'de'
  de.write_text('a\n' * 2000)
  cases = {
    content[:-9]: 'en.gz: the gzip file is cut off$',
    content[:15]: 'en.gz: the gzip file is cut off$',
    b'one': 'en.gz: not a gzip file, or damaged',
    content[:20] + b'junk' + content[24:]: 'en.gz: not a gzip file, or damaged',
    content[:-8] + bytes(8): 'en.gz: not a gzip file, or damaged',
    b'': 'expected 0 lines as in .*en.gz, found 2000$',
  }
  for bad, message in cases.items():
    en.write_bytes(bad)
    with pytest.raises(InputError, match=message):
      read(en, de)


# Pseudo-SGML


def sgm(kind: str, *documents: tuple[str, dict[str, str]]) -> str:
  lines = [f'<{kind}set setid="newstest2014" srclang="any">']
  for name, segments in documents:
    lines += [f'<doc sysid="ref" docid="{name}" genre="news" origlang="en">', '<p>']
    lines += [f'<seg id="{key}">{text}</seg>' for key, text in segments.items()]
    lines += ['</p>', '</doc>']
  return '\n'.join([*lines, f'</{kind}set>\n'])


ENGLISH = (
  ('a', {'1': 'AT&T &amp; &quot;x&quot; &lt; 3', '2': ' two '}),
  ('b', {'1': 'b'}),
)
GERMAN = ('a', {'1': 'AT&T &#38; &copy', '2': 'zwei'}), ('b', {'1': 'b &amp;amp;'})
SGM = {'src.en.sgm': sgm('src', *ENGLISH), 'ref.de.sgm': sgm('ref', *GERMAN)}
SEGMENTS = [
  ('AT&T & "x" < 3', 'AT&T & &copy'),
  ('two', 'zwei'),
  ('b', 'b &amp;'),
]


def test_sgml(tmp_path):
  assert pairs_of(tmp_path, SGM) == SEGMENTS
  upper = SGM['ref.de.sgm'].replace('<doc', '<DOC').replace('seg', 'SEG')
  packed = {'src.sgm.gz': SGM['src.en.sgm'], 'ref.sgm': '  ' + upper}
  assert pairs_of(tmp_path, packed) == SEGMENTS
  # Tags may stand anywhere in a line, and several segments in one.
  inline = {name: text.replace('\n', ' ') for name, text in SGM.items()}
  assert pairs_of(tmp_path, inline) == SEGMENTS
  # Quotes of either kind, or none; blanks within them.
  named = {name: text.replace('"a"', '"a a"') for name, text in SGM.items()}
  named['ref.de.sgm'] = named['ref.de.sgm'].replace('"a a"', "'a a'")
  for quoted in ("id='1'", 'id=1'):
    other = named['ref.de.sgm'].replace('id="1"', quoted)
    assert quoted in other
    assert pairs_of(tmp_path, {**named, 'ref.de.sgm': other}) == SEGMENTS


def test_sgml_that_does_not_belong_together(tmp_path):
  def with_target(*documents):
    return {**SGM, 'ref.de.sgm': sgm('ref', *documents)}

  message = r"ref.de.sgm: line 4: expected segment 1 of document 'a' as in line 4 of "
  refuses(message, tmp_path, with_target(('c', {'1': 'x', '2': 'y'}), GERMAN[1]))
  message = r"line 5: expected segment 2 of .*, found 3 of 'a'$"
  refuses(message, tmp_path, with_target(('a', {'1': 'x', '3': 'y'}), GERMAN[1]))
  message = r'ref.de.sgm: expected 3 segments as in .*src.en.sgm, found 2$'
  refuses(message, tmp_path, with_target(GERMAN[0]))


@pytest.mark.parametrize(
  ('old', 'new', 'message'),
  [
    (
      '</seg>\n<seg',
      '\n<seg',
      r'src.en.sgm: line 4: expected <seg id=...>...</seg> in a line',
    ),
    ('</seg>', '</seg></seg>', r'src.en.sgm: line 4: expected <seg'),
    ('id="1"', '', r'ref.de.sgm: line 4: expected segment  of document'),
    ('seg', 'sentence', r'ref.de.sgm: expected 0 segments as in'),
  ],
)
def test_broken_sgml(tmp_path, old, new, message):
  refuses(message, tmp_path, {**SGM, 'src.en.sgm': SGM['src.en.sgm'].replace(old, new)})


# XML

XML = """<?xml version='1.0' encoding='utf-8'?>
<dataset id="newstest2021">
  <doc origlang="en" id="a">
    <src lang="en"><p>
      <seg id="1">AT&amp;T</seg> <seg id="2">two
      lines</seg>
    </p><p><seg id="3">three</seg></p></src>
    <ref lang="de" translator="B"><p>
      <seg id="1">B eins</seg> <seg id="2">B zwei</seg> <seg id="3">B drei</seg>
    </p></ref>
    <ref lang="de" translator="A"><p>
      <seg id="1">A eins</seg> <seg id="2"/>
    </p></ref>
    <hyp system="s"><p><seg id="1">H</seg></p></hyp>
  </doc>
  <doc id="b"><src><p><seg id="1">last</seg><seg id="2"> </seg></p></src>
    <ref translator="B"><seg id="2">leer</seg><seg id="1">letzter</seg></ref></doc>
  <doc id="t" testsuite="x"><src><p><seg id="1">t</seg></p></src></doc>
</dataset>
"""
OF_B = [
  ('AT&T', 'B eins'),
  ('two lines', 'B zwei'),
  ('three', 'B drei'),
  ('last', 'letzter'),
]


def test_xml(tmp_path):
  assert pairs_of(tmp_path, {'all.xml': XML}) == OF_B
  assert pairs_of(tmp_path, {'src.xml': XML, 'ref.xml.gz': XML}) == OF_B
  assert pairs_of(tmp_path, {'all.xml': XML}, translators=['C', 'B']) == OF_B
  pairs, dropped = read(tmp_path / 'all.xml', tmp_path / 'all.xml')
  assert dropped == {'empty': 1, 'long': 0, 'test suite': 1, 'no reference': 0}
  both = [tmp_path / 'all.xml'] * 2
  pairs, dropped = read(*both, translators=['A'])
  assert pairs == Pairs(('AT&T',), ('A eins',))
  assert dropped == {'empty': 0, 'long': 0, 'test suite': 1, 'no reference': 4}


def test_references_without_a_translator(tmp_path):
  nameless = XML.replace(' translator="B"', '')
  assert pairs_of(tmp_path, {'all.xml': nameless}) == OF_B
  refuses(
    r'no translator C, but A, None$', tmp_path, {'x.xml': nameless}, translators=['C']
  )


@pytest.mark.parametrize(
  ('old', 'new', 'message'),
  [
    ('</doc>', '', r'all.xml: not XML \(mismatched tag: line \d+, column \d+\)$'),
    ('&amp;', '&', r'all.xml: not XML \(not well-formed \(invalid token\): line 5, '),
    ("'utf-8'", "'utf-7'", r'all.xml: not XML \('),
    ("'utf-8'", "'what'", r'all.xml: not XML \(unknown encoding: what'),
    ('id="b"', 'id="a"', r"all.xml: two documents 'a'$"),
    ('<seg id="3">', '<seg id="1">', r"document 'a': a segment 1 twice$"),
    ('<seg id="3">', '<seg>', r"document 'a': a segment without id$"),
    ('<seg id="3">B', '<seg id="4">B', r"document 'a': segment 4 has no source$"),
    ('ref', 'other', r'all.xml: expected a <ref> in a <doc>, found none$'),
    ('src', 'other', r"document 'a': segment 1 has no source$"),
  ],
)
def test_broken_xml(tmp_path, old, new, message):
  refuses(message, tmp_path, {'all.xml': XML.replace(old, new)})


def test_two_xml_files_that_do_not_belong_together(tmp_path):
  other = XML.replace('id="b"', 'id="c"')
  refuses(
    r"ref.xml: document 'c' is not in ", tmp_path, {'src.xml': XML, 'ref.xml': other}
  )


def test_xml_of_a_test_suite_alone(tmp_path):
  alone = '<x><doc testsuite=""><src><seg id="1">a</seg></src></doc></x>'
  refuses(r'expected a <ref> in a <doc>, found none$', tmp_path, {'x.xml': alone})


@pytest.mark.parametrize(
  'name', ['hex', 'rot13', 'idna', 'utf-16', 'cp037', 'undefined']
)
def test_xml_in_odd_encodings(tmp_path, name):
  refuses(r'.', tmp_path, {'x.xml': f'<?xml version="1.0" encoding="{name}"?><x/>'})


# Whatever is in the files

_ALL = [*SGM.values(), XML, *PLAIN]
_PIECES = st.sampled_from([part for text in _ALL for part in text.split(' ')])
_JUNK = st.one_of(
  st.binary(max_size=60),
  st.lists(_PIECES, max_size=30).map(' '.join).map(str.encode),
  st.tuples(st.sampled_from(_ALL), st.integers(0, 900)).map(
    lambda t: t[0][: t[1]].encode()
  ),
)


@given(_JUNK, _JUNK, st.sampled_from(['', '.gz', '.sgm', '.sgm.gz', '.xml', '.xml.gz']))
@example(b'', b'', '.xml')
@example(b'<doc/>', b'<doc/>', '.xml')
@example(b'<seg', b'<seg', '.sgm')
def test_junk_is_an_input_error(tmp_path_factory, source, target, suffix):
  directory = tmp_path_factory.getbasetemp()
  one, other = directory / f'junk-one{suffix}', directory / f'junk-other{suffix}'
  packed = suffix.endswith('.gz') and source[:1] > b'2'
  one.write_bytes(gzip.compress(source) if packed else source)
  other.write_bytes(gzip.compress(target) if packed else target)
  try:
    pairs, dropped = read(one, other)
  except InputError as error:
    assert '\n' not in str(error)
  else:
    assert len(pairs)
    assert all(text == text.strip() != '' for text in pairs.sources + pairs.targets)
    assert all(count >= 0 for count in dropped.values())


# Corpora


def test_fingerprints_tell_corpora_apart():
  def of(sources, targets, split='train') -> str:
    return Corpus('x', {split: Pairs(sources, targets)}).fingerprint

  assert of(('a',), ('b',)) == of(('a',), ('b',))
  prints = [
    of(('a',), ('b',)),
    of(('a',), ('b',), 'test'),
    of(('b',), ('a',)),
    of(('ab',), ('',)),
    of(('a', 'c'), ('b', 'd')),
    of(('ac', ''), ('b', 'd')),
  ]
  assert len(set(prints)) == len(prints)


def test_pairs_are_pairs():
  with pytest.raises(ValueError, match=r'^2 sources, 1 targets$'):
    Pairs(('a', 'b'), ('c',))
