"""A vocabulary split over devices gives what the formulas give for the whole of it."""

import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import sharded_problems as problems
import transforms
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import regularizers as reg

EVEN, UNEVEN = problems.EVEN, problems.UNEVEN
HERE = pathlib.Path(__file__).parent
SECONDS = 600  # what a stuck collective may cost
Results = Mapping[str, np.ndarray]


def start(*arguments: object) -> subprocess.Popen[str]:
  paths = os.pathsep.join([str(HERE.parent.parent), str(HERE)])
  return subprocess.Popen(
    [sys.executable, HERE / 'sharded_program.py', *map(str, arguments)],
    env={**os.environ, 'PYTHONPATH': paths},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(programs: list[subprocess.Popen[str]]) -> None:
  """Waits for all of them; whatever happens, none outlives this."""
  try:
    for program in programs:
      output, _ = program.communicate(timeout=SECONDS)
      assert program.returncode == 0, output
  finally:
    for program in programs:
      program.kill()
      program.wait()


@pytest.fixture(scope='module')
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
  path = tmp_path_factory.mktemp('sharded') / 'out.npz'
  finish([start('devices', path)])
  return dict(np.load(path))


def dense(call: Any, logits: Any) -> tuple[np.ndarray, np.ndarray]:
  """Values and gradient on one device."""
  both = jax.jit(jax.value_and_grad(lambda z: (call(z).sum(), call(z)), has_aux=True))
  (_, values), gradient = both(jnp.asarray(logits, jnp.float32))
  return np.asarray(values), np.asarray(gradient)


def close(actual: Any, expected: Any) -> None:
  np.testing.assert_allclose(actual, expected, rtol=3e-6, atol=1e-6)


@transforms.each
def test_whole_table_on_uneven_blocks(case: transforms.Case, results: Results):
  """13 classes in 8 blocks of 2: the padding is no class, V is 13 everywhere."""
  close(results[f'uneven/{case.name}/value'], case.reference(UNEVEN))
  gradient = results[f'uneven/{case.name}/around']
  close(gradient[:, :13], oracles.gradient(case.rows(UNEVEN), UNEVEN.logits))
  np.testing.assert_array_equal(gradient[:, 13:], 0)


def named(*settings: str) -> pytest.MarkDecorator:
  """The losses of the table that are computed in the settings."""
  pairs = [(s, transforms.BY_NAME[n]) for s in settings for n in problems.SETTINGS[s]]
  ids = [f'{setting}-{case.name}' for setting, case in pairs]
  return pytest.mark.parametrize(('setting', 'case'), pairs, ids=ids)


@named('even', 'unchecked', 'product', 'padded_product')
def test_gradient_inside_the_map(setting: str, case: transforms.Case, results: Results):
  """With and without check_vma; for a distribution of other make too."""
  q = UNEVEN if setting == 'padded_product' else EVEN
  close(results[f'{setting}/{case.name}/value'], case.reference(q))
  expected = oracles.gradient(case.rows(q), q.logits)
  # As the docstring of ShardedCategorical says.
  copies = 8 if setting == 'unchecked' else 1
  classes = q.logits.shape[-1]
  inside = results[f'{setting}/{case.name}/inside'] / copies
  close(inside[:, :classes], expected)
  np.testing.assert_array_equal(inside[:, classes:], 0)
  if 'product' not in setting:
    close(results[f'{setting}/{case.name}/around'], expected)


@named('far')
def test_large_and_impossible_logits(
  setting: str, case: transforms.Case, results: Results
):
  """At 1e4, and where a block has no possible class, as accurate as on one device."""
  values, gradient = dense(case.call(EVEN, jnp.float32), problems.FAR)
  assert np.isfinite(values).all()
  close(results[f'{setting}/{case.name}/value'], values)
  close(results[f'{setting}/{case.name}/inside'], gradient)


@named('where', 'whole_where')
def test_masked_classes(setting: str, case: transforms.Case, results: Results):
  """Blocks of the mask, or the whole of it beside padding; some blocks all masked."""
  q = EVEN if setting == 'where' else UNEVEN
  where = jnp.asarray(problems.WHERE[:, : q.logits.shape[-1]])
  call = case.call(q, jnp.float32)
  values, gradient = dense(lambda z: call(z, where=where), q.logits)
  close(results[f'{setting}/{case.name}/value'], values)
  found = results[f'{setting}/{case.name}/inside'][:, : q.logits.shape[-1]]
  close(found, gradient)
  np.testing.assert_array_equal(found[~where], 0)


@pytest.mark.parametrize('name', ['priors', 'teacher', 'split', 'whole'])
def test_arrays_may_be_blocks(name: str, results: Results):
  """Priors, class weights, soft labels; teachers, in three forms."""
  loss, soft = problems.with_arrays(EVEN), jnp.asarray(problems.SOFT, jnp.float32)
  extra: dict[str, Any] = {}
  if name != 'priors':
    loss, extra = (
      problems.distilled,
      {'teacher': jnp.asarray(EVEN.teacher, jnp.float32)},
    )
  values, gradient = dense(lambda z: loss(z, soft, **extra), EVEN.logits)
  close(results[f'blocks/{name}/value'], values)
  close(results[f'blocks/{name}/inside'], gradient)


def test_noise_and_weights_by_blocks(results: Results):
  name = 'label_noise(unigram_smoothing+confidence_penalty, prior)'
  noisy = transforms.BY_NAME[name]
  close(results['blocks/noise/value'], noisy.reference(EVEN))
  close(results['blocks/noise/inside'], oracles.gradient(noisy.rows(EVEN), EVEN.logits))
  close(
    results['blocks/weighted/value'],
    problems.WEIGHTS[EVEN.labels] * transforms.nll(EVEN),
  )


def test_own_penalty(results: Results):
  loss, labels = problems.own_penalty(problems.PRIOR), jnp.asarray(EVEN.labels)
  values, gradient = dense(lambda z: loss(z, labels), EVEN.logits)
  close(results['blocks/own/value'], values)
  close(results['blocks/own/inside'], gradient)


def test_invalid_labels_are_nan_in_their_rows(results: Results):
  """Those of the padding, 13 to 15, too."""
  valid = (problems.INVALID >= 0) & (problems.INVALID < 13)
  np.testing.assert_array_equal(np.isfinite(results['labels']), valid)
  np.testing.assert_array_equal(np.isnan(results['labels']), ~valid)


def test_plain_jit_moves_no_array_of_rows_and_classes(results: Results):
  """Classes split by NamedSharding alone: what moves is a few numbers a row."""
  found = results['collectives'].tolist()
  assert found
  for collective in found:
    sizes = (
      [int(n) for n in collective.split()[1].split(',')] if ' ' in collective else []
    )
    assert np.prod(sizes) <= 2 * problems.ROWS, collective


@pytest.mark.parametrize('name', [*problems.LINEAR, 'partly'])
def test_linear_forms_under_plain_jit_gather_nothing(name: str, results: Results):
  """Rows and classes split: neither kernel nor logits nor hidden states are moved.

  What is added up is a few numbers a row, hidden's gradient, kernel's over the rows.
  """
  found = {key: results[f'jit/{name}/{key}'] for key in ('value', 'hidden', 'kernel')}
  run = jax.jit(jax.value_and_grad(problems.DENSE, (0, 1)))
  value, (by_hidden, by_kernel) = run(*problems.linear_problem())
  for got, expected in zip(found.values(), (value, by_hidden, by_kernel), strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
  collectives = results[f'jit/{name}/collectives'].tolist()
  assert collectives
  for collective in collectives:
    assert collective.startswith('all-reduce '), collective
    sizes = collective.split()[1].split(',') if ' ' in collective.strip() else []
    assert str(problems.CLASSES) not in sizes, collective


@pytest.mark.parametrize('checked', ['checked', 'unchecked'])
def test_mean_and_accumulation_over_uneven_shards(checked: str, results: Results):
  """4, 1, 0 and 3 positions on the devices: divided by 8, never by each its own."""
  params, batch = problems.rows()

  def mean(params: jax.Array) -> jax.Array:
    total, count = problems.sums(params, batch)
    return total / count

  value, gradient = jax.value_and_grad(mean)(params)
  for name in ('mean', 'accumulated', 'linear'):
    close(results[f'{name}/{checked}/value'], value)
    close(results[f'{name}/{checked}/around'], gradient)
  close(results[f'mean/{checked}/inside'], gradient)


def test_two_processes_of_two_devices(tmp_path: pathlib.Path):
  """jax.distributed over gloo on the loopback interface."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  paths = [tmp_path / f'{index}.npz' for index in range(2)]
  finish([start('process', index, port, path) for index, path in enumerate(paths)])
  case, outs = transforms.MANY, [dict(np.load(path)) for path in paths]
  parts = {}
  for out in outs:
    np.testing.assert_array_equal(out['devices'], [4, 2])
    close(out['value'], case.reference(UNEVEN))
    parts |= {int(k.split('/')[1]): v for k, v in out.items() if '/' in k}
  gradient = np.concatenate([parts[start] for start in sorted(parts)], axis=-1)
  assert gradient.shape == (4, 16)
  close(gradient[:, :13], oracles.gradient(case.rows(UNEVEN), UNEVEN.logits))


def on_one_device(function: Any) -> Any:
  """Traces the function of logits [4, 16] inside a map over an axis of one device."""
  mapped = jax.shard_map(
    function,
    mesh=Mesh(jax.devices()[:1], 'model'),
    in_specs=P(None, 'model'),
    out_specs=P(),
  )
  return jax.eval_shape(mapped, jax.ShapeDtypeStruct((4, 16), jnp.float32))


LABELS = jnp.asarray(EVEN.labels)
ERRORS: dict[str, tuple[Any, Any, str]] = {
  'base of other make': (
    lambda p: reg.label_smoothing(0.1)(lambda z, y: z[:, 0])(p, LABELS),
    TypeError,
    'needs dense logits, got ShardedCategorical',
  ),
  'metric': (
    lambda p: reg.metrics.accuracy(p, LABELS),
    TypeError,
    'dense logits, got ShardedCategorical',
  ),
  'where beside it': (
    lambda p: reg.cross_entropy(p, LABELS, where=jnp.ones(16, bool)),
    ValueError,
    'give it to the distribution',
  ),
  'prior': (lambda p: p.mean_log_prob(jnp.ones(5)), ValueError, 'prior: .*16.*5'),
  'array': (
    lambda p: p.sum(lambda log_p, a: log_p * a, jnp.ones((4, 5))),
    ValueError,
    'all 16 classes or the 16 of this device',
  ),
  'labels': (lambda p: p.log_prob(jnp.ones((4, 3))), ValueError, 'labels: .*16'),
  'teacher': (
    lambda p: reg.distillation(1.0)(reg.cross_entropy)(
      p, LABELS, teacher=jnp.ones((4, 3))
    ),
    ValueError,
    'teacher: .*16',
  ),
  'weights': (
    lambda p: reg.class_weights(jnp.ones(3))(reg.cross_entropy)(p, LABELS),
    ValueError,
    'class_weights: .*16',
  ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_error_says_what_is_wrong(name: str):
  call, error, words = ERRORS[name]
  with pytest.raises(error, match=words):
    on_one_device(lambda z: call(reg.ShardedCategorical(z, 'model')))


def test_errors_of_the_constructor():
  def make(*args: Any, **options: Any) -> Any:
    return on_one_device(
      lambda z: reg.ShardedCategorical(z, *args, **options).entropy()
    )

  with pytest.raises(NameError, match="'mode' is not bound.*shard_map"):
    make('mode')
  with pytest.raises(ValueError, match='num_classes: expected 1 to 16.*got 17'):
    make('model', 17)
  with pytest.raises(ValueError, match='where'):
    on_one_device(
      lambda z: reg.ShardedCategorical(reg.Categorical(z), 'model', where=z > 0)
    )
  with pytest.raises(NameError, match='not bound'):
    reg.ShardedCategorical(jnp.zeros((2, 3)), 'model')
  with pytest.raises(NameError, match='not bound'):
    reg.masked_mean(jnp.zeros(3), axis_name='data')
