r"""Classifiers of images against PyTorch: DenseNet-40-12, and the network of MNIST.

  python -m benchmarks.images

Takes about ten minutes on two cores and writes benchmarks/results/images.md. Ours are
steps of the experiments' own loop on their tasks, with batches made as it makes them
and with the figures it records; PyTorch's take the same batches. Float32, SGD, momentum
0.9 for the DenseNet as in its experiment. PyTorch has as many threads as this process
may use cores, as XLA does.
"""

import contextlib
import datetime
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import regularizers as reg
from benchmarks import timing, torch_densenet
from benchmarks.extra import torch
from experiments import mnist
from experiments.datasets.dataset import Dataset
from experiments.models import convolution, densenet
from experiments.models.densenet import DenseNet
from experiments.state import init_state, stack
from experiments.task import Task, classification, functions, state_of
from experiments.train import training

CLASSES, BATCH, SIDE = 10, 50, 32
RATE, MOMENTUM = 0.1, 0.9
MLP_BATCH, MLP_RATE, HIDDEN, FEATURES = 128, 0.05, (1024, 1024), 784
CHAIN = 8  # steps of the MLP in a call
Step = Callable[[], object]

CHECKED: tuple[dict[str, Any], ...] = (
  {'side': 9, 'depth': 10, 'growth': 3},  # odd: pooling leaves out a row
  {'side': 8, 'depth': 10, 'growth': 2, 'bottleneck': True, 'reduction': 0.5},
)

NOTES = """## What was tried

A 3x3 convolution of 160 channels to 12, 32x32, batch 50, channels first (medians of 7
calls): the product that applies all nine matrices takes 11 ms and adding up the shifts
1.8 ms; for the gradient, laying out the shifts of what is above takes 1.9 ms and two
products 10 and 12 ms. Shifts of flat rows under masks take 2.4 to 3.6 ms, from a padded
copy that is laid down first 2.2 ms; along the rows first and then along the columns
1.1 ms, not taken up. The kernel's gradient as a sum over parts of the batch: 37 to
41 ms in place of 12.

A profile of one training step of the DenseNet (1.2 s alone; 1.7 s of both threads'
time): products and sums over channels 0.95 s, the subtractions of the normalisation and
its gradient 0.13 s, scale, shift and ReLU 0.12 s, concatenation 0.11 s, everything else
less than 0.05 s each. Moments of a block's features are computed once, not by layer.

XLA:CPU removes the barriers of remat and computes once again what is the same: at depth
19, batch 16, 16x16 its temporary memory is 26.7 MB with remat and without."""


def random_images(size: int, *shape: int) -> Dataset:
  """Noise, and labels that have nothing to do with it."""
  random = np.random.default_rng(0)
  image = random.normal(size=(size, *shape)).astype(np.float32)
  label = random.integers(0, CLASSES, size).astype(np.int32)
  split = {'image': image, 'label': label}
  return Dataset('noise', CLASSES, {'train': split, 'test': split})


def densenet_task(side: int = SIDE, **options: Any) -> Task:
  def module(rngs: nnx.Rngs) -> nnx.Module:
    return DenseNet(CLASSES, rngs=rngs, **options)

  return classification(module, {0: random_images(8 * BATCH, side, side, 3)}, BATCH)


def mlp_task() -> tuple[Task, optax.GradientTransformation]:
  """As ``experiments.mnist`` makes them."""
  config = mnist.Config(
    dataset='mnist',
    hidden=HIDDEN,
    batch_size=MLP_BATCH,
    learning_rate=MLP_RATE,
    dropout=0.0,
    num_steps=1,
  )
  data = {0: random_images(32 * MLP_BATCH, FEATURES)}
  return mnist.task(mnist.filled(config), data), mnist.optimizer(config, data)


