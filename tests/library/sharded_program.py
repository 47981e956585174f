"""What sharded_test.py compares, computed on several devices: run in a process.

sharded_program.py devices OUT.npz          8 devices of one process
sharded_program.py process I PORT OUT.npz   2 processes of 2 devices each
"""

import os
import sys

MODE = sys.argv[1]
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
  f'--xla_force_host_platform_device_count={8 if MODE == "devices" else 2} '
  # Compiling is most of the time; nothing here is measured.
  '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
)

import functools  # noqa: E402
import re  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import sharded_problems as problems  # noqa: E402
import transforms  # noqa: E402
from jax.sharding import Mesh, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

import regularizers as reg  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
SPLIT = P(None, 'model')


def padded(logits: np.ndarray, devices: int) -> jax.Array:
  """Float32, filled up with junk to a multiple of the devices."""
  missing = -logits.shape[-1] % devices
  filled = np.pad(logits, [(0, 0), (0, missing)], constant_values=77.0)
  return jnp.asarray(filled, jnp.float32)


def gradients(
  mesh: Mesh,
  losses: Any,
  logits: Any,
  *args: Any,
  kinds: str = 'inside',
  **options: Any,
) -> Any:
  """Values, and gradients taken inside the map or around it, in one program.

  Args:
    mesh: its axis 'model' splits the classes.
    losses: ``(this device's logits, *args) -> {name: [N]}``.
    logits: ``[N, V]``, padded.
    *args: ``(array, spec)``.
    kinds: 'inside', 'around' or both.
    **options: of `jax.shard_map`.

  Returns:
    ``{name/value: [N], name/inside: [N, V], name/around: [N, V]}``.
  """
  arrays, specs = [a for a, _ in args], [s for _, s in args]
  names: list[str] = []

  def stacked(logits: jax.Array, *rest: jax.Array) -> Any:
    values = losses(logits, *rest)
    names[:] = values
    values = jnp.stack(list(values.values()))
    return values.sum(-1), values

  def sharded(function: Any, out: Any) -> Any:
    specs_in = (SPLIT, *specs)
    return jax.shard_map(
      function, mesh=mesh, in_specs=specs_in, out_specs=out, **options
    )

  @jax.jit
  def program(logits: jax.Array, *arrays: jax.Array) -> Any:
    make = {
      'around': lambda: jax.jacrev(sharded(stacked, (P(), P())), has_aux=True),
      'inside': lambda: sharded(
        jax.jacrev(stacked, has_aux=True), (P(None, *SPLIT), P())
      ),
    }
    out = {}
    for kind in kinds.split():
      out[kind], out['value'] = make[kind]()(logits, *arrays)
    return out

  out = program(logits, *arrays)
  return {
    f'{name}/{kind}': array[i]
    for kind, array in out.items()
    for i, name in enumerate(names)
  }


def table(q: Any, cases: Any, wrap: Any = None) -> Any:
  """The losses of the table on a split vocabulary, its arrays whole."""

  def losses(logits: jax.Array, *rest: jax.Array) -> dict[str, jax.Array]:
    p = wrap(logits, *rest) if wrap else _split(q, logits, *rest)
    labels = jnp.asarray(q.labels)
    return {c.name: c.loss(q)(p, labels, **problems.extra(c, q)) for c in cases}

  return losses


def _split(q: Any, logits: jax.Array, *where: jax.Array) -> Any:
  classes = q.logits.shape[-1]
  return reg.ShardedCategorical(logits, 'model', classes, *where)


def product(logits: jax.Array, num_classes: int | None = None) -> Any:
  hidden = jnp.eye(logits.shape[0], dtype=logits.dtype)
  local = reg.LinearCategorical(hidden, logits, chunk_size=1)
  return reg.ShardedCategorical(local, 'model', num_classes)


def blocks(q: Any) -> Any:
  """Priors, weights, soft labels, teachers that are this device's part."""

  def losses(logits: Any, prior: Any, weights: Any, soft: Any, teacher: Any) -> Any:
    p = reg.ShardedCategorical(logits, 'model')
    peer = reg.ShardedCategorical(teacher, 'model')
    part = transforms.dataclasses.replace(q, prior=prior, class_weights=weights)
    teachers = {'teacher': teacher, 'split': peer, 'whole': jnp.asarray(q.teacher)}
    out = {name: problems.distilled(p, soft, teacher=t) for name, t in teachers.items()}
    out['priors'] = problems.with_arrays(part)(p, soft)
    noise = transforms.BY_NAME[
      'label_noise(unigram_smoothing+confidence_penalty, prior)'
    ]
    labels = jnp.asarray(q.labels)
    out['noise'] = noise.loss(part)(p, labels, key=q.key)
    out['weighted'] = reg.class_weights(weights)(reg.cross_entropy)(p, labels)
    out['own'] = problems.own_penalty(prior)(p, labels)
    return out

  return losses


