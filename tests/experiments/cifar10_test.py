"""The whole program on shapes, shrunk; and one batch on eight devices."""

import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import calibration, calibration_plots, cifar10, mnist, records, runs
from experiments.cifar10_config import filled
from experiments.datasets import cifar10 as datasets_cifar10
from experiments.datasets import shapes
from experiments.errors import InputError
from experiments.models import densenet
from experiments.scores import calibration as scores

HERE = pathlib.Path(__file__).parent
SMALL = {
  'num_train': 20,
  'batch_size': 10,
  'num_epochs': 2,
  'seeds': 2,
  'depth': 7,
  'growth': 2,
  'eval_every': 2,
  'checkpoint_every': 2,
}
ARMS = ('baseline', 'dropout+label_smoothing')


@pytest.fixture(autouse=True, scope='module')
def _few():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(shapes, 'NUM_VALIDATION', 30)
    patch.setattr(shapes, 'NUM_TEST', 40)
    yield


def configured(workdir: pathlib.Path, **options) -> cifar10.Config:
  return cifar10.Config(workdir=str(workdir), **{**SMALL, **options})


@pytest.fixture(scope='module')
def default(tmp_path_factory) -> pathlib.Path:
  """The program has run, shrunk."""
  return cifar10.run(configured(tmp_path_factory.mktemp('default') / 'runs', arms=ARMS))


@pytest.mark.slow
def test_every_arm_has_rows_tables_and_pictures(default):
  table = (default / 'calibration.md').read_text()
  for arm in ARMS:
    header, *rows = records.read(default / arm / 'record.jsonl')
    assert (header['experiment'], header['dataset']) == ('cifar10', 'shapes')
    assert header['config']['dropout'] == (0.0 if arm == 'baseline' else 0.2)
    final = [row for row in rows if row.get('final')]
    assert [(row['split'], row['seed'], row['step']) for row in final] == [
      ('test', 0, 4),
      ('test', 1, 4),
    ]
    for row in final:
      assert {*calibration.COLUMNS} <= {*row}
    assert {row['step'] for row in rows if row['split'] == 'validation'} == {2, 4}
    assert re.search(rf'^\| {re.escape(arm)} ', table, re.MULTILINE)
  assert 'nll / T' in table
  pictures = ('reliability', 'entropy', 'rejection', 'confidence', 'validation')
  for name in (*pictures, 'gradient_norm', 'table'):
    assert (default / f'{name}.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
def test_rows_are_those_of_the_predictions(default):
  _, *rows = records.read(default / ARMS[1] / 'record.jsonl')
  final = [row for row in rows if row.get('final')]
  with np.load(default / ARMS[1] / 'predictions.npz') as arrays:
    own = dict(arrays)
  for row, test, validation, outside in zip(
    final,
    *(own[f'{split}_logits'] for split in ('test', 'validation', 'outside')),
    strict=True,
  ):
    scale = scores.temperature(validation, own['validation_labels'])
    expected = scores.means(test, own['labels'])
    cooled = scores.means((test / scale).astype(np.float32), own['labels'])
    expected |= {f'{n}_scaled': cooled[n] for n in ('nll', 'ece', 'brier')}
    expected['best_temperature'] = scale
    pair = (scores.entropies(test), scores.entropies(outside))
    expected['outside_auroc'] = scores.auroc(*pair)
    scaled = (scores.entropies(own / scale) for own in (test, outside))
    expected['outside_auroc_scaled'] = scores.auroc(*scaled)
    expected['outside_entropy'] = pair[1].mean()
    expected['error_kept'] = scores.rejection(test, own['labels'])[8]
    assert {n: row[n] for n in expected} == pytest.approx(expected, rel=1e-5)
  p = own['probabilities']
  np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)


@pytest.mark.slow
def test_pictures_need_no_outside_and_no_validation(default, tmp_path):
  found = runs.collect([default / 'baseline'])
  path = default / 'baseline' / 'predictions.npz'
  with np.load(path) as arrays:
    own = {n: a for n, a in arrays.items() if n.split('_')[0] in ('test', 'labels')}
  target = tmp_path / 'baseline'
  target.mkdir()
  np.savez(target / 'predictions.npz', **own)
  (target / 'record.jsonl').write_bytes((found[0].path / 'record.jsonl').read_bytes())
  calibration_plots.write(runs.collect([tmp_path]), tmp_path)
  assert (tmp_path / 'entropy.png').exists()


