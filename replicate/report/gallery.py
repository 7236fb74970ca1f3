"""The gallery: which images, with their groundtruth and the detections of every checkpoint."""

import base64
import io
import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image

from replicate.report import outlines
from replicate.report.error_kinds import KINDS, kind_of
from replicate.report.findings import Scored
from replicate.score.over_images import SIZES

# Detections below this score are counted in no figure of the gallery and not drawn.
MIN_SCORE = 0.05
MAX_PER_IMAGE = 60
PER_GROUP = 10
LONGER_SIDE_PX = 480
_JPEG_QUALITY = 72

DETECTION_FIELDS = [
    *("category_id", "score", "x_px", "y_px", "width_px", "height_px", "groundtruth"),
    "error_kind",
    "outline",
]

GROUPS = {
    "worst": "lowest AP50 of the image",
    "median": "AP50 nearest the median",
    "best": "highest AP50 of the image",
    "missed": "most objects without a detection at IoU 0.5",
    "mistakes": "most confident detection that fits no object",
}


def gallery(
    scored: list[Scored], per_group: int = PER_GROUP, best_threshold: float | None = None
) -> dict:
    """The gallery's content, without the pictures.

    Args:
      scored: list of findings.Scored, ascending by step; images are chosen by the last one.
      per_group: images a group.
      best_threshold: the score with the best F1, from which the page starts to draw.

    Returns:
      dict: best_threshold, highest_score (over all images), error_kinds, steps (list of step,
      checkpoint, AP), groups (name -> explanation), categories (id -> name), min_score and images:
      each with id, file_name, image_hw, ap50, ap50_by_step, groups, groundtruth (category_id,
      box_xywh_px, crowd, size and, where there are any, polygons, keypoints) and detections (step
      -> list of lists, best first, whose items `detection_fields` names; `groundtruth` is the index
      of the object found, -1 for a false positive, None for one in a crowd region, which counts
      neither way; `error_kind` the index in error_kinds of a false positive, None otherwise;
      `outline` the polygons and keypoints of a detection that has any).
    """
    last = scored[-1]
    truth = last.result.groundtruth
    chosen = _chosen(last, per_group)
    annotations = annotations_of(last, chosen)
    min_score = lowest_score([best_threshold])
    by_step = {
        str(evaluation.step): detections_of(evaluation, annotations, min_score)
        for evaluation in scored
    }
    images = []
    for image_id, groups in chosen.items():
        height, width = truth.image_hw[image_id]
        images.append(
            {
                "id": image_id,
                "file_name": truth.file_names[image_id],
                "image_hw": [height, width],
                "ap50": _image_ap50(last, image_id),
                "ap50_by_step": {
                    str(evaluation.step): _image_ap50(evaluation, image_id) for evaluation in scored
                },
                "groups": groups,
                "groundtruth": groundtruth_of(annotations[image_id]),
                "detections": {step: of_images[image_id] for step, of_images in by_step.items()},
            }
        )
    return {
        "steps": [
            {
                "step": evaluation.step,
                "checkpoint": evaluation.metrics.get("checkpoint"),
                "AP": evaluation.metrics["metrics"]["AP"],
            }
            for evaluation in scored
        ],
        "groups": GROUPS,
        "best_threshold": best_threshold,
        "highest_score": _highest(last),
        "error_kinds": list(KINDS),
        "categories": {str(key): name for key, name in truth.categories.items()},
        "iou_threshold": last.diagnostics["iou_thr"],
        "detection_fields": DETECTION_FIELDS,
        "min_score": min_score,
        "max_per_image": MAX_PER_IMAGE,
        "max_outlined": outlines.MOST_OUTLINED,
        "images_scored": len(last.result.image_ids),
        "images": images,
    }


