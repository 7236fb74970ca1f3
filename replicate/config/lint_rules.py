"""What a config that parses can still get wrong: missing paths, fields that contradict each other.

Each rule is a function of the message that yields `ConfigProblem`s; `RULES` lists them.
"""

import glob
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from replicate import records
from replicate.config import (
    build_rules,
    known_names,
    labelmap,
    schedule,
    textproto,
    value_rules,
)
from replicate.config.facts import facts, learning_rate
from replicate.config.problem import ERROR, WARNING, ConfigProblem
from replicate.errors import UserError
from tfrecords import label_map

if TYPE_CHECKING:
    from google.protobuf.message import Message


PLACEHOLDER = ("PATH_TO_BE_CONFIGURED", "PATH_TO_BEE_CONFIGURED")
_OF_CHECKPOINT = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")  # files of a TF2 checkpoint
_TYPES = ("classification", "detection", "full")


def check(message: "Message") -> Iterator[ConfigProblem]:
    """All problems of a `TrainEvalPipelineConfig`, rule by rule."""
    if message.model.WhichOneof("model") not in known_names.FEATURE_EXTRACTORS:
        yield ConfigProblem(ERROR, "model", "no model: it needs ssd, faster_rcnn or center_net")
        return
    for rule in RULES:
        yield from rule(message)


def required_paths(message: "Message") -> Iterator[ConfigProblem]:
    """Label maps and records that are missing, still to be configured, or match no file."""
    readers = [("train_input_reader", message.train_input_reader)]
    readers += [(f"eval_input_reader[{i}]", r) for i, r in enumerate(message.eval_input_reader)]
    if not message.eval_input_reader:
        yield ConfigProblem(ERROR, "eval_input_reader", "missing: which images are evaluated")
    for name, reader in readers:
        yield from _file(f"{name}.label_map_path", reader.label_map_path)
        inputs = list(reader.tf_record_input_reader.input_path)
        for path in inputs or [""]:
            yield from _file(f"{name}.tf_record_input_reader.input_path", path)
    keypoints = message.model.center_net.keypoint_label_map_path
    if message.model.center_net.keypoint_estimation_task:
        yield from _file("model.center_net.keypoint_label_map_path", keypoints)
    checkpoint = message.train_config.fine_tune_checkpoint
    if checkpoint:
        yield from _file("train_config.fine_tune_checkpoint", checkpoint, suffix="*")


def fine_tuning(message: "Message") -> Iterator[ConfigProblem]:
    """The checkpoint's type and version against what the API restores."""
    train = message.train_config
    if not train.fine_tune_checkpoint:
        yield ConfigProblem(
            WARNING,
            "train_config.fine_tune_checkpoint",
            "unset: training starts from random weights, unlike any zoo recipe",
        )
        return
    file_of_it = _OF_CHECKPOINT.search(train.fine_tune_checkpoint)
    if file_of_it:
        prefix = train.fine_tune_checkpoint[: file_of_it.start()]
        yield ConfigProblem(
            ERROR,
            "train_config.fine_tune_checkpoint",
            f"a file of a checkpoint, where its prefix is wanted; write '{prefix}'",
        )
    version = train.DESCRIPTOR.fields_by_name["fine_tune_checkpoint_version"]
    if version.enum_type.values_by_number[train.fine_tune_checkpoint_version].name != "V2":
        written = train.HasField("fine_tune_checkpoint_version")
        yield ConfigProblem(
            ERROR,
            "train_config.fine_tune_checkpoint_version",
            f"{'V1' if written else 'unset, which means V1'}: TensorFlow 2 reads V2 checkpoints "
            "alone; write fine_tune_checkpoint_version: V2",
        )
    kind = train.fine_tune_checkpoint_type
    if kind not in _TYPES:
        yield ConfigProblem(
            ERROR,
            "train_config.fine_tune_checkpoint_type",
            f"'{kind}' is no type of V2; it is classification (a backbone), detection or full (a "
            "detector)"
            + (
                ", and a CenterNet's fine_tune is detection under another name: write that"
                if kind == "fine_tune" and message.model.HasField("center_net")
                else ""
            ),
        )
    if train.from_detection_checkpoint:
        yield ConfigProblem(
            WARNING,
            "train_config.from_detection_checkpoint",
            "TensorFlow 1's field; fine_tune_checkpoint_type is what TensorFlow 2 reads",
        )


