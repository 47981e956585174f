"""Which axis of which parameter is split over which axis of a mesh of devices.

Rows of a batch go over the axis ``data``; heads and the units of the inner layers over
``model``, each half of a layer summing once over it, as Shoeybi et al., 2019:
"Megatron-LM: Training multi-billion parameter language models using model parallelism".
What is split by these rules and jitted is computed so; nothing else is to be done.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.models.opt_layers import Sizes

DATA, MODEL = 'data', 'model'
ROWS = P(DATA)  # of all arrays of a batch
# Of stacked layers; all else is whole on every device.
_LAYERS = {
  'qkv_kernel': P(None, None, MODEL),
  'qkv_bias': P(None, MODEL),
  'out_kernel': P(None, MODEL, None),
  'up_kernel': P(None, None, MODEL),
  'up_bias': P(None, MODEL),
  'down_kernel': P(None, MODEL, None),
}


def specs(params: Mapping[str, Any], *, vocabulary: bool = False) -> dict[str, Any]:
  """A ``PartitionSpec`` for every parameter of ``OPT``, in a tree like theirs.

  Args:
    params: as ``nnx.to_pure_dict`` has them; or anything of their structure.
    vocabulary: the table of embeddings is split over ``model`` too, and with it the
      logits.
  """

  def rule(path: tuple[Any, ...], _: Any) -> P:
    name = path[-1].key
    if path[0].key == 'layers':
      return _LAYERS.get(name, P())
    return P(MODEL, None) if name == 'embedding' and vocabulary else P()

  found: dict[str, Any] = jax.tree_util.tree_map_with_path(rule, dict(params))
  return found


def shardings(
  mesh: Mesh, sizes: Sizes, params: Mapping[str, Any], *, vocabulary: bool = False
) -> dict[str, Any]:
  """The same on a mesh with axes ``data`` and ``model``, for ``jax.device_put``.

  Raises:
    ValueError: heads, inner units or ids cannot be split into equal parts.
  """
  parts = mesh.shape[MODEL]
  split = {'heads': sizes.heads, 'ffn': sizes.ffn}
  if vocabulary:
    split['vocabulary'] = sizes.vocabulary
  for name, count in split.items():
    if count % parts:
      raise ValueError(
        f'{name}: expected a multiple of the {parts} devices of the axis {MODEL!r}, '
        f'got {count}'
      )
  tree = specs(params, vocabulary=vocabulary)
  placed: dict[str, Any] = jax.tree.map(
    lambda spec: NamedSharding(mesh, spec), tree, is_leaf=lambda x: isinstance(x, P)
  )
  return placed