def our_training(
  task: Task,
  optimizer: optax.GradientTransformation,
  steps: int = 1,
  *,
  patch: contextlib.AbstractContextManager | None = None,
) -> Step:
  """So many steps of the loop.

  Args:
    task: what is trained.
    optimizer: of optax.
    steps: of a call.
    patch: entered while the step is compiled.
  """
  losses = stack([reg.cross_entropy])
  with patch or contextlib.nullcontext():
    state = init_state(task, losses, optimizer, (0,))
    blocks = training(
      task, losses, optimizer, state, num_steps=10**9, log_every=steps, chain=steps
    )
    next(blocks)
  return lambda: next(blocks)


def torch_training(
  task: Task,
  model: torch.nn.Module,
  optimizer: torch.optim.Optimizer,
  steps: int = 1,
  *,
  channels_last: bool = False,
) -> Step:
  """The same number of PyTorch's steps on the same batches."""
  batches = torch_batches(task, channels_last)
  model.train()

  def run() -> float:
    for _ in range(steps):
      images, labels = next(batches)
      optimizer.zero_grad(set_to_none=True)
      loss = torch.nn.functional.cross_entropy(model(images), labels)
      loss.backward()
      optimizer.step()
    return loss.item()

  return run


def torch_batches(task: Task, channels_last: bool) -> Iterator[tuple[Any, Any]]:
  for batch in task.batches('train', 0, 0):
    yield (
      as_torch(batch['image'], channels_last),
      torch.from_numpy(batch['label']).long(),
    )


def as_torch(images: np.ndarray, channels_last: bool) -> torch.Tensor:
  """``[n, c, h, w]``, laid out in this order or with the channels last; or rows."""
  tensor = torch.from_numpy(images)
  if tensor.ndim == 2:
    return tensor
  tensor = tensor.permute(0, 3, 1, 2)
  return tensor if channels_last else tensor.contiguous()


def torch_network(channels_last: bool, **options: Any) -> torch.nn.Module:
  torch.manual_seed(0)
  model: Any = torch_densenet.DenseNet(CLASSES, **options)
  return model.to(memory_format=torch.channels_last) if channels_last else model


def densenet_steps() -> dict[str, Step]:
  """Training, PyTorch first."""

  def theirs(channels_last: bool, **options: Any) -> Step:
    model = torch_network(channels_last, **options)
    sgd = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True)
    return torch_training(densenet_task(), model, sgd, channels_last=channels_last)

  def ours(patch: Any = None, **options: Any) -> Step:
    sgd = optax.sgd(RATE, momentum=MOMENTUM, nesterov=True)
    return our_training(densenet_task(**options), sgd, patch=patch)

  plain = mock.patch.object(densenet, 'convolution', convolution.plain)
  return {
    'PyTorch': theirs(False),
    'PyTorch, channels last': theirs(True),
    'ours': ours(),
    "ours, XLA's convolution": ours(plain),
  }


def evaluation_steps() -> dict[str, Step]:
  """Logits of a batch by running statistics, PyTorch first."""
  images = random_images(BATCH, SIDE, SIDE, 3).splits['test']['image']

  def theirs(channels_last: bool) -> Step:
    model = torch_network(channels_last).eval()
    tensor = as_torch(images, channels_last)

    def run() -> None:
      with torch.inference_mode():
        model(tensor)

    return run

  task = densenet_task()
  params, rest = task.init(jax.random.key(0))
  ours = jax.jit(lambda image: task.apply(params, rest, {'image': image}, None)[0])
  image = jnp.asarray(images)
  return {
    'PyTorch': theirs(False),
    'PyTorch, channels last': theirs(True),
    'ours': lambda: ours(image).block_until_ready(),
  }


def mlp_steps() -> dict[str, Step]:
  """The network of MNIST as its experiment trains it, PyTorch first."""
  task, optimizer = mlp_task()
  linear, relu = torch.nn.Linear, torch.nn.ReLU
  first, second = HIDDEN
  torch.manual_seed(0)
  model = torch.nn.Sequential(
    *(linear(FEATURES, first), relu(), linear(first, second), relu()),
    linear(second, CLASSES),
  )
  sgd = torch.optim.SGD(model.parameters(), lr=MLP_RATE)
  return {
    'PyTorch': torch_training(task, model, sgd, CHAIN),
    'ours': our_training(task, optimizer, CHAIN),
  }


