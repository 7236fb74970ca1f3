"""From files to an Answer: the official figure stands first, by an evaluator that others trust."""

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

from replicate.errors import UserError
from replicate.explain.search import Answer, search
from replicate.explain.setting import MAX_DETS
from replicate.explain.text import counted
from replicate.explain.told_figures import ToldFigure, kind_of, parts_of
from replicate.score import Result, score
from replicate.score.detections import Detections
from replicate.score.text import remarks

# The engine here and hotcoco take the same means in another order.
_AGREEMENT = 1e-9
_CALLED = {"bbox": "boxes", "segm": "masks"}


def from_detections(
    annotations_file: str | os.PathLike[str],
    detections: Detections | str | os.PathLike[str] | Iterable[dict],
    told: Iterable[str] = (),
    *,
    iou_type: str = "bbox",
    **options: Any,
) -> Answer:
    """Which protocols, alone or in pairs, give the told figures from these detections.

    Args:
      annotations_file: COCO annotations, `.json` or `.json.gz`.
      detections: COCO results, a path or a list of dicts.
      told: figures as text, "AP=0.188"; see ToldFigure.parse.
      iou_type: "bbox" or "segm".
      **options: image_ids, num_images, fix as score.score takes them; pairs as search takes it.

    Raises:
      UserError: an input or a told figure that is not what it should be; told figures that no
        evaluation gives together; no objects, no detections; the engine here and hotcoco give
        different official figures.
    """
    if iou_type not in ("bbox", "segm"):
        raise UserError(f"iou_type '{iou_type}': boxes (bbox) and masks (segm) are explained")
    told = list(told)
    figures = ToldFigure.all_of(told)
    for written in (part for text in told for part in parts_of(text)):
        kind = kind_of(written)
        if kind and kind != iou_type:
            raise UserError(
                f"--told={written}: by its name of {_CALLED[kind]}, and "
                f"{_CALLED[iou_type]} are scored; --iou_type={kind} scores the others"
            )
    pairs = options.pop("pairs", True)
    result = score(annotations_file, detections, iou_type=iou_type, evaluator="hotcoco", **options)
    objects = result.groundtruth.identity(result.image_ids)
    if objects["annotations"] == objects["crowd_annotations"]:
        raise UserError(_without_objects(objects, len(result.groundtruth.annotation_crowd)))
    if not len(result.detections):
        raise UserError(_empty(Detections.of(detections, iou_type), result))
    tried = search(
        result.groundtruth,
        result.detections,
        [figure.metric for figure in figures],
        image_ids=result.image_ids,
        pairs=pairs,
    )
    scored = result.to_json()
    answer = dataclasses.replace(
        tried.answer(figures, _notes(result)),
        annotations=scored["annotations"],
        detections=scored["detections"],
        remarks=remarks(scored),
    )
    differing = [
        name for name, value in result.metrics.items() if not _agree(value, answer.official[name])
    ]
    if differing:
        raise UserError(
            f"the official figures of hotcoco and of this tool differ on {', '.join(differing)}: "
            "no figure can be trusted. Keep the two files and report it to the kit"
        )
    return answer


def _agree(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return abs(ours - theirs) <= _AGREEMENT


def _empty(given: Detections, result: Result) -> str:
    """Why there is nothing to explain."""
    file = given.file or "the detections"
    why = f"{file}: holds no detections"
    if len(given):
        none = (
            "its 1 detection is not"
            if len(given) == 1
            else f"none of its {len(given):,} detections is"
        )
        why = f"{file}: {none} on the {_scored(len(result.image_ids))}"
    return f"{why}, so that every protocol finds nothing and there is no figure to explain"


def _without_objects(objects: dict, in_file: int) -> str:
    """Why every metric is undefined, of `Groundtruth.identity`."""
    images, crowds = objects["images"], objects["crowd_annotations"]
    where = f"the {_scored(images)}"
    why = "holds no objects ('annotations' is empty)"
    if crowds:
        why = f"holds no objects but crowds (iscrowd) on {where}"
    elif in_file:
        why = f"holds no objects on {where}; its {counted(in_file, 'annotation')} lie on others"
    return (
        f"{objects['file']}: {why}, so that AP is undefined and there is no figure to explain. "
        "Is it the annotation file of these images (instances_val2017.json)? The test sets' are "
        "not published"
    )


def _scored(images: int) -> str:
    return counted(images, "image") + (" that is scored" if images == 1 else " that are scored")


def _notes(result: Result) -> list[str]:
    """hotcoco's own word on the official figure, and on the protocols that it has as parameters."""
    from tfrecords.hotcoco_loaded import hotcoco

    lines = [f"official figure: hotcoco says {result.evaluations['hotcoco'].handle.provenance()}"]
    truth = result.evaluations["hotcoco"].handle.coco_gt
    for name, change in (
        ("max_dets", {"max_dets": [1, 10, 3 * MAX_DETS]}),
        ("class_agnostic", {"use_cats": False}),
    ):
        evaluation = hotcoco.COCOeval(truth, truth.load_res([]), result.iou_type)
        for field, value in change.items():
            setattr(evaluation.params, field, value)
        evaluation.evaluate()
        lines += [
            f"{name}: hotcoco: {deviation}" for deviation in evaluation.reference_deviations()
        ]
    return lines