def class_count(message: "Message") -> Iterator[ConfigProblem]:
    """`num_classes` against the highest id of each label map that exists."""
    name = message.model.WhichOneof("model")
    count = getattr(message.model, name).num_classes
    for _, path in _label_maps(message):
        try:
            highest = labelmap.highest_id(path)
        except UserError:
            continue  # `label_maps` says why
        if highest != count:
            yield ConfigProblem(
                ERROR,
                f"model.{name}.num_classes",
                f"num_classes is {count}, but the highest id in {path} is {highest}; the two must "
                "be equal",
            )


def label_maps(message: "Message") -> Iterator[ConfigProblem]:
    """Label maps that are none, or give ids or names twice; and against the records' categories."""
    for reader_path, path in _label_maps(message):
        field = f"{reader_path}.label_map_path"
        try:
            names = label_map.read(path)
            labelmap.check_fields(path)
        except UserError as error:
            yield ConfigProblem(ERROR, field, str(error))
            continue
        if label_map.has_byte_order_mark(path):
            yield ConfigProblem(
                WARNING,
                field,
                f"{path} begins with a byte-order mark, which the API's parser does not take: "
                f"sed -i '1s/^\\xEF\\xBB\\xBF//' {path}",
            )
        yield from _against_records(message, reader_path, path, names)


def _label_maps(message: "Message") -> list[tuple[str, str]]:
    """(reader's path in the config, label map), each file once, of those that exist."""
    readers: dict[str, str] = {}
    for reader_path, reader in _readers(message):
        if os.path.isfile(reader.label_map_path):
            readers.setdefault(reader.label_map_path, reader_path)
    return [(reader_path, path) for path, reader_path in sorted(readers.items())]


def _readers(message: "Message") -> list[tuple[str, "Message"]]:
    readers = [("train_input_reader", message.train_input_reader)]
    return readers + [
        (f"eval_input_reader[{i}]", reader) for i, reader in enumerate(message.eval_input_reader)
    ]


def _against_records(
    message: "Message", reader_path: str, path: str, names: dict[int, str]
) -> Iterator[ConfigProblem]:
    """The map against the categories that the manifests of the readers' records name."""
    field = f"{reader_path}.label_map_path"
    ids = {name: label for label, name in names.items()}
    for _, reader in _readers(message):
        if reader.label_map_path != path:
            continue
        categories = records.of_reader(reader).category_names()
        lacking = [name for name in categories.values() if name not in ids]
        if lacking:
            yield ConfigProblem(ERROR, field, records.not_named(path, lacking, ids))
            return
        other = {id_: name for id_, name in categories.items() if ids[name] != id_}
        if other:
            id_, name = next(iter(other.items()))
            yield ConfigProblem(
                WARNING,
                field,
                f"{path}: {len(other)} of {len(categories)} categories have another id than in the "
                f"annotation file, the first {name!r}: {ids[name]} here, {id_} there. Training "
                "goes by names; whatever reads the model's classes must go by this map",
            )
            return


def moving_averages(message: "Message") -> Iterator[ConfigProblem]:
    """`use_moving_average` in training against `use_moving_averages` in evaluation."""
    trained = message.train_config.optimizer.use_moving_average
    evaluated = message.eval_config.use_moving_averages
    if trained == evaluated:
        return
    default = not message.train_config.optimizer.HasField("use_moving_average")
    yield ConfigProblem(
        WARNING,
        "eval_config.use_moving_averages",
        f"{_bool(evaluated)}, but train_config.optimizer.use_moving_average is {_bool(trained)}"
        f"{' (its default)' if default else ''}: "
        + (
            "there are no averaged weights to evaluate"
            if evaluated
            else "averaged weights are kept and never evaluated"
        ),
    )


