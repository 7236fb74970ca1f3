"""An annotation file that reads as COCO and cannot be meant as it stands; and how it was read."""

import json
import unicodedata
from collections import Counter

import numpy as np

from tfrecords import annotation_file, layouts
from tfrecords.annotation_file import AnnotationFile, some
from tfrecords.errors import InputError
from tfrecords.not_coco import offer, shown

# Characters of no width that copying from pages and tables brings along.
_UNSEEN = "\u200b\u200e\u200f\u2060\ufeff"
# So many boxes can tell of a layout: one or two outside their image are mistakes of their own.
_FEWEST_BOXES = 3
# Where so large a part of the boxes is not where its objects are, it is no mistake of a few.
_MOST = 0.9
# So many boxes that end within 100 by chance are no pixels, where they reach so far to it, in
# images so many times larger.
_FEWEST_PERCENTS, _REACH, _LARGER = 20, 75, 1.5
# So many objects' polygons are looked at. An object's area is within its box, by COCO's rounding.
_OUTLINES, _AREA_MARGIN = 500, 1.1


def check(file: AnnotationFile) -> None:
    """Refuses what would be trained on, or scored against, silently wrong.

    Raises:
      InputError: boxes in another layout as a whole, or annotations most of which have no area.
    """
    check_boxes(file)
    none = np.isnan(file.areas_px)
    if none.sum() > len(none) / 2:
        first = int(file.ids[int(np.argmax(none))])
        raise InputError(
            f"{file.path}: {int(none.sum()):,} of {len(none):,} annotations have no area (null), "
            f"the first is {first}. {offer('areas', 'computes it from segmentation or box')}"
        )


def check_areas(file: AnnotationFile) -> None:
    """Raises InputError where an area is below 0: evaluation ignores such an object silently."""
    with np.errstate(over="ignore"):  # what no record can hold goes into the ledger
        below = (file.areas_px < 0) & np.isfinite(file.areas_px.astype(np.float32))
    if below.any():
        first = int(np.argmax(below))
        raise InputError(
            f"{file.path}: {int(below.sum()):,} of {len(below):,} annotations have an area below "
            f"0, the first is {file.ids[first]} ({file.areas_px[first]:g}). "
            + offer("areas", "computes it from segmentation or box")
        )


def check_boxes(file: AnnotationFile) -> None:
    """Raises InputError where the boxes as a whole are in another layout than COCO's."""
    position = {image.id: index for index, image in enumerate(file.images)}
    at = np.array([position.get(image_id, -1) for image_id in file.image_ids.tolist()], np.int64)
    usable = (at >= 0) & np.isfinite(file.boxes_xywh_px).all(axis=1)
    if usable.sum() < _FEWEST_BOXES:
        return
    sizes_hw = np.array([(image.height, image.width) for image in file.images], np.float64)
    boxes = file.boxes_xywh_px[usable]
    codes, why = layouts.by_geometry(boxes, sizes_hw[at[usable]])
    if not codes:
        _check_outlines(file, np.flatnonzero(usable), sizes_hw[at[usable]])
        return
    first = int(np.argmax(usable))
    choices = "; ".join(f"--fix={code}: {layouts.LAYOUTS[code].what}" for code in codes)
    raise InputError(
        f"{file.path}: the boxes are no {layouts.XYWH_PX.what}: {why} (annotation "
        f"{file.ids[first]} has {file.boxes_xywh_px[first].tolist()}). All of them could be "
        f"{' or '.join(layouts.LAYOUTS[code].what for code in codes)}. "
        + offer(codes[0], "converts them")
        + (f". Which of them it is, you have to say: {choices}" if len(codes) > 1 else "")
    )


def _check_outlines(file: AnnotationFile, rows: np.ndarray, image_hw: np.ndarray) -> None:
    """Raises InputError where hardly a box is where its own object's polygons are.

    The polygons are read where they are at hand, or where areas do not fit into the boxes.

    Args:
      rows: of the annotations with a box in an image of the file.
      image_hw: (rows, 2) in px.
    """
    # Boxes without a size are single mistakes, which the ledger lists.
    whole = (file.crowd[rows] != 1) & (file.boxes_xywh_px[rows, 2:] > 0).all(axis=1)
    rows, image_hw = rows[whole], image_hw[whole]
    boxes, areas_px = file.boxes_xywh_px[rows], file.areas_px[rows]
    if len(rows) < _FEWEST_BOXES:
        return
    too_large = areas_px > _AREA_MARGIN * (boxes[:, 2:] + 1).prod(axis=1)
    if file.segmentation_spans is None and too_large.mean() < _MOST:
        return
    file = annotation_file.read(file.path, segmentations=True)
    assert file.segmentation_spans is not None
    picked = np.linspace(0, len(rows) - 1, min(len(rows), _OUTLINES)).astype(int)
    extents = np.array(
        [
            layouts.extent_of(json.loads(file.text[start:stop] or b"null"))
            for start, stop in file.segmentation_spans[rows[picked]].tolist()
        ]
    )
    has = np.isfinite(extents).all(axis=1)
    picked, extents = picked[has], extents[has]
    if len(picked) < _FEWEST_BOXES:
        return
    boxes, image_hw = boxes[picked], image_hw[picked]
    if layouts.are_fractions(extents, image_hw):
        return  # it is the polygons that are no pixels; who reads masks refuses them
    wrong = layouts.elsewhere(boxes, extents)
    if wrong.mean() < _MOST:
        return
    first = int(np.argmax(wrong))
    way_on = (
        "Write boxes and polygons in the same pixels, those of the image file; a box is the "
        "extent of its polygons"
    )
    for code, layout in (layouts.LAYOUTS | layouts.PERCENT).items():
        mended = layout.to_xywh_px(boxes, image_hw)
        if layouts.elsewhere(mended, extents).mean() < 1 - _MOST:
            way_on = f"They are where the polygons are if read as {layout.what}: " + offer(
                code, "converts them"
            )
            break
    raise InputError(
        f"{file.path}: the boxes are not where their own objects are: {int(wrong.sum()):,} of "
        f"{len(wrong):,} compared with their polygons overlap these by less than half (annotation "
        f"{file.ids[rows[picked[first]]]}: bbox {boxes[first].tolist()}, polygons from "
        f"{extents[first, :2].tolist()} to {extents[first, 2:].tolist()}). {way_on}"
    )


