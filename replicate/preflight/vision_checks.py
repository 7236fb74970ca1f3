"""Reasons that a TF-Vision config tells in fields of its own: start, labels, averages, detections.

What either engine's config tells (`replicate.engine.describe`) is checked with the others'.
"""

import os
from collections.abc import Iterator
from typing import Any

from replicate.preflight import data_checks, overlap
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.recipe_checks import deviation
from replicate.preflight.result import CheckFinding, Note, breaks, differs, mind
from replicate.records import Records, not_named
from replicate.tfvision import render

_EMA = "trainer.optimizer_config.ema"
_GENERATOR = "task.model.detection_generator"
# What official/vision's own factories cut at; AP misses more where more is cut.
_CUT = 0.05
_COCO_DETECTIONS = 100


def _at(config: Any, path: str) -> Any:
    return config.params.at(path)


def starting_checkpoint(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """1: the recipe's starting weights are not loaded."""
    here = facts.described.start
    theirs = facts.published.start if facts.published is not None else None
    give = "--fine_tune_checkpoint=CHECKPOINT" + (f" (the recipe's: {theirs})" if theirs else "")
    if not here:
        if facts.checkpoint_steps:
            yield Note("not needed: the run continues from its own checkpoint")
        elif facts.finetunes:
            yield mind("random weights: there is nothing to fine-tune", give)
        elif theirs:
            yield differs("random weights; the recipe starts from a checkpoint", give)
        elif facts.published is None:
            yield mind("random weights; nothing to compare with", "name the published row")
        else:
            yield Note("random weights, as in the recipe")
        return
    modules = _at(facts.message, "task.init_checkpoint_modules")
    if not _is_checkpoint(here):
        yield breaks(
            f"no checkpoint at {here}",
            'name the prefix of a TF2 checkpoint or its folder, or "" for random weights',
        )
    else:
        yield Note(f"{here} ({facts.described.start_kind})")
    if facts.recipe is not None:
        published = _at(facts.recipe, "task.init_checkpoint_modules")
        if theirs and modules != published and not facts.finetunes:
            field = "task.init_checkpoint_modules"
            yield differs(
                f"{field} is {modules}; the recipe's {published}",
                f"--set {field}={published}",
                facts.meant(field),
            )
        elif not theirs and not facts.finetunes:
            yield differs(
                "starts from a checkpoint; the recipe from random weights",
                '--fine_tune_checkpoint=""',
                facts.meant("task.init_checkpoint"),
            )


def fitting_checkpoint(modules: str) -> str:
    """What checkpoint would fit, where one does not; `modules` as of `engine.Description`."""
    if modules == "all":
        return (
            "a checkpoint of this model with as many classes, as TF-Vision's trainer or the kit "
            'wrote it; of any other, --set task.init_checkpoint_modules="backbone"'
        )
    return f"a checkpoint that holds the {modules} of this model under that name"


def _is_checkpoint(path: str) -> bool:
    return os.path.isfile(f"{path}.index") or os.path.isfile(os.path.join(path, "checkpoint"))


def labels(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """7: the classes are wrong, or the records hold none that the decoder reads."""
    for operation in facts.deviations_of(7):
        yield deviation(facts, operation)
    classes = facts.described.num_classes
    field = "task.model.num_classes"
    sources = [s for s in (facts.train_source, facts.val_source) if s is not None]
    for source in sources:
        highest = max(source.categories, default=0)
        if highest > classes:
            yield breaks(
                f"{source.annotations_file}: category {source.categories[highest]!r} has id "
                f"{highest}, {field} is {classes + 1} with the background: its objects would be "
                "cut off",
                f"--set {field}={highest + 1}",
            )
    if facts.row is not None and sources:
        yield from data_checks.coco_categories(sources[-1].categories, 0)
    names = None
    path = facts.described.train_label_map
    if path:
        try:
            names = render.label_map(path)
        except (OSError, ValueError) as error:
            yield breaks(f"{path} is no CSV of id,name: {error}", data_checks.CONVERT)
            return
        if max(names, default=0) > classes:
            yield breaks(
                f"{path} has ids to {max(names)}, {field} is {classes + 1} with the background",
                f"--set {field}={max(names) + 1}",
            )
    for split in ("train", "val"):
        yield from _records(facts, split, getattr(facts, f"{split}_records"), names)
    masks = facts.described.predicts_masks
    if masks and facts.intent.convert and not facts.intent.include_masks:
        yield breaks("the model learns masks; the records will have none", "--include_masks")
    yield Note(f"{classes} classes and the background")


def _records(
    facts: LaunchFacts, split: str, held: Records, names: dict[int, str] | None
) -> Iterator[CheckFinding]:
    """Whether the decoder finds the objects of a sample of records, and what they are."""
    classes = facts.described.num_classes
    with_objects = [
        features
        for features in overlap.sample_records(held)
        if _values(features, "image/object/bbox/xmin")
    ]
    for features in with_objects:
        if names is not None:
            texts = {
                text.decode("utf-8", "replace")
                for text in _values(features, "image/object/class/text")
            }
            lacking = sorted(texts - set(names.values()))
            if lacking or not texts:
                yield breaks(
                    f"{split}: "
                    + (
                        not_named("the label map", lacking, list(names.values()))
                        if lacking
                        else "the records name no classes; the label map decoder reads no object"
                    ),
                    data_checks.CONVERT,
                )
                return
            continue
        numbers = _values(features, "image/object/class/label")
        if not numbers:
            yield breaks(
                f"{split}: the records hold no class labels: TF-Vision's decoder reads their "
                "images without any object, and says nothing",
                f"{data_checks.CONVERT} --include_class_labels, or the label map's CSV "
                "(--label_map of tools/render_config.py)",
            )
            return
        wrong = [number for number in numbers if not 1 <= number <= classes]
        if wrong:
            yield breaks(
                f"{split}: the records have label {max(wrong)}, the model classes 1 to {classes}",
                f"--set task.model.num_classes={max(wrong) + 1}"
                if min(wrong) >= 1
                else data_checks.CONVERT,
            )
            return
    has_masks = any(_values(features, "image/object/mask") for features in with_objects)
    needed = split == "train" and facts.described.predicts_masks
    if needed and with_objects and not has_masks:
        yield breaks(
            "train: the model learns masks; the records have none",
            f"{data_checks.CONVERT} --include_masks",
        )


def _values(features: dict, name: str) -> Any:
    return features.get(name, (None, ()))[1]


def averages(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """13: moving averages are kept, or not, unlike the recipe; what is kept is evaluated."""
    for operation in facts.deviations_of(13):
        yield deviation(facts, operation)
    kept = _at(facts.message, _EMA) is not None
    compared = ", as in the recipe" if facts.recipe is not None else ""
    yield Note(f"{'kept and evaluated' if kept else 'not kept'}{compared}")


def cut(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """14: the detections that are left out."""
    deviations = facts.deviations_of(14)
    for operation in deviations:
        yield deviation(facts, operation)
    generator = _at(facts.message, _GENERATOR) or {}
    threshold = generator.get("pre_nms_score_threshold")
    detections = generator.get("max_num_detections")
    if deviations:
        return
    if facts.recipe is None and (threshold or 0) > _CUT:
        yield differs(
            f"pre_nms_score_threshold {threshold:g}: AP counts what scores lower too",
            f"TF-Vision's own is {_CUT}",
        )
    elif facts.recipe is None and detections is not None and detections < _COCO_DETECTIONS:
        yield differs(
            f"{detections} detections an image; COCO's AP is over {_COCO_DETECTIONS}",
            f"--set {_GENERATOR}.max_num_detections={_COCO_DETECTIONS}",
        )
    else:
        yield Note(
            f"score threshold {threshold}, IoU {generator.get('nms_iou_threshold')}, "
            f"{detections} detections" + f", {facts.as_recipe}" * (facts.recipe is not None)
        )
