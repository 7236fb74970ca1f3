"""The ways in which tools write a box, and which of them a file's boxes speak for."""

import dataclasses
from typing import Any

import numpy as np

# Boxes of which none may be empty, and of which so large a part lies inside its image, are taken
# for written in a layout; COCO's own reading must fail for more than the rest of them.
_ALL, _SOME = 0.995, 0.9
# A box is still inside where it ends within this share of the image's side beyond it.
_MARGIN = 1.02
# No box of a detection data set is this small in every file of it; sides of images are.
_FRACTION, _SMALLEST_SIDE_PX = 1.5, 8
# A box that shares less with its own outline's extent is not the box of that object.
_LEAST_IOU = 0.5


@dataclasses.dataclass(frozen=True)
class Layout:
    """A way to write a box.

    Attributes:
      what: in words.
      corners: two corners, not a corner and a size.
      centre: the centre and a size.
      y_first: y before x, and height before width.
      normalized: as fractions of the image's size.
      percent: in percent of the image's size.
      sizes_as_corner: the corner (or centre) was taken from the size, as if that were a corner.
      taken_for_centre: half the size (or second corner) was taken from the corner, as if from a
        centre.
      multiplied: by the image's size as if x came first and they were fractions.
    """

    what: str
    corners: bool = False
    centre: bool = False
    y_first: bool = False
    normalized: bool = False
    percent: bool = False
    sizes_as_corner: bool = False
    taken_for_centre: bool = False
    multiplied: bool = False

    def to_xywh_px(self, boxes: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
        """(N, 4) boxes of this layout as boxes_xywh_px; `image_hw` is (N, 2) in px."""
        if self.sizes_as_corner:
            boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] + boxes[:, :2]], axis=1)
        if self.taken_for_centre:
            boxes = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
        if self.multiplied:
            boxes = boxes / image_hw[:, [1, 0, 1, 0]]
        boxes = boxes[:, [1, 0, 3, 2]] if self.y_first else boxes
        if self.percent:
            boxes = boxes / 100
        if self.normalized or self.percent:
            boxes = boxes * image_hw[:, [1, 0, 1, 0]]
        if self.corners:
            boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        if self.centre:
            boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
        return boxes


LAYOUTS = {
    "corner_boxes": Layout("corners [x1, y1, x2, y2] in pixels", corners=True),
    "yxyx_boxes": Layout("corners [y1, x1, y2, x2] in pixels", corners=True, y_first=True),
    "centre_boxes": Layout("centres [x, y, width, height] in pixels", centre=True),
    "normalized_boxes": Layout("[x, y, width, height] as fractions", normalized=True),
    "normalized_corner_boxes": Layout(
        "corners [x1, y1, x2, y2] as fractions", corners=True, normalized=True
    ),
    "normalized_yxyx_boxes": Layout(
        "corners [y1, x1, y2, x2] as fractions", corners=True, y_first=True, normalized=True
    ),
    "normalized_centre_boxes": Layout(
        "centres [x, y, width, height] as fractions", centre=True, normalized=True
    ),
}
#: Percents of 100 px are pixels, so geometry alone never speaks for them.
PERCENT = {
    "percent_boxes": Layout(
        "[x, y, width, height] in percent of the image's width and height", percent=True
    )
}
XYWH_PX = Layout("[x, y, width, height] in pixels")
#: What is left of a detector's boxes that were converted to COCO's from a layout that they were not
#: in: "corners x first" of corners y first, "corners" of sizes, "fractions" of pixels. No tool
#: writes annotations so.
CONVERTED = {
    "yxhw_boxes": Layout(
        "[y, x, height, width] in pixels, of boxes with y first that were taken for x first",
        y_first=True,
    ),
    "multiplied_yxhw_boxes": Layout(
        "[y, x, height, width], of fractions with y first that were taken for x first and "
        "multiplied by width, height, width, height",
        y_first=True,
        normalized=True,
        multiplied=True,
    ),
    "normalized_yxhw_boxes": Layout(
        "[y, x, height, width] as fractions, of boxes with y first that were taken for x first",
        y_first=True,
        normalized=True,
    ),
    "sizes_as_corner_boxes": Layout(
        "[x, y, width − x, height − y] in pixels, of sizes that were taken for corners",
        sizes_as_corner=True,
    ),
    "centre_as_corner_boxes": Layout(
        "[x, y, width − x, height − y] in pixels, of centres and sizes that were taken for corners",
        centre=True,
        sizes_as_corner=True,
    ),
    "sizes_as_centre_boxes": Layout(
        "[x − width / 2, y − height / 2, width, height] in pixels, of corners that were taken for "
        "centres",
        taken_for_centre=True,
    ),
    "corners_as_centre_boxes": Layout(
        "[x1 − x2 / 2, y1 − y2 / 2, x2, y2] in pixels, of two corners that were taken for centre "
        "and size",
        corners=True,
        taken_for_centre=True,
    ),
    "multiplied_boxes": Layout(
        "[x, y, width, height] in pixels that were multiplied by the image's size as fractions are",
        multiplied=True,
    ),
}


