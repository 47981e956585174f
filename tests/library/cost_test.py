"""What is kept for the backward pass, and how often the logits are read."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
import transforms
from jax._src.ad_checkpoint import saved_residuals  # public in print form alone
from jax.extend.core import jaxprs_in_params

import regularizers as reg

CE = reg.cross_entropy
ROWS, CLASSES = 8, 16
Q = transforms.problem(ROWS, CLASSES)
Z, Y = jnp.asarray(Q.logits, jnp.float32), jnp.asarray(Q.labels)
PRIOR = jnp.asarray(Q.prior, jnp.float32)


MASKS = {
  'logits': {},
  'bfloat16': {},
  'classes': {'where': jnp.arange(CLASSES) < CLASSES - 1},
  'rows_and_classes': {'where': jnp.ones((ROWS, CLASSES), bool).at[0, 0].set(False)},
}


@pytest.mark.parametrize('kind', MASKS)
@transforms.select(lambda case: 'key' not in case.extras)
def test_only_the_logits_are_kept(case: transforms.Case, kind: str):
  call = case.call(Q, jnp.float32)
  z = Z.astype(jnp.bfloat16) if kind == 'bfloat16' else Z
  kept = saved_residuals(lambda z: call(z, **MASKS[kind]).mean(), z)
  large = [(array, why) for array, why in kept if array.size >= ROWS * CLASSES]
  # What a user gives beside them, a teacher or a mask, is a constant that XLA shares.
  constants = [array for array, why in large if 'constant' in why]
  given = sum(name in ('teacher', 'peers') for name in case.extras)
  assert [array.dtype for array, why in large if 'constant' not in why] == [z.dtype]
  assert len(constants) <= given + (kind == 'rows_and_classes'), kept


def reductions(loss: Any) -> dict[str, int]:
  """How often the value reads all classes of a row, by kind of reduction."""
  closed = jax.make_jaxpr(jax.jit(lambda z: loss(z, Y)))(Z)
  counts: dict[str, int] = {}

  def walk(jaxpr: Any) -> None:
    for eqn in jaxpr.eqns:
      for sub in jaxprs_in_params(eqn.params):
        walk(sub)
      shapes = [v.aval.shape for v in eqn.invars if hasattr(v, 'aval')]
      if eqn.primitive.name.startswith('reduce') and (ROWS, CLASSES) in shapes:
        name = eqn.primitive.name
        counts[name] = counts.get(name, 0) + 1

  walk(closed.jaxpr)
  return counts


def exponentials(loss: Any) -> int:
  """Exponentials of the size of the logits in the compiled value."""
  text = jax.jit(lambda z: loss(z, Y)).lower(Z).compile().as_text()
  return sum(
    f'f32[{ROWS},{CLASSES}]' in line and ' exponential(' in line
    for line in text.splitlines()
  )


def test_label_smoothing_pays_for_no_entropy():
  plain, smooth = reductions(CE), reductions(reg.label_smoothing(0.1)(CE))
  assert smooth['reduce_sum'] == plain['reduce_sum'] + 1
  assert exponentials(CE) == exponentials(reg.label_smoothing(0.1)(CE))


def test_priors_are_read_in_one_pass():
  one = reg.unigram_smoothing(0.1, PRIOR)(CE)
  three = reg.chain(
    reg.unigram_smoothing(0.1, PRIOR),
    reg.label_smoothing(0.1),
    reg.forward_kl(0.2, PRIOR[::-1]),
  )(CE)
  assert reductions(one) == reductions(three)


@pytest.mark.parametrize('count', [1, 3])
def test_entropies_are_computed_once(count):
  penalties = [reg.confidence_penalty(0.1), reg.reverse_kl(0.1), reg.z_loss(0.1)]
  loss = reg.chain(*penalties[:count])(CE)
  assert exponentials(loss) == exponentials(CE)
