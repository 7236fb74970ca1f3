"""Checkpoints of a training run: written atomically, verified, and fallen back from.

`checkpoints/ckpt-<step>.index` and `.data-…` hold `step`, `model` and `optimizer` under the
names that the API's own loop uses (its tools read them). Random numbers, the position in the data
and the save counter follow from the step, so that a run that was stopped ends in the same bytes.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from absl import logging

from replicate import checkpoint_files
from replicate.errors import UserError


def verify(path: str | os.PathLike) -> str | None:
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


def latest_good(
    directory: str | os.PathLike, on_damage: Callable[[str, str], None] | None = None
) -> str | None:
    """The last checkpoint in `directory` that reads back whole, or None.

    A damaged one is named in the log and the one before it is taken.

    Args:
      directory: the checkpoints' folder.
      on_damage: called with (path, what is wrong) for each damaged one; `set_aside` where the
        caller alone writes there.
    """
    for step in reversed(checkpoint_files.steps_of(directory)):
        path = checkpoint_files.path_of(directory, step)
        damage = verify(path)
        if damage is None:
            return path
        logging.warning("%s is damaged (%s); falling back to the one before", path, damage)
        if on_damage is not None:
            on_damage(path, damage)
    return None


def set_aside(path: str | os.PathLike, damage: str) -> None:
    """Renames a damaged checkpoint's files to `damaged-ckpt-STEP.…`, which nothing reads.

    Its step counts as not saved, so that training writes it again.
    """
    path = pathlib.Path(path)
    for part in path.parent.glob(f"{path.name}.*"):
        os.replace(part, part.with_name(f"damaged-{part.name}"))
    print(
        f"{path} is damaged ({damage}); its files are now damaged-{path.name}.*, and its step is "
        "trained again",
        file=sys.stderr,
    )


def clean(directory: str | os.PathLike) -> None:
    """Removes what a kill during a save left: temporary folders, and data without an index."""
    directory = pathlib.Path(directory)
    for left in directory.glob("ckpt-*_temp*"):
        shutil.rmtree(left, ignore_errors=True)
    for data in directory.glob("ckpt-*.data-*"):
        if not data.with_name(data.name.split(".data-")[0] + ".index").exists():
            data.unlink(missing_ok=True)
            print(f"{data}: without its index, of no use; removed", file=sys.stderr)


def read_model(prefix: str, model: Any, averages: Any, config_name: str) -> None:
    """Gives a model that is to be evaluated the weights of a checkpoint.

    Args:
      prefix: of a TF2 object-based checkpoint that holds `model`.
      model: with all its variables.
      averages: the optimizer that holds the moving averages of `model`'s weights, where the config
        evaluates them; else None.
      config_name: what the model's config is called, for the message.

    Raises:
      UserError: the checkpoint does not hold every variable of this model, or cannot be read.
    """
    contents = {"model": model} | ({} if averages is None else {"optimizer": averages})
    try:
        status = tf.train.Checkpoint(**contents).read(prefix)
        status.expect_partial().assert_existing_objects_matched()
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"{prefix}: does not hold this model's variables ({_first_line(error)}); "
            f"is it the checkpoint of this {config_name}?"
        ) from None
    except (tf.errors.OpError, IndexError, RuntimeError) as error:
        raise UserError(f"{prefix}: damaged, cannot be read ({_first_line(error)})") from None
    if averages is not None:
        # Half of its `swap_weights`, which works under a tf.distribute.Strategy alone.
        averaged = zip(averages._average_weights, averages._model_weights, strict=True)
        for average, weight in averaged:
            weight.assign(average)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def full_disk_named(directory: str | os.PathLike) -> Iterator[None]:
    """Turns a write that failed for lack of space into a message; other exceptions pass.

    Args:
      directory: the checkpoints' folder.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        else:
            full = "No space left" in error.message
        if not full:
            raise
        steps = checkpoint_files.steps_of(directory)
        raise UserError(
            f"{directory}: No space left on this disk. "
            + (f"The last checkpoint is that of step {steps[-1]}; " if steps else "")
            + "free some space there and run the same command to continue"
        ) from None


class Saver:
    """Saves a run's checkpoints and keeps the last few.

    Args:
      checkpoint: tf.train.Checkpoint.
      directory: where the checkpoints go.
      max_to_keep: how many of the last ones stay.
      every_n: steps between two of a run that is not stopped; None counts the saves as they are.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        directory: str | os.PathLike,
        max_to_keep: int,
        every_n: int | None = None,
    ) -> None:
        steps = checkpoint_files.steps_of(directory)
        self.saved_step = steps[-1] if steps else None
        self._checkpoint, self._every_n = checkpoint, every_n
        if steps:
            # TensorFlow keeps the list in a file of its own, which may be damaged or name some
            # that were set aside; the folder tells what is there.
            paths = [checkpoint_files.path_of(directory, step) for step in steps]
            tf.compat.v1.train.update_checkpoint_state(str(directory), paths[-1], paths)
        self._manager = tf.train.CheckpointManager(
            checkpoint, str(directory), max_to_keep=max_to_keep, checkpoint_name="ckpt"
        )

    def save(self, step: int) -> None:
        """Writes ckpt-<step> and reads it back. Saving the same step again does nothing.

        Raises:
          UserError: the disk is full, or what was written does not read back.
        """
        if step == self.saved_step:
            return
        if self._every_n is not None:
            # As many as an uninterrupted run has saved by then; `save` adds the last one.
            self._checkpoint.save_counter.assign(-(-step // self._every_n) - 1)
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
