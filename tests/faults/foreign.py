"""Every reader of foreign files, with a small good file of its format."""

import dataclasses
import gzip
import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cases_instructions as opt
import numpy as np
import safetensors.numpy
from cases_data import archived
from cases_runs import HEADER, LEAF, ROW, TREE, sealed
from cases_speech import RECORDING, edited, wav
from flax import nnx
from PIL import Image

from experiments import (
  churn,
  codistillation_report,
  opt_checkpoint,
  predictions,
  records,
  runner,
  saved_translator,
  wmt_samples,
)
from experiments.datasets import (
  cifar10,
  class_folders,
  click_lines,
  fsdd,
  idx,
  parallel,
  pieces,
  sphere,
  text,
  timit,
  wsj,
  wsj_transcripts,
)
from experiments.datasets.instructions import promptsource, read, splits
from experiments.datasets.instructions.collection import Collection
from experiments.datasets.instructions.tokens import Pieces
from experiments.decoding import Decoding
from experiments.errors import InputError
from experiments.runs import Run, collect
from regularizers.exchange import Directory, ExchangeError

Read = Callable[[pathlib.Path], object]


class Reader(NamedTuple):
  """What is fed to whom.

  Attributes:
    file: that is changed, below the directory.
    content: a good one.
    read: reads the directory, or raises ``error``.
    others: further files, by name.
    rare: its examples are slow, so there are fewer of them.
    error: the project's own.
  """

  file: str
  content: bytes
  read: Read
  others: Mapping[str, bytes] = {}
  rare: int = 1
  error: type[Exception] = InputError


def image(form: str) -> bytes:
  stream = io.BytesIO()
  pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
  Image.fromarray(pixels).save(stream, form)
  return stream.getvalue()


def binary(read: Callable[[pathlib.Path], Any], name: str, content: bytes) -> Reader:
  """A file alone."""
  return Reader(name, content, lambda directory: read(directory / name))


def dumped(*values: Any) -> bytes:
  return ''.join(f'{json.dumps(value)}\n' for value in values).encode()


IDX = b'\0\0\x08\3' + bytes([0, 0, 0, 2] * 3) + bytes(range(8))
LINE = b'\t'.join([b'1', *[b'%d' % i for i in range(13)], *[b'0a1b2c3d'] * 26]) + b'\n'
SGML = b'<doc docid="a">\n<seg id="1">one &amp; two</seg>\n<seg id="2">three</seg>\n'
XML = (
  b'<?xml version="1.0" encoding="utf-8"?>\n<dataset><doc id="a"><src lang="en"><p>'
  b'<seg id="1">one</seg></p></src><ref lang="de" translator="A"><p>'
  b'<seg id="1">eins</seg></p></ref></doc></dataset>'
)
TIMIT = {
  f'TRAIN/DR1/FAAA0/SX7.{suffix}': content
  for suffix, content in {
    **{'WAV': b'', 'PHN': b'0 400 h#\n400 900 dcl\n', 'WRD': b'400 900 do\n'},
    'TXT': b'0 900 Do. \n',
  }.items()
}
INDEX = '11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx'
WSJ = {
  INDEX: b'; synthetic\n11_1_1: wsj0/si_tr_s/01i/01ic0201.wv1\n',
  '11-1.1/wsj0/si_tr_s/01i/01ic0201.wv1': b'',
  '11-1.1/wsj0/si_tr_s/01i/01ic0200.dot': b'ONE [cough] TWO (01IC0201)\n',
}


def both(name: str) -> Read:
  return lambda directory: parallel.read(directory / name, directory / name)


def tree(file: str, files: Mapping[str, bytes], read: Read) -> Reader:
  """One file of several."""
  others = {name: content for name, content in files.items() if name != file}
  return Reader(file, files[file], read, others)


def pictures(name: str, form: str) -> Reader:
  others = {'b/1.png': image('png')}
  return Reader(f'a/{name}', image(form), class_folders.read, others)


def samples(directory: pathlib.Path) -> object:
  path = directory / '7_ann_1.wav'
  return fsdd.Digit(path.stem, 'ann', path, path.read_bytes()).samples()


