"""Detections that cannot be meant as they are: found, named, and mended on request."""

import os
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from replicate.errors import UserError
from replicate.score import conventions, segmentations
from replicate.score.detections import Detections
from replicate.score.groundtruth import Groundtruth
from replicate.score.problem import DetectionsNote, DetectionsProblem, number, some

_DROP = "leaves them out"
# A larger part of all boxes with a negative size is no slip of a few.
_NO_SLIP = 0.1
# Layouts that leave negative sizes where their boxes are taken for COCO's.
_WITH_NEGATIVES = ("sizes_as_corner_boxes", "centre_as_corner_boxes")


def checked(
    detections: Detections, groundtruth: Groundtruth, fix: Collection[str] = ()
) -> tuple[Detections, list[dict], list[str]]:
    """The detections, mended where asked, with an account of each repair, and notes.

    Args:
      fix: codes of the problems to mend: of CODES.

    Returns:
      (Detections, list of dicts of what was mended: "problem", "message", "remedy", and how many
      of the detections it "changed", "of" how many; list of notes: sentences).

    Raises:
      UserError: problems that `fix` does not name; the message lists all with their remedies.
    """
    unknown = sorted(set(fix) - set(CODES))
    if unknown:
        raise UserError(f"--fix: no '{unknown[0]}'; there are: {', '.join(CODES)}")
    problems, notes, repairs = [], [], []
    for find in _CHECKS:
        problem = find(detections, groundtruth, fix)
        if problem is None:
            continue
        if isinstance(problem, DetectionsNote):
            notes.append(problem.message)
            continue
        problems.append(problem)
        if problem.mend is None:
            break
        # Mended even if not asked, so that the next check sees what lies behind this problem.
        before, detections = detections, problem.mend(detections)
        repairs.append(
            {
                "problem": problem.code,
                "message": problem.message,
                "remedy": problem.remedy,
                "changed": _changed(before, detections),
                "of": len(before),
            }
        )
    unasked = [problem for problem in problems if problem.code not in fix]
    if unasked:
        where = detections.file or "detections"
        raise UserError(
            "\n".join(f"{where}: {problem.message}\n  {problem.offer}" for problem in unasked)
        )
    return detections, repairs, notes


def mended(
    results: list[dict],
    annotations_file: str | os.PathLike,
    iou_types: Iterable[str],
    fix: Collection[str],
) -> list[dict]:
    """COCO results as they are scored with `fix`: what is left out is left out, ids and boxes are
    the changed ones.

    Args:
      results: list of dicts; left as it is.
      annotations_file: path of the groundtruth.
      iou_types: the kinds of score, whose fields may each have problems.
      fix: codes of problems to mend.

    Returns:
      list of dicts; one that any kind of score leaves out is not in it.

    Raises:
      UserError: as `checked`.
    """
    groundtruth = Groundtruth.read(annotations_file)
    changed = {index: dict(result) for index, result in enumerate(results)}
    for iou_type in iou_types:
        detections, _, _ = checked(Detections.of(results, iou_type), groundtruth, fix)
        places = range(len(results)) if detections.places is None else detections.places.tolist()
        of_kind = dict(zip(places, detections.as_dicts(), strict=True))
        changed = {
            index: result | of_kind[index] for index, result in changed.items() if index in of_kind
        }
    return list(changed.values())


def _changed(before: Detections, after: Detections) -> int:
    """How many detections a repair left out or changed."""
    if len(after) < len(before):
        return len(before) - len(after)
    changed = before.category_ids != after.category_ids
    if before.iou_type == "bbox":
        changed = changed | (np.asarray(before.shapes) != np.asarray(after.shapes)).any(axis=1)
    return int(changed.sum())


def _not_finite(detections: Detections, *_: Any) -> DetectionsProblem | None:
    bad = ~np.isfinite(detections.scores)
    if detections.iou_type == "bbox":
        bad |= ~np.isfinite(detections.shapes).all(axis=1)
    if detections.iou_type == "keypoints":
        bad |= np.array([not np.isfinite(keypoints).all() for keypoints in detections.shapes], bool)
    return _dropping(
        "not_finite",
        bad,
        detections,
        "have a score or box that is no finite number (NaN or infinite)",
        "; they have no place in the ranking",
    )


def _unknown_images(
    detections: Detections, groundtruth: Groundtruth, _: Any
) -> DetectionsProblem | None:
    bad = ~np.isin(detections.image_ids, list(groundtruth.image_hw))
    return _dropping(
        "unknown_images",
        bad,
        detections,
        f"are of images that {groundtruth.path} does not have",
        "; is it the annotation file of these images?",
    )


def _unknown_categories(
    detections: Detections, groundtruth: Groundtruth, _: Any
) -> DetectionsProblem | None:
    bad = ~np.isin(detections.category_ids, list(groundtruth.categories))
    ids = sorted(set(detections.category_ids[bad].tolist()))
    fitting = conventions.numberings_of(detections.category_ids, groundtruth.categories)
    renumberings = "".join(
        f"\n  or, if you know the ids to be {conventions.NUMBERINGS[code][0]}: --fix={code} "
        "renumbers them (all are in the file then; the boxes cannot tell)"
        for code in fitting
    )
    return _dropping(
        "unknown_categories",
        bad,
        detections,
        f"have a category id that {groundtruth.path} does not have: {some(ids)}",
        f"; it has {some(list(groundtruth.categories))}",
        renumberings,
    )


