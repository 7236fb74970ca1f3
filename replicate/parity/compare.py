"""Two runs of the same job held against each other, group by group."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage, optimize, special
from scipy.sparse import csgraph

from replicate.parity import fixed

#: What is expected of two runs of the same computation in float32.
TOLERANCE = 1e-4
#: A difference is explained by rounding when the two agree in float64 and the native environment
#: differs from itself in the same order of magnitude, by this part of it at least, once oneDNN's
#: kernels are replaced by TensorFlow's own. (Each is one draw: a ReLU's sign more or less.)
OWN_SPREAD_PART = 1 / 10
#: Detections of two runs are one and the same where class is equal and no coordinate (of the
#: image's height or width) and no score is farther off; how far they are off is then measured.
SAME_DETECTION = 1e-3
#: Scores this near to each other, relative to the largest, are a tie, whose order is rounding's.
TIE = 1e-6
#: Boxes of one class that overlap by more than this may suppress each other; no zoo model's
#: threshold is lower.
OVERLAP = 0.5
#: CenterNet's peaks are the pixels no farther than this below the best of the 3 x 3 around them
#: (`PEAK_EPSILON` in the API's center_net_meta_arch).
PEAK = 1e-6
#: Two units in the last place of a probability in float32: what two sigmoids may differ by.
PROBABILITY_ROUNDING = 2**-23
#: A gradient this much smaller than the model's largest is a sum that cancels to nothing but
#: rounding (a bias in front of a batch norm has none), so its own scale means nothing.
NO_GRADIENT = 1e-6


Arrays = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Difference:
    """The largest relative difference within one group of arrays.

    Attributes:
      group: the kind of values, e.g. `predictions`.
      relative: largest |a - b| of an array over its largest |b|, the largest of all arrays;
        infinite where shapes differ.
      array: the array that has it.
      arrays: how many arrays were compared.
      own: how far the native environment is from itself in this group, or None if not known.
      float64: `relative` when layers compute in float64, or None if not known.
      ties: how many detections were set aside, because they follow from a choice between
        equal scores, or at the threshold for a peak, that each run has made in another way.
    """

    group: str
    relative: float
    array: str
    arrays: int
    own: float | None = None
    float64: float | None = None
    ties: int = 0

    @property
    def within(self) -> bool:
        """Whether the two agree, in float32 and, if known, in float64."""
        return max(self.relative, self.float64 or 0) <= TOLERANCE

    @property
    def explained(self) -> bool:
        """Whether the difference is rounding's, see OWN_SPREAD_PART."""
        if self.own is None or self.float64 is None or self.float64 > TOLERANCE:
            return False
        return self.own >= self.relative * OWN_SPREAD_PART


def differences(
    kit: Arrays,
    native: Arrays,
    control: Arrays | None = None,
    in_float64: tuple[Arrays, Arrays] | None = None,
) -> list[Difference]:
    """Compares the kit's run with the native one.

    Args:
      kit, native: mappings from `group/name` to an array (an open .npz, for example).
      control: a native run with other kernels, for how far rounding alone goes; or None.
      in_float64: the same pair from layers that compute in float64; or None.

    Returns:
      One a group, in the native run's order of groups.

    Raises:
      ValueError: an array is missing on one side.
    """
    own = _by_group(control, native) if control else {}
    float64 = _by_group(*in_float64) if in_float64 else {}
    kit, native, ties = aligned(kit, native)
    names: dict[str, list[str]] = {}
    for name in native:
        names.setdefault(name.split("/")[0], []).append(name)
    rows = []
    for group, members in names.items():
        missing = {name for name in kit if name.split("/")[0] == group} ^ set(members)
        if missing:
            raise ValueError(f"in one of the two runs only: {', '.join(sorted(missing)[:5])}")
        floor = 0.0
        if group.startswith("gradients"):
            floor = NO_GRADIENT * max(np.abs(native[name]).max() for name in members)
        relative, array = max(_relative(name, kit[name], native[name], floor) for name in members)
        set_aside = ties if group == "detections" else 0
        rows.append(
            Difference(
                group,
                relative,
                array,
                len(members),
                own=own.get(group),
                float64=float64.get(group),
                ties=set_aside,
            )
        )
    return rows


def _by_group(one: Arrays, other: Arrays) -> dict[str, float]:
    return {row.group: row.relative for row in differences(one, other)}


def aligned(
    results: Arrays, reference: Arrays, prefix: str = "detections/"
) -> tuple[Arrays, Arrays, int]:
    """The detections of both sides in one order, without those that only ties have made differ.

    Args:
      results, reference: mappings to arrays; detections are `detections/detection_*`
        [1, detections, ...] in `reference` and the same below `prefix` in `results`.
      prefix: where `results` has its detections.

    Returns:
      (results, reference, ties): mappings with detections in the reference's order, and how
      many were set aside on each side.
    """
    one, other = _detections(results, prefix), _detections(reference, "detections/")
    if one is None or other is None or one.scores.shape != other.scores.shape:
        return results, reference, 0
    sides = [one, other]
    distances = (
        np.abs(other.boxes_yxyx_norm[:, np.newaxis] - one.boxes_yxyx_norm).max(axis=-1)
        + np.abs(other.scores[:, np.newaxis] - one.scores)
        + np.abs(other.classes[:, np.newaxis] - one.classes)
    )
    theirs, ours = _paired(distances)
    same = distances[theirs, ours] <= SAME_DETECTION
    only = ours[~same], theirs[~same]
    maps = [_center_probabilities(side) for side in (results, reference)]
    if _follow_from_ties(sides, only) or _follow_from_peaks(sides, only, maps):
        ours, theirs = ours[same], theirs[same]
    ties = len(same) - len(ours)
    return _in_order(results, ours, prefix), _in_order(reference, theirs, "detections/"), ties


