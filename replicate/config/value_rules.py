"""Values that the API takes without a word, and that cannot train or detect what was meant."""

import dataclasses
import fnmatch
import glob
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from replicate.config import paths
from replicate.config.problem import ERROR, WARNING, ConfigProblem

if TYPE_CHECKING:
    from google.protobuf.message import Message


@dataclasses.dataclass(frozen=True)
class Range:
    """Between which values a number makes sense.

    Attributes:
      path: field names without indices; `*` stands for any characters.
      low, high: the bounds, allowed themselves; `above` excludes the low one.
      consequence: what comes of a value outside.
      level: ERROR where training ends of it.
    """

    path: str
    consequence: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    level: str = WARNING

    def holds(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and value <= self.high


_NO_SIZE = "its anchors are no boxes; it must be above 0"
_NEGATIVE_WEIGHTS = "the loss rewards wrong classes; alpha is between 0 and 1"
_DIVERGES = "batch normalization's averages diverge; decay is between 0 and 1"
_CROP = "train_config.data_augmentation_options.random_crop_image"
_REFUSED_CROP = "TensorFlow refuses it at the first image that is cropped; "
_FOCAL = "model.ssd.loss.classification_loss.weighted_sigmoid_focal"
RANGES = (
    Range("model.*anchor_generator.*.aspect_ratios", _NO_SIZE, 0, above=True),
    Range("model.*anchor_generator.*.scales", _NO_SIZE, 0, above=True),
    Range("model.*anchor_generator.*.anchor_scale", _NO_SIZE, 0, above=True),
    Range(f"{_FOCAL}.alpha", _NEGATIVE_WEIGHTS, 0, 1),
    Range(f"{_FOCAL}.gamma", "the loss weighs up what is already right; gamma is 0 or above", 0),
    Range("model.ssd.loss.classification_weight", "classes are not learned", 0, above=True),
    Range("model.ssd.loss.localization_weight", "boxes are not learned", 0, above=True),
    Range("model.*batch_norm.decay", _DIVERGES, 0, 1),
    Range("model.*.depth_multiplier", "a backbone without width; above 0", 0, above=True),
    Range(
        "model.ssd.matcher.argmax_matcher.matched_threshold",
        "no anchor overlaps an object so much; an IoU is between 0 and 1",
        0,
        1,
    ),
    Range("train_input_reader.max_number_of_boxes", "training is given no object", 1),
    Range(
        "train_config.optimizer.*.learning_rate.*_learning_rate.*learning_rate*",
        "weights diverge at such a rate; recipes have 0.8 at most",
        high=10,
    ),
    *(
        Range(f"{_CROP}.{end}_area", f"{_REFUSED_CROP}above 0, 1 at most", 0, 1, True, ERROR)
        for end in ("min", "max")
    ),
    *(
        Range(f"{_CROP}.{end}_aspect_ratio", f"{_REFUSED_CROP}above 0", 0, math.inf, True, ERROR)
        for end in ("min", "max")
    ),
)
_CONVERTERS = {  # of the logits that each classification loss trains
    "weighted_sigmoid": "SIGMOID",
    "weighted_sigmoid_focal": "SIGMOID",
    "weighted_softmax": "SOFTMAX",
}


def ranges(message: "Message") -> Iterator[ConfigProblem]:
    """Numbers outside of `RANGES`; `build_rules.finite` tells those that are none."""
    for path, value in _numbers(message, ""):
        names = paths.without_indices(path)
        for rule in RANGES:
            if fnmatch.fnmatchcase(names, rule.path) and math.isfinite(value):
                if not rule.holds(value):
                    yield ConfigProblem(rule.level, path, f"{value:.4g}: {rule.consequence}")
                break


def levels(message: "Message") -> Iterator[ConfigProblem]:
    """The anchors' levels against those of the feature maps that they lie on."""
    ssd = message.model.ssd
    kind = "multiscale_anchor_generator"
    if ssd.anchor_generator.WhichOneof("anchor_generator_oneof") != kind:
        return
    anchors = ssd.anchor_generator.multiscale_anchor_generator
    for name in ("fpn", "bifpn"):
        pyramid = getattr(ssd.feature_extractor, name)
        held = (pyramid.min_level, pyramid.max_level)
        given = (anchors.min_level, anchors.max_level)
        if not ssd.feature_extractor.HasField(name) or held == given:
            continue
        if held[0] > held[1] or given[0] > given[1]:
            continue  # told by `build_rules.anchors`
        same_count = held[1] - held[0] == given[1] - given[0]
        yield ConfigProblem(
            WARNING if same_count else ERROR,
            f"model.ssd.anchor_generator.{kind}.{'min' if held[0] != given[0] else 'max'}_level",
            f"anchors of levels {given[0]} to {given[1]}, but {name} gives feature maps of levels "
            f"{held[0]} to {held[1]}: "
            + (
                "anchors lie beside the cells that predict them"
                if same_count
                else "the API refuses another number at the first image"
            ),
        )


def score_converter(message: "Message") -> Iterator[ConfigProblem]:
    """How SSD makes scores of logits, against the loss that they are trained with."""
    if message.model.WhichOneof("model") != "ssd":
        return
    ssd = message.model.ssd
    loss = ssd.loss.classification_loss.WhichOneof("classification_loss")
    field = ssd.post_processing.DESCRIPTOR.fields_by_name["score_converter"]
    given = field.enum_type.values_by_number[ssd.post_processing.score_converter].name
    wanted = _CONVERTERS.get(loss)
    if wanted is not None and given != wanted:
        yield ConfigProblem(
            WARNING,
            "model.ssd.post_processing.score_converter",
            f"{given}, but {loss} trains logits of which {wanted} makes scores; write {wanted}",
        )


def augmentation(message: "Message") -> Iterator[ConfigProblem]:
    """The same step twice, and crops whose lower bound is above the upper one."""
    where = "train_config.data_augmentation_options"
    steps = list(message.train_config.data_augmentation_options)
    for index, step in enumerate(steps):
        kind = step.WhichOneof("preprocessing_step")
        if kind is None:
            continue
        path = f"{where}[{index}].{kind}"
        if step in steps[:index]:
            yield ConfigProblem(
                WARNING,
                path,
                f"the same as {where}[{steps.index(step)}]: it is applied once more; remove one",
            )
        held = getattr(step, kind)
        for name in ("area", "aspect_ratio") if kind == "random_crop_image" else ():
            low, high = getattr(held, f"min_{name}"), getattr(held, f"max_{name}")
            if low > high:
                yield ConfigProblem(
                    WARNING,
                    f"{path}.min_{name}",
                    f"min_{name} {low:.4g} is above max_{name} {high:.4g}: no such crop; swap them",
                )


def evaluated_on_training(message: "Message") -> Iterator[ConfigProblem]:
    """Evaluation readers that read what is trained on."""
    trained = _files(message.train_input_reader)
    for index, reader in enumerate(message.eval_input_reader):
        shared = trained & _files(reader)
        if shared:
            yield ConfigProblem(
                WARNING,
                f"eval_input_reader[{index}].tf_record_input_reader.input_path",
                f"{min(shared)} is read for training too: the figures are of images that the model "
                "was trained on",
            )


def _files(reader: "Message") -> set[str]:
    """The record files of a reader; of a pattern that matches none here, the pattern."""
    files: set[str] = set()
    for pattern in reader.tf_record_input_reader.input_path:
        if "TO_BE_CONFIGURED" not in pattern and "TO_BEE_CONFIGURED" not in pattern:
            files |= {os.path.normpath(path) for path in glob.glob(pattern) or [pattern]}
    return files


def _numbers(message: "Message", prefix: str) -> Iterator[tuple[str, float]]:
    """(path, value) of the number fields that are set, in lists too."""
    for field, value in message.ListFields():
        if paths.is_map(field):
            continue
        for index, element in enumerate(value if field.is_repeated else [value]):
            path = prefix + field.name + (f"[{index}]" if field.is_repeated else "")
            if field.cpp_type == field.CPPTYPE_MESSAGE:
                yield from _numbers(element, f"{path}.")
            elif isinstance(element, (int, float)) and not isinstance(element, bool):
                yield path, element


RULES = (ranges, levels, score_converter, augmentation, evaluated_on_training)
