"""Groundtruth and detections as columns, and which detection meets which object."""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Iterable

import numpy as np

from replicate.explain import geometry
from replicate.explain.setting import OFFICIAL, Setting
from replicate.score.detections import Detections
from replicate.score.groundtruth import Groundtruth

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# pycocotools' own: an IoU of exactly 1 matches a threshold of 1.
_THRESHOLDS = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
#: pycocotools' ranges of areas in square pixels, both ends in.
AREAS = {"all": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}


# Detections, objects and what they share, (E,) each.
_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The order of D detections under a setting.

    Attributes:
      alive: (D,) bool: which take part.
      label: (D,) int: the category they are compared by.
      group: (D,) int: image and label in one number.
      tie: (D,) int: the order of equal scores.
      best_first: (D,) int: all of them by score; of equals, in the setting's order.
      group_rank, image_rank: (D,) int: place in the ranking of the image and label, and of the
        image, of `alive`; the others' is past any.
    """

    alive: np.ndarray
    label: np.ndarray
    group: np.ndarray
    tie: np.ndarray
    best_first: np.ndarray
    group_rank: np.ndarray
    image_rank: np.ndarray


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Detections and objects as a setting takes them, before they are matched.

    D detections and G objects in the order of the files.

    Attributes:
      ranking: the order of the detections.
      g_alive: (G,) bool: which take part.
      g_label: (G,) int: the category they are compared by.
      crowd: (G,) bool.
      boxes, g_boxes: (D, 4), (G, 4) boxes_xywh_px; None for masks.
      area: (D,) px².
      overlapping: (E,) detections, objects and IoU, where it reaches the lowest threshold.
    """

    ranking: Ranking
    g_alive: np.ndarray
    g_label: np.ndarray
    crowd: np.ndarray
    boxes: np.ndarray | None
    g_boxes: np.ndarray | None
    area: np.ndarray
    overlapping: _Pairs


@dataclasses.dataclass(frozen=True)
class Matches:
    """Which detections are true, and which are left out because they match an ignored object.

    Attributes:
      threshold, detection: (M,) int each: a detection matched at an IoU threshold.
      ignored: (M,) bool: with an object that is ignored.
      in_range: (D,) bool: detections of the range of areas (unmatched others are left out).
      g_counted: (G,) bool: objects to be found.
    """

    threshold: np.ndarray
    detection: np.ndarray
    ignored: np.ndarray
    in_range: np.ndarray
    g_counted: np.ndarray


