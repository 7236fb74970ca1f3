"""A complete params YAML from a published row, with one's own paths, steps and batch."""

import copy
import csv
import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

import yaml

from replicate.engine import Composition
from replicate.errors import UserError
from replicate.tfvision import configs, experiments
from replicate.tfvision.configs import VisionConfig
from replicate.tfvision.experiments import Params
from replicate.zoo import vision

_LR = "trainer.optimizer_config.learning_rate"
_WARMUP = "trainer.optimizer_config.warmup"
RATES = (  # scaled with the batch, by the linear rule
    *("initial_learning_rate", "values", "end_learning_rate", "learning_rate"),
    "warmup_learning_rate",
)
_LENGTHS = ("boundaries", "decay_steps", "total_decay_steps", "linear_decay_steps")
_INTERVALS = (
    *("steps_per_loop", "summary_interval", "checkpoint_interval", "validation_interval"),
)


@dataclasses.dataclass(frozen=True)
class RenderRequest:
    """What is changed of a config; None or empty leaves it.

    Attributes:
      overrides: (dotted path, YAML value) pairs, set last.
      train_records, val_records: patterns of records with class labels, or of any with `label_map`.
      annotations_file: COCO JSON of the evaluation.
      label_map: CSV of `id,name`: records without class labels are read by names.
      init_checkpoint: starting weights; "" for random ones.
      num_steps: steps to train; warm-up and schedule become as much shorter or longer.
      epochs: the same in epochs of `num_images`.
      num_images: images of an epoch (COCO's train2017 by default).
      global_batch_size: images a step.
      scale: "linear": rates with the batch, steps against it; "none": the batch alone.
    """

    overrides: Sequence[tuple[str, str]] = ()
    train_records: str | None = None
    val_records: str | None = None
    annotations_file: str | None = None
    label_map: str | None = None
    init_checkpoint: str | None = None
    num_steps: int | None = None
    epochs: float | None = None
    num_images: int = 118287
    global_batch_size: int | None = None
    scale: str = "linear"


