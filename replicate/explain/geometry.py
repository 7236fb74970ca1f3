"""Boxes as evaluators were found to take them: in another image's pixels, rounded, cut."""

from collections.abc import Callable

import numpy as np

from replicate.explain.setting import Setting

_Scale = Callable[[np.ndarray, np.ndarray], np.ndarray]
#: Sides of square inputs that public configs use; boxes may have been left in their pixels.
SIDES = (300, 320, 416, 512, 640, 800, 1024, 1280)
#: By layout: of (boxes_xyxy_px, image_wh) the boxes_xyxy_px in the image they were left in.
SCALES: dict[str, _Scale] = {}


def transformed(boxes_xywh_px: np.ndarray, image_hw: np.ndarray, setting: Setting) -> np.ndarray:
    """(N, 4) detections' boxes_xywh_px as `setting` takes them; `image_hw` is (N, 2) in px."""
    boxes = boxes_xywh_px
    image_wh = image_hw[:, ::-1]
    if setting.scale:
        boxes = _xywh(SCALES[setting.scale](_xyxy(boxes), image_wh))
    if setting.corners_as_size:
        boxes = _xyxy(boxes)
    if setting.rounded:
        corners = _xyxy(boxes)
        boxes = _xywh(np.rint(corners) if setting.rounded == "nearest" else np.trunc(corners))
    if setting.clipped:
        limits = np.concatenate([image_wh, image_wh], axis=1)
        boxes = _xywh(np.clip(_xyxy(boxes), 0, limits))
    return boxes


def _xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def _xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def _longest(image_wh: np.ndarray) -> np.ndarray:
    return image_wh.max(axis=1, keepdims=True)


def _twice(pairs: np.ndarray) -> np.ndarray:
    return np.concatenate([pairs, pairs], axis=1)


def _padded(boxes: np.ndarray, image_wh: np.ndarray) -> np.ndarray:
    return boxes * _twice(image_wh / _longest(image_wh))


def _centred(boxes: np.ndarray, image_wh: np.ndarray) -> np.ndarray:
    longest = _longest(image_wh)
    return (boxes + _twice((longest - image_wh) / 2)) * _twice(image_wh / longest)


def _of_side(side: int) -> dict[str, _Scale]:
    def stretched(boxes: np.ndarray, image_wh: np.ndarray) -> np.ndarray:
        return boxes * _twice(side / image_wh)

    def letterboxed(boxes: np.ndarray, image_wh: np.ndarray) -> np.ndarray:
        return boxes * (side / _longest(image_wh))

    def letterboxed_centred(boxes: np.ndarray, image_wh: np.ndarray) -> np.ndarray:
        longest = _longest(image_wh)
        return (boxes + _twice((longest - image_wh) / 2)) * (side / longest)

    return {
        f"stretched to {side}": stretched,
        f"letterboxed to {side}": letterboxed,
        f"letterboxed to {side}, centred": letterboxed_centred,
    }


SCALES |= {"fractions of the padded image": _padded, "fractions of the centred image": _centred}
for _side in SIDES:
    SCALES |= _of_side(_side)