def on_eight_devices() -> dict[str, Any]:
  mesh = Mesh(np.array(jax.devices()), 'model')
  out: dict[str, Any] = {}

  def add(setting: str, losses: Any, logits: Any, *args: Any, **options: Any) -> None:
    print(setting, flush=True)  # where it is, should it hang
    results = gradients(mesh, losses, logits, *args, **options)
    out.update({f'{setting}/{name}': array for name, array in results.items()})

  whole, uneven = problems.EVEN, problems.UNEVEN
  cases = {
    setting: [transforms.BY_NAME[name] for name in names]
    for setting, names in problems.SETTINGS.items()
  }
  logits, where = padded(whole.logits, 8), jnp.asarray(problems.WHERE)
  rest = padded(uneven.logits, 8)
  add('uneven', table(uneven, cases['uneven']), rest, kinds='around')
  both = 'inside around'
  add('even', table(whole, cases['even']), logits, kinds=both)
  unchecked = table(whole, cases['unchecked'])
  add('unchecked', unchecked, logits, kinds=both, check_vma=False)
  add('product', table(whole, cases['product'], product), logits)
  padding = functools.partial(product, num_classes=13)
  add('padded_product', table(uneven, cases['padded_product'], padding), rest)
  add('far', table(whole, cases['far']), jnp.asarray(problems.FAR))
  add('where', table(whole, cases['where']), logits, (where, SPLIT))
  masked = table(uneven, cases['whole_where'])
  add('whole_where', masked, rest, (where[:, :13], P()))
  own = [problems.PRIOR, problems.WEIGHTS, problems.SOFT, whole.teacher]
  specs = [P('model'), P('model'), SPLIT, SPLIT]
  args = [(jnp.asarray(a, jnp.float32), s) for a, s in zip(own, specs, strict=True)]
  add('blocks', blocks(whole), padded(whole.logits, 8), *args)
  out['labels'] = jax.jit(invalid_labels(mesh))(padded(uneven.logits, 8))
  print('data', flush=True)
  out |= data_parallel()
  print('jit', flush=True)
  return out | linear_under_jit() | {'collectives': np.array(collectives(mesh))}


def invalid_labels(mesh: Mesh) -> Any:
  def loss(logits: jax.Array) -> jax.Array:
    p = reg.ShardedCategorical(logits, 'model', 13)
    return jnp.stack([reg.cross_entropy(p, y) for y in jnp.array(problems.INVALID)])

  return jax.shard_map(loss, mesh=mesh, in_specs=SPLIT, out_specs=P())


def data_parallel() -> dict[str, Any]:
  """Rows over 4 devices, with masks that fill them unevenly."""
  mesh = Mesh(np.array(jax.devices()[:4]), 'data')
  params, batch = problems.rows()

  def mean(params: Any, batch: Any) -> jax.Array:
    return reg.masked_mean(problems.row_losses(params, batch), batch['mask'], 'data')

  def accumulated(params: Any, batch: Any) -> Any:
    parts = reg.microbatches(batch, 2)
    return reg.accumulate_gradients(problems.sums, params, parts, axis_name='data')

  specs: dict[str, Any] = {'mesh': mesh, 'in_specs': (P(), P('data'))}
  out = {}

  def linear(params: Any, batch: Any) -> jax.Array:
    count = jax.lax.psum(batch['mask'].sum(), 'data')
    part = problems.linear_mean(params, batch, count)
    return jax.lax.psum(part, 'data')

  for name, checked in (('checked', True), ('unchecked', False)):
    options = specs | {'out_specs': P(), 'check_vma': checked}
    around = jax.value_and_grad(jax.shard_map(mean, **options))
    out[f'mean/{name}/around'] = jax.jit(around)(params, batch)[1]
    fused = jax.jit(jax.value_and_grad(jax.shard_map(linear, **options)))
    out[f'linear/{name}/value'], out[f'linear/{name}/around'] = fused(params, batch)
    adding = jax.jit(jax.shard_map(accumulated, **options))(params, batch)
    out[f'accumulated/{name}/value'], out[f'accumulated/{name}/around'] = adding

    def inside(params: Any, batch: Any, checked: bool = checked) -> Any:
      value, gradient = jax.value_and_grad(mean)(params, batch)
      return value, gradient if checked else jax.lax.pmean(gradient, 'data')

    value, gradient = jax.jit(jax.shard_map(inside, **options))(params, batch)
    out[f'mean/{name}/value'], out[f'mean/{name}/inside'] = value, gradient
  return out