class Scene:
    """A groundtruth and detections on it.

    Args:
      groundtruth: what is scored against.
      detections: checked, of boxes or masks.
      image_ids: ids of the scored images; default all of the groundtruth.
    """

    def __init__(
        self,
        groundtruth: Groundtruth,
        detections: Detections,
        image_ids: Iterable[int] | None = None,
    ) -> None:
        self.iou_type = detections.iou_type
        self.image_ids = np.array(sorted(groundtruth.image_hw if image_ids is None else image_ids))
        self.category_ids = np.array(list(groundtruth.categories))
        self.image_hw = np.array([groundtruth.image_hw[i] for i in self.image_ids.tolist()], float)
        of_scene = np.isin(groundtruth.annotation_image_ids, self.image_ids)
        self._annotations = np.flatnonzero(of_scene)
        self.g_image = np.searchsorted(self.image_ids, groundtruth.annotation_image_ids[of_scene])
        self.g_category = np.searchsorted(
            self.category_ids, groundtruth.annotation_category_ids[of_scene]
        )
        self.g_crowd = groundtruth.annotation_crowd[of_scene]
        self.g_area = groundtruth.annotation_areas[of_scene]
        self.g_boxes = groundtruth.annotation_boxes_xywh_px[of_scene]
        detections = detections.select(np.isin(detections.image_ids, self.image_ids))
        self.image = np.searchsorted(self.image_ids, detections.image_ids)
        self.given_ids = detections.category_ids
        self.score = detections.scores
        self._shapes = detections.shapes
        self._groundtruth = groundtruth
        self._matches: dict[tuple[Setting, str, bool], Matches] = {}
        self._prepared: dict[Setting, Prepared] = {}
        self._rankings: dict[Setting, Ranking] = {}

    def __len__(self) -> int:
        return len(self.score)

    @property
    def masks(self) -> bool:
        """Whether masks are compared, not boxes."""
        return self.iou_type == "segm"

    @property
    def _boxes_xywh_px(self) -> np.ndarray:
        return np.asarray(self._shapes)

    def prepared(self, setting: Setting) -> Prepared:
        """The Prepared of a setting; kept for settings that match alike."""
        key = setting.of_matching
        if key not in self._prepared:
            self._prepared[key] = self._prepare(key)
        return self._prepared[key]

    def matches(self, setting: Setting, area: str = "all") -> Matches:
        """The Matches of a setting within a range of AREAS; kept for settings that match alike."""
        box_areas = setting.box_areas and area != "all"
        key = (setting.of_matching, area, box_areas)
        if key not in self._matches:
            self._matches[key] = self._match(self.prepared(setting), area, box_areas)
        return self._matches[key]

    def forget(self, setting: Setting) -> None:
        """Lets go of what is kept for settings that match as this one."""
        key = setting.of_matching
        self._prepared.pop(key, None)
        self._matches = {place: value for place, value in self._matches.items() if place[0] != key}

    def ranking(self, setting: Setting) -> Ranking:
        """The Ranking of a setting; kept for settings that rank alike."""
        key = setting.of_ranking
        if key not in self._rankings:
            self._rankings[key] = self._rank(key)
        return self._rankings[key]

    def _rank(self, setting: Setting) -> Ranking:
        ids = self.given_ids
        if setting.category_ids:
            place = np.searchsorted(self.category_ids, ids)
            ids = place + (1 if setting.category_ids == "from 1" else 0)
        label = np.clip(np.searchsorted(self.category_ids, ids), 0, len(self.category_ids) - 1)
        alive = self.category_ids[label] == ids
        tie = self._tie_order(setting.ties)
        if setting.agnostic:
            # pycocotools without categories takes an image's detections category by category.
            tie = _inverse(np.lexsort((tie, label)))
            label = np.zeros_like(label)
        best_first = np.lexsort((tie, -self.score))
        if setting.one_class:
            alive &= _ranks(self._box, best_first, alive) == 0
        group = self.image * len(self.category_ids) + label
        return Ranking(
            alive=alive,
            label=label,
            group=group,
            tie=tie,
            best_first=best_first,
            group_rank=_ranks(group, best_first, alive),
            image_rank=_ranks(self.image, best_first, alive),
        )

    def _prepare(self, setting: Setting) -> Prepared:
        ranking = self.ranking(setting)
        boxes, g_boxes = None, None
        if self.masks:
            area = self._mask_areas
        else:
            boxes = geometry.transformed(self._boxes_xywh_px, self.image_hw[self.image], setting)
            area = boxes[:, 2] * boxes[:, 3]
            plus = [0, 0, 1, 1] if setting.inclusive else [0, 0, 0, 0]
            boxes, g_boxes = boxes + plus, self.g_boxes + plus
        prepared = Prepared(
            ranking=ranking,
            g_alive=~self.g_crowd if setting.crowd == "removed" else np.ones_like(self.g_crowd),
            g_label=np.zeros_like(self.g_category) if setting.agnostic else self.g_category,
            crowd=self.g_crowd if setting.crowd == "ignored" else np.zeros_like(self.g_crowd),
            boxes=boxes,
            g_boxes=g_boxes,
            area=area,
            overlapping=_NO_PAIRS,
        )
        overlapping = self._overlapping(prepared)
        if setting.best_object_only:
            detection, object_, iou = overlapping
            order = np.lexsort((object_, -iou, detection))
            detection = detection[order]
            first = np.r_[True, detection[1:] != detection[:-1]][: len(detection)]
            overlapping = detection[first], object_[order][first], iou[order][first]
        return dataclasses.replace(prepared, overlapping=overlapping)

    def _tie_order(self, ties: str) -> np.ndarray:
        if ties == "file":
            return np.arange(len(self))
        matches = self.matches(OFFICIAL)
        true = np.bincount(matches.detection[~matches.ignored], minlength=len(self))
        return _inverse(np.lexsort((np.arange(len(self)), -true if ties == "best" else true)))

    @functools.cached_property
    def _box(self) -> np.ndarray:
        """(D,) int: the same for detections of an image with the same box or mask."""
        if self.masks:
            names: dict[bytes, int] = {}
            shape = [names.setdefault(shape["counts"], len(names)) for shape in self._shapes]
            columns = np.column_stack([self.image, shape])
        else:
            columns = np.column_stack([self.image, self._boxes_xywh_px])
        order = np.lexsort(columns.T)
        new = (columns[order[1:]] != columns[order[:-1]]).any(axis=1)
        box = np.zeros(len(self), int)
        box[order[1:]] = np.cumsum(new)
        return box

    def _match(self, prepared: Prepared, area: str, box_areas: bool) -> Matches:
        low, high = AREAS[area]
        g_area = self.g_area
        if box_areas:
            g_area = self.g_boxes[:, 2] * self.g_boxes[:, 3]
        g_ignored = prepared.crowd | (g_area < low) | (g_area > high)
        threshold, matched, met = _greedy(prepared, g_ignored)
        return Matches(
            threshold=threshold,
            detection=matched,
            ignored=g_ignored[met],
            in_range=prepared.ranking.alive & (prepared.area >= low) & (prepared.area <= high),
            g_counted=prepared.g_alive & ~g_ignored,
        )

    def _overlapping(self, prepared: Prepared) -> _Pairs:
        """(E,) detections, objects and their IoU, where it reaches the lowest threshold."""
        ranking = prepared.ranking
        if prepared.boxes is None or prepared.g_boxes is None:
            detection, object_, shared = self._mask_pairs
            keep = ranking.alive[detection] & prepared.g_alive[object_]
            keep &= ranking.label[detection] == prepared.g_label[object_]
            detection, object_, shared = detection[keep], object_[keep], shared[keep]
            own, other = self._mask_areas[detection], self._g_mask_areas[object_]
        else:
            g_group = self.g_image * len(self.category_ids) + prepared.g_label
            detection, object_ = _pairs(
                ranking.group, np.flatnonzero(ranking.alive), g_group, prepared.g_alive
            )
            left, top, wide, high = (np.ascontiguousarray(column) for column in prepared.boxes.T)
            g_left, g_top, g_wide, g_high = (column.copy() for column in prepared.g_boxes.T)
            width = np.minimum((left + wide)[detection], (g_left + g_wide)[object_])
            width -= np.maximum(left[detection], g_left[object_])
            near = np.flatnonzero(width > 0)
            detection, object_, width = detection[near], object_[near], width[near]
            height = np.minimum((top + high)[detection], (g_top + g_high)[object_])
            height -= np.maximum(top[detection], g_top[object_])
            near = np.flatnonzero(height > 0)
            detection, object_ = detection[near], object_[near]
            shared = width[near] * height[near]
            own, other = (wide * high)[detection], (g_wide * g_high)[object_]
        union = np.where(prepared.crowd[object_], own, own + other - shared)
        iou = np.divide(shared, union, out=np.zeros(len(union)), where=union > 0)
        near = iou >= _THRESHOLDS[0]
        return detection[near], object_[near], iou[near]

    @functools.cached_property
    def _mask_areas(self) -> np.ndarray:
        from tfrecords.hotcoco_loaded import hotcoco

        if not self._shapes:
            return np.zeros(0)
        return np.asarray(hotcoco.mask.area(list(self._shapes)), float)

    @functools.cached_property
    def _g_masks(self) -> list[dict]:
        from pycocotools.coco import COCO

        coco = COCO()
        coco.dataset = self._groundtruth.as_coco()
        with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
            coco.createIndex()
        annotations = coco.dataset["annotations"]
        masks = [coco.annToRLE(annotations[index]) for index in self._annotations.tolist()]
        return [
            {
                "size": mask["size"],
                "counts": mask["counts"].decode()
                if isinstance(mask["counts"], bytes)
                else mask["counts"],
            }
            for mask in masks
        ]

    @functools.cached_property
    def _g_mask_areas(self) -> np.ndarray:
        from tfrecords.hotcoco_loaded import hotcoco

        return np.asarray(hotcoco.mask.area(self._g_masks), float) if self._g_masks else np.zeros(0)

    @functools.cached_property
    def _mask_pairs(self) -> _Pairs:
        """(E,) detections, objects of the same image that share pixels, and how many."""
        from tfrecords.hotcoco_loaded import hotcoco

        of_image = _positions(self.image)
        sharing = [_NO_PAIRS]
        for image, objects in _positions(self.g_image).items():
            if image not in of_image:
                continue
            mine = of_image[image]
            # Of a crowd the evaluators divide by the detection's own area.
            share = hotcoco.primitives.mask_iou(
                [self._shapes[i] for i in mine.tolist()],
                [self._g_masks[i] for i in objects.tolist()],
                [True] * len(objects),
            )
            pixels = np.rint(share * self._mask_areas[mine][:, None])
            a, b = np.nonzero(pixels)
            sharing.append((mine[a], objects[b], pixels[a, b]))
        return _joined(sharing)