def check_categories(file: AnnotationFile) -> None:
    """Raises InputError where labels could not name the categories: by name or by id."""
    used = set(file.category_ids.tolist())
    for category in file.categories:
        what = f"{file.path}: category {category.id}"
        if not category.name.strip():
            raise InputError(
                f"{what} has an empty name ({shown(category.name)}), and records and label map go "
                "by names; give it one"
            )
        if category.name != category.name.strip():
            raise InputError(
                f"{what} is named {shown(category.name)}, with space around it, by which no label "
                f"map will find it. {offer('names', 'takes the space off')}"
            )
        if any(map(is_unseen, category.name)):
            raise InputError(
                f"{what} is named {ascii(category.name)}, with a character that is not seen, by "
                f"which no label map will find it. {offer('names', 'takes it out')}"
            )
        if category.id < 0 and category.id in used:
            raise InputError(
                f"{what} ({shown(category.name)}) is used by annotations, and label maps start at "
                "1; give it a number of its own above 0, there and in its annotations"
            )
        if category.id < 1 and category.id in used:
            raise InputError(
                f"{what} ({shown(category.name)}) is used by annotations, and label maps start at "
                "1: 0 is the background. "
                + offer("category_ids_plus_one", "moves all ids of categories up by one")
            )
    names = Counter(category.name for category in file.categories)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        ids = [category.id for category in file.categories if category.name == twice[0]]
        raise InputError(
            f"{file.path}: categories {some(ids)} are all named {shown(twice[0])}, and records and "
            f"label map go by names. {offer('same_names', 'makes them one, of the lowest id')}; or "
            "rename them"
        )


def _percents(file: AnnotationFile) -> list[str]:
    """A word on boxes that could be percents of larger images: geometry alone does not tell, since
    they could be pixels of the upper left corner."""
    sizes = {image.id: min(image.height, image.width) for image in file.images}
    known = [image_id in sizes for image_id in file.image_ids.tolist()]
    boxes = file.boxes_xywh_px[np.array(known, bool) & np.isfinite(file.boxes_xywh_px).all(axis=1)]
    smallest = min((sizes[i] for i in set(file.image_ids.tolist()) if i in sizes), default=0)
    if len(boxes) < _FEWEST_PERCENTS or smallest < _LARGER * 100:
        return []
    ends = boxes[:, :2] + boxes[:, 2:]
    if ends.max() > 100 + 1e-6 or (ends.max(axis=0) < _REACH).any() or boxes.min() < 0:
        return []
    return [
        f"all {len(boxes):,} boxes end within 100 of the left and upper edges, though no image is "
        f"smaller than {smallest} pixels: read as pixels. Are they percents, as Label Studio has "
        f"them? {offer('percent_boxes', 'converts them')}"
    ]


def is_unseen(character: str) -> bool:
    """Whether a character of a name is a control that is no white space, or of no width."""
    control = unicodedata.category(character) == "Cc" and not character.isspace()
    return control or character in _UNSEEN


def readings(file: AnnotationFile) -> list[str]:
    """Sentences on what was taken in another way than it is written, or is odd."""
    said = list(file.mended)
    used = set(file.category_ids.tolist())
    unused = [
        category for category in file.categories if category.id < 1 and category.id not in used
    ]
    said += [
        f"category {category.id} ({shown(category.name)}) has no annotation and no place in a "
        "label map: left out"
        for category in unused
    ]
    by_name: dict[str, list[int]] = {}
    for image in file.images:
        by_name.setdefault(image.file_name or "", []).append(image.id)
    said += [
        f"images {some(ids)} have the same file_name {shown(name)}: one file becomes "
        f"{len(ids)} records, each with a part of the annotations; is one of the names wrong?"
        for name, ids in by_name.items()
        if len(ids) > 1 and name
    ]
    said += _percents(file)
    not_said = int((file.crowd == file.NOT_SAID).sum())
    if not_said:
        said.append(
            f"{not_said:,} annotations have no iscrowd: taken as 0 (no crowd). Scoring needs it: "
            + offer("crowds", "writes 0 there")
        )
    return said
