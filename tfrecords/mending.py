"""Annotation files as tools write them, mended on request: what `--fix` names, and nothing else.

Each of FIXES works on the whole document and says what it changed. The mended document is written
as an annotation file of its own, so that records, training and evaluation all read the same one.
"""

import collections
import contextlib
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeGuard

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tfrecords import annotation_file, images, layouts, masks, plausible
from tfrecords.errors import InputError
from tfrecords.not_coco import as_number, no_json, shown
from tfrecords.whole_files import written_whole

_WHOLE = {
    "images": ("id", "height", "width"),
    "categories": ("id",),
    "annotations": ("id", "image_id", "category_id", "iscrowd"),
}
_PARTS = ("bbox", "area")
_BOX_LAYOUTS = layouts.LAYOUTS | layouts.PERCENT


@dataclasses.dataclass
class _Mending:
    """A document on its way; `changed` counts what a repair changed, with the first of them."""

    document: dict
    path: str
    image_dir: str | None
    changed: int = 0
    first: str = ""

    def entries(self, name: str) -> Iterator[tuple[str, dict]]:
        """(where, entry) of the dicts of one of the lists."""
        listed = self.document.get(name)
        for index, entry in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(entry, dict):
                yield f"{name}[{index}]", entry

    def put(self, where: str, entry: dict, field: str, value: Any) -> None:
        """Sets a field, and counts it as changed where it is."""
        if field in entry and _same(entry[field], value):
            return
        before = shown(entry[field]) if field in entry else "nothing"
        self.first = self.first or f"{where} {field}: {before} became {shown(value)}"
        self.changed += 1
        entry[field] = value

    def refuse(self, message: str) -> InputError:
        return InputError(f"{self.path}: {message}")

    def folder(self, code: str) -> str:
        if self.image_dir is None:
            raise self.refuse(f"--fix={code} reads the image folder; name it with --image_dir")
        return self.image_dir


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def mended(
    annotations_file: str | os.PathLike,
    fixes: Collection[str],
    image_dir: str | os.PathLike | None = None,
) -> tuple[dict, list[str]]:
    """The document of an annotation file with repairs made.

    Args:
      annotations_file: COCO JSON, or what is near it (.json, .json.gz; UTF-8 or UTF-16).
      fixes: codes of FIXES; they are applied in its order.
      image_dir: the images, which "sizes" and "file_names" read.

    Returns:
      (document, a sentence for each repair: how many values it changed, and the first).

    Raises:
      InputError: no JSON object, an unknown code, or a value that a repair cannot mend.
    """
    check_codes(fixes)
    text = annotation_file.content(annotations_file)
    try:
        document = json.loads(text)  # takes UTF-16 too
    except (ValueError, RecursionError) as error:
        raise InputError(f"{annotations_file}: {no_json(text, error)}") from None
    if not isinstance(document, dict):
        annotation_file.read(annotations_file)  # says what it is instead
        raise InputError(f"{annotations_file}: not COCO annotations")
    account = []
    for code, (_, repair) in FIXES.items():
        if code in fixes:
            folder = None if image_dir is None else os.fspath(image_dir)
            work = _Mending(document, str(annotations_file), folder)
            repair(work)
            account.append(
                f"--fix={code}: {work.changed:,} changed" + (f" ({work.first})" * bool(work.first))
            )
    return document, account


def check_codes(fixes: Collection[str]) -> None:
    """Raises InputError where a code is none of FIXES."""
    unknown = sorted(set(fixes) - set(FIXES))
    if unknown:
        raise InputError(f"--fix: no '{unknown[0]}'; there are: {', '.join(FIXES)}")