def _negative_boxes(detections: Detections, *_: Any) -> DetectionsProblem | None:
    if detections.iou_type != "bbox":
        return None
    boxes = np.asarray(detections.shapes)
    bad = np.any(boxes[:, 2:] < 0, axis=1)
    otherwise = ""
    if bad.sum() > _NO_SLIP * len(bad):
        otherwise = (
            "; so many are another layout rather than a slip, and too few lie on objects to tell "
            "which. If you know it: "
            + "; ".join(
                f"--fix={code}: {conventions.READINGS[code].what}" for code in _WITH_NEGATIVES
            )
        )
    return _dropping(
        "negative_boxes", bad, detections, "have a negative width or height", "", otherwise
    )


def _empty_boxes(detections: Detections, *_: Any) -> DetectionsNote | None:
    if detections.iou_type != "bbox":
        return None
    bad = (np.asarray(detections.shapes)[:, 2:] == 0).any(axis=1)
    return _odd("empty_boxes", bad, "have a width or height of 0, which overlaps no object")


def _repeated(detections: Detections, *_: Any) -> DetectionsNote | None:
    if detections.iou_type != "bbox" or not len(detections):
        return None
    columns = (
        *(detections.image_ids, detections.category_ids, detections.scores),
        *np.asarray(detections.shapes).T,
    )
    order = np.lexsort(columns)
    same = np.ones(len(order) - 1, bool)
    for column in columns:
        same &= column[order][1:] == column[order][:-1]
    bad = np.zeros(len(order), bool)
    bad[order[1:][same]] = True
    return _odd(
        "repeated",
        bad,
        "are there more than once (the same box, category and score), and count as false "
        "detections; was the file written twice over?",
    )


def _scores_outside(detections: Detections, *_: Any) -> DetectionsNote | None:
    low, high = detections.scores < 0, detections.scores > 1
    sides = [side for side, bad in (("below 0", low), ("above 1", high)) if bad.any()]
    return _odd(
        "scores_outside",
        low | high,
        f"have a score {' or '.join(sides)}; AP goes by the order alone, but thresholds do not, "
        "and curves over scores from 0 to 1 are left out",
    )


def _equal_scores(detections: Detections, *_: Any) -> DetectionsNote | None:
    if len(detections) < 2 or np.ptp(detections.scores):
        return None
    return DetectionsNote(
        "equal_scores",
        f"all {len(detections):,} detections have the same score ({detections.scores[0]:g}): "
        "nothing ranks them, and AP goes by their order in the file",
    )


def _mask_sizes(
    detections: Detections, groundtruth: Groundtruth, _: Any
) -> DetectionsProblem | None:
    if detections.iou_type != "segm":
        return None
    sizes = np.array([shape["size"] for shape in detections.shapes]).reshape(-1, 2)
    expected = [groundtruth.image_hw[image_id] for image_id in detections.image_ids.tolist()]
    bad = (sizes != np.array(expected).reshape(-1, 2)).any(axis=1)
    if not bad.any():
        return None
    index = int(np.flatnonzero(bad)[0])
    image_id = int(detections.image_ids[index])
    return DetectionsProblem(
        code="mask_size",
        message=(
            f"{number(bad)} have a mask of another size than the image: detection {index} is "
            f"{sizes[index, 0]}×{sizes[index, 1]} (height × width), image {image_id} is "
            f"{'×'.join(map(str, groundtruth.image_hw[image_id]))}"
        ),
        remedy="encode the masks at the image's own height and width",
    )


_CHECKS = (
    _not_finite,
    _unknown_images,
    _mask_sizes,
    segmentations.mask_runs,
    conventions.box_layout,
    _negative_boxes,
    conventions.category_numbering,
    _unknown_categories,
    _empty_boxes,
    _repeated,
    _scores_outside,
    _equal_scores,
)
CODES = (
    *("not_finite", "unknown_images", "negative_boxes", "unknown_categories"),
    *conventions.READINGS,
    *conventions.NUMBERINGS,
)


def _odd(code: str, bad: np.ndarray, what: str) -> DetectionsNote | None:
    """A note on detections that are scored as they are, as pycocotools does."""
    return DetectionsNote(code, f"{number(bad)} {what}") if bad.any() else None


def _dropping(
    code: str, bad: np.ndarray, detections: Detections, what: str, hint: str, otherwise: str = ""
) -> DetectionsProblem | None:
    if not bad.any():
        return None
    index = int(np.flatnonzero(bad)[0])
    first = (
        f"the first at position {index}: image {detections.image_ids[index]}, "
        f"category {detections.category_ids[index]}, score {detections.scores[index]:.4g}"
    )
    return DetectionsProblem(
        code=code,
        message=f"{number(bad)} {what} ({first}){hint}",
        remedy=_DROP,
        otherwise=otherwise,
        mend=lambda detections: detections.select(~bad),
    )
