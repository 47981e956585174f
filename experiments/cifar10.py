"""CIFAR-10 and embedded shapes: arms of a DenseNet, and what confidence costs.

  python -m experiments.cifar10

trains baseline, dropout, label smoothing and the confidence penalty on 600 coloured
shapes, three seeds: 1 min 45 s on two cores. Test error in %:
26.00 ± 1.59, 31.83 ± 1.81, 26.07 ± 3.26 and 27.37 ± 1.60; dropout is worse than the
baseline, the others are undecided. Records: results/shapes/.

  python -m experiments.cifar10 --dataset=cifar10 --data_dir=DIR

is the paper's protocol: DenseNet-40-12 with dropout 0.2, 300 epochs of batches of 50
without augmentation, retrained on all 50,000 images. The last 5,000 are for --select;
--hold_out leaves them out of the final training as well, and temperatures are fitted
on them. results/cifar10/ holds a small budget (5,000 images, depth 16, 20 epochs):
33.8 % error, 2 hours of a core for four arms of three seeds; dropout is worse, the
others are undecided.
"""

import pathlib
from collections.abc import Mapping

import optax
from flax import nnx

from experiments import arms, calibration, config, rates, study
from experiments.cifar10_config import DEFAULTS, GRID, VALUES, Config, check, filled
from experiments.config import by_flag, steps
from experiments.datasets import cifar10, outside, shapes
from experiments.datasets.dataset import Dataset
from experiments.models.densenet import DenseNet
from experiments.pixels import Scale, pixel_classification
from experiments.task import Task, classification_steps

SCALES = {
  'shapes': Scale((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
  # Of the training images.
  'cifar10': Scale((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


def run(config: Config) -> pathlib.Path:
  """Trains all arms, or goes on with them; ends with the tables and the pictures."""
  check(config)
  return calibration.run(
    study.Study(
      name='cifar10',
      config=filled(config),
      defaults=VALUES[config.dataset],
      grid=GRID,
      data=data,
      of_arm=arms.dropped,
      task=task,
      optimizer=optimizer,
      steps_per_epoch=classification_steps,
      pictures=calibration.pictures,
    )
  )


def data(config: Config, final: bool) -> dict[int, Dataset]:
  """By seed: what is drawn for training depends on it."""
  if config.dataset == 'shapes':
    own = {
      seed: shapes.load(config.num_train, config.label_noise, seed)
      for seed in range(config.seeds)
    }
    side = shapes.DRAWING.side
  else:
    own = cifar10.load(
      config.data_dir,
      seeds=config.seeds,
      merge_validation=final and not config.hold_out,
      num_train=config.num_train or None,
      label_noise=config.label_noise,
    )
    side = cifar10.SIDE
  return calibration.with_outside(own, outside.images(config.outside, side))


def task(config: Config, datasets: Mapping[int, Dataset]) -> Task:
  """Images to classes."""
  classes = next(iter(datasets.values())).num_classes

  def module(rngs: nnx.Rngs) -> nnx.Module:
    return DenseNet(
      classes,
      depth=config.depth,
      growth=config.growth,
      bottleneck=config.bottleneck,
      reduction=config.reduction,
      dropout=config.dropout,
      remat=config.remat,
      rngs=rngs,
    )

  return pixel_classification(
    module,
    datasets,
    config.batch_size,
    SCALES[config.dataset],
    augment=config.augment,
  )


def optimizer(
  config: Config, datasets: Mapping[int, Dataset]
) -> optax.GradientTransformation:
  """SGD with Nesterov momentum and weight decay, whose rate falls in steps."""
  num_steps = steps(config, classification_steps(config, next(iter(datasets.values()))))
  rate = rates.falling(config.learning_rate, config.decay_at, config.decay, num_steps)
  return optax.chain(
    optax.add_decayed_weights(config.weight_decay),
    optax.sgd(rate, momentum=config.momentum or None, nesterov=True),
  )


def main() -> None:
  """Reads the flags and runs."""
  config.launch(Config, run, by_flag(DEFAULTS, VALUES))


if __name__ == '__main__':
  main()
