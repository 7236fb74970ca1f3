"""Boxes as evaluators were found to take them: in another image's pixels, rounded, cut."""

import numpy as np

#: Sides of square inputs that public configs use; boxes may have been left in their pixels.
SIDES = (300, 320, 416, 512, 640, 800, 1024, 1280)
#: Layout -> function (boxes_xyxy_px, image_wh) -> boxes_xyxy_px of the image they were left in.
SCALES: dict = {}


def transformed(boxes_xywh_px, image_hw, setting):
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


def _xyxy(boxes_xywh):
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def _xywh(boxes_xyxy):
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def _longest(image_wh):
    return image_wh.max(axis=1, keepdims=True)


def _twice(pairs):
    return np.concatenate([pairs, pairs], axis=1)


def _padded(boxes, image_wh):
    return boxes * _twice(image_wh / _longest(image_wh))


def _centred(boxes, image_wh):
    longest = _longest(image_wh)
    return (boxes + _twice((longest - image_wh) / 2)) * _twice(image_wh / longest)


def _of_side(side):
    def stretched(boxes, image_wh):
        return boxes * _twice(side / image_wh)

    def letterboxed(boxes, image_wh):
        return boxes * (side / _longest(image_wh))

    def letterboxed_centred(boxes, image_wh):
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
