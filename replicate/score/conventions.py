"""Boxes and category ids written in another convention than COCO's, told by the groundtruth.

A detector that finds anything puts some boxes where objects are. Read in the wrong layout they
are elsewhere; read in the right one they come to lie on objects. Likewise for category ids: of
the boxes that lie on an object, the right numbering calls most what they are.

Another convention is a problem only on evidence that chance does not give: it explains more than
twice as many boxes as COCO's, and as many in no shuffle of the images (`evidence`); a layout that
tools write explains half of them, or the boxes' own geometry speaks for it as well; a numbering is
right in several categories and takes every id into the file. Short of that it is a note, and a
change is made only by request.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from replicate.score import input_scale
from replicate.score.evidence import ERROR_RATE, IOU, SHUFFLES, Sample, beyond_chance, image_hw
from replicate.score.problem import DetectionsNote, DetectionsProblem, some
from tfrecords import layouts
from tfrecords.layouts import CONVERTED, LAYOUTS, PERCENT, XYWH_PX

if TYPE_CHECKING:
    from replicate.score.detections import Detections
    from replicate.score.groundtruth import Groundtruth


# Another convention is suspected when it explains at least so many boxes (category ids), and more
# than twice as many as COCO's.
_HITS, _CALLS, _TIMES = 10, 5, 2.0
# Where it explains so much of the boxes, a layout that tools write needs no geometry besides.
_MOST = 0.5
# Boxes in the pixels of the model's input are looked for where so few lie on objects as they are,
# or another layout is suspected, and named where so many do read so.
_FEW, _MANY = 0.1, 0.25
# Of two layouts that explain the boxes, one is meant when it explains more by this factor.
_CLEAR = 1.25
# Several categories: one given to everything is right by chance.
_CLASSES = 3
_NO_PROOF = (
    "Chance or a detector that has learned little would look the same, so nothing is changed; if "
    "you know it to be so, see --fix in tools/score.py --help"
)


#: Box layouts by the code of their repair.
READINGS = LAYOUTS | PERCENT | CONVERTED
# Category ids written for others: code -> (in words, function (ids, COCO's ids) -> ids).
NUMBERINGS = {
    "category_ids_plus_one": (
        "one below COCO's (a background class left out)",
        lambda ids, _: ids + 1,
    ),
    "category_ids_minus_one": (
        "one above COCO's (a background class counted in)",
        lambda ids, _: ids - 1,
    ),
    "contiguous_category_ids": (
        "numbered 1, 2, 3, … without COCO's gaps",
        lambda ids, of_file: _looked_up(ids - 1, of_file),
    ),
    "contiguous_category_ids_from_zero": (
        "numbered 0, 1, 2, … without COCO's gaps",
        lambda ids, of_file: _looked_up(ids, of_file),
    ),
}


def box_layout(
    detections: "Detections", groundtruth: "Groundtruth", asked: Collection[str] = ()
) -> DetectionsProblem | DetectionsNote | None:
    """What is to be said of the boxes' layout.

    Args:
      asked: codes that the user wants mended.

    Returns:
      a problem of boxes that are not [x, y, width, height] in pixels; a note where they may not be,
      or where a change that is asked for is refused; None where nothing is to be said.
    """
    if detections.iou_type != "bbox" or not len(detections):
        return None
    sample = Sample(detections, groundtruth)
    hits = {code: sample.hits(layout) for code, layout in READINGS.items()}
    given = sample.hits(XYWH_PX)
    code, *others = sorted(hits, key=hits.__getitem__, reverse=True)
    possible, shape = _by_shape(detections, groundtruth)
    observation = (
        f"read so, {hits[code]} of {len(sample)} sampled boxes lie on an object (IoU {IOU:g}), "
        f"against {given}"
    )
    suspected = hits[code] >= max(_HITS, _TIMES * given + 1)
    if not any(fix in READINGS for fix in asked) and (suspected or given < _FEW * len(sample)):
        unscaled = _of_input(sample, max(hits[code], given))
        if unscaled:
            return unscaled
    rivals = [other for other in others if hits[code] < _CLEAR * hits[other]]
    meant = [fix for fix in asked if fix in (code, *rivals)]
    speaks = code in possible or hits[code] >= _MOST * len(sample)
    if suspected and (code in CONVERTED or (speaks and not rivals)):
        certain, by_chance = beyond_chance(sample.hits_across(READINGS[code]))
        if certain:
            evidence = f"{observation} and {_chance(by_chance)}"
            evidence = f"{shape}; {evidence}" if code in possible else evidence
            if rivals and not meant:
                return _either(code, rivals, evidence)
            return _layout_problem((*meant, code)[0], evidence, groundtruth)
    chosen = next((layout for layout in asked if layout in READINGS), None)
    if chosen:
        if given > hits[chosen] and beyond_chance(sample.hits_across(XYWH_PX))[0]:
            return _not_applied(chosen, f"{given} boxes lie on an object as they are")
        return _layout_problem(chosen, "asked for; the boxes cannot tell", groundtruth)
    if possible and all(LAYOUTS[layout].normalized for layout in possible):
        choices = "; ".join(f"--fix={layout}: {LAYOUTS[layout].what}" for layout in possible)
        return DetectionsProblem(
            code="fractions",
            message=f"the boxes are no pixels: {shape}. Too few lie on objects to tell their order",
            remedy=f"say which it is: {choices}",
        )
    if possible or suspected:
        layout = READINGS[possible[0] if possible else code]
        return DetectionsNote(
            "box_layout", f"the boxes could be {layout.what}: {shape or observation}. {_NO_PROOF}"
        )
    return None


def category_numbering(
    detections: "Detections", groundtruth: "Groundtruth", asked: Collection[str] = ()
) -> DetectionsProblem | DetectionsNote | None:
    """What is to be said of the numbering of the category ids; as `box_layout`."""
    if detections.iou_type == "keypoints" or not len(detections):
        return None
    of_file = np.array(sorted(groundtruth.categories))
    sample = Sample(detections, groundtruth)
    on_object, true_ids = sample.on_objects(XYWH_PX)
    at = sample.indices[on_object]
    ids = detections.category_ids[at]
    # Judged by the ids that a numbering changes: person is 1 in most of them.
    right, given = {}, {}
    for code, (_, renumber) in NUMBERINGS.items():
        renumbered = renumber(ids, of_file)
        changed = renumbered != ids
        right[code] = int((renumbered == true_ids)[changed].sum())
        given[code] = int((ids == true_ids)[changed].sum())
    # Of equals the first: without gaps in the file, "from zero" is the same as "plus one".
    code = max(right, key=lambda code: right[code] - given[code])
    suspected = right[code] >= max(_CALLS, _TIMES * given[code] + 1)
    observation = (
        f"of the sampled boxes that lie on an object, {right[code]} get its category if read so, "
        f"against {given[code]} that lose it"
    )
    distinct = np.unique(detections.category_ids)

    def pairs(code: str) -> tuple[np.ndarray, np.ndarray]:
        """(ids, those of their objects) of the best box of each image whose id `code` changes."""
        changed = np.flatnonzero(NUMBERINGS[code][1](ids, of_file) != ids)
        _, first = np.unique(detections.image_ids[at][changed], return_index=True)
        return ids[changed[first]], true_ids[changed[first]]

    if suspected and np.isin(NUMBERINGS[code][1](distinct, of_file), of_file).all():
        certain, evidence = _numbering_is_certain(NUMBERINGS[code][1], *pairs(code), of_file)
        if certain:
            impossible = distinct[~np.isin(distinct, of_file)].tolist()
            evidence += f"; and the file has no {some(impossible)}" if impossible else ""
            return _numbering_problem(code, f"{observation}; {evidence}", of_file)
    chosen = next((asked_code for asked_code in asked if asked_code in NUMBERINGS), None)
    if chosen:
        given_ids, of_objects = pairs(chosen)
        agreement = (given_ids[:, None] == of_objects).astype(float)
        if given[chosen] > right[chosen] and beyond_chance(agreement)[0]:
            return _not_applied(chosen, f"{given[chosen]} boxes have their object's category")
        return _numbering_problem(chosen, "asked for; the boxes cannot tell", of_file)
    if suspected:
        what, _ = NUMBERINGS[code]
        return DetectionsNote(
            "category_ids", f"the category ids could be {what}: {observation}. {_NO_PROOF}"
        )
    return None


def numberings_of(ids: np.ndarray, of_file: Iterable[int]) -> list[str]:
    """The codes of the numberings that take all of `ids` into the file's.

    Args:
      ids, of_file: category ids, of detections and of the annotation file.
    """
    of_file = np.array(sorted(of_file))
    codes: dict[tuple, str] = {}
    for code, (_, renumber) in NUMBERINGS.items():
        renumbered = renumber(np.unique(ids), of_file)
        if np.isin(renumbered, of_file).all():
            codes.setdefault(tuple(renumbered.tolist()), code)
    return list(codes.values())


def _numbering_is_certain(
    renumber: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ids: np.ndarray,
    true_ids: np.ndarray,
    of_file: np.ndarray,
) -> tuple[bool, str]:
    """(whether a numbering is the detections' beyond chance, the evidence in words).

    Args:
      renumber: the numbering's function.
      ids, true_ids: (n,) of one box from each of n images, as given and of the object it lies on.
      of_file: the file's category ids, ascending.
    """
    renumbered = renumber(ids, of_file)
    right = renumbered == true_ids
    classes = len(np.unique(renumbered[right]))
    if classes < _CLASSES or right.sum() < _CALLS:
        return False, ""
    certain, by_chance = beyond_chance((renumbered[:, None] == true_ids).astype(float))
    return certain, (
        f"with one box from each image, {int(right.sum())} of {len(right)}, in {classes} "
        f"categories, and {_chance(by_chance)}"
    )


def _of_input(sample: Sample, otherwise: int) -> DetectionsProblem | None:
    """The problem of boxes in the pixels of the model's input, where that explains them best.

    Args:
      otherwise: how many boxes lie on an object in the best of the other layouts.
    """
    hits = [sample.hits(reading) for reading in input_scale.READINGS]
    best = int(np.argmax(hits))
    if hits[best] < max(_HITS, _CLEAR * otherwise + 1, _MANY * len(sample)):
        return None
    reading = input_scale.READINGS[best]
    certain, by_chance = beyond_chance(sample.hits_across(reading))
    if not certain:
        return None
    return DetectionsProblem(
        code="input_scale",
        message=(
            f"the boxes are taken for {reading.what}, COCO's are {XYWH_PX.what} of the image: "
            f"read so, {hits[best]} of {len(sample)} sampled boxes lie on an object (IoU {IOU:g}), "
            f"against {otherwise} in the best other layout and {_chance(by_chance)}"
        ),
        remedy="scale them to the image, each by its own size, where they are written",
    )


def _layout_problem(code: str, evidence: str, groundtruth: "Groundtruth") -> DetectionsProblem:
    layout = READINGS[code]

    def mend(detections: "Detections") -> "Detections":
        sizes = image_hw(detections.image_ids, groundtruth)
        return dataclasses.replace(
            detections, shapes=layout.to_xywh_px(np.asarray(detections.shapes), sizes)
        )

    return DetectionsProblem(
        code=code,
        message=f"the boxes are taken for {layout.what}, COCO's are {XYWH_PX.what}: {evidence}",
        remedy="converts them",
        mend=mend,
    )


def _either(code: str, rivals: list[str], evidence: str) -> DetectionsProblem:
    """A problem of boxes that are certainly not COCO's, and may be in one of several layouts."""
    choices = "; ".join(f"--fix={layout}: {READINGS[layout].what}" for layout in (code, *rivals))
    return DetectionsProblem(
        code="box_layout",
        message=(
            f"the boxes are taken for {READINGS[code].what} or the like, COCO's are "
            f"{XYWH_PX.what}: {evidence}"
        ),
        remedy=f"say which it is: {choices}",
    )


def _numbering_problem(code: str, evidence: str, of_file: np.ndarray) -> DetectionsProblem:
    what, renumber = NUMBERINGS[code]
    return DetectionsProblem(
        code=code,
        message=f"the category ids are taken for {what}: {evidence}",
        remedy="renumbers them",
        mend=lambda detections: dataclasses.replace(
            detections, category_ids=renumber(detections.category_ids, of_file)
        ),
    )


def _not_applied(code: str, why: str) -> DetectionsNote:
    return DetectionsNote(
        code, f"--fix={code} changed nothing: {why}, which chance does not explain"
    )


def _chance(by_chance: float) -> str:
    return (
        f"{by_chance:.1f} by chance (in none of {SHUFFLES:,} shuffles of the images as many: a "
        f"probability of error of at most {ERROR_RATE:g})"
    )


def _by_shape(detections: "Detections", groundtruth: "Groundtruth") -> tuple[list[str], str]:
    """(codes of the layouts that the boxes' own geometry speaks for, how), or ([], "")."""
    boxes = np.asarray(detections.shapes)
    sizes = image_hw(detections.image_ids, groundtruth)
    possible, why = layouts.by_geometry(boxes, sizes)
    if layouts.are_fractions(boxes, sizes):  # a detector's may reach beyond the image
        possible = layouts.without_negative_sizes(boxes, sizes)
    return possible, why


def _looked_up(places: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The ids at `places`; where there is none, -1, which no file has."""
    inside = (places >= 0) & (places < len(ids))
    return np.where(inside, ids[np.clip(places, 0, len(ids) - 1)], -1)
