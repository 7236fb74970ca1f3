"""Checkpoints of a training run: written atomically, verified, and fallen back from.

`checkpoints/ckpt-<step>.index` and `.data-…` hold `step`, `model` and `optimizer` under the
names that the API's own loop uses (its tools read them). Random numbers and the position in the
data follow from the step.
"""

import errno
import pathlib

import tensorflow as tf
from absl import logging

from replicate import checkpoint_files
from replicate.errors import UserError


def verify(path):
    """Reads every tensor of a checkpoint, which checks the checksums inside.

    Returns:
      None, or what is wrong with it.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError) as error:
        return str(error).splitlines()[0]
    return None


def latest_good(directory):
    """The last checkpoint in `directory` that reads back whole, or None.

    A damaged one is named in the log and the one before it is taken.
    """
    for step in reversed(checkpoint_files.steps_of(directory)):
        path = checkpoint_files.path_of(directory, step)
        damage = verify(path)
        if damage is None:
            return path
        logging.warning("%s is damaged (%s); falling back to the one before", path, damage)
    return None


class FullDisk:
    """Turns a write that failed for lack of space into a message; other exceptions pass.

    Args:
      directory: the checkpoints' folder.
    """

    def __init__(self, directory):
        self._directory = directory

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        full = full or (isinstance(error, tf.errors.OpError) and "No space left" in error.message)
        if full:
            steps = checkpoint_files.steps_of(self._directory)
            raise UserError(
                f"{self._directory}: No space left on this disk. "
                + (f"The last checkpoint is that of step {steps[-1]}; " if steps else "")
                + "free some space there and run the same command to continue"
            ) from None


class Saver:
    """Saves a run's checkpoints and keeps the last few.

    Args:
      checkpoint: tf.train.Checkpoint.
      directory: where the checkpoints go.
      max_to_keep: how many of the last ones stay.
    """

    def __init__(self, checkpoint, directory, max_to_keep):
        self._manager = tf.train.CheckpointManager(
            checkpoint, str(directory), max_to_keep=max_to_keep, checkpoint_name="ckpt"
        )
        # After a fallback, the damaged ones are not counted among those to keep.
        good = [p for p in self._manager.checkpoints if pathlib.Path(f"{p}.index").exists()]
        self.saved_step = checkpoint_files.step_of(good[-1]) if good else None

    def save(self, step):
        """Writes ckpt-<step> and reads it back. Saving the same step again does nothing.

        Raises:
          UserError: the disk is full, or what was written does not read back.
        """
        if step == self.saved_step:
            return
        try:
            path = self._manager.save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise UserError(
                f"checkpoint at step {step} could not be written: {error.message}. The last good "
                f"checkpoint is that of step {self.saved_step}; free some space in "
                f"{self._manager.directory} and run the same command to continue"
            ) from None
        damage = verify(path)
        if damage is not None:
            raise UserError(
                f"{path} does not read back after writing ({damage}); check the disk. The last "
                f"good checkpoint is that of step {self.saved_step}"
            )
        self.saved_step = step
