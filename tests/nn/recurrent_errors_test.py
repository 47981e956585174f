"""Bad input is an error that says what was expected and what came."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from regularizers import nn

X = jnp.ones((2, 4, 3))
NORM, FRAME = nn.SequenceBatchNorm(), nn.SequenceBatchNorm('frame', max_length=3)


def lstm(**options: Any) -> nn.LSTM:
  return nn.LSTM(3, 2, **options, rngs=nnx.Rngs(0))


def call(*args: Any, **given: Any) -> Any:
  return lambda: lstm()(*(args or (X,)), **given)


def option(**options: Any) -> Any:
  return lambda: lstm(**options)


def norm(*args: Any, **options: Any) -> Any:
  return lambda: nn.SequenceBatchNorm(*args, **options)


NAN = np.array(X).copy()
NAN[1, 2, 0] = np.nan
ERRORS: dict[str, tuple[Any, Any, str]] = {
  'rank': (call(X[0]), ValueError, r'\[batch, time, 3\], got \[4, 3\]'),
  'features': (call(X[..., :2]), ValueError, r'time, 3\], got \[2, 4, 2\]'),
  'tokens': (call(X.astype(int)), TypeError, 'features: .*floating.*int32'),
  'none': (call(None), TypeError, 'features: expected an array, got None'),
  'nan': (call(NAN), ValueError, 'finite numbers, got nan in sequence 1, frame 2'),
  'infinity': (
    call(jnp.asarray(NAN.astype(np.float16)).at[0, 1].set(-jnp.inf)),
    ValueError,
    'got -inf in sequence 0, frame 1',
  ),
  'too long': (
    call(X, lengths=jnp.array([5, 2])),
    ValueError,
    'lengths: expected 0 to 4, the frames of the array, got 2 to 5',
  ),
  'negative': (call(X, lengths=np.array([-1, 2])), ValueError, 'got -1 to 2'),
  'number of lengths': (
    call(X, lengths=jnp.array([1, 2, 3])),
    ValueError,
    r'lengths: expected \[2\], got \[3\]',
  ),
  'float lengths': (call(X, lengths=jnp.ones(2)), TypeError, 'integers, got float32'),
  'mask type': (call(X, mask=jnp.ones((2, 4))), TypeError, 'booleans, got float32'),
  'mask shape': (
    call(X, mask=jnp.ones((2, 4, 1), bool)),
    ValueError,
    r'mask: expected \[batch, time\] = \[2, 4\], got \[2, 4, 1\]',
  ),
  'both': (
    call(X, lengths=jnp.array([1, 2]), mask=jnp.ones((2, 4), bool)),
    TypeError,
    'lengths or mask, got both',
  ),
  'carry': (
    call(X, jnp.ones((1, 2, 2))),
    ValueError,
    r'carry: expected a pair \(h, c\) of arrays \[1, 2, 2\]',
  ),
  'no carry': (call(X, 3.0), ValueError, r'carry: expected a pair .*got \[\]'),
  'carry of another batch': (
    call(X, lstm().initial_carry(3)),
    ValueError,
    r'\[1, 2, 2\].*got \[1, 3, 2\] and \[1, 3, 2\]',
  ),
  'no key': (
    lambda: nn.GRU(3, 2, num_layers=2, dropout_rate=0.1, rngs=nnx.Rngs(0))(X),
    ValueError,
    r'GRU: dropout is on, expected rngs= in the call.*model\.eval\(\)',
  ),
  'layers': (option(num_layers=0), ValueError, 'num_layers: .*integer > 0, got 0'),
  'units': (
    lambda: nn.LSTM(3, 2.0, rngs=nnx.Rngs(0)),  # type: ignore[arg-type]
    ValueError,
    'hidden_features: .*integer > 0, got 2.0',
  ),
  'schedule': (option(dropout_rate=float), TypeError, 'dropout_rate: .*got <class'),
  'dtype': (option(dtype=jnp.int32), TypeError, 'dtype: .*floating type, got int32'),
  'param_dtype': (option(param_dtype=int), TypeError, 'param_dtype: .*got int64'),
  'dropout': (option(dropout_rate=1.5), ValueError, 'dropout_rate: .*got 1.5'),
  'norm': (option(batch_norm='frame'), TypeError, "SequenceBatchNorm, got 'frame'"),
  'scale': (option(init_scale=0.0), ValueError, 'init_scale'),
  'scale and more': (
    option(init_scale=0.1, bias_init=nnx.initializers.ones),
    TypeError,
    'got both',
  ),
  'gru': (
    lambda: nn.GRU(
      3,
      2,
      batch_norm=nn.SequenceBatchNorm('frame', 'pre_activation', max_length=3),
      rngs=nnx.Rngs(0),
    ),
    ValueError,
    'GRU: .*pre_activation.*hidden_to_hidden',
  ),
  'forget': (
    lambda: nn.SimpleRNN(3, 2, forget_bias=1.0, rngs=nnx.Rngs(0)),
    ValueError,
    'SimpleRNN has no forget gate',
  ),
  'mode': (norm('batch'), ValueError, "mode: expected one of 'sequence', 'frame'"),
  'placement': (norm(placement='output'), ValueError, "placement: .*got 'output'"),
  'recurrent': (
    norm(placement='hidden_to_hidden'),
    ValueError,
    "expected mode='frame'.*got 'sequence'",
  ),
  'no max_length': (norm('frame'), ValueError, 'max_length.*got None'),
  'broken max_length': (norm('frame', max_length=3.5), ValueError, 'max_length.*3.5'),
  'max_length': (norm(max_length=3), ValueError, 'expected no max_length, got 3'),
  'epsilon': (norm(epsilon=0.0), ValueError, 'epsilon'),
  'momentum': (norm(momentum=1.1), ValueError, 'momentum'),
  'scale_init': (
    norm(scale_init=nnx.initializers.ones),
    TypeError,
    'scale_init: expected a number, got <function',
  ),
  'no scale': (norm(scale_init=np.nan), ValueError, 'scale_init: .*got nan'),
  'axis name': (norm(axis_name=['data']), TypeError, r"axis_name: .*got \['data'\]"),
  'longer than max_length': (
    lambda: lstm(batch_norm=FRAME)(X),
    ValueError,
    'at most max_length = 3 frames in training, got 4',
  ),
  'axis': (
    lambda: lstm(batch_norm=nn.SequenceBatchNorm(axis_name='data'))(X),
    NameError,
    "'data' is not bound",
  ),
  'module options': (
    lambda: nn.BatchNorm(2, 'frame', rngs=nnx.Rngs(0)),  # type: ignore[arg-type]
    TypeError,
    "options: expected SequenceBatchNorm, got 'frame'",
  ),
  'module size': (
    lambda: nn.BatchNorm(0, rngs=nnx.Rngs(0)),
    ValueError,
    'num_features: expected an integer > 0, got 0',
  ),
  'module': (
    lambda: nn.BatchNorm(2, rngs=nnx.Rngs(0))(X),
    ValueError,
    r'\[batch, time, 2\], got',
  ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_error_says_what_is_wrong(name: str):
  run, error, words = ERRORS[name]
  with pytest.raises(error, match=words):
    run()


def test_traced_numbers_are_not_checked():
  """Shapes are; and concrete lengths too, when the rest is traced."""
  model = lstm()
  run = jax.jit(lambda x, lengths: model(x, lengths=lengths)[0])
  cut = run(X, jnp.array([9, 4]))
  np.testing.assert_array_equal(cut, run(X, jnp.array([4, 4])))
  known = np.array([5, 2])
  with pytest.raises(ValueError, match='lengths: .*got 2 to 5'):
    jax.jit(lambda x: model(x, lengths=known)[0])(X)
  with pytest.raises(ValueError, match=r'lengths: expected \[2\]'):
    run(X, jnp.array([1]))


def test_padding_may_be_anything():
  nn.check_finite(NAN, lengths=np.array([4, 2]))
  outputs, _ = lstm()(NAN, lengths=np.array([4, 2]))
  assert np.isfinite(outputs).all()
