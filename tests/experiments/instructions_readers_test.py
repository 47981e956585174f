"""Tasks from disk: every form that is read, and how each can be wrong."""

import json
import pathlib

import pytest

from experiments.datasets.instructions import promptsource, read
from experiments.datasets.instructions.templating import Templates
from experiments.errors import InputError

TEMPLATES = """\
dataset: own
subset: part
templates:
  id-1: !Template
    answer_choices: '{{ first }} ||| {{second}}'
    id: id-1
    jinja: |-
      {{ premise }}{% for one in words %} {{ loop.index }}.{{ one }}{% endfor %}
      |||
      {% if label >= 0 %}{{ answer_choices[label] }}{% endif %}
    metadata: !TemplateMetadata
      choices_in_prompt: true
      languages: [en]
      metrics: [Accuracy]
      original_task: true
    name: mine
    reference: ''
  id-2: !Template
    answer_choices: null
    id: id-2
    jinja: another task ||| yes
    metadata: !TemplateMetadata
      original_task: false
    name: other
    reference: ''
"""
LONG = 'word ' * 900  # PromptSource's own default cuts after 2048 letters


def row(**more) -> str:
  own = {'premise': 'P', 'words': ['u', 'v'], 'first': 'a|||b', 'second': 'c '}
  return json.dumps({**own, 'label': 0, **more})


def icl(**more) -> str:
  own = {'task': 'sst', 'input': 'x', 'output': 'pos', 'options': ['pos', 'neg']}
  return json.dumps({**own, **more})


