"""Trains a DenseNet on eight devices and on one: cifar10_sharded_program.py OUT.npz."""

import os
import sys

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8'

import dataclasses

import jax
import numpy as np

import regularizers as reg
from experiments import cifar10
from experiments.cifar10_config import filled
from experiments.evaluate import predict
from experiments.state import init_state, stack
from experiments.train import training

SIZES = {'num_train': 32, 'batch_size': 16, 'num_steps': 2, 'depth': 7, 'growth': 2}


def main(path: str) -> None:
  config = filled(cifar10.Config(seeds=2, learning_rate=0.01, **SIZES))
  data = cifar10.data(config, True)
  many = cifar10.task(config, data)
  assert many.mesh is not None
  optimizer, loss = cifar10.optimizer(config, data), stack([reg.cross_entropy] * 2)
  result = {'devices': np.array([many.mesh.size, 1])}
  for name, task in (('many', many), ('one', dataclasses.replace(many, mesh=None))):
    state = init_state(task, loss, optimizer, [0, 1])
    options = {'num_steps': 2, 'log_every': 2, 'chain': 2, 'vmap': False}
    *_, (state, _) = training(task, loss, optimizer, state, **options)
    trees = {'params': state.runs.params, 'statistics': state.runs.model_state}
    for key, leaf in jax.tree.leaves_with_path(jax.device_get(trees)):
      result[f'{name}/{jax.tree_util.keystr(key)}'] = leaf
    result[f'{name}/logits'] = predict(task, state, 'validation', vmap=False)
  np.savez(path, **result)


if __name__ == '__main__':
  main(sys.argv[1])
