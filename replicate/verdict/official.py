"""What COCO 2017 is, as far as it is publicly known, and your own copy of it, remembered.

Pinned: images, annotations and crowds of train2017 and val2017 (cocodataset/cocoapi issue 117),
the objects of each category of val2017 (the table that detectron2 logs of coco_2017_val; crowds
left out, they add up to the 36,335 that issue 117 gives), the 128 lowest image ids of val2017.
Not known to the kit: the file's own hash, its areas, the crowds of each category. Once you give
your instances_val2017.json to tools/verdict.py and what is pinned fits, its hashes are kept in
your cache folder, and every evaluation is then compared with them.
"""

import csv
import dataclasses
import functools
import os
import pathlib

_TABLE = pathlib.Path(__file__).resolve().parent.parent / "data" / "coco_categories.csv"

# The 128 lowest image ids of val2017 (139 to 13201), as `score.ids_sha256` tells them.
FIRST = 128
FIRST_SHA256 = "47ce107b9254d91bd0b949594ec6e3df5dca0131985a9c8d0b354ee6b650a3b7"


@dataclasses.dataclass(frozen=True)
class OfficialSplit:
    """A split of COCO 2017: images, annotations (crowds included) and crowds among them."""

    name: str
    images: int
    annotations: int
    crowds: int


TRAIN2017 = OfficialSplit("train2017", 118_287, 860_001, 10_052)
VAL2017 = OfficialSplit("val2017", 5_000, 36_781, 446)


@functools.cache
def categories() -> dict[int, str]:
    """COCO's 80 detection categories: id -> name (ids 1 to 90 with gaps)."""
    return {int(row["id"]): row["name"] for row in _rows()}


@functools.cache
def objects() -> dict[int, int]:
    """Category id -> annotations of it in val2017, crowds left out."""
    return {int(row["id"]): int(row["val2017_objects"]) for row in _rows()}


def _rows() -> list[dict[str, str]]:
    with open(_TABLE, encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def file_of(iou_type: str) -> str:
    """The official file that an evaluation of this kind is scored with."""
    kind = "person_keypoints" if iou_type == "keypoints" else "instances"
    return f"{kind}_val2017.json"


def remembered(iou_type: str) -> dict | None:
    """The identity (`score.Groundtruth.identity`) of your official file, None without one."""
    from replicate.run import read_json_or_none

    return read_json_or_none(_path(iou_type))


def remember(identity: dict, iou_type: str) -> None:
    """Keeps the identity of an official file, one that fits what is pinned."""
    from replicate.run import write_json

    write_json(_path(iou_type), identity)


def _path(iou_type: str) -> pathlib.Path:
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "replicate-tf2-zoo" / "official" / file_of(iou_type)
