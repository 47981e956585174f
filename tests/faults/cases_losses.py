"""Bad input to the losses: the kind of error, and words that help."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import regularizers as reg

CE = reg.cross_entropy
Z, Y = jnp.zeros((2, 3)), jnp.array([0, 2])
CP = reg.confidence_penalty(0.1)(CE)
ramp = optax.linear_schedule(0.0, 1.0, 10)

CASES = {
  'integer logits': (lambda: CE(jnp.zeros((2, 3), int), Y), TypeError, 'logits: exp'),
  'no class axis': (lambda: CE(jnp.zeros(()), Y), ValueError, r'\[\.\.\., V\]'),
  'no classes': (lambda: CE(jnp.zeros((2, 0)), Y), ValueError, 'V > 0'),
  'float labels': (lambda: CE(Z, Y.astype(float)), TypeError, r'integers \[2\].*float'),
  'integer one-hot': (lambda: CE(Z, jnp.eye(3, dtype=int)[Y]), TypeError, 'int'),
  'too few labels': (lambda: CE(Z, Y[:1]), ValueError, r'\[2\].*got int32\[1\]'),
  'too few classes': (lambda: CE(Z, jnp.ones((2, 4))), ValueError, r'\[2, 3\]'),
  'boolean labels': (lambda: CE(Z, jnp.array([True, False])), TypeError, 'bool'),
  'where of numbers': (lambda: CE(Z, Y, where=jnp.ones(3)), TypeError, 'booleans'),
  'where too long': (
    lambda: CE(Z, Y, where=jnp.ones(4, bool)),
    ValueError,
    r'where: \[4\] does not broadcast to the logits \[2, 3\]',
  ),
  'where too deep': (
    lambda: CE(Z, Y, where=jnp.ones((5, 2, 3), bool)),
    ValueError,
    'does not broadcast',
  ),
  'where twice': (
    lambda: CE(reg.Categorical(Z), Y, where=jnp.ones(3, bool)),
    ValueError,
    'where',
  ),
  'where on a loss without': (
    lambda: reg.label_smoothing(0.1)(lambda logits, labels: logits[:, 0])(
      Z, Y, where=jnp.ones(3, bool)
    ),
    TypeError,
    'takes no where',
  ),
  'epsilon above 1': (lambda: reg.label_smoothing(1.5), ValueError, 'epsilon.*1.5'),
  'epsilon below 0': (lambda: reg.label_smoothing(-0.1), ValueError, r'\[0, 1\]'),
  'epsilon NaN': (lambda: reg.label_smoothing(float('nan')), ValueError, 'nan'),
  'epsilon a word': (lambda: reg.label_smoothing('0.1x'), TypeError, 'number'),
  'rate above 1': (lambda: reg.label_noise(1.1), ValueError, 'rate'),
  'negative weight': (
    lambda: reg.confidence_penalty(-1.0),
    ValueError,
    'confidence_penalty: weight.*-1',
  ),
  'negative threshold': (
    lambda: reg.confidence_penalty(1.0, threshold=-1.0),
    ValueError,
    'threshold',
  ),
  'negative in a grid': (lambda: reg.z_loss(jnp.array([1.0, -1.0])), ValueError, '-1'),
  'alpha above 1': (lambda: reg.generalized_entropy(1, 1.1), ValueError, 'alpha'),
  'temperature 0': (lambda: reg.distillation(1.0, 0.0), ValueError, 'temperature'),
  'prior of temperature 0': (
    lambda: reg.unigram_prior(Y, 3, temperature=0.0),
    ValueError,
    'temperature',
  ),
  'kind': (lambda: reg.codistillation(1.0, kind='mse'), ValueError, 'squared_logits'),
  'negative prior': (
    lambda: reg.unigram_smoothing(0.1, jnp.array([1.5, -0.5])),
    ValueError,
    'prior.*-0.5',
  ),
  'prior does not sum to one': (
    lambda: reg.reverse_kl(0.1, jnp.array([0.5, 0.4])),
    ValueError,
    'sum of 1, got 0.9',
  ),
  'prior of two axes': (lambda: reg.forward_kl(0.1, Z), ValueError, r'\[V\]'),
  'prior for other classes': (
    lambda: reg.forward_kl(0.1, jnp.full(4, 0.25))(CE)(Z, Y),
    ValueError,
    r'\[3\] for 3 classes, got \[4\]',
  ),
  'unknown keyword': (lambda: CE(Z, Y, setp=3), TypeError, 'unknown setp; expected'),
  'mask of positions': (lambda: CP(Z, Y, mask=Y), TypeError, 'masked_mean'),
  'unknown to optax': (
    lambda: reg.label_smoothing(0.1)(optax.sigmoid_focal_loss)(Z, Y, gama=3),
    TypeError,
    'unknown gama; expected .*gamma',
  ),
  'reduced base': (
    lambda: reg.label_smoothing(0.1)(lambda z, y: z.mean())(Z, Y),
    ValueError,
    r'one value per position, \[2\], got \[\]',
  ),
  'reduced penalty': (
    lambda: reg.add_penalty(lambda p, y: p.entropy().mean(), 0.1, name='mine')(CE)(
      Z, Y
    ),
    ValueError,
    r'mine: expected one value per position, \[2\], got \[\]',
  ),
  'penalty of nothing': (
    lambda: reg.add_penalty(lambda p, y: None, 0.1, name='mine')(CE)(Z, Y),
    TypeError,
    r'mine: expected an array \[2\], got None',
  ),
  'labels of objects': (
    lambda: CE(Z, np.array([None, 1], object)),
    TypeError,
    'labels: expected numbers',
  ),
  'no logits': (lambda: CE(None, Y), TypeError, 'logits: expected an array, got None'),
  'weight None': (lambda: reg.confidence_penalty(None), TypeError, 'weight.*None'),
  'weight a word': (lambda: reg.z_loss('0.1'), TypeError, "weight.*'0.1'"),
  'epsilon a bool': (lambda: reg.label_smoothing(True), TypeError, 'epsilon.*True'),
  'infinite weight': (lambda: reg.z_loss(float('inf')), ValueError, 'weight.*inf'),
  'no bool': (
    lambda: reg.label_smoothing(0.1, 0.2),
    TypeError,
    'exclude_target: expected a bool, got 0.2',
  ),
  'no prior': (lambda: reg.unigram_smoothing(0.1, None), TypeError, 'prior.*None'),
  'name': (lambda: reg.add_penalty(len, 0.1, name=3), TypeError, 'name'),
  'integer teacher': (
    lambda: reg.distillation(1.0)(CE)(Z, Y, teacher=jnp.zeros((2, 3), int)),
    TypeError,
    'teacher: expected a floating type',
  ),
  'no peer': (
    lambda: reg.distillation(1.0)(CE)(Z, Y, teacher=jnp.zeros((0, 2, 3))),
    ValueError,
    r'teacher.*\[0, 2, 3\]',
  ),
  'key a number': (
    lambda: reg.label_noise(0.5)(CE)(Z, Y, key=0),
    TypeError,
    'label_noise: key',
  ),
  'no loss': (
    lambda: reg.label_smoothing(0.1)(Z, Y),
    TypeError,
    'give it a loss first',
  ),
  'labels as mask': (lambda: reg.metrics.entropy(Z, Y), TypeError, 'positional'),
  'mask of bins': (
    lambda: reg.metrics.ece(Z, Y, jnp.ones(3)),
    ValueError,
    'mask.*does not broadcast',
  ),
  'no step': (
    lambda: reg.confidence_penalty(ramp)(CE)(Z, Y),
    TypeError,
    'confidence_penalty is a schedule.*step=',
  ),
  'no step for the threshold': (
    lambda: reg.confidence_penalty(1.0, threshold=ramp)(CE)(Z, Y),
    TypeError,
    'threshold is a schedule.*step=',
  ),
  'no step for a prior': (
    lambda: reg.unigram_smoothing(ramp, jnp.full(3, 1 / 3))(CE)(Z, Y),
    TypeError,
    'step=',
  ),
  'no teacher': (lambda: reg.distillation(1.0)(CE)(Z, Y), TypeError, 'teacher='),
  'no peers': (lambda: reg.codistillation(1.0)(CE)(Z, Y), TypeError, 'teacher='),
  'teacher of other shape': (
    lambda: reg.distillation(1.0)(CE)(Z, Y, teacher=jnp.zeros((3, 3))),
    ValueError,
    r'teacher.*\[2, 3\].*\[3, 3\]',
  ),
  'no key': (lambda: reg.label_noise(0.1)(CE)(Z, Y), TypeError, 'key='),
  'noise of soft labels': (
    lambda: reg.label_noise(0.1)(CE)(Z, jnp.eye(3)[Y], key=jax.random.key(0)),
    TypeError,
    'integer',
  ),
  'noise of listed soft labels': (
    lambda: reg.label_noise(0.1)(CE)(
      Z, [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], key=jax.random.key(0)
    ),
    TypeError,
    'label_noise: expected integer labels, got float32',
  ),
  'weights of other classes': (
    lambda: reg.class_weights(jnp.ones(4))(CE)(Z, Y),
    ValueError,
    r'\[3\]',
  ),
  'negative class weights': (
    lambda: reg.class_weights(jnp.array([1.0, -1.0])),
    ValueError,
    'class_weights',
  ),
  'several weights at once': (
    lambda: reg.confidence_penalty(jnp.array([0.1, 0.2]))(CE)(Z, Y),
    ValueError,
    'vmap',
  ),
  'a loss in a chain': (lambda: reg.chain(CE), TypeError, 'transforms'),
  'a number in a chain': (lambda: reg.chain(0.1), TypeError, 'transforms'),
  'a transform as a loss': (
    lambda: reg.label_smoothing(0.1)(reg.label_smoothing(0.1)),
    TypeError,
    'expected a loss',
  ),
  'a penalty that is none': (lambda: reg.add_penalty(3.0, 1.0), TypeError, 'function'),
  'float counts': (lambda: reg.unigram_prior(Z, 3), TypeError, 'integers'),
  'counts out of range': (
    lambda: reg.unigram_prior(jnp.array([0, 7]), 3),
    ValueError,
    r'\[0, 3\), got 0 to 7',
  ),
  'nothing to count': (
    lambda: reg.unigram_prior(jnp.zeros(0, int), 3),
    ValueError,
    'got none',
  ),
  'mask of other shape': (
    lambda: reg.masked_mean(jnp.ones(3), jnp.ones(2)),
    ValueError,
    r'mask: \[2\].*\[3\]',
  ),
  'mask of logits': (
    lambda: reg.masked_mean(jnp.ones(3), jnp.ones((3, 3))),
    ValueError,
    'mask',
  ),
  'no bins': (lambda: reg.metrics.ece(Z, Y, num_bins=0), ValueError, 'num_bins'),
  'churn of other shapes': (
    lambda: reg.metrics.churn(Z, Z[:1]),
    ValueError,
    'shapes differ',
  ),
}