def filled(directory: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
  for name, text in files.items():
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  return directory


# Files, and the tasks: their ids, then input, output and options of each example.
TABLE = {'header': ['city', 'n'], 'rows': [['Bonn', 3]]}
FORMS = {
  'metaseq, in shards': (
    {
      'b/train/00/foo.jsonl': '{"src": "a:", "tgt": "b"}\n\n{"src": "c", "tgt": "d"}\n',
      'b/train/01/foo.jsonl': '{"src": "", "tgt": "a dialogue"}',
      'b/valid/foo.jsonl': '{"src": "e", "tgt": "f", "id": 3}',
    },
    {
      'b/foo': [
        *(('a:', 'b', ()), ('c', 'd', ())),
        *(('', 'a dialogue', ()), ('e', 'f', ())),
      ]
    },
  ),
  'MetaICL, by two seeds': (
    {
      'b/sst/sst_16_13_train.jsonl': f'{icl()}\n{icl(input="y", output="neg")}',
      'b/sst/sst_16_21_dev.jsonl': f'{icl()}\n{icl(input="z", options=[])}',
    },
    {
      'b/sst': [
        *(('x', 'pos', ('pos', 'neg')), ('y', 'neg', ('pos', 'neg'))),
        ('z', 'pos', ()),
      ]
    },
  ),
  'UnifiedSKG': (
    {
      'b/wtq/train.jsonl': '\n'.join(
        json.dumps({**own, 'seq_out': 's'})
        for own in (
          {'seq_in': 'q ; structured knowledge: t', 'struct_in': 'no'},
          {'text_in': 'q', 'struct_in': TABLE},
          {'text_in': 'q2 || q1 | q0', 'struct_in': '| db | t : c'},
          {'text_in': '', 'struct_in': [['s', 'p', 'o']]},
        )
      )
    },
    {
      'b/wtq': [
        ('q ; structured knowledge: t', 's', ()),
        ('q ; structured knowledge: col : city | n row 1 : Bonn | 3', 's', ()),
        ('q2 ; structured knowledge: | db | t : c ; context: q1 | q0', 's', ()),
        ('structured knowledge: s : p : o', 's', ()),
      ]
    },
  ),
  "FLAN's chains of thought": (
    {'b/gsm_train.tsv': '1+1?\t2\tas is known\n'},
    {
      'b/gsm': [
        ('1+1?\nSay why, then answer:', 'as is known\nThe answer is 2.', ()),
      ]
    },
  ),
  "FLAN's own templates": (
    {
      'b/gsm_train.tsv': 'q {answer}\t2\twhy\n',
      'b/templates.py': 'import os\nPATTERNS = {"nli": [("{options_}", "")],\n'
      '  "cot_gsm": [("{question} "\n   "Hm:", "{chain_of_thought} {answer}.")]}\n',
    },
    {'b/gsm': [('q {answer} Hm:', 'why 2.', ())]},
  ),
  'templates in JSON': (
    {
      'b/gsm_train.tsv': 'q\t2\twhy\n',
      'b/templates.json': '{"*": [["{question}", "{answer}"]]}',
    },
    {'b/gsm': [('q', '2', ())]},
  ),
  'PromptSource': (
    {
      'b/own/part/templates.yaml': TEMPLATES,
      'b/own/part/train.jsonl': f'{row()}\n{row(label=-1)}\n{row(label=1)}',
      'b/own/part/test.jsonl': row(premise=LONG),
    },
    {
      'b/own/part': [
        (f'{LONG} 1.u 2.v', 'a', ('a', 'b', 'c')),
        ('P 1.u 2.v', 'a', ('a', 'b', 'c')),
        ('P 1.u 2.v', 'b', ('a', 'b', 'c')),
      ]
    },
  ),
}
# A separator within the data is none: the options are two.
FORMS['PromptSource'] = (
  FORMS['PromptSource'][0],
  {
    'b/own/part': [
      (f'{LONG} 1.u 2.v', 'a|||b', ('a|||b', 'c')),
      ('P 1.u 2.v', 'a|||b', ('a|||b', 'c')),
      ('P 1.u 2.v', 'c', ('a|||b', 'c')),
    ]
  },
)


@pytest.mark.parametrize('name', FORMS)
def test_forms(tmp_path: pathlib.Path, name: str):
  files, expected = FORMS[name]
  found = read.read(filled(tmp_path, files))
  assert {
    task.id: [(e.input, e.outputs[0], e.options) for e in task.examples]
    for task in found.tasks
  } == expected
  for task in found.tasks:
    assert len({e.name for e in task.examples}) == len(task.examples)
    assert task.category == 'b'
  left_out = 1 if name == 'PromptSource' else 0  # the label is unknown
  assert len(found.skipped) == left_out
  assert read.counts(found).count('left out') == left_out


def test_categories(tmp_path: pathlib.Path):
  files = {f'b/{name}.jsonl': '{"src": "a", "tgt": "b"}' for name in ('foo', 'bar')}
  filled(tmp_path, {**files, 'b/categories.json': '{"foo": "one", "bar": "two"}'})
  found = read.read(tmp_path)
  assert [(task.id, task.category) for task in found.tasks] == [
    ('b/bar', 'two'),
    ('b/foo', 'one'),
  ]
  assert '  one: 1 tasks, 1 examples' in read.counts(found)


GOOD = {'good/t.jsonl': '{"src": "a", "tgt": "b"}'}
# What is wrong, where it is said to be, and how much of the file is still good.
METASEQ, ICL, SKG, COT = 'b/foo.jsonl', 'b/sst.jsonl', 'b/skg.jsonl', 'b/gsm.tsv'
BAD = [
  ({METASEQ: '{"src": "a", "tgt": "b"}\n{'}, 'foo.jsonl:2: task foo: not JSON', 1),
  ({METASEQ: '{\n{"src": "a", "tgt": "b"}'}, 'foo.jsonl:1: task foo: not JSON', 1),
  ({METASEQ: '[1]'}, 'foo.jsonl:1: task foo: expected a JSON object', 0),
  ({METASEQ: ''}, 'foo.jsonl: task foo: no examples', 0),
  ({METASEQ: '{"a": 1}'}, 'foo.jsonl:1: task foo: expected src and tgt', 0),
  ({METASEQ: '{"src": "a", "tgt": " "}'}, ':1: task foo: tgt: expected a text', 0),
  ({METASEQ: '{"src": 3, "tgt": "b"}'}, ':1: task foo: src: expected a text, got 3', 0),
  ({ICL: icl() + '\n' + icl(task='x')}, ':2: task sst: an example of another task', 1),
  ({ICL: icl() + '\n' + icl(output='no')}, ":2: task sst: output: 'no' is none", 1),
  ({ICL: icl(options='ab')}, ':1: task sst: options: expected a list', 0),
  ({SKG: '{"seq_out": "a"}'}, ':1: task skg: expected seq_in, or text_in', 0),
  ({SKG: '{"seq_out": "a", "struct_in": 3}'}, 'struct_in: expected a text, a table', 0),
  (
    {SKG: '{"seq_out": "a", "struct_in": {"header": ["a"], "rows": [[]]}}'},
    'skg: struct_in: expected as many cells in row 1',
    0,
  ),
  ({COT: 'a\tb\tc\na\tb\n'}, 'gsm.tsv:2: task gsm: expected question, answer and', 1),
  ({COT: 'a\tb\tc', 'b/templates.py': 'PATTERNS = f()'}, 'py: no templates can be', 0),
  ({COT: 'a\tb\tc', 'b/templates.json': '{"gsm": [["a"]]}'}, 'gsm: expected pairs', 0),
  ({COT: 'a\tb\tc', 'b/templates.json': '{"*": [["{x}", ""]]}'}, 'no field x', 0),
  ({**GOOD, 'good/categories.json': '{"x": "y"}'}, 'task t: not in categories', 0),
  ({**GOOD, 'good/categories.json': '[]'}, 'expected {"task": "category"', 0),
  ({'b/p/templates.yaml': TEMPLATES}, 'task own/part: no data beside it', 0),
  ({'b/p/templates.yaml': '{'}, 'templates.yaml: not YAML', 0),
  ({'b/p/templates.yaml': '- 1'}, 'templates.yaml: expected dataset and', 0),
  ({'b/p/templates.yaml': 'dataset: x\ntemplates: {i: {name: n}}'}, 'i: jinja', 0),
]


@pytest.mark.parametrize('case', range(len(BAD)))
def test_what_cannot_be_read(tmp_path: pathlib.Path, case: int):
  files, message, kept = BAD[case]
  filled(tmp_path, {'fine/t.jsonl': GOOD['good/t.jsonl'], **files})
  with pytest.raises(InputError) as caught:
    read.read(tmp_path)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)
  lenient = read.read(tmp_path, strict=False)
  assert [len(task.examples) for task in lenient.tasks] == [*([1] * bool(kept)), 1]
  # The second one says that nothing is left of the task.
  assert 1 <= len(lenient.skipped) <= 2 - bool(kept)
  assert message in lenient.skipped[0]


