"""Renders a complete `pipeline.config` for a zoo model with the user's own paths and changes."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from replicate import archive, python_api
from replicate.config import labelmap, paths, recipes, scaling, sources, templates
from replicate.config.facts import architecture_message
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


def render(
    model: str | os.PathLike,
    *,
    overrides: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    train_records: str | Sequence[str] | None = None,
    val_records: str | Sequence[str] | None = None,
    label_map: str | None = None,
    num_classes: int | None = None,
    fine_tune_checkpoint: str | None = None,
    num_steps: int | None = None,
    global_batch_size: int | None = None,
    num_gpus: int | None = None,
    scale: str = "linear",
    schedule: str | None = None,
) -> "Message":
    """The config of `model` with the given changes.

    Args:
      model: a zoo model's name, a `pipeline.config` file, a released archive or its folder, or a
        run directory.
      overrides: (path, value) pairs or a dict path -> value, all text, set last and in this
        order; see `paths.set_field`.
      train_records, val_records: record path or pattern of training and of evaluation, or a list.
      label_map: path of the label map, for training and evaluation.
      num_classes: number of classes. Where the label map exists it is the highest id in it, and is
        taken from there when not given.
      fine_tune_checkpoint: checkpoint that training starts from, or the released archive that
        holds it (which is unpacked beside itself); "" for random weights.
      num_steps: steps to train; the schedule is shortened (or stretched) with them, see
        `scaling.set_steps`.
      global_batch_size: images a step over all devices.
      num_gpus: devices. Without `global_batch_size` the recipe's images a device are kept; with it
        the batch must divide by the devices.
      scale: "linear" keeps the images seen and scales the learning rate with the batch; "none"
        changes the batch alone.
      schedule: one of `scaling.SCHEDULES`, or None for the recipe's.

    Returns:
      A complete `TrainEvalPipelineConfig`. What differs from the zoo is `deviations(model, it)`.

    Raises:
      UserError: an unknown model, an override that does not fit, or flags that contradict each
        other.
    """
    for name, number in (
        ("global_batch_size", global_batch_size),
        ("num_gpus", num_gpus),
        ("num_steps", num_steps),
        ("num_classes", num_classes),
    ):
        python_api.whole(name, number)
    python_api.one_of("scale", scale, scaling.RULES)
    python_api.one_of("schedule", schedule, scaling.SCHEDULES)
    message = sources.read(model)
    if train_records is not None:
        _set_records(message.train_input_reader, train_records)
    if val_records is not None:
        _set_records(_eval_reader(message), val_records)
    if label_map is not None:
        message.train_input_reader.label_map_path = label_map
        for reader in message.eval_input_reader or [_eval_reader(message)]:
            reader.label_map_path = label_map
    num_classes = _num_classes(message, num_classes, label_map)
    if num_classes is not None:
        scaling.set_whole(architecture_message(message), "num_classes", num_classes, "num_classes")
    if fine_tune_checkpoint is not None:
        message.train_config.fine_tune_checkpoint = archive.checkpoint_of(fine_tune_checkpoint)
    batch_size = _batch_size(message, model, global_batch_size, num_gpus)
    if batch_size is not None:
        scaling.scale_batch(message, batch_size, scale)
    if num_steps is not None:
        scaling.set_steps(message, num_steps)
    if schedule is not None:
        scaling.set_schedule(message, schedule)
    for path, value in overrides.items() if isinstance(overrides, Mapping) else overrides:
        paths.set_field(message, path, value)
    if overrides and not message.train_config.batch_size:
        raise UserError(
            "train_config.batch_size is 0; it is the number of images a step over all devices, 1 "
            "or more"
        )
    return message


def parse_override(text: str) -> tuple[str, str]:
    """`PATH=VALUE` as the pair that `render` takes.

    Raises:
      UserError: there is no `=`.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set {text}: write --set PATH=VALUE, e.g. train_config.num_steps=1000")
    return path.strip(), value


def _num_classes(message: "Message", num_classes: int | None, label_map: str | None) -> int | None:
    """The number of classes to set, or None to leave the recipe's."""
    if label_map is None or not os.path.isfile(label_map):
        return num_classes
    highest = labelmap.highest_id(label_map)
    if num_classes is not None and num_classes != highest:
        raise UserError(
            f"--num_classes={num_classes}, but the highest id in {label_map} is {highest}: the "
            "model must have as many outputs as the label map has ids"
        )
    return highest if highest != architecture_message(message).num_classes else None


def _batch_size(
    message: "Message",
    model: str | os.PathLike,
    global_batch_size: int | None,
    num_gpus: int | None,
) -> int | None:
    """The batch size to set, or None to leave the recipe's."""
    if num_gpus is None:
        return global_batch_size
    if global_batch_size is None:
        known = recipes.recipe_of(model).model or str(model)
        name = templates.name_of(known) or pathlib.Path(known).name.removesuffix(".tar.gz")
        return scaling.batch_for_gpus(message, name, num_gpus)
    if global_batch_size % num_gpus:
        raise UserError(
            f"--global_batch_size={global_batch_size} does not divide by --num_gpus={num_gpus}; "
            f"the nearest that does is {max(1, round(global_batch_size / num_gpus)) * num_gpus}"
        )
    return global_batch_size


def _set_records(reader: "Message", records: str | Sequence[str]) -> None:
    inputs = reader.tf_record_input_reader
    inputs.ClearField("input_path")
    inputs.input_path.extend([records] if isinstance(records, str) else records)


def _eval_reader(message: "Message") -> "Message":
    """The reader of the evaluation images; one is made where the config has none."""
    if len(message.eval_input_reader) > 1:
        raise UserError(
            f"the config has {len(message.eval_input_reader)} evaluation readers; say which with "
            "--set eval_input_reader[0].tf_record_input_reader.input_path=…"
        )
    return (
        message.eval_input_reader[0]
        if message.eval_input_reader
        else (message.eval_input_reader.add())
    )