def are_fractions(boxes: np.ndarray, image_hw: np.ndarray) -> bool:
    """Whether no coordinate of (N, 4) boxes can be a pixel of images (N, 2) of this size."""
    return bool(
        len(boxes)
        and np.abs(boxes).max() <= _FRACTION
        and image_hw.min() > _SMALLEST_SIDE_PX
        and (boxes != np.floor(boxes)).any()
    )


def fitting(boxes: np.ndarray, image_hw: np.ndarray) -> list[str]:
    """The codes of the layouts in which (N, 4) boxes lie inside their images (N, 2), all of them.

    Of boxes that are fractions the normalized layouts, of others those in pixels.
    """
    fractions = are_fractions(boxes, image_hw)
    codes = []
    for code, layout in LAYOUTS.items():
        boxes_xywh_px = layout.to_xywh_px(boxes, image_hw)
        fits = inside(boxes_xywh_px, image_hw).mean() > _ALL
        if layout.centre:  # a centre is always inside; that its box is, tells
            starts = (boxes_xywh_px[:, :2] >= -(_MARGIN - 1) * image_hw[:, [1, 0]]).all(axis=1)
            fits = fits and starts.mean() > _ALL
        if fits and layout.normalized == fractions:
            codes.append(code)
    return codes


def without_negative_sizes(boxes: np.ndarray, image_hw: np.ndarray) -> list[str]:
    """The codes of the normalized layouts in which (N, 4) boxes have no negative size."""
    return [
        code
        for code, layout in LAYOUTS.items()
        if layout.normalized
        and (layout.to_xywh_px(boxes, image_hw)[:, 2:] >= 0).all(axis=1).mean() > _ALL
    ]


def by_geometry(boxes: np.ndarray, image_hw: np.ndarray) -> tuple[list[str], str]:
    """What the boxes' own geometry says against COCO's layout.

    Args:
      boxes: (N, 4), finite.
      image_hw: (N, 2) in px.

    Returns:
      (codes of the layouts that it speaks for, why); ([], "") where nothing speaks against
      [x, y, width, height] in pixels.
    """
    if are_fractions(boxes, image_hw):
        return fitting(boxes, image_hw) or ["normalized_boxes"], (
            f"no coordinate is above {np.abs(boxes).max():.3g}"
        )
    as_given = inside(boxes, image_hw).mean() if len(boxes) else 1.0
    if as_given >= _SOME or not (codes := fitting(boxes, image_hw)):
        return [], ""
    return codes, f"read so, no more than {as_given:.0%} lie inside their image"


def inside(boxes_xywh_px: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes of no negative size that end inside their image, within 2 % of its size."""
    with np.errstate(over="ignore"):  # beyond all numbers is beyond the image
        ends = boxes_xywh_px[:, :2] + boxes_xywh_px[:, 2:]
    limits = _MARGIN * image_hw[:, [1, 0]]
    return (boxes_xywh_px[:, 2:] >= 0).all(axis=1) & (ends <= limits).all(axis=1)


def impossible(
    boxes_xywh_px: np.ndarray, image_hw: np.ndarray, extents_xyxy_px: np.ndarray
) -> np.ndarray:
    """(N,) bool: boxes that are not inside their image, or not where their own outline is.

    Args:
      boxes_xywh_px: (N, 4).
      image_hw: (N, 2) in px; infinite where it is not known.
      extents_xyxy_px: (N, 4) of the objects' polygons; NaN where there are none.
    """
    starts = (boxes_xywh_px[:, :2] >= -(_MARGIN - 1) * image_hw[:, [1, 0]]).all(axis=1)
    return ~inside(boxes_xywh_px, image_hw) | ~starts | elsewhere(boxes_xywh_px, extents_xyxy_px)


def elsewhere(boxes_xywh_px: np.ndarray, extents_xyxy_px: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes with an IoU below 0.5 with their object's extent; none where that is NaN."""
    corners = np.concatenate(
        [boxes_xywh_px[:, :2], boxes_xywh_px[:, :2] + boxes_xywh_px[:, 2:]], axis=1
    )
    low = np.maximum(corners[:, :2], extents_xyxy_px[:, :2])
    high = np.minimum(corners[:, 2:], extents_xyxy_px[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = np.clip(boxes_xywh_px[:, 2:], 0, None).prod(axis=1)
    whole = areas + (extents_xyxy_px[:, 2:] - extents_xyxy_px[:, :2]).prod(axis=1) - shared
    return shared < _LEAST_IOU * whole  # NaN is not less


def extent_of(segmentation: Any) -> list[float]:
    """[x1, y1, x2, y2] in px of COCO's polygons; NaN of what is none, or has no area."""
    try:
        points = np.concatenate([np.array(polygon, np.float64) for polygon in segmentation])
        points = points.reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
    except (TypeError, ValueError, IndexError):
        return [np.nan] * 4
    if not (high > low).all():
        return [np.nan] * 4
    return [*low.tolist(), *high.tolist()]