def collectives(mesh: Mesh) -> list[str]:
  """'kind shape' of each collective of a loss under plain jit, classes split."""
  split, whole = NamedSharding(mesh, SPLIT), NamedSharding(mesh, P())
  loss = problems.everything()
  logits = jax.ShapeDtypeStruct((problems.ROWS, problems.CLASSES), jnp.float32)
  labels = jax.ShapeDtypeStruct((problems.ROWS,), jnp.int32)
  step = jax.jit(
    jax.value_and_grad(lambda z, y: loss(z, y).mean()),
    in_shardings=(split, whole),
    out_shardings=(whole, split),
  )
  return collectives_of(step.lower(logits, labels).compile())


def collectives_of(compiled: Any) -> list[str]:
  found, text = [], compiled.as_text()
  pattern = r'= (.*?) (all-\w+|collective-permute|reduce-scatter)(?:-start)?\('
  for shapes, kind in re.findall(pattern, text):
    found += [f'{kind} {shape}' for shape in re.findall(r'\w+\[([\d,]*)\]', shapes)]
  return found


def linear_under_jit() -> dict[str, Any]:
  """Rows split in 2 and classes in 4 by NamedSharding; several chunks.

  'partly': rows inside `jax.shard_map`, classes by NamedSharding.
  """
  mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ('data', 'model'))
  specs = P('data'), P(None, 'model'), P('data')
  layout = [NamedSharding(mesh, spec) for spec in specs]
  arguments = jax.device_put(problems.linear_problem(), tuple(layout))
  out: dict[str, Any] = {}
  partly = jax.shard_map(
    problems.share_of_rows,
    mesh=mesh,
    in_specs=(P('data'), P(), P('data')),
    out_specs=P(),
    axis_names={'data'},
  )
  for name, mean in {**problems.LINEAR, 'partly': partly}.items():
    step = jax.jit(
      jax.value_and_grad(mean, (0, 1)),
      out_shardings=(NamedSharding(mesh, P()), tuple(layout[:2])),
    )
    compiled = step.lower(*arguments).compile()
    value, (by_hidden, by_kernel) = compiled(*arguments)
    found = {'value': value, 'hidden': by_hidden, 'kernel': by_kernel}
    found['collectives'] = np.array(collectives_of(compiled))
    out |= {f'jit/{name}/{key}': array for key, array in found.items()}
  return out


def on_two_processes(index: int, port: str) -> dict[str, Any]:
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  jax.distributed.initialize(f'127.0.0.1:{port}', 2, index, initialization_timeout=60)
  mesh, q = Mesh(np.array(jax.devices()), 'model'), problems.UNEVEN
  local = np.asarray(padded(q.logits, 4))
  logits = jax.make_array_from_callback(
    local.shape, NamedSharding(mesh, SPLIT), lambda index: local[index]
  )
  losses = table(q, [transforms.BY_NAME['many']])

  def value_and_gradient(logits: jax.Array) -> Any:
    gradient, values = jax.grad(
      lambda z: (losses(z)['many'].sum(), losses(z)['many']), has_aux=True
    )(logits)
    return values, gradient

  step = jax.shard_map(
    value_and_gradient, mesh=mesh, in_specs=SPLIT, out_specs=(P(), SPLIT)
  )
  values, gradient = jax.jit(step)(logits)
  out = {'devices': np.array([len(jax.devices()), len(jax.local_devices())])}
  out['value'] = np.asarray(values)
  for shard in gradient.addressable_shards:
    out[f'gradient/{shard.index[-1].start or 0}'] = np.asarray(shard.data)
  jax.distributed.shutdown()
  return out


if __name__ == '__main__':
  if MODE == 'devices':
    arrays = on_eight_devices()
  else:
    arrays = on_two_processes(int(sys.argv[2]), sys.argv[3])
  np.savez(sys.argv[-1], **{name: np.asarray(array) for name, array in arrays.items()})
