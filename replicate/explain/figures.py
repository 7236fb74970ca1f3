"""The metrics of a scene under a setting, from the matches that settings share."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from replicate.explain.scene import IOU_THRESHOLDS, Scene
from replicate.explain.setting import Setting

#: What is shown of every protocol; the others are taken where they are told.
SHOWN = ("AP", "AP50", "AR@100")
_THRESHOLDS = len(IOU_THRESHOLDS)
_RECALLS = np.linspace(0, 1, 101)
_ELEVEN = np.linspace(0, 1, 11)


def _in_float32() -> np.ndarray:
    """101 recalls as PyTorch's linspace has them: in float32, from both ends to the middle."""
    step, places = np.float32(1) / np.float32(100), np.arange(101, dtype=np.float32)
    from_end = np.float32(1) - step * places[::-1]
    return np.where(places < 50, step * places, from_end).astype(np.float64)


_LEVELS = {"11": _ELEVEN, "101": _RECALLS, "101 in float32": _in_float32()}
# metric -> (range of areas, detections, IoU threshold or None for the mean, "AP" or "AR")
_METRICS: dict[str, tuple[str, int | None, int | None, str]] = {
    "AP": ("all", None, None, "AP"),
    "AP50": ("all", None, 0, "AP"),
    "AP75": ("all", None, 5, "AP"),
    "APs": ("s", None, None, "AP"),
    "APm": ("m", None, None, "AP"),
    "APl": ("l", None, None, "AP"),
    "AR@1": ("all", 1, None, "AR"),
    "AR@10": ("all", 10, None, "AR"),
    "AR@100": ("all", None, None, "AR"),
    "ARs": ("s", None, None, "AR"),
    "ARm": ("m", None, None, "AR"),
    "ARl": ("l", None, None, "AR"),
}
METRICS = tuple(_METRICS)


# AP (T, S), recall (T, S) and the objects of each segment (S,), of T IoU thresholds.
_Curves = tuple[np.ndarray, np.ndarray, np.ndarray]
# Of (envelope of all precisions, where each cell's begin (T, S), true detections (T, S),
# objects (S,), precision at the end of each list (T, S) or None): AP (T, S).
_Average = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Ranked:
    """A scene's detections in the order in which precision and recall are taken.

    N detections that take part, by segment (category, or one for all), best first.

    Attributes:
      index: (N,) their place in the scene.
      place: (D,) their place here; -1 for those that take no part.
      bounds: (S + 1,) where segments begin.
      score, group_rank, image_rank, image: (N,).
    """

    index: np.ndarray
    place: np.ndarray
    bounds: np.ndarray
    score: np.ndarray
    group_rank: np.ndarray
    image_rank: np.ndarray
    image: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Placed:
    """Matches by IoU threshold and place in the ranking.

    Attributes:
      true_key, true_place, true_cell: (M,): threshold · N + place; place; threshold · S + segment.
      other_key, other_place, other_weight: (X,): matches that move the count of detections from
        what the range of areas says: true but out of range (+1), left out but in range (−1).
      in_range: (N,) bool.
    """

    true_key: np.ndarray
    true_place: np.ndarray
    true_cell: np.ndarray
    other_key: np.ndarray
    other_place: np.ndarray
    other_weight: np.ndarray
    in_range: np.ndarray


