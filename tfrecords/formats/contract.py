"""What every reader of a foreign format holds to, before its rows become COCO.

Finite numbers, known labels, unique ids, names that are files inside the folder, sizes of images
that can be. A row that does not hold to it is named, and nothing is written.
"""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tfrecords.errors import InputError

LARGEST_SIDE_PX = 1_000_000
_IDS = 2**63  # COCO's readers keep ids in 64 bits


class Rows:
    """The rows read so far: `image` and `annotation` refuse one that contradicts them.

    Args:
      categories: ids that an annotation may have; None takes any.
    """

    def __init__(self, categories: Iterable[int] | None = None) -> None:
        self._categories = None if categories is None else set(categories)
        self._image_ids: set[int] = set()
        self._names: set[str] = set()
        self._annotation_ids: set[int] = set()

    def image(self, image_id: Any, file_name: Any, image_hw: tuple[int, int]) -> None:
        """Checks an image; raises ValueError with what is wrong."""
        _check_id("image", image_id, self._image_ids)
        check_name(file_name)
        if file_name in self._names:
            raise ValueError(f"a second image named {file_name!r}; one would overwrite the other")
        self._names.add(file_name)
        check_size(image_hw)

    def annotation(
        self,
        annotation_id: Any,
        category_id: Any,
        box_xywh_px: Sequence[float],
        area_px: Any,
        crowd: Any,
    ) -> None:
        """Checks an annotation; raises ValueError with what is wrong."""
        _check_id("annotation", annotation_id, self._annotation_ids)
        if self._categories is not None and category_id not in self._categories:
            raise ValueError(f"category {category_id!r} is none of the {len(self._categories)}")
        if len(box_xywh_px) != 4 or not all(map(_is_finite, box_xywh_px)):
            raise ValueError(f"the box {list(box_xywh_px)} is not four finite numbers")
        if not _is_finite(area_px):
            raise ValueError(f"the area {area_px!r} is no finite number")
        if crowd not in (0, 1):
            raise ValueError(f"iscrowd is {crowd!r}, neither 0 nor 1")


def check_name(name: Any) -> None:
    """Raises ValueError unless `name` is a file's, inside the folder of the images."""
    parts = name.replace("\\", "/").split("/") if isinstance(name, str) else [""]
    if (
        any(part in ("", ".", "..") for part in parts)
        or ":" in parts[0]
        or "\0" in name
        or os.path.isabs(name)
    ):
        raise ValueError(f"{name!r} is no name of a file inside the image folder")
    if any(len(os.fsencode(part)) > 255 for part in parts):
        raise ValueError(f"the name {name[:40]!r}… is longer than a file's may be")


def check_size(image_hw: tuple[int, int]) -> None:
    """Raises ValueError unless (height, width) is the size of an image in pixels."""
    if not all(isinstance(side, int) and 1 <= side <= LARGEST_SIDE_PX for side in image_hw):
        height, width = image_hw
        raise ValueError(f"{width}x{height} is no size of an image")


def checked(document: dict, where: Any) -> dict:
    """A COCO document that a reader made, after all its rows have been checked.

    Args:
      document: dict of images, annotations, categories.
      where: the source, for the message.

    Raises:
      InputError: names the row.
    """
    rows = Rows(category["id"] for category in document["categories"])
    names = {}
    for number, image in enumerate(document["images"], start=1):
        with named(f"{where}: image {number} ({image.get('file_name')!r})"):
            rows.image(image["id"], image["file_name"], (image["height"], image["width"]))
        names[image["id"]] = image["file_name"]
    for number, annotation in enumerate(document["annotations"], start=1):
        name = names.get(annotation["image_id"])
        with named(f"{where}: annotation {number}, of {name!r}"):
            if name is None:
                raise ValueError(f"image {annotation['image_id']!r} is not there")
            rows.annotation(
                annotation["id"],
                annotation["category_id"],
                annotation["bbox"],
                annotation["area"],
                annotation.get("iscrowd", 0),
            )
    return document


@contextlib.contextmanager
def named(where: str) -> Iterator[None]:
    """Makes what a row's reading raises an InputError that says where the row is."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{where}: {what}") from error


@contextlib.contextmanager
def converted(where: Any, what: str) -> Iterator[None]:
    """Makes what another library raises an InputError; Rust's panics derive from BaseException."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where}: {what}: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{where}: {what}: {error}") from error


def _check_id(kind: str, id_: Any, ids: set[int]) -> None:
    if isinstance(id_, bool) or not isinstance(id_, int) or not -_IDS <= id_ < _IDS:
        raise ValueError(f"{kind} id {id_!r} is no whole number")
    if id_ in ids:
        raise ValueError(f"{kind} id {id_} occurs more than once; ids must be unique")
    ids.add(id_)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