def _paired(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of a square matrix: what is the same in pairs, then the nearest of the rest.

    The least sum of all distances would tear pairs apart where that brings others nearer.
    """
    rows, columns = optimize.linear_sum_assignment(np.minimum(distances, 2 * SAME_DETECTION))
    apart = distances[rows, columns] > SAME_DETECTION
    _, nearest = optimize.linear_sum_assignment(distances[np.ix_(rows[apart], columns[apart])])
    columns[apart] = columns[apart][nearest]
    return rows, columns


@dataclasses.dataclass(frozen=True, eq=False)
class _Detections:
    """Of one image: boxes [n, 4], scores [n], classes [n]."""

    boxes_yxyx_norm: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def _detections(results: Arrays, prefix: str) -> _Detections | None:
    names = [f"{prefix}detection_{part}" for part in ("boxes", "scores", "classes")]
    if any(name not in results for name in names):
        return None
    return _Detections(*(np.asarray(results[name][0], np.float64) for name in names))


def _follow_from_ties(sides: Sequence[_Detections], only: Sequence[np.ndarray]) -> bool:
    """Whether detections that only one of two runs has follow from ties alone.

    Suppression takes the better one of two boxes that overlap. Where two runs differ, the best
    box that only one has was suppressed in the other by a box that is not worse there, nor
    better here: a tie. What either box suppressed, or no longer does, follows. A detection
    without such a box on the other side was not among the best that are kept there.
    """
    boxes_yxyx, scores, classes = (
        np.concatenate([getattr(side, part)[rows] for side, rows in zip(sides, only, strict=True)])
        for part in ("boxes_yxyx_norm", "scores", "classes")
    )
    of_side = np.repeat([0, 1], [len(rows) for rows in only])
    boxes_xywh = np.concatenate(
        [boxes_yxyx[:, 1::-1], (boxes_yxyx[:, 2:] - boxes_yxyx[:, :2])[:, ::-1]], axis=1
    )
    overlaps = np.reshape(
        coco_mask.iou(boxes_xywh, boxes_xywh, [False] * len(boxes_xywh)), [len(boxes_xywh)] * 2
    )
    linked = (overlaps > OVERLAP) & (classes[:, np.newaxis] == classes)
    tie = TIE * max(side.scores.max() for side in sides)
    count, groups = csgraph.connected_components(linked)
    for group in range(count):
        ours, theirs = (scores[(groups == group) & (of_side == side)] for side in (0, 1))
        if len(ours) and len(theirs):
            explained = abs(ours.max() - theirs.max()) <= tie
        else:
            present, absent = (ours, 1) if len(ours) else (theirs, 0)
            explained = present.max() <= sides[absent].scores.min() + tie
        if not explained:
            return False
    return True


def _center_probabilities(results: Arrays) -> np.ndarray | None:
    """CenterNet's last map of object centers [height, width, classes], or None."""
    stages = sorted(name for name in results if name.startswith("predictions/object_center/"))
    return special.expit(results[stages[-1]][0]) if stages else None


def _follow_from_peaks(
    sides: Sequence[_Detections], only: Sequence[np.ndarray], maps: Iterable[np.ndarray | None]
) -> bool:
    """Whether detections that only one of two runs of CenterNet has are pixels at the threshold
    for a peak, up to rounding, or have left the best that are kept, or come up, because of them.
    """
    known_maps = [probabilities for probabilities in maps if probabilities is not None]
    if len(known_maps) < len(sides):
        return False
    tie = TIE * max(side.scores.max() for side in sides)
    for present, absent, rows, probabilities in zip(
        sides, sides[::-1], only, known_maps, strict=True
    ):
        below_best = ndimage.maximum_filter(probabilities, size=(3, 3, 1)) - probabilities
        at_threshold = np.abs(below_best - PEAK) <= 2 * PROBABILITY_ROUNDING
        for score, label in zip(present.scores[rows], present.classes[rows], strict=True):
            of_class = np.s_[..., int(label)]
            is_pixel = np.abs(probabilities[of_class] - score) <= PROBABILITY_ROUNDING
            at_cut = score <= absent.scores.min() + tie
            if not at_cut and not np.any(is_pixel & at_threshold[of_class]):
                return False
    return True


def _in_order(results: Arrays, order: np.ndarray, folder: str) -> Arrays:
    """`results` with its detections in this order; its other arrays are read when asked for."""
    names = [name for name in results if name.startswith(f"{folder}detection_")]
    in_order = {name: results[name][:, order] for name in names}
    return collections.ChainMap(in_order, results)  # type: ignore[arg-type]  # it is only read


def _relative(name: str, values: Any, reference: Any, floor: float) -> tuple[float, str]:
    if np.shape(values) != np.shape(reference):
        return float("inf"), f"{name} {np.shape(values)} for {np.shape(reference)}"
    if np.size(reference) and np.abs(reference).max() < floor:
        return 0.0, name
    return fixed.largest_relative_difference(values, reference), name


def restored(results: Arrays) -> Difference:
    """How a run restored the other environment's checkpoints: the `Difference` of what its
    models then held from its own or, where that is within the tolerance, of what they held and
    detected, whichever differs more."""
    restored, own, ties = aligned(results, results, "restored/detections/")
    rows = []
    for name in restored:
        if name.startswith("restored/detections/"):
            written = own[name.removeprefix("restored/")]
            rows.append(_relative(name, restored[name], written, floor=0.0))
        elif name.startswith("restored/"):
            rows.append((float(restored[name]), name))
    weights = max(row for row in rows if "/detections/" not in row[1])
    relative, array = weights if weights[0] > TOLERANCE else max(rows)
    return Difference("checkpoint", relative, array, len(rows), ties=ties)
