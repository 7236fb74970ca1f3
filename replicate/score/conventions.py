"""Boxes and category ids written in another convention than COCO's, told by the groundtruth.

A detector that finds anything puts some boxes where objects are. Read in the wrong layout they
are elsewhere; read in the right one they come to lie on objects. Likewise for category ids: of
the boxes that lie on an object, the right numbering calls most what they are.
"""

import dataclasses
import functools

import numpy as np

from replicate.score.problem import Problem

# Another convention is believed when it explains at least so many boxes (category ids), and more
# than twice as many as COCO's.
_HITS, _CALLS, _TIMES = 10, 5, 2.0
_IOU = 0.5
# Enough to tell, and quick: so many images, the best so many detections of each.
_IMAGES, _DETECTIONS = 200, 20


@dataclasses.dataclass(frozen=True)
class Layout:
    """A way to write a box.

    Attributes:
      what: in words.
      corners: two corners, not a corner and a size.
      y_first: y before x, and height before width.
      normalized: as fractions of the image's size.
    """

    what: str
    corners: bool = False
    y_first: bool = False
    normalized: bool = False

    def to_xywh_px(self, boxes, image_hw):
        """(N, 4) boxes of this layout as boxes_xywh_px; `image_hw` is (N, 2) in px."""
        boxes = boxes[:, [1, 0, 3, 2]] if self.y_first else boxes
        if self.normalized:
            boxes = boxes * image_hw[:, [1, 0, 1, 0]]
        if self.corners:
            boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        return boxes


LAYOUTS = {
    "corner_boxes": Layout("corners [x1, y1, x2, y2] in pixels", corners=True),
    "yxyx_boxes": Layout("corners [y1, x1, y2, x2] in pixels", corners=True, y_first=True),
    "normalized_boxes": Layout("[x, y, width, height] as fractions", normalized=True),
    "normalized_corner_boxes": Layout(
        "corners [x1, y1, x2, y2] as fractions", corners=True, normalized=True
    ),
    "normalized_yxyx_boxes": Layout(
        "corners [y1, x1, y2, x2] as fractions", corners=True, y_first=True, normalized=True
    ),
}
_XYWH_PX = Layout("[x, y, width, height] in pixels")

# Category ids written for others: code -> (in words, function (ids, COCO's ids) -> ids).
NUMBERINGS = {
    "category_ids_plus_one": (
        "one below COCO's (a background class left out)",
        lambda ids, _: ids + 1,
    ),
    "category_ids_minus_one": (
        "one above COCO's (a background class counted in)",
        lambda ids, _: ids - 1,
    ),
    "contiguous_category_ids": (
        "numbered 1, 2, 3, … without COCO's gaps",
        lambda ids, of_file: _looked_up(ids - 1, of_file),
    ),
    "contiguous_category_ids_from_zero": (
        "numbered 0, 1, 2, … without COCO's gaps",
        lambda ids, of_file: _looked_up(ids, of_file),
    ),
}


def box_layout(detections, groundtruth):
    """The Problem of boxes that are not [x, y, width, height] in pixels, or None."""
    if detections.iou_type != "bbox" or len(detections) < _HITS:
        return None
    sample = _Sample(detections, groundtruth)
    given = sample.hits(_XYWH_PX)
    found = {code: sample.hits(layout) for code, layout in LAYOUTS.items()}
    code = max(found, key=found.get)
    evidence = (
        f"read so, {found[code]} of {len(sample)} sampled boxes lie on an object (IoU 0.5), "
        f"against {given}"
    )
    if found[code] < max(_HITS, _TIMES * given + 1):
        code, evidence = _told_by_shape(detections, groundtruth)
    if code is None:
        return None
    layout = LAYOUTS[code]

    def mend(detections):
        image_hw = _image_hw(detections, groundtruth)
        return dataclasses.replace(
            detections, shapes=layout.to_xywh_px(detections.shapes, image_hw)
        )

    return Problem(
        code=code,
        message=(f"the boxes look like {layout.what}, COCO's are {_XYWH_PX.what}: {evidence}"),
        remedy="converts them",
        mend=mend,
    )


def category_numbering(detections, groundtruth):
    """The Problem of category ids that follow another numbering, or None."""
    if len(detections) < _HITS or detections.iou_type == "keypoints":
        return None
    sample = _Sample(detections, groundtruth)
    on_object, true_ids = sample.on_objects
    ids = detections.category_ids[sample.indices][on_object]
    of_file = np.array(list(groundtruth.categories))
    # Judged by the ids that the numbering changes: person is 1 in most of them.
    right, given = {}, {}
    for code, (_, renumber) in NUMBERINGS.items():
        renumbered = renumber(ids, of_file)
        changed = renumbered != ids
        right[code] = int((renumbered == true_ids)[changed].sum())
        given[code] = int((ids == true_ids)[changed].sum())
    # Of equals the first: without gaps in the file, "from zero" is the same as "plus one".
    code = max(right, key=lambda code: right[code] - given[code])
    evidence = (
        f"of the sampled boxes that lie on an object, {right[code]} get its category if read so, "
        f"against {given[code]} that lose it"
    )
    if right[code] < max(_CALLS, _TIMES * given[code] + 1):
        if int((ids == true_ids).sum()) >= _CALLS:
            return None
        code, evidence = _told_by_ids(np.unique(detections.category_ids), of_file)
    if code is None:
        return None
    what, renumber = NUMBERINGS[code]
    return Problem(
        code=code,
        message=f"the category ids look {what}: {evidence}",
        remedy="renumbers them",
        mend=lambda detections: dataclasses.replace(
            detections, category_ids=renumber(detections.category_ids, of_file)
        ),
    )


