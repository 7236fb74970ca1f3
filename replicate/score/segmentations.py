"""Masks checked before the evaluators' C code and Rust code see them."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from replicate.errors import UserError
from replicate.score.problem import DetectionsProblem, number
from tfrecords import segmentation

if TYPE_CHECKING:
    from replicate.score.detections import Detections
    from replicate.score.groundtruth import Groundtruth


def check_groundtruth(groundtruth: "Groundtruth") -> None:
    """Raises UserError where an annotation's segmentation is none that evaluators can be given."""
    for annotation in groundtruth.as_coco()["annotations"]:
        try:
            segmentation.check(
                annotation.get("segmentation"), groundtruth.image_hw[annotation["image_id"]]
            )
        except ValueError as error:
            raise UserError(
                f"{groundtruth.path}: annotation {annotation['id']} (image "
                f"{annotation['image_id']}): {error}. Mend the annotation file"
            ) from None


def mask_runs(
    detections: "Detections", _groundtruth: "Groundtruth", _notes: Collection[str]
) -> DetectionsProblem | None:
    """The problem of detections whose RLE does not cover their image, or None."""
    if detections.iou_type != "segm":
        return None
    bad, faults = np.zeros(len(detections), bool), []
    for index, rle in enumerate(detections.shapes):
        try:
            segmentation.check_counts(rle["counts"], rle["size"])
        except ValueError as error:
            bad[index] = True
            faults.append((index, error))
    if not faults:
        return None
    index, fault = faults[0]
    return DetectionsProblem(
        code="mask_runs",
        message=(
            f"{number(bad)} have no mask: detection {index} (image "
            f"{detections.image_ids[index]}): {fault}"
        ),
        remedy="encode the masks with pycocotools.mask.encode",
    )