@pytest.mark.slow
def test_folders_without_validation_have_no_temperature(tmp_path):
  for split, size in (('train', 10), ('test', 3)):
    for label in range(2):
      folder = tmp_path / split / str(label)
      folder.mkdir(parents=True)
      for place in range(size):
        pixels = np.full((32, 32, 3), 90 * label + place, np.uint8)
        Image.fromarray(pixels).save(folder / f'{place}.png')
  config = configured(
    tmp_path / 'runs',
    dataset='cifar10',
    data_dir=str(tmp_path),
    num_train=0,
    num_steps=1,
    num_epochs=None,
    seeds=1,
    outside='noise',
    bottleneck=True,
    augment=True,
    depth=10,
    arms=('dropout',),
  )
  text = (cifar10.run(config) / 'calibration.md').read_text()
  assert 'nll / T' not in text.split('How to read')[0]
  assert 'auroc' in text
  assert '7.04' in (tmp_path / 'runs' / 'table.md').read_text()


def test_the_protocol_is_the_paper_s():
  config = filled(cifar10.Config(dataset='cifar10'))
  expected = {
    **{'depth': 40, 'growth': 12, 'bottleneck': False, 'reduction': 1.0},
    **{'batch_size': 50, 'num_epochs': 300, 'num_steps': None, 'num_train': 0},
    **{'learning_rate': 0.1, 'decay_at': (0.5, 0.75), 'decay': 0.1},
    **{'momentum': 0.9, 'weight_decay': 1e-4, 'dropout': 0.2},
    **{'augment': False, 'label_noise': 0.0, 'hold_out': False},
  }
  assert {name: getattr(config, name) for name in expected} == expected


def test_what_is_held_out_is_not_trained_on(tmp_path, monkeypatch):
  monkeypatch.setattr(datasets_cifar10, 'NUM_VALIDATION', 3)
  for split in ('train', 'test'):
    for label in range(2):
      folder = tmp_path / split / str(label)
      folder.mkdir(parents=True)
      for place in range(4):
        Image.new('RGB', (32, 32), (place, 0, 0)).save(folder / f'{place}.png')
  found = {}
  for hold_out in (True, False):
    config = filled(
      cifar10.Config(
        dataset='cifar10', data_dir=str(tmp_path), hold_out=hold_out, seeds=1
      )
    )
    for final in (True, False):
      splits = cifar10.data(config, final)[0].splits
      found[hold_out, final] = {n: len(own['label']) for n, own in splits.items()}
  rest = {'test': 8, 'outside': 1000}
  held = {'train': 5, 'validation': 3, **rest}
  assert found.pop((False, True)) == {'train': 8, **rest}
  assert list(found.values()) == [held] * 3


@pytest.mark.parametrize(
  ('decay_at', 'rates'),
  [
    ((0.5, 0.75), [0.3] * 4 + [0.06] * 2 + [0.012] * 2),
    ((0.75, 0.5), [0.3] * 4 + [0.06] * 2 + [0.012] * 2),
    ((0.5, 0.51), [0.3] * 4 + [0.012] * 4),
  ],
)
def test_optimizer_by_hand(decay_at, rates, rng):
  """As Torch's: Nesterov's momentum, of a gradient that has the decay of weights."""
  options = {'learning_rate': 0.3, 'momentum': 0.8, 'weight_decay': 0.05}
  small = {**SMALL, 'num_epochs': None, 'num_steps': 8, 'decay': 0.2}
  config = filled(cifar10.Config(decay_at=decay_at, **small, **options))
  optimizer = cifar10.optimizer(config, cifar10.data(config, True))
  weights = jnp.asarray(rng.normal(size=4), jnp.float32)
  expected, velocity = np.asarray(weights, float), np.zeros(4)
  state = optimizer.init(weights)
  for rate in rates:
    gradient = rng.normal(size=4).astype(np.float32)
    updates, state = optimizer.update(jnp.asarray(gradient), state, weights)
    weights += updates
    decayed = gradient + 0.05 * expected
    velocity = 0.8 * velocity + decayed
    expected -= rate * (decayed + 0.8 * velocity)
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-6)