class _Sample:
    """The best detections of some images that have objects."""

    def __init__(self, detections, groundtruth):
        self._detections, self._groundtruth = detections, groundtruth
        has_box = np.isfinite(groundtruth.annotation_boxes_xywh_px).all(axis=1)
        self._objects = has_box & ~groundtruth.annotation_crowd
        with_objects = np.unique(groundtruth.annotation_image_ids[self._objects])
        images = np.intersect1d(with_objects, detections.image_ids)
        images = images[:: max(1, len(images) // _IMAGES)][:_IMAGES]
        indices = np.flatnonzero(np.isin(detections.image_ids, images))
        order = np.lexsort((-detections.scores[indices], detections.image_ids[indices]))
        indices = indices[order]
        of_image = detections.image_ids[indices]
        rank = np.arange(len(indices)) - np.searchsorted(of_image, of_image)
        self.indices = indices[rank < _DETECTIONS]

    def __len__(self):
        return len(self.indices)

    def hits(self, layout):
        """How many boxes lie on an object of their image, read in `layout`."""
        return int((self._best(layout)[0] >= _IOU).sum())

    @functools.cached_property
    def on_objects(self):
        """(N,) bool: the boxes on an object, as they are; and the category ids of those."""
        overlap, category_ids = self._best(_XYWH_PX)
        hit = overlap >= _IOU
        return hit, category_ids[hit]

    def _best(self, layout):
        """Of each box the largest IoU with an object of its image, and that one's category."""
        from hotcoco import primitives

        boxes = layout.to_xywh_px(self._boxes, self._image_hw)
        overlap, category_ids = np.zeros(len(self)), np.zeros(len(self), int)
        for image_id, mine in self._by_image.items():
            objects = self._objects_of[image_id]
            truth = self._groundtruth.annotation_boxes_xywh_px[objects]
            iou = primitives.bbox_iou(boxes[mine], truth, [False] * len(truth))
            overlap[mine] = iou.max(axis=1)
            best = objects[iou.argmax(axis=1)]
            category_ids[mine] = self._groundtruth.annotation_category_ids[best]
        return overlap, category_ids

    @functools.cached_property
    def _boxes(self):
        if self._detections.iou_type == "bbox":
            return self._detections.shapes[self.indices]
        from hotcoco import mask

        rles = [self._detections.shapes[index] for index in self.indices]
        return np.array([mask.to_bbox(each) for each in rles], float).reshape(-1, 4)

    @functools.cached_property
    def _image_hw(self):
        return _image_hw(self._detections, self._groundtruth)[self.indices]

    @functools.cached_property
    def _by_image(self):
        return _positions(self._detections.image_ids[self.indices])

    @functools.cached_property
    def _objects_of(self):
        objects = np.flatnonzero(self._objects)
        at = _positions(self._groundtruth.annotation_image_ids[objects])
        return {image_id: objects[index] for image_id, index in at.items()}


def _told_by_shape(detections, groundtruth):
    """(code, evidence) where the boxes' own geometry leaves no doubt, else (None, "")."""
    boxes, image_hw = detections.shapes, _image_hw(detections, groundtruth)
    if np.abs(boxes).max() <= 1.5 and image_hw.min() > 8:
        corners = (boxes[:, 2:] >= boxes[:, :2]).mean() > 0.995
        # Fractions as corners: the Object Detection API's and TFLite's own order is y first.
        code = "normalized_yxyx_boxes" if corners else "normalized_boxes"
        return code, f"no coordinate is above {np.abs(boxes).max():.3g}"
    as_corners = LAYOUTS["corner_boxes"].to_xywh_px(boxes, image_hw)
    inside = _inside(boxes, image_hw).mean()
    if _inside(as_corners, image_hw).mean() > 0.995 and inside < 0.9:
        return "corner_boxes", (
            f"read so, all boxes lie inside their image, as they are only {inside:.0%} do"
        )
    return None, ""


def _told_by_ids(ids, of_file):
    """(code, evidence) where one numbering alone takes all ids into the file, else (None, "").

    For detectors that find too little for their boxes to tell.
    """
    unknown = ~np.isin(ids, of_file)
    taken = {
        code: tuple(renumber(ids, of_file).tolist())
        for code, (_, renumber) in NUMBERINGS.items()
        if np.isin(renumber(ids, of_file), of_file).all()
    }
    if not unknown.any() or len(set(taken.values())) != 1:
        return None, ""
    return next(iter(taken)), (
        f"{int(unknown.sum())} of the {len(ids)} ids are not in the file as they are, all are if "
        "read so"
    )


def _inside(boxes_xywh_px, image_hw):
    """(N,) bool: boxes of no negative size that keep to their image, within 2 % of its size."""
    limits = 1.02 * image_hw[:, [1, 0]]
    ends = boxes_xywh_px[:, :2] + boxes_xywh_px[:, 2:]
    return (boxes_xywh_px[:, 2:] >= 0).all(axis=1) & (ends <= limits).all(axis=1)


def _image_hw(detections, groundtruth):
    ids, inverse = np.unique(detections.image_ids, return_inverse=True)
    return np.array([groundtruth.image_hw[each] for each in ids.tolist()], float)[inverse]


def _positions(values):
    """dict value -> indices where it stands."""
    order = np.argsort(values, kind="stable")
    distinct, starts = np.unique(values[order], return_index=True)
    ends = [*starts[1:], len(order)]
    return {
        value: order[start:end]
        for value, start, end in zip(distinct.tolist(), starts, ends, strict=False)
    }


def _looked_up(places, ids):
    """The ids at `places`; where there is none, -1, which no file has."""
    inside = (places >= 0) & (places < len(ids))
    return np.where(inside, ids[np.clip(places, 0, len(ids) - 1)], -1)