_NO_PAIRS: _Pairs = (np.zeros(0, int), np.zeros(0, int), np.zeros(0))


def _joined(parts: list[_Pairs]) -> _Pairs:
    first, second, third = zip(*parts, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(third)


def _greedy(prepared: Prepared, g_ignored: np.ndarray) -> _Pairs:
    """pycocotools' matching, all images and categories side by side, best detection first.

    A detection takes, of the objects that it overlaps enough and that are free, the one with the
    largest IoU (the later of equals), one that is not ignored before one that is. Crowds stay free.

    Returns:
      thresholds, detections, objects: (M,) int each.
    """
    detection, object_, iou = prepared.overlapping
    ranking = prepared.ranking
    # Step r has of each group the r-th of the detections that overlap anything.
    step = np.zeros(len(ranking.alive), int)
    step[detection] = 1
    taking_part = np.flatnonzero(step)
    step[taking_part] = _places(ranking.group[taking_part], ranking.group_rank[taking_part])
    order = np.lexsort((-object_, -iou, g_ignored[object_], detection, step[detection]))
    detection, object_, iou = detection[order], object_[order], iou[order]
    steps = step[detection]
    bounds = np.searchsorted(steps, np.arange(steps.max(initial=-1) + 2))

    enough = iou[:, None] >= _THRESHOLDS
    free = np.ones((len(g_ignored), len(_THRESHOLDS)), bool)
    matches = []
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        mine, theirs = detection[low:high], object_[low:high]
        starts = np.flatnonzero(np.r_[True, mine[1:] != mine[:-1]])
        possible = enough[low:high] & free[theirs]
        # The first possible object of each detection: the largest of what counts down from it.
        countdown = np.arange(high - low, 0, -1)[:, None] * possible
        best = np.maximum.reduceat(countdown, starts, axis=0)
        row, threshold = np.nonzero(best)
        edge = high - low - best[row, threshold]
        met = theirs[edge]
        free[met, threshold] = prepared.crowd[met]
        matches.append((threshold, mine[edge], met))
    if not matches:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0, int)
    return _joined(matches)


