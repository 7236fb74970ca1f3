"""What a config changes of the published one."""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from replicate.config import scaling, sources
from replicate.config.diff import diff
from replicate.config.operations import Operation

if TYPE_CHECKING:
    from google.protobuf.message import Message


def deviations(message: "Message", model: str | os.PathLike) -> list[Operation]:
    """Every difference from the published config of `model` to `message`.

    Where the batch size differs, changes that follow from it by the linear scaling rule say so.

    Args:
      message: a `TrainEvalPipelineConfig`.
      model: what `read` takes: a zoo model's name, an archive, a file, a run directory.

    Returns:
      `list[Operation]`.
    """
    published = sources.read(model)
    return [_explained(operation, published, message) for operation in diff(published, message)]


def _explained(operation: Operation, published: "Message", message: "Message") -> Operation:
    batch, theirs = message.train_config.batch_size, published.train_config.batch_size
    if (
        batch == theirs
        or not batch
        or not theirs
        or (operation.path, operation.b) not in _scaled(published, batch)
    ):
        return operation
    why = f"{operation.why}; follows from batch {theirs} -> {batch} by the linear scaling rule"
    return dataclasses.replace(operation, why=why)


def _scaled(published: "Message", batch: int) -> set[tuple[str, Any]]:
    """(path, value) of all that the linear scaling rule changes, the batch size itself aside."""
    scaled = type(published).FromString(published.SerializeToString())
    scaling.scale_batch(scaled, batch)
    return {
        (operation.path, operation.b)
        for operation in diff(published, scaled)
        if operation.path != "train_config.batch_size"
    }