def schedule_length(message: "Message") -> Iterator[ConfigProblem]:
    """The schedule's own end against `num_steps`, and schedules that the API refuses."""
    steps = message.train_config.num_steps
    if not steps:
        yield ConfigProblem(ERROR, "train_config.num_steps", "unset: training has no end")
    optimizer = message.train_config.optimizer
    path = f"train_config.optimizer.{optimizer.WhichOneof('optimizer')}.learning_rate"
    try:
        schedule.learning_rates(message, [0])
        kind = schedule.kind_of(message)
    except UserError as error:
        yield ConfigProblem(ERROR, path, str(error))
        return
    rate = getattr(learning_rate(message), kind)
    if kind == "cosine_decay_learning_rate" and steps and rate.total_steps != steps:
        end = schedule.learning_rates(message, [steps])[0]
        yield ConfigProblem(
            WARNING,
            f"{path}.{kind}.total_steps",
            f"total_steps is {rate.total_steps}, num_steps {steps}: "
            + (
                f"training ends at a rate of {end:.3g}, before the decay does"
                if steps < rate.total_steps
                else f"the last {steps - rate.total_steps} steps train at a rate of 0"
            ),
        )
    if kind == "manual_step_learning_rate" and steps and rate.schedule[-1].step >= steps:
        yield ConfigProblem(
            WARNING,
            f"{path}.{kind}.schedule[{len(rate.schedule) - 1}].step",
            f"the change at step {rate.schedule[-1].step} is never reached: num_steps is {steps}",
        )


def metrics(message: "Message") -> Iterator[ConfigProblem]:
    """The evaluators against those of the published figures."""
    chosen = list(message.eval_config.metrics_set)
    for name in chosen:
        if name not in known_names.METRICS:
            yield ConfigProblem(
                ERROR,
                "eval_config.metrics_set",
                f"no metric '{name}'; {textproto.choices(name, known_names.METRICS)}",
            )
            return
    wanted = ["coco_detection_metrics"]
    if facts(message).predicts_masks:
        wanted.append("coco_mask_metrics")
    for name in wanted:
        if name not in chosen:
            yield ConfigProblem(
                WARNING,
                "eval_config.metrics_set",
                f"{', '.join(chosen) or 'missing'}: the published figures are {name}",
            )


def feature_extractor(message: "Message") -> Iterator[ConfigProblem]:
    """The backbone's name, which the API looks up only when it builds the model."""
    name = message.model.WhichOneof("model")
    kind = getattr(message.model, name).feature_extractor.type
    known = known_names.FEATURE_EXTRACTORS[name]
    if kind in known:
        return
    hint = " (TensorFlow 1's)" if f"{kind}_keras" in known else ""
    if kind in known_names.OF_TENSORFLOW_1_ALONE:
        hint = " (TensorFlow 1's, which TensorFlow 2 has no counterpart of)"
    others = [model for model, names in known_names.FEATURE_EXTRACTORS.items() if kind in names]
    which = name if others else "TensorFlow 2"
    hint = f" (of {others[0]})" if others else hint
    yield ConfigProblem(
        ERROR,
        f"model.{name}.feature_extractor.type",
        f"'{kind}'{hint} is no feature extractor of {which}; {textproto.choices(kind, known)}",
    )


RULES = (
    required_paths,
    fine_tuning,
    class_count,
    label_maps,
    moving_averages,
    schedule_length,
    metrics,
    feature_extractor,
    *build_rules.RULES,
    *value_rules.RULES,
)


def _file(path: str, value: str, suffix: str = "") -> Iterator[ConfigProblem]:
    """What is wrong with one path of a config. Patterns may hold `*` and `?`."""
    if not value:
        yield ConfigProblem(ERROR, path, "missing: a path is required here")
    elif any(mark in value for mark in PLACEHOLDER):
        yield ConfigProblem(ERROR, path, f"'{value}' is still to be configured")
    elif "://" not in value and not glob.glob(value + suffix):
        yield ConfigProblem(WARNING, path, f"no file matches '{value}' on this machine")


def _bool(value: bool) -> str:
    return "true" if value else "false"