def write(
    annotations_file: str | os.PathLike,
    output: str | os.PathLike,
    fixes: Collection[str],
    image_dir: str | os.PathLike | None = None,
) -> list[str]:
    """Writes the mended annotation file; the same input and fixes give the same bytes.

    The sentences stand in its info.mended, from where a conversion takes them into its ledger.

    Returns:
      the sentences of `mended`.

    Raises:
      InputError: as `mended`.
    """
    document, account = mended(annotations_file, fixes, image_dir)
    info = document.get("info")
    document["info"] = (info if isinstance(info, dict) else {}) | {"mended": account}
    folder = os.path.dirname(os.fspath(output))
    os.makedirs(folder or ".", exist_ok=True)
    with written_whole(output) as file:
        json.dump(document, file, ensure_ascii=False)
    return account


def _numbers(work: _Mending) -> None:
    for name, fields in _WHOLE.items():
        for where, entry in work.entries(name):
            for field in fields:
                if field in entry:
                    _take(work, where, entry, field, whole=True)
            for field in _PARTS if name == "annotations" else ():
                if entry.get(field) is not None:
                    _take(work, where, entry, field, whole=False)
            area = entry.get("area")
            if isinstance(area, list) and len(area) == 1:
                work.put(where, entry, "area", area[0])


def _take(work: _Mending, where: str, entry: dict, field: str, whole: bool) -> None:
    with contextlib.suppress(TypeError, ValueError):  # who reads the file refuses it, by name
        work.put(where, entry, field, as_number(entry[field], whole=whole))


def _ids(work: _Mending) -> None:
    """New ids, in the file's order, for images by other names and annotations without their own.

    An image or category that is listed twice, word for word, is listed once.
    """
    for name in ("images", "categories"):
        _once(work, name)
    ids = [entry.get("id") for _, entry in work.entries("images")]
    if not all(map(_is_id, ids)):
        if len(set(map(repr, ids))) < len(ids):
            raise work.refuse("two images have the same id; --fix=ids cannot tell them apart")
        numbers = {repr(id_): number for number, id_ in enumerate(ids, start=1)}
        for where, entry in work.entries("images"):
            work.put(where, entry, "id", numbers[repr(entry.get("id"))])
        for where, entry in work.entries("annotations"):
            known = numbers.get(repr(entry.get("image_id")))
            if known is None:
                raise work.refuse(
                    f"{where} is of image {shown(entry.get('image_id'))}, which is not in 'images'"
                )
            work.put(where, entry, "image_id", known)
    ids = [entry.get("id") for _, entry in work.entries("annotations")]
    # pycocotools takes annotation 0 for none at all
    if not all(map(_is_id, ids)) or 0 in ids or len(set(ids)) < len(ids):
        for number, (where, entry) in enumerate(work.entries("annotations"), start=1):
            work.put(where, entry, "id", number)


def _once(work: _Mending, name: str) -> None:
    """Leaves out entries that repeat an earlier one."""
    first: dict[str, dict] = {}
    for where, entry in work.entries(name):
        said = json.dumps(entry, sort_keys=True)
        if first.setdefault(said, entry) is not entry:
            work.changed += 1
            work.first = work.first or f"{where}, listed before, is left out"
    if len(first) < len(list(work.entries(name))):
        work.document[name] = list(first.values())


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _file_names(work: _Mending) -> None:
    folder = pathlib.Path(work.folder("file_names"))
    by_base, by_folded = collections.defaultdict(list), collections.defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            by_base[path.name].append(path.relative_to(folder).as_posix())
            by_folded[path.name.casefold()].append(path.relative_to(folder).as_posix())
    for where, entry in work.entries("images"):
        name = entry.get("file_name") or entry.get("coco_url") or ""
        parts = str(name).partition("?")[0].replace("\\", "/").split("/")
        # a1.jpg of a1.JPG, where no file has just that name
        paths = by_base.get(parts[-1]) or by_folded.get(parts[-1].casefold(), [])
        if str(name) in paths:
            continue
        # of one base name in several folders, those that end as the given path does
        for length in range(2, len(parts) + 1):
            ends = [path for path in paths if path.split("/")[-length:] == parts[-length:]]
            paths = ends if len(paths) > 1 and ends else paths
        if len(paths) > 1:
            raise work.refuse(
                f"image {entry.get('id')} is {shown(name)}, and there are several {parts[-1]} in "
                f"{folder}: {', '.join(paths[:3])}. Nothing tells which is meant"
            )
        if paths:
            work.put(where, entry, "file_name", paths[0])


