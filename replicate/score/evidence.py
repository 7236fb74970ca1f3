"""Whether boxes and category ids tell of an image's objects more than chance would.

Chance is made by shuffling: the detections of one image held against the objects of another. A
reading of the detections (a box layout, a numbering of the ids) that agrees with the objects of its
own image no better than with those of any other says nothing, however often it agrees: one class
given to every object is right as often as that class is common.

Images are shuffled, not boxes, because the boxes of one image are not independent of each other.
"""

import functools
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from replicate.score.detections import Detections
    from replicate.score.groundtruth import Groundtruth


#: Shuffles, none of which may agree as well: a reading that tells nothing passes with a
#: probability of at most ERROR_RATE.
SHUFFLES = 9_999
ERROR_RATE = 1 / (SHUFFLES + 1)
IOU = 0.5
# Enough to tell, and quick: so many images, the best so many detections of each.
_IMAGES, _DETECTIONS = 200, 20


def beyond_chance(agreement: np.ndarray) -> tuple[bool, float]:
    """Whether rows agree with their own column better than in any of SHUFFLES shuffles.

    A permutation test; with p = (1 + shuffles that agree as well) / (1 + SHUFFLES), which bounds
    the probability of error under independence (Phipson and Smyth 2010), it passes at the smallest
    p that there is, ERROR_RATE.

    Args:
      agreement: (n, n), how well the detections of image i agree with the objects of image j.

    Returns:
      (bool, mean agreement by chance).
    """
    count = len(agreement)
    observed = float(np.trace(agreement))
    by_chance = float(agreement.sum()) / max(count, 1)
    if count < 2 or observed <= by_chance:
        return False, by_chance
    rng = np.random.default_rng(0)
    rows = np.arange(count)
    for _ in range(SHUFFLES):
        if agreement[rows, rng.permutation(count)].sum() >= observed:
            return False, by_chance
    return True, by_chance


class Reading(Protocol):
    """A way to read boxes (`tfrecords.layouts.Layout` is one)."""

    def to_xywh_px(self, boxes: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
        """(N, 4) boxes as boxes_xywh_px; `image_hw` is (N, 2) in px."""


class Sample:
    """The best detections of some images that have objects.

    Args:
      detections: Detections of boxes or masks.

    Attributes:
      indices: of the sampled detections, by image, then from the best score down.
    """

    def __init__(self, detections: "Detections", groundtruth: "Groundtruth") -> None:
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

    def __len__(self) -> int:
        return len(self.indices)

    def hits(self, layout: "Reading") -> int:
        """How many boxes lie on an object of their image, read in `layout`."""
        return int((self._best(layout)[0] >= IOU).sum())

    def hits_across(self, layout: "Reading") -> np.ndarray:
        """(n, n): how many boxes of image i would lie on an object of image j.

        Boxes are carried over as fractions of the image.
        """
        images = list(self._by_image)
        of_file = self._groundtruth.image_hw
        of_images: list[np.ndarray] = []
        starts: list[int] = []
        for image_id in images:
            height, width = of_file[image_id]
            mine = self._groundtruth.annotation_boxes_xywh_px[self._objects_of[image_id]]
            starts.append(sum(map(len, of_images)))
            of_images.append(mine / [width, height, width, height])
        objects = np.concatenate(of_images) if of_images else np.empty((0, 4))
        boxes = layout.to_xywh_px(self._boxes, self.image_hw) / self.image_hw[:, [1, 0, 1, 0]]
        return np.array(
            [
                (np.maximum.reduceat(_iou(boxes[mine], objects), starts, axis=1) >= IOU).sum(axis=0)
                for mine in self._by_image.values()
            ],
            float,
        ).reshape(len(images), len(images))

    def on_objects(self, layout: "Reading") -> tuple[np.ndarray, np.ndarray]:
        """(N,) bool: the boxes on an object, read in `layout`; and the category ids of those."""
        overlap, category_ids = self._best(layout)
        hit = overlap >= IOU
        return hit, category_ids[hit]

    def _best(self, layout: "Reading") -> tuple[np.ndarray, np.ndarray]:
        """Of each box the largest IoU with an object of its image, and that one's category."""
        boxes = layout.to_xywh_px(self._boxes, self.image_hw)
        overlap, category_ids = np.zeros(len(self)), np.zeros(len(self), int)
        for image_id, mine in self._by_image.items():
            objects = self._objects_of[image_id]
            iou = _iou(boxes[mine], self._groundtruth.annotation_boxes_xywh_px[objects])
            overlap[mine] = iou.max(axis=1)
            best = objects[iou.argmax(axis=1)]
            category_ids[mine] = self._groundtruth.annotation_category_ids[best]
        return overlap, category_ids

    @functools.cached_property
    def _boxes(self) -> np.ndarray:
        if self._detections.iou_type == "bbox":
            return self._detections.shapes[self.indices]
        from tfrecords.hotcoco_loaded import hotcoco

        rles = [self._detections.shapes[index] for index in self.indices]
        return np.array([hotcoco.mask.to_bbox(rle) for rle in rles], float).reshape(-1, 4)

    @functools.cached_property
    def image_hw(self) -> np.ndarray:
        """(N, 2) sizes of the detections' images in px."""
        return image_hw(self._detections.image_ids[self.indices], self._groundtruth)

    @functools.cached_property
    def _by_image(self) -> dict[int, np.ndarray]:
        return _positions(self._detections.image_ids[self.indices])

    @functools.cached_property
    def _objects_of(self) -> dict[int, np.ndarray]:
        objects = np.flatnonzero(self._objects)
        at = _positions(self._groundtruth.annotation_image_ids[objects])
        return {image_id: objects[index] for image_id, index in at.items()}


def image_hw(image_ids: np.ndarray, groundtruth: "Groundtruth") -> np.ndarray:
    """(N, 2) height and width in px of images by id."""
    ids, inverse = np.unique(image_ids, return_inverse=True)
    sizes = [groundtruth.image_hw[image_id] for image_id in ids.tolist()]
    return np.array(sizes, float).reshape(-1, 2)[inverse]


def _iou(boxes_xywh: np.ndarray, objects_xywh: np.ndarray) -> np.ndarray:
    """IoU (n, m) of boxes; 0 where one has no area."""
    low = np.maximum(boxes_xywh[:, None, :2], objects_xywh[:, :2])
    ends = boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    high = np.minimum(ends[:, None], objects_xywh[:, :2] + objects_xywh[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = np.clip(boxes_xywh[:, 2:], 0, None).prod(axis=1)
    whole = areas[:, None] + objects_xywh[:, 2:].prod(axis=1) - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _positions(values: np.ndarray) -> dict[int, np.ndarray]:
    """dict value -> indices where it stands."""
    order = np.argsort(values, kind="stable")
    distinct, starts = np.unique(values[order], return_index=True)
    ends = [*starts[1:], len(order)]
    return {
        value: order[start:end]
        for value, start, end in zip(distinct.tolist(), starts, ends, strict=False)
    }