def _ranks(group: np.ndarray, best_first: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """(D,) int: the place of each of `alive` within its group; the others' is past any."""
    order = best_first[alive[best_first]]
    ranks = np.full(len(group), np.iinfo(np.int32).max)
    ranks[order] = _places(group[order])
    return ranks


def _places(group: np.ndarray, keys: np.ndarray | None = None) -> np.ndarray:
    """(N,) int: the place of each within its group, in the given order or by `keys`."""
    order = np.argsort(group, kind="stable") if keys is None else np.lexsort((keys, group))
    mine = group[order]
    starts = np.flatnonzero(np.r_[True, mine[1:] != mine[:-1]][: len(mine)])
    places = np.empty(len(group), int)
    places[order] = np.arange(len(mine)) - np.repeat(starts, np.diff(np.r_[starts, len(mine)]))
    return places


def _pairs(
    group: np.ndarray, alive: np.ndarray, g_group: np.ndarray, g_alive: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (E,) of detections and of objects of the same group, all pairs.

    Args:
      group, g_group: (D,), (G,) int.
      alive: indices of detections.
      g_alive: (G,) bool.
    """
    objects = np.flatnonzero(g_alive)
    objects = objects[np.argsort(g_group[objects], kind="stable")]
    distinct, starts, counts = np.unique(g_group[objects], return_index=True, return_counts=True)
    # Detections of groups without objects have no pairs.
    size = 1 + max(int(group.max(initial=0)), int(g_group.max(initial=0)))
    first, many = np.zeros(size, int), np.zeros(size, int)
    first[distinct], many[distinct] = starts, counts
    alive = alive[many[group[alive]] > 0]
    counts = many[group[alive]]
    begins = np.cumsum(counts) - counts
    offset = np.repeat(first[group[alive]] - begins, counts)
    return np.repeat(alive, counts), objects[offset + np.arange(len(offset))]


def _inverse(order: np.ndarray) -> np.ndarray:
    """(N,) int: the place of each in `order`."""
    places = np.empty(len(order), int)
    places[order] = np.arange(len(order))
    return places


def _positions(values: np.ndarray) -> dict[int, np.ndarray]:
    """value -> indices where it stands."""
    order = np.argsort(values, kind="stable")
    distinct, starts = np.unique(values[order], return_index=True)
    return (
        dict(zip(distinct.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}
    )
