"""What a params YAML whose fields all exist can still get wrong: fields that contradict each other,
files that are missing, images that the evaluation drops."""

import dataclasses
import os
from collections.abc import Container, Iterator
from typing import Any

from replicate.config.lint import ERROR, WARNING
from replicate.tfvision.configs import VisionConfig
from replicate.tfvision.experiments import Params
from tfrecords import coco
from tfrecords.errors import InputError

_VAL2017_IMAGES = 5000
#: COCO's highest category id, and the background: what the detectors count as classes.
_COCO_CLASSES = 91
_BACKGROUND = ("retinanet", "maskrcnn", "maxvit", "deepmac_maskrcnn", "qat")
_STEPS = {  # where each kind of schedule has its own length
    "cosine": "decay_steps",
    "polynomial": "decay_steps",
    "power_linear": "total_decay_steps",
}


@dataclasses.dataclass(frozen=True)
class RuleProblem:
    """A finding without its place: level, field, message."""

    level: str
    path: str
    message: str


def check(params: Params, written: Container[str] | None = None) -> Iterator[RuleProblem]:
    """Everything that the rules find.

    Args:
      params: the complete config.
      written: paths that the YAML sets itself; None for a config without a text.
    """
    yield from _input_size(params)
    yield from _kinds(params, "", params, written)
    yield from _schedule(params)
    yield from _sampled_masks(params)
    images, highest = _annotations(params)
    yield from _annotation_file(params)
    yield from _num_classes(params, highest)
    yield from _validation(params, images)


def schedule_length(config: VisionConfig) -> Iterator[RuleProblem]:
    """What the rules find of a config's schedule (`replicate.engine.schedule_problems`)."""
    yield from _schedule(config.params)


def _input_size(params: Params) -> Iterator[RuleProblem]:
    path = "task.model.input_size"
    size = params.at(path)
    if isinstance(size, list) and size and len(size) != 3:
        yield RuleProblem(
            ERROR, path, f"has {len(size)} items; it is height, width and channels: [640, 640, 3]"
        )


def _kinds(
    value: Any, path: str, params: Params, written: Container[str] | None
) -> Iterator[RuleProblem]:
    """`type` of a block names one of the blocks in it; the others are without effect."""
    if not isinstance(value, Params):
        return
    kind = value.values.get("type")
    blocks = [name for name, inner in value.values.items() if isinstance(inner, Params)]
    if value.is_one_of() and kind is not None:
        choices = [name for name in value.values if name != "type"]
        if kind not in choices:
            yield RuleProblem(ERROR, f"{path}.type", f"'{kind}' is none of {', '.join(choices)}")
        elif written is not None:
            for name in blocks:
                if name != kind and f"{path}.{name}" in written:
                    yield RuleProblem(
                        WARNING,
                        f"{path}.{name}",
                        f"is without effect: `type` is {kind}, whose block is `{kind}`",
                    )
    for name, inner in value.values.items():
        yield from _kinds(inner, f"{path}.{name}" if path else name, params, written)


def _schedule(params: Params) -> Iterator[RuleProblem]:
    steps = params.at("trainer.train_steps")
    optimizer = "trainer.optimizer_config"
    kind = params.at(f"{optimizer}.learning_rate.type")
    if not isinstance(steps, int) or steps <= 0 or not isinstance(kind, str):
        return
    here = f"{optimizer}.learning_rate.{kind}"
    if kind == "stepwise":
        boundaries = params.at(f"{here}.boundaries") or []
        values = params.at(f"{here}.values") or []
        if len(values) != len(boundaries) + 1:
            yield RuleProblem(
                ERROR,
                f"{here}.values",
                f"{len(values)} rates for {len(boundaries)} boundaries; one more rate than "
                "boundaries is wanted",
            )
        if list(boundaries) != sorted(set(boundaries)):
            yield RuleProblem(ERROR, f"{here}.boundaries", f"{boundaries} do not rise")
        late = [boundary for boundary in boundaries if boundary >= steps]
        if late:
            yield RuleProblem(
                WARNING,
                f"{here}.boundaries",
                f"{late} lie at or after the end of training ({steps} steps): the rate never "
                "drops there",
            )
    length = params.at(f"{here}.{_STEPS[kind]}") if kind in _STEPS else None
    if length not in (None, steps):
        yield RuleProblem(
            WARNING,
            f"{here}.{_STEPS[kind]}",
            f"the schedule is {length} steps long, training {steps} (trainer.train_steps)",
        )
    warm = params.at(f"{optimizer}.warmup.type")
    warm_steps = params.at(f"{optimizer}.warmup.{warm}.warmup_steps") if warm else None
    if isinstance(warm_steps, int) and warm_steps >= steps:
        yield RuleProblem(
            WARNING,
            f"{optimizer}.warmup.{warm}.warmup_steps",
            f"warm-up ({warm_steps} steps) is as long as training ({steps}) or longer",
        )