class Figures:
    """The metrics of one scene under any setting."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._placings: dict[tuple[Setting, bool, str, bool], _Placed] = {}
        self._rankings: dict[tuple[Setting, bool], _Ranked] = {}

    def of(self, setting: Setting, metrics: Iterable[str] = SHOWN) -> dict[str, float | None]:
        """metric -> value in 0..1, None where undefined.

        Args:
          setting: how it is evaluated.
          metrics: names of METRICS.
        """
        curves: dict[tuple[str, int | None], _Curves] = {}
        values = {}
        for name in metrics:
            area, limit, threshold, kind = _METRICS[name]
            if (area, limit) not in curves:
                curves[area, limit] = self._accumulated(setting, area, limit)
            values[name] = _mean(curves[area, limit], kind, threshold, setting)
        return values

    def forget(self, setting: Setting) -> None:
        """Lets go of what is kept for settings that match as this one."""
        key = setting.of_matching
        self._placings = {
            place: placed for place, placed in self._placings.items() if place[0] != key
        }
        self.scene.forget(setting)

    def ranked(self, setting: Setting, micro: bool) -> _Ranked:
        """The _Ranked of a setting; kept for settings that rank alike."""
        key = (setting.of_ranking, micro)
        if key not in self._rankings:
            self._rankings[key] = _ranked(self, *key)
        return self._rankings[key]

    def _accumulated(self, setting: Setting, area: str, limit: int | None) -> _Curves:
        """AP (T, S), recall (T, S) and the objects of each segment (S,)."""
        matches = self.scene.matches(setting, area)
        ranked = self.ranked(setting, setting.micro)
        placed = self._placed(setting, area)
        keep, images = self._chosen(setting, ranked, limit)
        segments = len(ranked.bounds) - 1

        counted = matches.g_counted & images[self.scene.g_image]
        g_label = self.scene.prepared(setting).g_label
        objects = np.bincount(
            np.zeros_like(g_label)[counted] if setting.micro else g_label[counted],
            minlength=segments,
        )[:segments]

        places = np.concatenate([[0], np.cumsum(keep & placed.in_range)])
        mine = keep[placed.true_place]
        cell = placed.true_cell[mine]
        segment = cell % segments
        detections = places[placed.true_place[mine] + 1] - places[ranked.bounds[segment]]
        moved = keep[placed.other_place]
        if moved.any():
            key, total = placed.other_key[moved], placed.other_weight[moved]
            total = np.concatenate([[0], np.cumsum(total)])
            begins = (cell // segments) * len(ranked.index) + ranked.bounds[segment]
            detections = (
                detections
                + total[np.searchsorted(key, placed.true_key[mine], "right")]
                - total[np.searchsorted(key, begins, "left")]
            )
        bounds = np.searchsorted(cell, np.arange(_THRESHOLDS * segments + 1))
        true = np.arange(1, len(cell) + 1) - bounds[cell]
        # The smallest number keeps 0 of 0 from failing; pycocotools' own.
        precision = true / (detections + np.spacing(1))
        envelope = _envelope(precision, bounds)
        shape = (_THRESHOLDS, segments)
        true_counts = np.diff(bounds).reshape(shape)
        starts = bounds[:-1].reshape(shape)
        last = None
        if setting.interpolation.startswith("trapezoid"):
            # Precision at the end of each list.
            lengths = places[ranked.bounds[1:]] - places[ranked.bounds[:-1]]
            if moved.any():
                cells = np.arange(_THRESHOLDS)[:, None] * len(ranked.index)
                lengths = (
                    lengths
                    + total[np.searchsorted(key, cells + ranked.bounds[1:], "left")]
                    - total[np.searchsorted(key, cells + ranked.bounds[:-1], "left")]
                )
            last = true_counts / np.maximum(lengths, 1)
        average = _AVERAGES[setting.interpolation](envelope, starts, true_counts, objects, last)
        recall = true_counts / np.maximum(objects, 1)
        return average, recall, objects

    def _chosen(
        self, setting: Setting, ranked: _Ranked, limit: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N,) bool: the detections that count; (I,) bool: the images scored."""
        limit = setting.max_dets if limit is None else min(limit, setting.max_dets or limit)
        keep = np.ones(len(ranked.index), bool)
        if limit is not None:
            rank = ranked.image_rank if setting.per_image else ranked.group_rank
            keep = rank < limit
        if setting.score_cut:
            keep &= ranked.score >= setting.score_cut
        images = np.ones(len(self.scene.image_ids), bool)
        if setting.with_detections:
            images = np.bincount(ranked.image[keep], minlength=len(images)) > 0
        if setting.with_groundtruth:
            prepared = self.scene.prepared(setting)
            objects = self.scene.g_image[prepared.g_alive]
            images = images & (np.bincount(objects, minlength=len(images)) > 0)
            keep &= images[ranked.image]
        return keep, images

    def _placed(self, setting: Setting, area: str) -> _Placed:
        """The _Placed of a setting within a range of AREAS; kept for settings that match alike."""
        key = (setting.of_matching, setting.micro, area, setting.box_areas)
        if key not in self._placings:
            self._placings[key] = _placed(self, setting, area)
        return self._placings[key]


def _ranked(figures: Figures, setting: Setting, micro: bool) -> _Ranked:
    scene = figures.scene
    ranking = scene.ranking(setting)
    index = ranking.best_first[ranking.alive[ranking.best_first]]
    if setting.ties == "file":
        # Of equal scores, images in order; within an image as in its own ranking.
        index = np.argsort(ranking.tie)
        index = index[ranking.alive[index]]
        index = index[np.argsort(scene.image[index], kind="stable")]
        index = index[np.argsort(-scene.score[index], kind="stable")]
    segment = np.zeros(len(scene), int) if micro else ranking.label
    index = index[np.argsort(segment[index], kind="stable")]
    place = np.full(len(scene), -1)
    place[index] = np.arange(len(index))
    segments = 1 if micro or setting.agnostic else len(scene.category_ids)
    return _Ranked(
        index=index,
        place=place,
        bounds=np.searchsorted(segment[index], np.arange(segments + 1)),
        score=scene.score[index],
        group_rank=ranking.group_rank[index],
        image_rank=ranking.image_rank[index],
        image=scene.image[index],
    )