DATA = {
  'idx': binary(lambda path: idx.read(path, 3), 'a', IDX),
  'idx, packed': binary(lambda path: idx.read(path, 3), 'a.gz', gzip.compress(IDX)),
  'cifar10': binary(lambda path: cifar10.read_binary(path, 1), 'a.bin', bytes(3073)),
  'png': pictures('1.png', 'png'),
  'jpeg': pictures('1.jpg', 'jpeg'),
  'text': tree(
    'ptb.valid.txt',
    {f'ptb.{part}.txt': b'a b\n c <unk>\n' for part in ('train', 'valid', 'test')},
    lambda directory: text.load(str(directory)),
  ),
  'lines': Reader('a.en', b'one\ntwo\n', both('a.en')),
  'lines, packed': Reader('a.gz', gzip.compress(b'one\ntwo\n'), both('a.gz')),
  'sgml': Reader('a.sgm', SGML, both('a.sgm')),
  'xml': Reader('a.xml', XML, both('a.xml')),
  'sphere': binary(sphere.read, 'a.wav', RECORDING),
  'sphere, packed': binary(
    sphere.read, 'a.wav', edited(b'end_head', b'sample_coding -s4 ulaw\nend_head')
  ),
  'wav': Reader('7_ann_1.wav', wav()[:200], samples),
  'zip': binary(
    lambda path: fsdd.read(path, 'ann'), 'a.zip', archived('7_ann_1.wav', [wav()])
  ),
  **{
    f'timit, {name[-3:].lower()}': tree(name, TIMIT, timit.read)
    for name in TIMIT
    if not name.endswith('WAV')
  },
  'timit, speakers': tree(
    'dev_spk.list',
    {**TIMIT, 'dev_spk.list': b'fabc0\n', 'test_spk.list': b'mabc0\n'},
    lambda directory: timit.read(directory, skip_bad=True),
  ),
  'wsj, list': tree(INDEX, WSJ, lambda d: wsj.read(d, training='si84')),
  'wsj, transcripts': binary(wsj_transcripts.read, 'a.dot', b'A [b] <c> (01IC0201)\n'),
  'criteo': binary(lambda path: list(click_lines.read(path, 999)), 'a.txt', LINE * 2),
  'criteo, packed': binary(
    lambda path: list(click_lines.read(path)), 'a.txt.gz', gzip.compress(LINE)
  ),
}

METASEQ = dumped({'src': 'a', 'tgt': 'b'}, {'src': '', 'tgt': 'c'})
ROWS = dumped({'x': 'a', 'y': [1, {'z': None}]})
PROMPTS = b"""dataset: d
subset: s
templates:
  i: !Template
    name: n
    jinja: "{{x}} ||| {{y}}"
    answer_choices: a ||| b
    metadata: !TemplateMetadata {original_task: true, languages: [en]}
"""
SKG = {'header': ['c'], 'rows': [['d']]}
COT = {'b/gsm.tsv': b'why\tso\tfor\n'}


def tasks(name: str, content: bytes, others: Mapping[str, bytes] = {}) -> Reader:
  """Of a collection, with all that is wrong left out, too."""

  def both_ways(directory: pathlib.Path) -> object:
    try:
      read.read(directory, strict=False)
    finally:
      found = read.read(directory)
    return found.counts, [own.id.encode() for own in found.tasks]

  return Reader(f'b/{name}', content, both_ways, others)


INSTRUCTIONS = {
  'natural': tasks('t.json', opt.natural(URL='["u"]', Source='["s"]').encode()),
  'metaseq': tasks('t.jsonl', METASEQ),
  'metaicl': tasks(
    't_16_100_train.jsonl',
    dumped({'task': 't', 'input': 'a', 'output': 'b', 'options': ['b', 'c']}),
  ),
  'unifiedskg': tasks(
    't.jsonl',
    dumped({'text_in': 'a || b', 'struct_in': SKG, 'seq_out': 'c'}),
  ),
  'flan': tasks('t.tsv', b'a\tb\tc\nd\te\tf\n'),
  'flan, program': tasks('templates.py', b'PATTERNS = {"gsm": [("a", "b")]}\n', COT),
  'flan, templates': tasks('templates.json', b'{"gsm": [["{answer}", "b"]]}', COT),
  'categories': tasks('categories.json', b'{"t": "c"}', {'b/t.jsonl': METASEQ}),
  'yaml': binary(promptsource.load, 'templates.yaml', PROMPTS),
  'promptsource': tasks('p/rows.jsonl', ROWS, {'b/p/templates.yaml': PROMPTS})._replace(
    rare=100
  ),
  'held out': binary(
    lambda path: splits.read(path, Collection(())),
    *('h.json', b'{"categories": ["a"], "tasks": ["b/t"]}'),
  ),
  'held out, lists': tree(
    'b/dev_tasks.txt',
    {'b/dev_tasks.txt': b't\n', 'b/test_tasks.txt': b't\n', 'b/t.jsonl': METASEQ},
    lambda directory: splits.read(directory / 'b', read.read(directory)),
  ),
}


