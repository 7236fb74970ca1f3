"""The config that a replication trains, of its records (`replicate.engine.Composition`)."""

import copy
from typing import TYPE_CHECKING

from replicate.config import scaling, textproto
from replicate.config.render import render
from replicate.engine import Composition

if TYPE_CHECKING:
    from google.protobuf.message import Message


def composed(asked: Composition) -> "Message":
    """See `replicate.engine.compose`."""
    overrides = list(asked.overrides)
    if asked.num_steps is not None and not asked.shorten_schedule:
        overrides.append(("train_config.num_steps", str(asked.num_steps)))
    return render(
        asked.source,
        overrides=overrides,
        train_records=asked.train_records,
        val_records=asked.val_records,
        label_map=f"{asked.label_map}.pbtxt",
        num_classes=max(asked.categories),
        fine_tune_checkpoint=asked.start,
        num_steps=asked.num_steps if asked.shorten_schedule else None,
    )


def detecting_as(message: "Message", other: "Message") -> "Message | None":
    """See `replicate.engine.detecting_as`."""
    made = copy.deepcopy(message)
    kind = made.model.WhichOneof("model")
    if kind != other.model.WhichOneof("model"):
        return None
    theirs = getattr(other.model, kind)
    for field in ("post_processing", "second_stage_post_processing"):
        if field in theirs.DESCRIPTOR.fields_by_name and theirs.HasField(field):
            getattr(getattr(made.model, kind), field).CopyFrom(getattr(theirs, field))
    return made


def reading(message: "Message", records: str, label_map: str) -> "Message":
    """See `replicate.engine.reading`; the evaluation's readers read them too."""
    made = copy.deepcopy(message)
    for reader in (made.train_input_reader, *made.eval_input_reader):
        reader.tf_record_input_reader.ClearField("input_path")
        reader.tf_record_input_reader.input_path.append(records)
        reader.label_map_path = label_map
    return made


def of_step(message: "Message") -> str:
    """See `replicate.engine.of_step`."""
    step = copy.deepcopy(message)
    step.ClearField("eval_config")
    step.ClearField("eval_input_reader")
    reader = step.train_input_reader
    for field in ("shuffle_buffer_size", "label_map_path"):
        reader.ClearField(field)
    reader.tf_record_input_reader.ClearField("input_path")
    return textproto.to_text(step)


def stopping_at(message: "Message", num_steps: int) -> "Message":
    """See `replicate.engine.stopping_at`."""
    scaling.set_whole(message.train_config, "num_steps", num_steps, "num_steps")
    return message
