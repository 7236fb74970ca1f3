"""What a detector's detections give away of the conventions it was run with.

Box layouts and numberings are told and refused where they are scored (`score.conventions`). Here is
what that does not see: boxes left in the pixels of the model's input, a framework's default
threshold, one class a query.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from replicate.errors import UserError
from replicate.score import input_scale
from replicate.score.detections import Detections
from replicate.score.evidence import IOU, Sample, beyond_chance

if TYPE_CHECKING:
    from replicate.score.groundtruth import Groundtruth

#: Thresholds that a framework sets where its caller says none.
DEFAULTS = {
    0.05: "torchvision's and Detectron2's own default (box_score_thresh, SCORE_THRESH_TEST), and "
    "TF-Vision's, whose published figures have it (pre_nms_score_threshold)",
    0.25: "the default of Ultralytics' predict (conf)",
    0.3: "what the TF1 zoo's frozen graphs typically cut at",
    0.5: "the default of Transformers' post_process_object_detection (threshold)",
}
# A threshold lies a little below the lowest score.
_NEAR = 0.012
# Evidence as `score.conventions` asks for it.
_HITS, _TIMES = 10, 2.0
# So many images with so many detections each, before an absence says something.
_IMAGES, _DETECTIONS = 5, 20


def refuse_unscaled(
    results: list[dict] | str, groundtruth: "Groundtruth", asked: Collection[str] = ()
) -> None:
    """Refuses boxes that were left in the pixels of the model's input.

    Args:
      results: COCO results.
      groundtruth: of the annotation file.
      asked: codes of --fix; with one of a box layout the boxes are not judged here.

    Raises:
      UserError: read so, more than twice as many boxes lie on objects, beyond chance.
    """
    detections = Detections.of(results, "bbox")
    if not len(detections) or any("boxes" in code for code in asked):
        return
    detections = detections.select(
        np.isin(detections.image_ids, list(groundtruth.image_hw))
        & np.isfinite(np.asarray(detections.shapes, float)).all(axis=1)
    )
    if not len(detections):
        return
    sample = Sample(detections, groundtruth)
    given = sample.hits(_AsGiven())
    readings = input_scale.READINGS
    hits = [sample.hits(reading) for reading in readings]
    best = int(np.argmax(hits))
    if hits[best] < max(_HITS, _TIMES * given + 1):
        return
    certain, by_chance = beyond_chance(sample.hits_across(readings[best]))
    if certain:
        raise UserError(
            f"missing rescale: the boxes are taken for {readings[best].what}: read so, "
            f"{hits[best]} of {len(sample)} sampled boxes lie on an object (IoU {IOU:g}), against "
            f"{given} as they are and {by_chance:.1f} by chance. Scale them to the image, each by "
            "its own size, before they are scored"
        )


class _AsGiven:
    def to_xywh_px(self, boxes: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
        return boxes


def of(results: list[dict], score: dict) -> list[str]:
    """What is to be known beside the figures: a list of sentences.

    Args:
      results: COCO results of boxes.
      score: dict of `score.Result.to_json` of them.
    """
    sentences = []
    threshold = score["detections"]["score_threshold"]
    if threshold is not None:
        near = [cut for cut in DEFAULTS if 0 <= threshold - cut < _NEAR]
        if near:
            sentences.append(
                f"the scores end at {threshold:.3g}, like {DEFAULTS[near[-1]]}. AP takes all "
                "scores: unless the figure beside it was cut so too, run the detector with a "
                "threshold of 0 or 0.001"
            )
    argmax = one_class_a_box(results)
    if argmax:
        sentences.append(argmax)
    return sentences


def one_class_a_box(results: list[dict]) -> str | None:
    """What is to be said where no box of any image stands under two categories; else None.

    Detectors of queries (DETR and its kin) take the best of queries × classes, and suppression by
    category leaves a box under each category that it scores for: both repeat boxes.
    """
    boxes: dict[int, list[tuple]] = {}
    categories = set()
    for result in results:
        boxes.setdefault(result["image_id"], []).append(tuple(result["bbox"]))
        categories.add(result["category_id"])
    many = [of_image for of_image in boxes.values() if len(of_image) >= _DETECTIONS]
    if len(many) < _IMAGES or len(categories) < 2:
        return None
    if any(len(set(of_image)) < len(of_image) for of_image in many):
        return None
    return (
        "no box stands under two categories in any image: one class a box (an argmax over the "
        "classes, or suppression over all of them together). AP counts a box's second best class "
        "too: take the best 100 over boxes × classes"
    )
