r"""The picture of README: what the regularizers add to the loss.

  python -m examples.idea

writes docs/idea.png. Ten classes; the logit of the right one grows, those of the others
are zero.
"""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import regularizers as reg

ROOT = pathlib.Path(__file__).parents[1]
CLASSES = 10
COLORS = '#666666', '#0072B2', '#D55E00', '#009E73'
ABOVE = (0, 7)
PLACES = ABOVE, ABOVE, (6, 8), (34, -5)  # of what is written at a minimum
ARMS: dict[str, reg.Loss] = {
  'cross-entropy': reg.cross_entropy,
  'label smoothing, ε = 0.1': reg.label_smoothing(0.1)(reg.cross_entropy),
  'confidence penalty, β = 0.5': reg.confidence_penalty(0.5)(reg.cross_entropy),
  'the same, below 1 nat of entropy alone': reg.confidence_penalty(0.5, threshold=1.0)(
    reg.cross_entropy
  ),
}


def draw() -> Figure:
  """Loss, and its slope, against the margin of the right class."""
  margins = jnp.linspace(0.0, 10.0, 401)
  figure = Figure(figsize=(8.4, 3.2), layout='constrained')
  value, slope = figure.subplots(1, 2)
  for (name, loss), color, place in zip(ARMS.items(), COLORS, PLACES, strict=True):
    losses, slopes = jax.vmap(jax.value_and_grad(_of_margin(loss)))(margins)
    value.plot(margins, losses, color=color, label=name)
    slope.plot(margins, slopes, color=color)
    least = int(np.argmin(losses))
    if 0 < least < len(margins) - 1:
      p = float(jax.nn.softmax(_logits(margins[least]))[0])
      value.plot(margins[least], losses[least], 'o', color=color)
      value.annotate(
        f'p = {p:.2f}',
        (margins[least], losses[least]),
        place,
        textcoords='offset points',
        ha='center',
        fontsize=8,
        color=color,
      )
  slope.axhline(0, color='#bbbbbb', linewidth=0.8)
  value.set_ylabel('loss, nats')
  slope.set_ylabel('its slope')
  for axis in (value, slope):
    axis.set_xlabel('logit of the right class, above those of nine others')
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(axis='y', color='#dddddd', linewidth=0.6)
  value.legend(frameon=False, fontsize=8)
  return figure


def _logits(margin: jax.Array) -> jax.Array:
  return jnp.zeros(CLASSES).at[0].set(margin)


def _of_margin(loss: reg.Loss) -> Callable[[jax.Array], jax.Array]:
  return lambda margin: loss(_logits(margin), jnp.array(0))


if __name__ == '__main__':
  draw().savefig(ROOT / 'docs' / 'idea.png', dpi=120, metadata={'Software': None})