def render(source: str, request: RenderRequest) -> VisionConfig:
    """The config of a row, YAML or run, changed.

    Raises:
      UserError: there is no such config; an override that names no field or has the wrong type; a
        label map that is no CSV of ids and names.
    """
    config = configs.read(source)
    params = config.params
    if request.global_batch_size is not None:
        _scale_batch(params, request.global_batch_size, request.scale)
    if request.epochs is not None:
        batch = params.at("task.train_data.global_batch_size")
        _scale_steps(params, max(1, round(request.epochs * (request.num_images // batch))))
    if request.num_steps is not None:
        _scale_steps(params, request.num_steps)
    _paths(params, request)
    for path, text in request.overrides:
        set_field(params, path, text)
    return dataclasses.replace(config, document=None)


def set_field(params: Params, path: str, text: str) -> None:
    """Sets the field at a dotted path to a YAML value.

    Raises:
      UserError: there is no such field, or it does not take the value.
    """
    try:
        value = yaml.safe_load(text) if text.strip() else ""
    except yaml.YAMLError as error:
        raise UserError(f"--set {path}={text}: not YAML: {error}") from None
    field, value = _of_element(params, path, value)
    nested: Any = value
    for name in reversed(field.split(".")):
        nested = {name: nested}
    problems = params.override(nested)
    if problems:
        sentences = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
        raise UserError(f"--set {path}={text}: {sentences}")


def _of_element(params: Params, path: str, value: Any) -> tuple[str, Any]:
    """(field, its whole list) where `path` names an element, PATH[i]; else both as they are."""
    match = re.fullmatch(r"(.+)\[(\d+)\]", path)
    if match is None:
        return path, value
    field, index = match[1], int(match[2])
    elements = params.at(field)
    if not isinstance(elements, list) or index >= len(elements):
        holds = f"has {len(elements)} elements" if isinstance(elements, list) else "is no list"
        raise UserError(f"--set {path}: {field} {holds}; give it whole, as [1, 2]")
    return field, [*elements[:index], value, *elements[index + 1 :]]


def composed(asked: Composition) -> VisionConfig:
    """The config that a replication trains (`replicate.engine.compose`).

    The records hold class labels; classes are as many as the highest category id, and background.
    """
    shorten = asked.shorten_schedule
    overrides = [("task.model.num_classes", str(max(asked.categories) + 1))]
    if asked.num_steps is not None and not shorten:
        overrides.append(("trainer.train_steps", str(asked.num_steps)))
    request = RenderRequest(
        overrides=[*overrides, *asked.overrides],
        train_records=asked.train_records,
        val_records=asked.val_records,
        annotations_file=asked.val_annotations,
        init_checkpoint=asked.start,
        num_steps=asked.num_steps if shorten else None,
    )
    return render(asked.source, request)


def set_config_field(config: VisionConfig, path: str, text: str) -> None:
    """See `replicate.engine.set_field`."""
    set_field(config.params, path, text)


def detecting_as(config: VisionConfig, other: VisionConfig) -> VisionConfig | None:
    """See `replicate.engine.detecting_as`."""
    made = copy.deepcopy(config)
    ours, theirs = (each.params.values["task"].values["model"] for each in (made, other))
    if ours.cls != theirs.cls:
        return None
    ours.values["detection_generator"] = copy.deepcopy(theirs.values["detection_generator"])
    return made


def reading(config: VisionConfig, records: str, label_map: str) -> VisionConfig:
    """See `replicate.engine.reading`; evaluation reads images and annotations, not records."""
    made = copy.deepcopy(config)
    _set(made.params, "task.train_data.input_path", records)
    return made


def of_step(config: VisionConfig) -> str:
    """See `replicate.engine.of_step`."""
    step = copy.deepcopy(config)
    values = step.params.values["task"].values
    for field in ("validation_data", "annotation_file"):
        values.pop(field, None)
    data = values["train_data"].values
    for field in ("input_path", "shuffle_buffer_size"):
        data.pop(field, None)
    decoder = data.get("decoder")
    if isinstance(decoder, Params) and "label_map_decoder" in decoder.values:
        decoder.values["label_map_decoder"].values.pop("label_map", None)
    return text_of(step, None)


def stopping_at(config: VisionConfig, num_steps: int) -> VisionConfig:
    """See `replicate.engine.stopping_at`."""
    _set(config.params, "trainer.train_steps", num_steps)
    return config


def text_of(config: VisionConfig, model: str | None) -> str:
    """The complete YAML, its head naming the experiment and the row it was made from."""
    body = yaml.safe_dump(config.params.as_dict(), sort_keys=False, default_flow_style=None)
    row = vision.get(model or "")
    lines = [f"# --experiment_type={config.experiment}", f"# defaults of {experiments.package()}"]
    if row is not None:
        lines.append(f"# model: {row.name}")
        lines += [f"# published: {text}" for text in _figures(row)]
    return "\n".join(lines) + "\n" + body


def _figures(row: vision.VisionRow) -> list[str]:
    figures = []
    for kind, table, header in (
        ("box", row.box_ap, row.header_box_ap),
        ("mask", row.mask_ap, row.header_mask_ap),
    ):
        if table is not None:
            other = f", header {header:g}" if header not in (None, table) else ""
            figures.append(f"{kind} AP {table:g}{other}")
    return figures


def _paths(params: Params, request: RenderRequest) -> None:
    given: dict[str, str | None] = {
        "task.train_data.input_path": request.train_records,
        "task.validation_data.input_path": request.val_records,
        "task.annotation_file": request.annotations_file,
    }
    for path, value in given.items():
        if value is not None:
            _set(params, path, value)
    if request.init_checkpoint is not None:
        _set(params, "task.init_checkpoint", request.init_checkpoint or None)
    if request.label_map is not None:
        highest = max(_given_label_map(request.label_map))
        for split in ("train_data", "validation_data"):
            _set(params, f"task.{split}.decoder.type", "label_map_decoder")
            _set(params, f"task.{split}.decoder.label_map_decoder.label_map", request.label_map)
        _set(params, "task.model.num_classes", highest + 1)


def label_map(path: str) -> dict[int, str]:
    """The names by id of a CSV label map, as TF-Vision reads it.

    Raises:
      OSError, ValueError: it cannot be read; it is not lines of id,name.
    """
    with open(path, encoding="utf-8", newline="") as file:
        return {int(id_): name for id_, name in csv.reader(file)}


def _given_label_map(path: str) -> dict[int, str]:
    if not path.endswith(".csv") or not os.path.isfile(path):
        raise UserError(
            f"--label_map={path}: TF-Vision reads a CSV of id,name lines; "
            "tools/create_coco_tf_record.py --label_map=… writes one beside the pbtxt"
        )
    try:
        return label_map(path)
    except ValueError as error:
        raise UserError(f"{path}: not lines of id,name: {error}") from None


def _scale_batch(params: Params, batch: int, scale: str) -> None:
    """The linear rule (Goyal et al. 2017): rates with the batch, steps against it."""
    before = params.at("task.train_data.global_batch_size")
    _set(params, "task.train_data.global_batch_size", batch)
    if scale != "linear" or not before or batch == before:
        return
    factor = batch / before
    for at in (_LR, _WARMUP):
        kind = params.at(f"{at}.type")
        for name in RATES:
            path = f"{at}.{kind}.{name}"
            value = params.at(path)
            if isinstance(value, list):
                _set(params, path, [element * factor for element in value])
            elif isinstance(value, (int, float)) and value:
                _set(params, path, value * factor)
    steps = params.at("trainer.train_steps")
    _scale_steps(params, max(1, round(steps / factor)))


def _scale_steps(params: Params, steps: int) -> None:
    """Another number of steps, the schedule's parts in proportion."""
    before = params.at("trainer.train_steps")
    factor = steps / before
    paths = [f"{_LR}.{params.at(f'{_LR}.type')}.{name}" for name in _LENGTHS]
    paths.append(f"{_WARMUP}.{params.at(f'{_WARMUP}.type')}.warmup_steps")
    paths += [f"trainer.{name}" for name in _INTERVALS]
    for path in paths:
        value = params.at(path)
        if isinstance(value, list):
            _set(params, path, [max(1, round(element * factor)) for element in value])
        elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
            _set(params, path, max(1, round(value * factor)))
    _set(params, "trainer.train_steps", steps)


def _set(params: Params, path: str, value: Any) -> None:
    nested: Any = value
    for name in reversed(path.split(".")):
        nested = {name: nested}
    problems = params.override(nested)
    if problems:
        raise UserError("; ".join(f"{problem.path}: {problem.message}" for problem in problems))