def pictures(
    images: Iterable[dict],
    image_dir: str | os.PathLike[str] | None,
    longer_side_px: int = LONGER_SIDE_PX,
) -> dict[str, str]:
    """The images of a gallery as JPEG data URIs, scaled down.

    Args:
      images: the gallery's images.
      image_dir: folder of the image files, or None.

    Returns:
      dict image id (str) -> data URI; an image that is missing or unreadable is left out.
    """
    thumbnails = {}
    for image in images:
        if not image_dir:
            break
        try:
            thumbnails[str(image["id"])] = thumbnail(
                pathlib.Path(image_dir) / image["file_name"], longer_side_px
            )
        except OSError:
            continue
    return thumbnails


def thumbnail(file: str | os.PathLike[str] | BinaryIO, longer_side_px: int = LONGER_SIDE_PX) -> str:
    """An image, scaled down, as the data URI of a JPEG.

    Args:
      file: path or binary stream; OSError where it is not readable as an image.
      longer_side_px: at most.
    """
    with Image.open(file) as picture:
        picture.draft("RGB", (longer_side_px, longer_side_px))
        small = picture.convert("RGB")
    small.thumbnail((longer_side_px, longer_side_px), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def _chosen(last: Scored, per_group: int) -> dict[int, list[str]]:
    """dict image id -> names of the groups it was chosen for, in the groups' order."""
    summary = last.diagnostics["img_summary"]
    truth = last.result.groundtruth
    annotated = set(truth.annotation_image_ids[~truth.annotation_crowd].tolist())
    with_objects = sorted(image_id for image_id in summary if image_id in annotated)
    by_ap = sorted(with_objects, key=lambda image_id: (summary[image_id]["ap"], image_id))
    middle = max(0, len(by_ap) // 2 - per_group // 2)
    mistakes = _worst_mistakes(last)
    ranked = {
        "worst": by_ap[:per_group],
        "median": by_ap[middle : middle + per_group],
        "best": by_ap[::-1][:per_group],
        "missed": sorted(
            (image_id for image_id in with_objects if summary[image_id]["fn"]),
            key=lambda image_id: (-summary[image_id]["fn"], image_id),
        )[:per_group],
        "mistakes": sorted(mistakes, key=lambda image_id: -mistakes[image_id])[:per_group],
    }
    chosen: dict[int, list[str]] = {}
    for group, image_ids in ranked.items():
        for image_id in image_ids:
            chosen.setdefault(image_id, []).append(group)
    return chosen


def _worst_mistakes(last: Scored) -> dict[int, float]:
    """dict image id -> score of its most confident false positive."""
    detections = last.result.detections
    worst: dict[int, float] = {}
    wrong = np.flatnonzero(last.statuses() == "fp")
    for index in wrong:
        image_id = int(detections.image_ids[index])
        worst[image_id] = max(worst.get(image_id, 0.0), float(detections.scores[index]))
    return worst


def _highest(last: Scored) -> float | None:
    scores = last.result.detections.scores
    return round(float(scores.max()), 4) if len(scores) else None


def copied(
    images: Iterable[dict], image_dir: str | os.PathLike[str] | None, folder: pathlib.Path
) -> dict[str, str]:
    """Copies the originals of a gallery's images beside its page.

    Args:
      images: the gallery's images.
      image_dir: folder of the image files, or None.
      folder: where they go; its name is part of the addresses.

    Returns:
      dict image id (str) -> address relative to the page; one that is missing is left out.
    """
    addresses = {}
    for image in images if image_dir else ():
        name = f"{image['id']}{pathlib.Path(image['file_name']).suffix.lower()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pathlib.Path(str(image_dir)) / image["file_name"], folder / name)
        except OSError:
            continue
        addresses[str(image["id"])] = f"{folder.name}/{name}"
    return addresses


def _image_ap50(last: Scored, image_id: int) -> float | None:
    summary = last.diagnostics["img_summary"].get(image_id)
    return None if summary is None else summary["ap"]


def annotations_of(last: Scored, image_ids: Iterable[int]) -> dict[int, list[dict]]:
    """dict image id -> its COCO annotations that have a box."""
    truth = last.result.evaluations["hotcoco"].handle.coco_gt
    annotations: dict[int, list[dict]] = {image_id: [] for image_id in image_ids}
    for annotation in truth.load_anns(truth.get_ann_ids(img_ids=list(image_ids))):
        if annotation.get("bbox"):
            annotations[annotation["image_id"]].append(annotation)
    return annotations


def groundtruth_of(annotations: Iterable[dict]) -> list[dict]:
    """COCO annotations as the gallery holds them."""
    return [
        {
            "category_id": annotation["category_id"],
            "box_xywh_px": [round(value, 1) for value in annotation["bbox"]],
            "crowd": bool(annotation.get("iscrowd")),
            "size": _size(annotation),
        }
        | outlines.of_annotation(annotation)
        for annotation in annotations
    ]


def _size(annotation: dict) -> str:
    """COCO's size of an object, by its annotated area."""
    width, height = annotation["bbox"][2:]
    area = annotation.get("area") or width * height
    return next((name for name, (low, high) in SIZES.items() if low <= area < high), "large")


def lowest_score(best_thresholds: Iterable[float | None]) -> float:
    """The score from which detections are kept for drawing: MIN_SCORE, or where those with the best
    F1 begin lower, theirs: a page of a detector of low scores would have none."""
    return min([MIN_SCORE, *(best for best in best_thresholds if best is not None)])


def detections_of(
    scored: Scored, annotations: dict[int, list[dict]], min_score: float = MIN_SCORE
) -> dict[int, list[list]]:
    """dict image id -> its detections of `min_score` or more, best first, as DETECTION_FIELDS.

    Args:
      scored: findings.Scored.
      annotations: dict image id -> COCO annotations.
      min_score: of `lowest_score`.
    """
    detections, statuses = scored.result.detections, scored.statuses()
    shown: dict[int, list[list]] = {image_id: [] for image_id in annotations}
    if detections.iou_type != "bbox":
        return shown
    position = {
        annotation["id"]: index
        for image in annotations.values()
        for index, annotation in enumerate(image)
    }
    match = scored.diagnostics["dt_match"]
    objects = {image_id: _objects(of_image) for image_id, of_image in annotations.items()}
    keep = (detections.scores >= min_score) & np.isin(detections.image_ids, list(annotations))
    order = np.flatnonzero(keep)
    drawn: list[tuple[int, list]] = []
    for index in order[np.argsort(-detections.scores[order], kind="stable")].tolist():
        of_image = shown[int(detections.image_ids[index])]
        if len(of_image) < MAX_PER_IMAGE:
            hit = position.get(match.get(index + 1)) if statuses[index] == "tp" else None
            wrong = statuses[index] == "fp"
            kind = None
            if wrong:
                category = int(detections.category_ids[index])
                of_truth = objects[int(detections.image_ids[index])]
                kind = KINDS.index(kind_of(detections.shapes[index], category, *of_truth))
            row = [
                int(detections.category_ids[index]),
                round(float(detections.scores[index]), 4),
                *np.round(detections.shapes[index], 1).tolist(),
                -1 if wrong else hit,
                kind,
                None,
            ]
            of_image.append(row)
            if len(of_image) <= outlines.MOST_OUTLINED:
                drawn.append((index, row))
    drawn_outlines = outlines.of_detections(detections, [index for index, _ in drawn])
    for index, row in drawn:
        row[-1] = drawn_outlines.get(index)
    return shown


def _objects(annotations: Iterable[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (M, 4) xywh in pixels and categories (M,) of annotations that are no crowd region."""
    plain = [annotation for annotation in annotations if not annotation.get("iscrowd")]
    boxes = np.array([annotation["bbox"] for annotation in plain], float).reshape(-1, 4)
    return boxes, np.array([annotation["category_id"] for annotation in plain], int)