def _sizes(work: _Mending) -> None:
    folder = work.folder("sizes")
    left = 0
    ends: dict = {}
    for _, annotation in work.entries("annotations"):
        box = annotation.get("bbox")
        if isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)):
            x, y = ends.get(annotation.get("image_id"), (0, 0))
            ends[annotation.get("image_id")] = max(x, box[0] + box[2]), max(y, box[1] + box[3])
    for where, entry in work.entries("images"):
        path = os.path.join(folder, str(entry.get("file_name")))
        said = tuple(entry.get(side) for side in ("width", "height"))
        try:
            with Image.open(path) as image:
                size, turned = image.size, images.orientation(image) >= 5
        except (OSError, ValueError):
            continue  # the conversion says what is wrong with it
        x, y = ends.get(entry.get("id"), (0, 0))
        missing = not all(_is_id(side) and side > 0 for side in said)
        # A size that is said is given up only where the boxes fit the file's, upright.
        if missing or (not turned and x <= size[0] + 1 and y <= size[1] + 1):
            work.put(where, entry, "width", size[0])
            work.put(where, entry, "height", size[1])
        else:
            left += said != size
    if left:
        work.first += f"{'; ' * bool(work.first)}{left} left, by boxes that do not fit"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _names(work: _Mending) -> None:
    for where, entry in work.entries("categories"):
        name = entry.get("name")
        if _is_number(name):
            work.put(where, entry, "name", str(name))
        elif isinstance(name, str) and name.strip():
            plain = "".join(letter for letter in name if not plausible.is_unseen(letter)).strip()
            if plain:
                work.put(where, entry, "name", plain)


def _same_names(work: _Mending) -> None:
    lowest: dict = {}
    for _, entry in work.entries("categories"):
        if _is_id(entry.get("id")):
            name = entry.get("name")
            lowest[name] = min(lowest.get(name, entry["id"]), entry["id"])
    becomes = {
        entry.get("id"): lowest.get(entry.get("name")) for _, entry in work.entries("categories")
    }
    for where, entry in work.entries("annotations"):
        if becomes.get(entry.get("category_id")) is not None:
            work.put(where, entry, "category_id", becomes[entry["category_id"]])
    work.document["categories"] = [
        entry
        for _, entry in work.entries("categories")
        if becomes.get(entry.get("id")) in (None, entry.get("id"))
    ]


def _category_ids_plus_one(work: _Mending) -> None:
    for name, field in (("categories", "id"), ("annotations", "category_id")):
        for where, entry in work.entries(name):
            if _is_id(entry.get(field)):
                work.put(where, entry, field, entry[field] + 1)


def _crowds(work: _Mending) -> None:
    for where, entry in work.entries("annotations"):
        if entry.get("iscrowd") is None:
            work.put(where, entry, "iscrowd", 0)


def _boxes(code: str) -> Callable[[_Mending], None]:
    layout = _BOX_LAYOUTS[code]
    scaled = layout.normalized or layout.percent

    def repair(work: _Mending) -> None:
        sizes = {
            entry.get("id"): (entry.get("height"), entry.get("width"))
            for _, entry in work.entries("images")
        }
        rows: list[tuple] = []
        for where, entry in work.entries("annotations"):
            box = entry.get("bbox")
            size = sizes.get(entry.get("image_id"), (None, None))
            if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
                continue
            known = all(map(_is_number, size))
            if scaled and not known:
                raise work.refuse(f"{where}: its image has no height and width to scale by")
            extent = layouts.extent_of(entry.get("segmentation"))
            rows.append((where, entry, box, size if known else (math.inf, math.inf), extent))
        if not rows:
            return
        boxes, sizes_hw, extents = (
            np.array([row[column] for row in rows], np.float64) for column in (2, 3, 4)
        )
        image_hw = sizes_hw if scaled else np.ones_like(sizes_hw)
        mended_xywh_px = layout.to_xywh_px(boxes, image_hw)
        _check_explains(work, code, boxes, mended_xywh_px, sizes_hw, extents)
        for (where, entry, *_), xywh in zip(rows, mended_xywh_px.tolist(), strict=True):
            work.put(where, entry, "bbox", xywh)

    return repair


