"""COCO segmentations, checked before any C code sees them.

pycocotools and hotcoco trust their input: a NaN corner ends the process without a word, counts
that do not add up give masks of whatever lies in memory, a huge polygon takes all of it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# pycocotools samples a polygon's edges at five points a pixel, 16 bytes each: this is 160 MB. An
# outline in an image of 4000 x 4000 pixels is some 10⁵ long.
_PERIMETER_PX = 2_000_000
# The largest image whose pixels COCO's 32-bit counts can number.
_PIXELS = 2**31 - 1
# An outline within one pixel is no object's in an image of more than this.
_SMALLEST_SIDE_PX = 8
_BITS = 5
_LONGEST = 7  # characters of one count; seven hold 35 bits


def check(segmentation: Any, image_hw: tuple[int, int]) -> None:
    """Raises ValueError, with what is wrong, unless libraries can be given the segmentation.

    Args:
      segmentation: list of polygons (x, y, x, y, … in pixels), or an RLE dict with "size" [h, w]
        and "counts" (a list, or a compressed str or bytes).
      image_hw: (height, width) in pixels.
    """
    if isinstance(segmentation, list):
        if not segmentation:
            raise ValueError("the segmentation has no polygon")
        for index, polygon in enumerate(segmentation):
            # pycocotools takes a first one of two corners for a box.
            _check_polygon(polygon, 4 if index else 6)
        if _are_fractions(segmentation, image_hw):
            raise ValueError(
                "the segmentation's corners are fractions of the image, COCO's are pixels"
            )
        return
    if not isinstance(segmentation, dict):
        text = ", it is a text: write the list or object itself" * isinstance(segmentation, str)
        raise ValueError(f"the segmentation is neither polygons nor RLE{text}")
    size = segmentation.get("size")
    if not (isinstance(size, (list, tuple)) and len(size) == 2 and all(map(_is_whole, size))):
        raise ValueError("the segmentation's size is not [height, width]")
    if list(size) != list(image_hw):
        raise ValueError(f"the segmentation covers {list(size)}, the image is {list(image_hw)}")
    check_counts(segmentation.get("counts"), size)


def as_written(segmentation: Any) -> Any:
    """A segmentation in the form that libraries take, where it only looks different.

    An RLE alone in a list is that RLE; counts such as 6378.0 are whole numbers.
    """
    if isinstance(segmentation, list) and len(segmentation) == 1:
        segmentation = segmentation[0] if isinstance(segmentation[0], dict) else segmentation
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        counts = segmentation["counts"]
        if any(isinstance(count, float) and count.is_integer() for count in counts):
            whole = [int(c) if isinstance(c, float) and c.is_integer() else c for c in counts]
            segmentation = segmentation | {"counts": whole}
    return segmentation


def _are_fractions(polygons: list[list[float]], image_hw: tuple[int, int]) -> bool:
    values = [value for polygon in polygons for value in polygon]
    return (
        max(values) <= 1
        and min(values) >= 0
        and min(image_hw) > _SMALLEST_SIDE_PX
        and any(value != int(value) for value in values)
    )


def check_counts(counts: Any, size: Sequence[int]) -> None:
    """Raises ValueError unless the runs of an RLE cover exactly `size` (height, width)."""
    height, width = size
    if height < 0 or width < 0 or height * width > _PIXELS:
        raise ValueError(f"a mask of {height} x {width} pixels is no image's")
    if isinstance(counts, list):
        if not all(map(_is_whole, counts)):
            raise ValueError("the segmentation's counts are not whole numbers")
        runs = counts
    elif isinstance(counts, (str, bytes)):
        runs = decoded(counts).tolist()
    else:
        raise ValueError("the segmentation has no counts")
    if any(run < 0 for run in runs):
        raise ValueError("the segmentation has a negative count")
    if sum(runs) != height * width:
        raise ValueError(
            f"the segmentation's counts add up to {sum(runs)} pixels, {height} x {width} are "
            f"{height * width}"
        )


def decoded(counts: str | bytes) -> np.ndarray:
    """The runs of a compressed RLE, int64 [n].

    The format is pycocotools' (common/maskApi.c, rleFrString): groups of five bits from character
    48 on, the lowest first, the sixth bit says that more follow, the fifth of the last one is the
    sign; from the fourth run on the difference to the run two before it.

    Raises:
      ValueError: characters that are no such text, or one that ends within a count.
    """
    if isinstance(counts, str):
        try:
            counts = counts.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError("the segmentation's counts are no compressed RLE") from None
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if not len(groups):
        return groups
    if groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise ValueError("the segmentation's counts are no compressed RLE")
    last = np.flatnonzero(~groups & 32)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _LONGEST:
        raise ValueError("the segmentation has a count beyond all images")
    places = np.arange(len(groups)) - np.repeat(first, lengths)
    runs = np.add.reduceat((groups & 31) << (_BITS * places), first)
    runs -= np.where(groups[last] & 16, 1 << (_BITS * lengths), 0)
    for parity in (1, 2):  # runs 1, 3, 5, … and 2, 4, 6, …: run 0 stands alone
        runs[parity::2] = np.cumsum(runs[parity::2])
    return runs


def _check_polygon(polygon: Any, least: int) -> None:
    if not isinstance(polygon, list) or len(polygon) < least or len(polygon) % 2:
        flat = isinstance(polygon, (int, float)) and not isinstance(polygon, bool)
        raise ValueError(
            "the segmentation has a polygon of no three corners x, y, x, y, x, y"
            + ": it is one flat list of numbers, COCO has a list of such lists" * flat
        )
    for value in polygon:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("the segmentation has a corner that is no number")
        if not math.isfinite(value) or abs(value) > _PERIMETER_PX:
            raise ValueError("the segmentation has a corner that is no pixel of any image")
    corners = np.array(polygon, np.float64).reshape(-1, 2)
    steps = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1)
    if steps.sum() > _PERIMETER_PX:
        raise ValueError("the segmentation has an outline longer than any image's")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