def _placed(figures: Figures, setting: Setting, area: str) -> _Placed:
    ranked = figures.ranked(setting, setting.micro)
    matches = figures.scene.matches(setting, area)
    in_range = matches.in_range[ranked.index]
    place = ranked.place[matches.detection]
    key = matches.threshold * len(ranked.index) + place
    order = np.argsort(key, kind="stable")
    key, place = key[order], place[order]
    threshold, ignored = matches.threshold[order], matches.ignored[order]
    segments = len(ranked.bounds) - 1
    segment = np.searchsorted(ranked.bounds, place, "right") - 1
    true = ~ignored
    weight = true.astype(int) - in_range[place]
    other = weight != 0
    return _Placed(
        true_key=key[true],
        true_place=place[true],
        true_cell=(threshold * segments + segment)[true],
        other_key=key[other],
        other_place=place[other],
        other_weight=weight[other],
        in_range=in_range,
    )


def _envelope(precision: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The best precision at this or any higher recall, within each cell."""
    envelope = np.empty_like(precision)
    filled = np.flatnonzero(np.diff(bounds))
    for low, high in zip(bounds[filled].tolist(), bounds[filled + 1].tolist(), strict=True):
        np.maximum.accumulate(precision[low:high][::-1], out=envelope[low:high][::-1])
    return envelope


@functools.cache
def _first_reaching(objects: int, recalls: str, side: Literal["left", "right"]) -> np.ndarray:
    """(R,) int: how many objects must be found to reach (or pass) each recall."""
    return np.searchsorted(np.arange(1, objects + 1) / objects, _LEVELS[recalls], side)


def _at_recalls(
    envelope: np.ndarray,
    starts: np.ndarray,
    true_counts: np.ndarray,
    objects: np.ndarray,
    recalls: str,
    side: Literal["left", "right"] = "left",
) -> np.ndarray:
    """(T, S, R) precision at each recall, 0 beyond the recall that is reached."""
    ahead = np.array([_first_reaching(max(int(n), 1), recalls, side) for n in objects])
    reached = ahead < true_counts[..., None]
    places = np.where(reached, starts[..., None] + ahead, 0)
    padded = envelope if len(envelope) else np.zeros(1)
    return np.where(reached, padded[places], 0.0)


def _points(recalls: str) -> _Average:
    def average(
        envelope: np.ndarray,
        starts: np.ndarray,
        true_counts: np.ndarray,
        objects: np.ndarray,
        _: np.ndarray | None,
    ) -> np.ndarray:
        return _at_recalls(envelope, starts, true_counts, objects, recalls).mean(axis=2)

    return average


def _all_points(
    envelope: np.ndarray,
    starts: np.ndarray,
    true_counts: np.ndarray,
    objects: np.ndarray,
    _: np.ndarray | None,
) -> np.ndarray:
    """The area under the envelope: every object found adds 1 / objects of recall."""
    total = np.concatenate([[0.0], np.cumsum(envelope)])
    return (total[starts + true_counts] - total[starts]) / np.maximum(objects, 1)


def _trapezoid(reaching: bool) -> _Average:
    """101 points joined by lines; behind the last recall to (1, 0), or 0 at once.

    Args:
      reaching: whether the line goes on from the last recall to recall 1 and precision 0.
    """

    def average(
        envelope: np.ndarray,
        starts: np.ndarray,
        true_counts: np.ndarray,
        objects: np.ndarray,
        last: np.ndarray | None,
    ) -> np.ndarray:
        assert last is not None  # `_accumulated` has it where trapezoids are asked for
        values = _at_recalls(envelope, starts, true_counts, objects, "101", side="right")
        recall = (true_counts / np.maximum(objects, 1))[..., None]
        slope = (1 - _RECALLS) / np.where(recall < 1, 1 - recall, 1) if reaching else 0.0
        values = np.where(recall <= _RECALLS, last[..., None] * slope, values)
        return np.trapezoid(values, _RECALLS, axis=2)

    return average


_AVERAGES: dict[str, _Average] = {
    "101": _points("101"),
    "101 in float32": _points("101 in float32"),
    "11": _points("11"),
    "area": _all_points,
    "trapezoid": _trapezoid(reaching=True),
    "trapezoid, cut": _trapezoid(reaching=False),
}


def _mean(curves: _Curves, kind: str, threshold: int | None, setting: Setting) -> float | None:
    average, recall, objects = curves
    values = average if kind == "AP" else recall
    values = values if threshold is None else values[threshold : threshold + 1]
    if setting.empty_as_zero:
        return float(np.where(objects > 0, values, 0).mean())
    values = values[:, objects > 0]
    return float(values.mean()) if values.size else None
