"""Checkpoints that are noticed when damaged: orbax and a digest of every leaf.

orbax alone restores flipped bits without a word, and lists a step whose deletion
was interrupted. So what is restored is compared with the digest that was saved
beside it, and the newest step that is whole is used.
"""

import contextlib
import gc
import hashlib
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from experiments import records
from experiments.errors import InputError

PyTree = Any
KEPT = 2  # a damaged one has a predecessor


class Checkpoints:
  """The checkpoints of one run, in a directory of their own."""

  def __init__(self, directory: pathlib.Path):
    """Opens the directory, and makes it if it is missing."""
    self._directory = directory.absolute()
    with records.writing(directory):
      directory.mkdir(parents=True, exist_ok=True)
      self._manager = _manager(self._directory)

  def save(self, step: int, tree: PyTree) -> None:
    """Returns when the checkpoint is on the disk.

    Raises:
      InputError: it cannot be written; the older ones are still there.
    """
    leaves = _leaves(tree)
    arguments = ocp.args.Composite(
      leaves=ocp.args.StandardSave(leaves),
      digest=ocp.args.JsonSave({'sha256': _digest(step, leaves)}),
    )
    try:
      with _one_error():
        saved = self._manager.save(step, args=arguments)
    except Exception as error:  # orbax reports a full disk in many ways
      raise InputError(f'cannot save {self._path(step)}: {_reason(error)}') from error
    if not saved:
      raise InputError(f'cannot save {self._path(step)}: there is a later checkpoint')

  def restore(
    self, template: PyTree, say: Callable[[str], None] = print
  ) -> PyTree | None:
    """The newest checkpoint that is whole, or None; puts the damaged ones aside.

    Args:
      template: a tree of the same structure, shapes and dtypes.
      say: shows a line to the user, one for every damaged checkpoint.
    """
    steps = sorted(self._manager.all_steps())
    for before, step in reversed(list(enumerate(steps))):
      try:
        with _one_error():
          return self._restore(step, template)
      except Exception as error:  # damage shows in many ways, too
        instead = f'step {steps[before - 1]} is used' if before else 'starting anew'
        say(f'{self._path(step)} is damaged, {instead}: {_reason(error)}')
        self._put_aside(step)
    return None

  def close(self) -> None:
    """Ends orbax's threads."""
    self._manager.close()

  def _path(self, step: int) -> pathlib.Path:
    return self._directory / str(step)

  def _put_aside(self, step: int) -> None:
    """Makes room for saving the step again."""
    path = self._path(step)
    aside = self._directory.with_name(f'{self._directory.name}.damaged') / str(step)
    with records.writing(aside):
      shutil.rmtree(aside, ignore_errors=True)
      aside.parent.mkdir(exist_ok=True)
      path.rename(aside)
    self._manager.close()
    self._manager = _manager(self._directory)

  def _restore(self, step: int, template: PyTree) -> PyTree:
    expected = _leaves(template)
    saved = self._manager.restore(
      step,
      args=ocp.args.Composite(
        leaves=ocp.args.StandardRestore(expected),
        digest=ocp.args.JsonRestore(),
      ),
    )
    if saved.digest['sha256'] != _digest(step, saved.leaves):
      raise ValueError('the digest is not that of what was saved')
    restored = [jnp.asarray(saved.leaves[name]) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(template), restored)


def _manager(directory: pathlib.Path) -> ocp.CheckpointManager:
  options = ocp.CheckpointManagerOptions(
    max_to_keep=KEPT, enable_async_checkpointing=False, cleanup_tmp_directories=True
  )
  try:
    return ocp.CheckpointManager(directory, options=options)
  except ValueError:  # of damage in what orbax notes of a step, which is not needed
    for path in directory.glob('*/_CHECKPOINT_METADATA'):
      path.unlink()
  return ocp.CheckpointManager(directory, options=options)


def _leaves(tree: PyTree) -> dict[str, Any]:
  """Leaves by path, in the order of the tree."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): leaf
    for path, leaf in jax.tree.leaves_with_path(jax.device_get(tree))
  }


def _digest(step: int, leaves: dict[str, Any]) -> str:
  digest = hashlib.sha256(str(step).encode())
  for name, leaf in sorted(leaves.items()):
    array = np.ascontiguousarray(leaf)
    digest.update(f'{name}{array.dtype.str}{np.shape(leaf)}'.encode())
    digest.update(array.data if array.size else b'')
  return digest.hexdigest()


@contextlib.contextmanager
def _one_error() -> Iterator[None]:
  """One error, not also a traceback from each of orbax's threads and coroutines."""
  hooks = sys.unraisablehook, threading.excepthook
  sys.unraisablehook = threading.excepthook = _ignore
  try:
    yield
  except Exception:
    time.sleep(0.2)  # the other threads end, and
    gc.collect()  # what nobody waits for any more goes
    raise
  finally:
    sys.unraisablehook, threading.excepthook = hooks


def _ignore(_: Any) -> None:
  pass


def _reason(error: Exception) -> str:
  """One line of at most 200 characters."""
  lines = str(error).strip().splitlines() or ['']
  return f'{type(error).__name__}: {lines[0]}'[:200]
