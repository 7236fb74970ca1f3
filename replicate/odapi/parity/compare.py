"""Two runs of the same job held against each other, group by group."""

import collections
import dataclasses

import numpy as np
from scipy import optimize

from replicate.odapi.parity import fixed

#: What is expected of two runs of the same computation in float32.
TOLERANCE = 1e-4
#: A difference is explained by rounding when the native environment differs from itself by at
#: least this part of it once oneDNN's kernels are replaced by TensorFlow's own.
OWN_SPREAD_PART = 1 / 3
#: Detections of two runs are one and the same where class is equal and no coordinate (of the
#: image's height or width) and no score is farther off; how far they are off is then measured.
SAME_DETECTION = 1e-2
#: Scores this near to each other, relative to the largest, are a tie, whose order is rounding's.
TIE = 1e-5
#: A gradient this much smaller than the model's largest is a sum that cancels to nothing but
#: rounding (a bias in front of a batch norm has none), so its own scale means nothing.
NO_GRADIENT = 1e-6


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
      ties: how many detections were set aside, because at the cut to the best ones each run
        has taken another one with the same score.
    """

    group: str
    relative: float
    array: str
    arrays: int
    own: float | None = None
    ties: int = 0

    @property
    def within(self):
        return self.relative <= TOLERANCE

    @property
    def explained(self):
        return self.own is not None and self.own >= self.relative * OWN_SPREAD_PART


def differences(kit, native, control=None):
    """Compares the kit's run with the native one.

    Args:
      kit, native: mappings from `group/name` to an array (an open .npz, for example).
      control: a native run with other kernels, for how far rounding alone goes; or None.

    Returns:
      A list of `Difference`, one a group, in the native run's order of groups.

    Raises:
      ValueError: an array is missing on one side.
    """
    own = {row.group: row.relative for row in differences(control, native)} if control else {}
    kit, native, ties = aligned(kit, native)
    names = {}
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
        rows.append(Difference(group, relative, array, len(members), own.get(group), set_aside))
    return rows


def aligned(results, reference, prefix="detections/"):
    """The detections of both sides in one order, without those that are tied at the cut.

    The order of detections with equal scores is free, and so is which of them is still among
    the best that are kept: both are a matter of rounding.

    Args:
      results, reference: mappings to arrays; detections are `detections/detection_*`
        [1, detections, ...] in `reference` and the same below `prefix` in `results`.
      prefix: where `results` has its detections.

    Returns:
      (results, reference, ties): mappings with detections in the reference's order, and how
      many were set aside on each side.
    """
    sides = (results, prefix), (reference, "detections/")
    boxes, scores, classes = (
        [side.get(f"{folder}detection_{part}") for side, folder in sides]
        for part in ("boxes", "scores", "classes")
    )
    if any(array is None for array in (*boxes, *scores, *classes)) or (
        scores[0].shape != scores[1].shape
    ):
        return results, reference, 0
    distances = (
        np.abs(boxes[0][0][:, np.newaxis] - boxes[1][0]).max(axis=-1)
        + np.abs(scores[0][0][:, np.newaxis] - scores[1][0])
        + np.abs(classes[0][0][:, np.newaxis] - classes[1][0])
    )
    theirs, ours = optimize.linear_sum_assignment(distances.T)
    same = distances[ours, theirs] <= SAME_DETECTION
    left = np.concatenate([scores[0][0][ours[~same]], scores[1][0][theirs[~same]]])
    if (left <= np.min(scores) + TIE * np.max(scores)).all():
        ours, theirs = ours[same], theirs[same]
    ties = scores[0].shape[1] - len(ours)
    return (
        _in_order(results, ours, prefix),
        _in_order(reference, theirs, "detections/"),
        ties,
    )


def _in_order(results, order, folder):
    """`results` with its detections in this order; its other arrays are read when asked for."""
    names = [name for name in results if name.startswith(f"{folder}detection_")]
    return collections.ChainMap({name: results[name][:, order] for name in names}, results)


def _relative(name, values, reference, floor):
    if np.shape(values) != np.shape(reference):
        return float("inf"), f"{name} {np.shape(values)} for {np.shape(reference)}"
    if np.size(reference) and np.abs(reference).max() < floor:
        return 0.0, name
    return fixed.largest_relative_difference(values, reference), name


def restored(results):
    """How a run restored the other environment's checkpoints: the `Difference` of what its
    models then held from its own or, where that is within the tolerance, of what they held and
    detected, whichever differs more."""
    restored, own, ties = aligned(results, results, "restored/detections/")
    found = []
    for name in restored:
        if name.startswith("restored/detections/"):
            written = own[name.removeprefix("restored/")]
            found.append(_relative(name, restored[name], written, floor=0.0))
        elif name.startswith("restored/"):
            found.append((float(restored[name]), name))
    weights = max(row for row in found if "/detections/" not in row[1])
    relative, array = weights if weights[0] > TOLERANCE else max(found)
    return Difference("checkpoint", relative, array, len(found), ties=ties)