def check_equal(side: int, **options: Any) -> None:
  """Our network is PyTorch's, in float64.

  Logits, gradients and running statistics of a step, then logits in evaluation.

  Args:
    side: of the images.
    **options: of either network.

  Raises:
    AssertionError: it is not.
  """
  init, merged = functions(lambda rngs: DenseNet(CLASSES, rngs=rngs, **options))
  images = random_images(6, side, side, 3).splits['test']
  image, label = images['image'].astype(np.float64), images['label']
  with jax.enable_x64(True):
    random = np.random.default_rng(1)
    params, rest = jax.tree.map(
      # Other than at the start, lest ones and zeros hide a fault.
      lambda a: jnp.asarray(a + 0.1 * random.random(a.shape)),
      init(jax.random.key(0)),
    )
    theirs = torch_densenet.DenseNet(CLASSES, **options).double()
    torch_densenet.divide_by_n(theirs)
    arrays = torch_densenet.under_their_names(merged(params, rest, None)[0], theirs)
    theirs.load_state_dict(arrays, strict=False)  # they count batches too
    tensor, labels = as_torch(image, False), torch.from_numpy(label).long()

    def value(params: Any) -> Any:
      model, _ = merged(params, rest, None)
      logits = model(jnp.asarray(image), deterministic=False)
      loss = reg.cross_entropy(logits, jnp.asarray(label)).mean()
      return loss, (logits, state_of(model))

    step = jax.jit(jax.value_and_grad(value, has_aux=True))
    (_, (logits, moved)), gradient = step(params)
    expected = theirs(tensor)
    torch.nn.functional.cross_entropy(expected, labels).backward()
    _close('logits', logits, expected)
    found, _ = merged(gradient, moved, None)
    wanted = theirs.state_dict() | {
      name: parameter.grad for name, parameter in theirs.named_parameters()
    }
    for name, array in torch_densenet.under_their_names(found, theirs).items():
      _close(name, array, wanted[name])
    model, _ = merged(params, moved, None)
    logits = nnx.jit(lambda model, x: model(x, deterministic=True))(model, image)
    _close('evaluation', logits, theirs.eval()(tensor))


def _close(name: str, found: Any, expected: torch.Tensor) -> None:
  array = expected.detach().numpy()
  tolerance = 1e-10 * float(np.abs(array).max())
  np.testing.assert_allclose(found, array, rtol=0, atol=tolerance, err_msg=name)


def page(rounds: int, load: str) -> str:
  """Measures; the page of results."""
  columns = ['candidate', 'ms', 'ratio', 'quartiles']
  parts = [
    '# Classifiers of images against PyTorch, float32',
    f'`python -m benchmarks.images`, {datetime.date.today()}, {timing.machine()}, '
    f'torch {torch.__version__}, threads of either: {torch.get_num_threads()}; {load}; '
    f'{rounds} rounds in which the candidates take turns; ratio: median over the '
    'rounds, against PyTorch.',
  ]
  for title, steps in (
    (f'DenseNet-40-12, batch {BATCH}, {SIDE}x{SIDE}: a training step', densenet_steps),
    (f'The same: logits of {BATCH} images in evaluation', evaluation_steps),
    (f'2x{HIDDEN[0]} network, batch {MLP_BATCH}: {CHAIN} training steps', mlp_steps),
  ):
    rows = timing.table_rows('', steps(), rounds)
    table = timing.table(columns, [row.removeprefix('|  ') for row in rows])
    parts += [f'## {title}', table]
  return '\n\n'.join([*parts, NOTES]) + '\n'


def checked(rounds: int, load: str) -> str:
  """The page, once the candidates have been held against each other."""
  timing.share_cores()
  for options in CHECKED:
    check_equal(**options)
  return page(rounds, load)


if __name__ == '__main__':
  timing.launch('images', checked, rounds=5)
