"""Random numbers that never change, and labels that are wrong on purpose."""

import numpy as np


def random_state(*entropy: int) -> np.random.RandomState:
  """A generator that is a function of its arguments, say seed, step and stream.

  RandomState's streams are frozen: the same numbers under every numpy.
  """
  return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(entropy)))


def noisy(
  label: np.ndarray, share: float, num_classes: int, random: np.random.RandomState
) -> np.ndarray:
  """Labels of which a share is replaced by another class, drawn uniformly.

  Args:
    label: ``[n]``.
    share: of the labels that are replaced, in [0, 1].
    num_classes: number of classes.
    random: which ones, and by what.
  """
  rows = random.permutation(len(label))[: round(share * len(label))]
  shift = random.randint(1, num_classes, size=len(rows))  # never 0: another class
  replaced = label.copy()
  replaced[rows] = (label[rows] + shift) % num_classes
  return replaced
