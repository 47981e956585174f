"""The generated click log, and the network for clicks."""

import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click_files import assert_same, joined, numbered, write
from flax import nnx

import regularizers as reg
from experiments.datasets import click_lines, clicks
from experiments.datasets.click_lines import CATEGORIES, NUMBERS, Log
from experiments.errors import InputError
from experiments.models.click_network import ClickNetwork

# The generated log


@pytest.fixture(scope='module')
def generated() -> clicks.Generated:
  return clicks.generated()


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> pathlib.Path:
  return tmp_path_factory.mktemp('clicks')


def test_the_log_is_the_same_everywhere_and_is_read_back(cache, generated):
  dataset = clicks.load(cache)
  content = (cache / 'train.txt').read_bytes()
  assert hashlib.sha256(content).hexdigest() == (
    '537e93991e27e3dbdadbe24d4065c4c92cc0a2418d8ee930e9e2610fdf3da62c'
  )
  assert_same(joined(click_lines.read(cache / 'train.txt')), generated)
  assert len(content.splitlines()) == sum(clicks.SIZES)
  sizes = [len(split['label']) for split in dataset.splits.values()]
  assert (tuple(dataset.splits), tuple(sizes)) == (
    ('train', 'validation', 'test'),
    clicks.SIZES,
  )


def test_lines_are_written_as_the_plain_writer_does(generated):
  log = Log(generated.label[:50], generated.integer[:50], generated.category[:50])
  lines = [
    [str(label), *('' if np.isnan(x) else f'{x:.0f}' for x in integers)]
    + ['' if x < 0 else f'{x:08x}' for x in categories]
    for label, integers, categories in zip(
      log.label, log.integer, log.category, strict=True
    )
  ]
  expected = ''.join('\t'.join(fields) + '\n' for fields in lines)
  assert clicks.text(log) == expected.encode()


def test_the_log_is_as_the_real_one_looks(generated):
  assert 0.23 < generated.label.mean() < 0.27
  missing = np.isnan(generated.integer)
  assert (missing.mean(axis=0) > 0.05).all()
  assert ((generated.integer < 0).mean(axis=0) > 0.01).all()
  assert (generated.category == -1).mean() == pytest.approx(0.1, abs=0.01)
  distinct = [len(np.unique(column)) for column in generated.category.T]
  assert (min(distinct), max(distinct)) == (21, 2001)


def test_no_predictor_should_get_below_the_true_probabilities(cache, generated):
  about = clicks.load(cache).about
  assert about['data'] == 'synthetic'
  ends = np.cumsum(clicks.SIZES)[:-1]
  parts = (np.split(x, ends) for x in (generated.probability, generated.label))
  for split, p, label in zip(('train', 'validation', 'test'), *parts, strict=True):
    nll = -np.log(np.where(label == 1, p, 1 - p))
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    error = nll.std() / len(p) ** 0.5
    assert about['bayes_nll'][split] == pytest.approx(nll.mean(), rel=1e-12)
    assert about['bayes_nll'][split] == pytest.approx(entropy.mean(), abs=3 * error)
    assert about['constant_nll'][split] - about['bayes_nll'][split] > 0.1
    # Calibrated within ten groups, so that they are the true ones.
    order = np.argsort(p)
    for group in np.array_split(order, 10):
      spread = (p[group] * (1 - p[group])).sum() ** 0.5
      assert abs(label[group].sum() - p[group].sum()) < 4.5 * spread


def test_another_file_in_its_place_is_refused(tmp_path):
  write(tmp_path / 'train.txt', numbered(21))
  with pytest.raises(InputError, match='train.txt is not what was generated; remove'):
    clicks.load(tmp_path)


# The network


def test_the_network_is_a_bernoulli_of_one_logit(cache):
  model = ClickNetwork(
    (16, 8), buckets=1000, embedding=3, dropout=0.5, rngs=nnx.Rngs(0)
  )
  rows = {k: v[:32] for k, v in clicks.load(cache).splits['train'].items()}
  inputs = {name: jnp.asarray(rows[name]) for name in ('number', 'category')}
  logits = nnx.jit(lambda model: model(inputs, deterministic=True))(model)
  assert logits.shape == (32, 2)
  assert not logits[:, 0].any()
  label = jnp.asarray(rows['label'])
  one = reg.cross_entropy(reg.bernoulli(logits[:, 1]), label)
  np.testing.assert_array_equal(reg.cross_entropy(logits, label), one)
  np.testing.assert_allclose(
    jax.nn.softmax(logits)[:, 1], jax.nn.sigmoid(logits[:, 1]), rtol=1e-6
  )
  assert len(np.unique(logits[:, 1])) == 32
  noisy = nnx.jit(lambda m, rngs: m(inputs, deterministic=False, rngs=rngs))(
    model, nnx.Rngs(dropout=1)
  )
  assert not np.array_equal(noisy, logits)


def test_every_column_of_categories_has_vectors_of_its_own():
  model = ClickNetwork((4,), buckets=10, embedding=2, rngs=nnx.Rngs(0))
  inputs = {
    'number': jnp.zeros((2, 3, 2 * NUMBERS)),
    'category': jnp.full((2, 3, CATEGORIES), 9),
  }
  found = nnx.eval_shape(lambda model: model(inputs, deterministic=True), model)
  assert found.shape == (2, 3, 2)

  def logit(model: ClickNetwork) -> jax.Array:
    return model(inputs, deterministic=True)[..., 1].sum()

  gradient = nnx.jit(nnx.grad(logit))(model)['vectors'][...]
  used = np.flatnonzero(np.asarray(gradient).any(axis=1))
  assert set(used) <= set(range(9, 260, 10))
  assert len(used) > 20  # some may have a ReLU that is off
