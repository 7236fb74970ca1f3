"""Annotations that may be wrong: hotcoco's health check, and what good detections contradict."""

import os
import pathlib
from typing import Any

from replicate import score
from replicate.report import gallery

#: So many candidates are drawn, those with the most confident detection first.
MOST = 12
TYPES = {
    "missing_annotation": "a confident detection where nothing is annotated",
    "wrong_label": "a confident detection of another category on the object",
}


def of(
    annotations_file: str | os.PathLike[str],
    detections: str | os.PathLike[str],
    image_dir: str | os.PathLike[str] | None,
) -> tuple[dict, dict[str, str]]:
    """Candidates of label errors, given detections of the images.

    Args:
      annotations_file: COCO annotations.
      detections: COCO results on them, of a detector that is good enough to be believed.
      image_dir: folder of the images, or None.

    Returns:
      (dict: score_threshold, iou_threshold, health (errors, warnings: sentences of hotcoco's
      healthcheck), types (type -> how many), candidates: the MOST most confident, each image_id,
      file_name, image_hw, type, detected, annotated, score, box_xywh_px, annotated_box_xywh_px;
      pictures: image id -> data URI).

    Raises:
      UserError: files that cannot be scored.
    """
    result = score.score(str(annotations_file), str(detections), evaluator="hotcoco")
    handle = result.evaluations["hotcoco"].handle
    diagnostics = handle.image_diagnostics()
    truth = result.groundtruth
    errors = sorted(diagnostics["label_errors"], key=lambda error: -error["dt_score"])
    counts: dict[str, int] = {}
    for error in errors:
        counts[error["type"]] = counts.get(error["type"], 0) + 1
    candidates = [
        {
            "image_id": error["image_id"],
            "file_name": truth.file_names[error["image_id"]],
            "image_hw": list(truth.image_hw[error["image_id"]]),
            "type": error["type"],
            "detected": error["dt_category"],
            "annotated": error["gt_category"],
            "score": round(float(error["dt_score"]), 4),
            # hotcoco numbers detections from 1 in the order they were given.
            "box_xywh_px": result.detections.shapes[error["dt_id"] - 1].round(1).tolist(),
            "annotated_box_xywh_px": _box(handle, error["gt_id"]),
        }
        for error in errors[:MOST]
    ]
    images = [
        {"id": candidate["image_id"], "file_name": candidate["file_name"]}
        for candidate in candidates
    ]
    health = handle.coco_gt.healthcheck()
    section = {
        "detections": pathlib.Path(detections).name,
        "score_threshold": diagnostics["score_thr"],
        "iou_threshold": diagnostics["iou_thr"],
        "health": {
            name: [sentence_of(finding, truth.categories) for finding in health[name]]
            for name in ("errors", "warnings")
        },
        "types": counts,
        "candidates": candidates,
    }
    return section, gallery.pictures(images, image_dir)


def sentence_of(finding: dict[str, Any], categories: dict[int, str]) -> str:
    """A finding of hotcoco's healthcheck: its message, and of what it is said, as far as is read.

    Args:
      finding: code, message and affected_ids, which are those of categories where the code says so.
      categories: category id -> name.
    """
    ids = sorted(finding.get("affected_ids") or [])
    of_categories = str(finding.get("code", "")).endswith("_category")
    named = [categories.get(each, str(each)) if of_categories else str(each) for each in ids]
    message = str(finding["message"]).rstrip(".")
    if not named:
        return message
    more = f" and {len(named) - MOST:,} more" if len(named) > MOST else ""
    return f"{message}: {'' if of_categories else 'ids '}{', '.join(named[:MOST])}{more}"


def _box(handle: Any, annotation_id: int | None) -> list[float] | None:
    if annotation_id is None:
        return None
    (annotation,) = handle.coco_gt.load_anns([annotation_id])
    return [round(value, 1) for value in annotation["bbox"]]
