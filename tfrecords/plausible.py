"""An annotation file that reads as COCO and cannot be meant as it stands; and how it was read."""

import unicodedata
from collections import Counter

import numpy as np

from tfrecords import layouts
from tfrecords.annotation_file import AnnotationFile, some
from tfrecords.errors import InputError
from tfrecords.not_coco import offer, shown

# Characters of no width that copying from pages and tables brings along.
_UNSEEN = "\u200b\u200e\u200f\u2060\ufeff"
# So many boxes can tell of a layout: one or two outside their image are mistakes of their own.
_FEWEST_BOXES = 3


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
    not_said = int((file.crowd == file.NOT_SAID).sum())
    if not_said:
        said.append(
            f"{not_said:,} annotations have no iscrowd: taken as 0 (no crowd). Scoring needs it: "
            + offer("crowds", "writes 0 there")
        )
    return said