def checkpoints() -> dict[str, Reader]:
  """Of OPT's directory; by the files of a good one."""
  import tempfile

  with tempfile.TemporaryDirectory() as place:
    directory = pathlib.Path(place)
    opt.checkpoint(directory)
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    names = opt_checkpoint._files(directory)
  files[opt.INDEX] = dumped({'weight_map': dict.fromkeys(names, opt.WEIGHTS)})

  def checked(directory: pathlib.Path) -> object:
    return opt_checkpoint.read(directory), spoken(Pieces(directory, 8))

  found = {f'opt, {name}': tree(name, files, checked) for name in files}
  older = {**files, 'vocab.json': opt.VOCABULARY.encode(), 'merges.txt': b'a b\n'}
  del older['tokenizer.json']
  for name in ('vocab.json', 'merges.txt'):
    found[f'opt, {name}'] = tree(name, older, lambda d: spoken(Pieces(d, 8)))
  found['opt, config.json alone'] = binary(
    lambda path: Pieces(path.parent, 8), 'config.json', files['config.json']
  )._replace(others={'tokenizer.json': files['tokenizer.json']})
  return found


def spoken(tokens: Pieces) -> object:
  """What text is made of, and made into."""
  return tokens.decode(tokens.encode('ab c\n\u00e9')), tokens.decode(range(8))


TRANSLATED = {'split': 'test', 'seed': 0, 'source': 'a', 'target': 'b'}
WEIGHTS = {'bias': np.zeros(3, np.float32), 'kernel': np.ones((2, 3), np.float32)}
SEARCH = [field.name for field in dataclasses.fields(Decoding)]
RECORD = dumped({**HEADER, 'measure': 'bleu'}, {**ROW, 'bleu': 1.0, 'final': True})


CHURN = churn.Churn(np.zeros((1, 2), np.int32), np.ones((1, 3)), np.ones((1, 3)))


def arrays(**own: np.ndarray) -> bytes:
  stream = io.BytesIO()
  np.savez(stream, allow_pickle=False, **own)
  return stream.getvalue()


def record(directory: pathlib.Path) -> object:
  """All that a report asks of a run."""
  (run,) = collect([directory])
  records.cut_back(directory / 'record.jsonl', {}, 1)
  about = run.measure, run.values, run.step, run.split, run.same_data, run.finished
  return about, [(one.name, one.results, one.missing) for one in run.series]


def restored(kind: str) -> Read:
  """As a translator's units are."""

  def read(directory: pathlib.Path) -> object:
    own = saved_translator._units(directory, 'source', {'source_units': kind})
    return own.decode(range(own.size)), own.decode(own.encode('a b')), own.sha256

  return read


def learned() -> bytes:
  """A model of word pieces."""
  return pieces.train(['a b ab ba'] * 9, 12, pieces.TRANSLATION)


def network(rngs: nnx.Rngs) -> nnx.Module:
  return nnx.Linear(2, 3, rngs=rngs)


def filled(directory: pathlib.Path) -> object:
  return saved_translator._filled(directory / 'a.safetensors', network)


def copy(directory: pathlib.Path) -> object:
  """Of a peer, whose checksum may hold: a damaged one is a warning."""
  with Directory(directory, 0, 2, 1, background=False) as own:
    return own(0, TREE, own.init(TREE)).steps


RUNS = {
  'record': Reader('record.jsonl', RECORD, record),
  'config.json': Reader(
    'config.json', dumped({'a': 1}), lambda directory: runner.check(directory, {'a': 1})
  ),
  'predictions': Reader(
    predictions.NAME,
    arrays(labels=np.arange(4)),
    lambda directory: predictions.read(Run(directory, HEADER, ()), 'labels'),
  ),
  'churn': Reader(
    'churn.npz',
    arrays(**CHURN.arrays()),
    lambda directory: codistillation_report.of_run(Run(directory, HEADER, ())),
  ),
  'translations': Reader(
    'r/translations.jsonl',
    dumped({**TRANSLATED, 'translation': 'c'}),
    wmt_samples.write,
    {'r/record.jsonl': RECORD},
  ),
  'translator': binary(
    lambda path: saved_translator.configuration(path.parent),
    'config.json',
    dumped({'flags': dict.fromkeys(SEARCH, 1), 'run': {}, 'lengths': {'longest': 3}}),
  ),
  'units, words': Reader('source.units', b'["a", "b"]', restored('words')),
  'units, letters': Reader('source.units', b'["a", "b"]', restored('chars')),
  'units, pieces': Reader('source.units', learned(), restored('pieces')),
  'weights of a translator': Reader(
    'a.safetensors', safetensors.numpy.save(WEIGHTS), filled
  ),
  'copy of a replica': Reader(
    'replica-1/00000001-0000000003.safetensors',
    sealed({'w': LEAF}),
    copy,
    error=ExchangeError,
  ),
}
READERS = {**DATA, **INSTRUCTIONS, **checkpoints(), **RUNS}
