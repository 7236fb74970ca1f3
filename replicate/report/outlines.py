"""Masks and keypoints as they are drawn: polygons and points, from RLEs and detections' files."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from replicate.evenly import evenly
from replicate.score.detections import Detections
from replicate.score.groundtruth import read_bytes

#: Detections of an image, best first, whose mask or keypoints are drawn.
MOST_OUTLINED = 20
# A polygon of more points is thinned out evenly.
_MAX_POINTS, _MAX_DETECTED_POINTS = 60, 32
# Pixels by which a polygon may leave a mask's edge.
_TOLERANCE_PX = 0.7


class _Located(msgspec.Struct):
    segmentation: Any = None
    keypoints: list[float] | None = None


def of_annotation(annotation: dict) -> dict[str, list]:
    """Polygons (lists of x, y in pixels) and keypoints (x, y, visibility), where there are any.

    Args:
      annotation: of COCO: its segmentation is polygons, or an RLE as crowds have it.
    """
    return _drawn(annotation.get("segmentation"), annotation.get("keypoints"), _MAX_POINTS)


def of_detections(detections: Detections, indices: Iterable[int]) -> dict[int, dict[str, list]]:
    """dict index -> `of_annotation`'s dict, of the detections that have a mask or keypoints.

    Args:
      detections: of boxes, from a file; without one there is nothing to read the rest from.
      indices: which.
    """
    indices = list(indices)
    if detections.file is None or not indices:
        return {}
    raw = read_bytes(detections.file)
    if b'"segmentation"' not in raw and b'"keypoints"' not in raw:
        return {}
    located = msgspec.json.decode(raw, type=list[_Located])
    places = detections.places
    outlines = {}
    for index in indices:
        detection = located[index if places is None else int(places[index])]
        drawn = _drawn(detection.segmentation, detection.keypoints, _MAX_DETECTED_POINTS)
        if drawn:
            outlines[index] = drawn
    return outlines


def _drawn(
    segmentation: Any, keypoints: Sequence[float] | None, most_points: int
) -> dict[str, list]:
    drawn: dict[str, list] = {}
    polygons = _of_rle(segmentation) if isinstance(segmentation, dict) else _of_lists(segmentation)
    if polygons:
        drawn["polygons"] = [
            [round(float(value), 1) for point in evenly(pairs, most_points) for value in point]
            for pairs in polygons
        ]
    if any(keypoints or ()):
        drawn["keypoints"] = [round(value, 1) for value in keypoints or ()]
    return drawn


def _of_lists(polygons: Any) -> list[list[tuple[float, float]]]:
    if not isinstance(polygons, list):
        return []
    paired = [list(zip(polygon[::2], polygon[1::2], strict=False)) for polygon in polygons]
    return [pairs for pairs in paired if pairs]


def _of_rle(rle: dict) -> list[list[tuple[float, float]]]:
    """The outer edges of a mask, largest first; a hole in it is not drawn."""
    import cv2

    height, width = rle["size"]
    if isinstance(rle["counts"], list):
        rle = coco_mask.frPyObjects(rle, height, width)
    contours, _ = cv2.findContours(
        np.ascontiguousarray(coco_mask.decode(rle)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    edges = [cv2.approxPolyDP(edge, _TOLERANCE_PX, True) for edge in contours]
    edges.sort(key=cv2.contourArea, reverse=True)
    # A contour runs through the middles of pixels; as a place in the image that is half a pixel on.
    return [[(x + 0.5, y + 0.5) for x, y in edge.reshape(-1, 2)] for edge in edges if len(edge) > 2]