def _sampled_masks(params: Params) -> Iterator[RuleProblem]:
    """Masks are taken from among the sampled regions (vision/modeling/layers/mask_sampler.py)."""
    path = "task.model.mask_sampler.num_sampled_masks"
    masks, regions = params.at(path), params.at("task.model.roi_sampler.num_sampled_rois")
    if not params.at("task.model.include_mask"):
        return
    if isinstance(masks, int) and isinstance(regions, int) and masks > regions:
        yield RuleProblem(
            ERROR,
            path,
            f"{masks} masks of {regions} sampled regions (task.model.roi_sampler."
            f"num_sampled_rois): the package refuses the first step; {regions} or fewer",
        )


def _annotations(params: Params) -> tuple[int | None, int | None]:
    """(images, highest category id) of the annotation file; of val2017 by its name."""
    path = params.at("task.annotation_file") or ""
    if os.path.isfile(path):
        try:
            categories = coco.load_categories(path)
            return len(coco.load(path).images), max(categories, default=None)
        except InputError:
            return None, None
    if path.endswith("instances_val2017.json") or params.at("task.validation_data.input_path") in (
        "coco/val*",
    ):
        return _VAL2017_IMAGES, _COCO_CLASSES - 1
    return None, None


def _annotation_file(params: Params) -> Iterator[RuleProblem]:
    path = params.at("task.annotation_file")
    if path is not None and path != "" and "://" not in path and not os.path.isfile(path):
        yield RuleProblem(
            WARNING, "task.annotation_file", f"{path}: no such file; the evaluation needs it"
        )


def _num_classes(params: Params, highest: int | None) -> Iterator[RuleProblem]:
    path = "task.model.num_classes"
    classes, task = params.at(path), params.values.get("task")
    if not isinstance(task, Params) or not isinstance(classes, int) or highest is None:
        return
    if not any(f"{name}." in task.cls for name in _BACKGROUND):
        return  # CenterNet and DETR count without the background
    if classes <= highest:
        yield RuleProblem(
            ERROR,
            path,
            f"{classes}: the annotation file's ids go to {highest}, and 0 is the background; "
            f"{highest + 1} is wanted (objects of higher ids would be cut off)",
        )
    elif classes > highest + 1:
        yield RuleProblem(WARNING, path, f"{classes}: the annotation file's ids end at {highest}")


def _validation(params: Params, images: int | None) -> Iterator[RuleProblem]:
    """Images that an evaluation of TF-Vision does not see."""
    batch = params.at("task.validation_data.global_batch_size")
    if images is None or not isinstance(batch, int) or batch <= 0:
        return
    rest = images % batch
    if params.at("task.validation_data.drop_remainder") and rest:
        yield RuleProblem(
            WARNING,
            "task.validation_data.global_batch_size",
            f"{batch} images a batch leave {rest} of {images} unevaluated (drop_remainder is on)",
        )
    steps = params.at("trainer.validation_steps")
    if isinstance(steps, int) and steps > 0 and steps * batch < images - rest:
        yield RuleProblem(
            WARNING,
            "trainer.validation_steps",
            f"{steps} steps of {batch} images are {steps * batch} of {images}; -1 takes all",
        )