def _check_explains(
    work: _Mending,
    code: str,
    boxes: np.ndarray,
    mended_xywh_px: np.ndarray,
    image_hw: np.ndarray,
    extents: np.ndarray,
) -> None:
    """Refuses a layout in which more boxes are impossible than as the file has them."""
    as_given = boxes
    if np.isfinite(image_hw).all() and layouts.are_fractions(boxes, image_hw):
        if code == "normalized_boxes":
            return
        as_given = layouts.LAYOUTS["normalized_boxes"].to_xywh_px(boxes, image_hw)
    before = int(layouts.impossible(as_given, image_hw, extents).sum())
    bad = layouts.impossible(mended_xywh_px, image_hw, extents)
    after = int(bad.sum())
    if after > before:
        first = int(np.argmax(bad))
        raise work.refuse(
            f"--fix={code} would make it worse: {after:,} of {len(boxes):,} boxes would then not "
            "lie inside their image or not where their own polygons are, against "
            f"{before:,} as they are (the first, {boxes[first].tolist()}, would become "
            f"{mended_xywh_px[first].tolist()}). Leave that fix out"
        )


def _areas(work: _Mending) -> None:
    """COCO's own formula: the polygons' areas, summed; of an RLE its pixels; else the box's."""
    sizes = {
        entry.get("id"): (entry.get("height"), entry.get("width"))
        for _, entry in work.entries("images")
    }
    for where, entry in work.entries("annotations"):
        area = entry.get("area")
        if _is_number(area) and math.isfinite(area) and area >= 0:
            continue
        area = _area_of(entry, sizes.get(entry.get("image_id")))
        if area is None:
            raise work.refuse(f"{where}: no segmentation and no box to compute its area from")
        work.put(where, entry, "area", area)


def _area_of(annotation: dict, image_hw: tuple | None) -> float | None:
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, list) and segmentation:
            # 1,503 polygon annotations of COCO have this area to 1e-3, of pixels a third.
            outlines = [np.array(polygon, np.float64).reshape(-1, 2).T for polygon in segmentation]
            area = sum(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 for x, y in outlines)
            if area > 0 and math.isfinite(area):
                return float(area)
        elif isinstance(segmentation, dict) and image_hw:
            return float(coco_mask.area(masks.rle_of(segmentation, image_hw)))
    except (TypeError, ValueError):
        pass  # no usable segmentation
    box = annotation.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)):
        return float(box[2] * box[3])
    return None


FIXES: dict[str, tuple[str, Callable[[_Mending], None]]] = {
    "numbers": ('values that mean a number ("12", 1.0, true) become that number', _numbers),
    "ids": (
        "images and annotations get numbers in the file's order; an image or category that is "
        "listed twice, word for word, is listed once",
        _ids,
    ),
    "file_names": (
        "paths, addresses and names in other letters (.JPG) are looked up in the image folder",
        _file_names,
    ),
    "sizes": ("widths and heights are read from the image files", _sizes),
    "names": (
        "space around category names and characters that are not seen go, numbers become text",
        _names,
    ),
    "same_names": ("categories of one name become one", _same_names),
    "category_ids_plus_one": ("ids of categories move up by one", _category_ids_plus_one),
    "crowds": ("a missing iscrowd becomes 0", _crowds),
    **{code: (f"boxes are {layout.what}", _boxes(code)) for code, layout in _BOX_LAYOUTS.items()},
    "areas": ("areas that are missing or below 0 are computed from segmentation or box", _areas),
}


def help_text() -> str:
    """The codes, for a flag's help."""
    return "; ".join(f"{code}: {what}" for code, (what, _) in FIXES.items())