# Templates with {'x': 'a'}, and what is said of them.
RAISING = {
  '{{ x.nothing.more }}': 'UndefinedError',
  '{{ 1 // 0 }}': 'ZeroDivisionError',
  '{% if x %}': 'TemplateSyntaxError',
  '{{ other }}': 'the data have no field other',
  '{{ x.__class__.__mro__ }}': 'SecurityError',
  '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}': 'RecursionError',
  '{{ "a".ljust(5000000) }}': 'more than 1,000,000 characters',
  '{{ "a" | center(10 ** 10) }}': 'MemoryError',
  '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}': (
    'it takes longer than 0.5 s'
  ),
}


def test_templates_that_raise_or_loop():
  with Templates(seconds=0.5) as templates:
    for source, message in RAISING.items():
      with pytest.raises(InputError, match=message):
        templates.fill(source, None, {'x': 'a'}, 0)
      assert templates.fill('{{ x }}', None, {'x': 'a'}, 0).parts == ('a',)
    with pytest.raises(InputError, match='answer_choices'):
      templates.fill('a', None, {'answer_choices': []}, 0)


def test_what_templates_may_use():
  """Of PromptSource's own environment; chance is the seed's."""
  source = (
    '{{ x_y | most_frequent | join(",") }} {{ x_y | highlight | length }}'
    '{% for a, b in zip(x_y, [1]) %} {{ a }}{{ b }}{% endfor %} ||| {{ z | choice }}'
  )
  data = {'x-y': ['p', 'q', 'p'], 'z': [*range(100)]}
  with Templates() as templates:
    first, again, other = (templates.fill(source, None, data, s) for s in (0, 0, 1))
  assert first.parts[0] == 'p 15 p1'
  assert first == again != other


def test_a_failing_template_leaves_the_others(tmp_path: pathlib.Path):
  more = TEMPLATES + TEMPLATES.split('templates:\n')[1].replace('id-', 'x-').replace(
    'name: mine', 'name: bad'
  ).replace('{{ premise }}', '{{ nothing.at.all }}')
  files = {'templates.yaml': more, 'train.jsonl': '\n'.join([row()] * 8)}
  filled(tmp_path, files)
  data = [tmp_path / 'train.jsonl']
  with pytest.raises(InputError, match=r"own/part: template 'bad': .*jsonl:\d: task"):
    promptsource.read(tmp_path / 'templates.yaml', data, 'b')
  task, notes = promptsource.read(tmp_path / 'templates.yaml', data, 'b', strict=False)
  assert len(task.examples) == 8
  assert len(notes) == 1