def test_augmentation_follows_from_seed_and_step():
  config = filled(cifar10.Config(augment=True, **SMALL))
  data = cifar10.data(config, True)
  task = cifar10.task(config, data)
  plain = cifar10.task(filled(cifar10.Config(**SMALL)), data)
  first, second = (next(task.batches('train', 1, step)) for step in (0, 3))
  batches = task.batches('train', 1, 0)
  *_, again = (next(batches) for _ in range(4))
  np.testing.assert_array_equal(again['image'], second['image'])
  bare = next(plain.batches('train', 1, 0))
  np.testing.assert_array_equal(first['label'], bare['label'])
  assert (first['image'] != bare['image']).any()
  known = {image.tobytes() for image in data[1].splits['train']['image']}
  assert {image.tobytes() for image in bare['image']} <= known


def test_the_network_is_what_the_flags_say(monkeypatch):
  made = []

  def network(classes, **options):
    made.append({'classes': classes, **options})
    return densenet.DenseNet(classes, **options)

  monkeypatch.setattr(cifar10, 'DenseNet', network)
  flags = {'bottleneck': True, 'reduction': 0.6, 'depth': 10, 'growth': 3}
  flags |= {'dropout': 0.3, 'remat': True}
  config = filled(cifar10.Config(**{**SMALL, **flags}))
  cifar10.task(config, cifar10.data(config, True))
  for own in made:
    assert own.pop('rngs') is not None
    assert own == {'classes': shapes.NUM_CLASSES, **flags}
  assert made


@pytest.mark.slow
def test_eight_devices_are_one(arrays_of):
  arrays = arrays_of(HERE / 'cifar10_sharded_program.py')
  assert arrays['devices'].tolist() == [8, 1]
  one = {name: array for name, array in arrays.items() if name.startswith('one/')}
  assert len(one) > 20
  for name, expected in one.items():
    tolerance = 3e-6 * np.abs(expected).max()  # float32; measured: up to 7e-7
    found = arrays[name.replace('one/', 'many/')]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=name)


def test_mnist_has_the_table_too(tmp_path):
  config = mnist.Config(
    workdir=str(tmp_path), arms=('baseline',), hidden=(4,), num_steps=2, seeds=2
  )
  mnist.run(config)
  assert 'auroc / T' in (tmp_path / 'calibration.md').read_text()


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'data_dir': 'x'}, r'^--data_dir: applies to --dataset=cifar10 alone$'),
    ({'hold_out': True}, r'^--hold_out: applies to --dataset=cifar10 alone$'),
    ({'num_train': 0}, r'^--num_train: --dataset=shapes has no end'),
    ({'depth': 41}, r'^--depth: expected 3n \+ 4 with n = 1, 2, ..., got 41$'),
    ({'depth': 13, 'bottleneck': True}, r'^--depth: expected 6n \+ 4'),
    ({'reduction': 1.5}, r'^--reduction: expected a share in \(0, 1\], got 1.5$'),
    ({'reduction': 0.01}, r'^reduction: expected a share that keeps one of 18 chan'),
    ({'arms': ('baseline',), 'dropout': 0.1}, r'^--dropout: none of --arms has'),
    ({'arms': ('batch_norm',)}, r'no batch_norm .* every network has it$'),
    ({'outside': 'svhn'}, r'^--outside: expected one of textures, digits, noise'),
    ({'batch_size': 21}, r'^--batch_size: 21 is more than the 20 training'),
    ({'dataset': 'cifar10', 'data_dir': '/nowhere'}, r'/nowhere: no such directory'),
  ],
)
def test_bad_input_is_one_line(tmp_path, options, message):
  with pytest.raises(InputError, match=message) as caught:
    cifar10.run(configured(tmp_path / 'runs', **options))
  assert '\n' not in str(caught.value)
  assert not (tmp_path / 'runs').exists()
