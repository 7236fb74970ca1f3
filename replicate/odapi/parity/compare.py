"""Two runs of the same job held against each other, group by group."""

import dataclasses

import numpy as np

from replicate.odapi.parity import fixed

#: What is expected of two runs of the same computation in float32.
TOLERANCE = 1e-4
#: A difference is explained by rounding when the native environment differs from itself by at
#: least this part of it once oneDNN's kernels are replaced by TensorFlow's own.
OWN_SPREAD_PART = 1 / 3
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
    """

    group: str
    relative: float
    array: str
    arrays: int
    own: float | None = None

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
    kit = aligned(kit, native)
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
        rows.append(Difference(group, relative, array, len(members), own.get(group)))
    return rows


def aligned(results, reference, prefix="detections/"):
    """`results` with its detections in the reference's order.

    The order of detections whose scores are equal is free, so it is a matter of rounding. A
    detection is known by its class and the anchor it comes from; where a model does not tell
    the anchor, and for detections that only one side has, nothing is moved.
    """
    results = {name: results[name] for name in results}
    keys = [f"{prefix}detection_classes", f"{prefix}detection_anchor_indices"]
    if keys[1] not in reference or results[keys[1]].shape != reference[keys[1]].shape:
        return results
    ours, theirs = (
        [tuple(key) for key in np.stack([source[name][0] for name in keys], axis=1).tolist()]
        for source in (results, reference)
    )
    places = {}
    for index, key in enumerate(ours):
        places.setdefault(key, []).append(index)
    order = [places[key].pop(0) if places.get(key) else None for key in theirs]
    left = iter(sorted(index for indices in places.values() for index in indices))
    order = [next(left) if index is None else index for index in order]
    for name, values in results.items():
        if name.startswith(f"{prefix}detection_"):
            results[name] = values[:, order]
    return results


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
    kept = {name: results[name] for name in results}
    own = {f"restored/{name}": kept[name] for name in kept if name.startswith("detections/")}
    kept = aligned(kept, own, "restored/detections/")
    pairs = {}
    for name, values in kept.items():
        if name in own:
            pairs[name] = (values, own[name])
        elif name.startswith("restored/"):
            pairs[name] = (values, kept["own/" + name.removeprefix("restored/")])
    found = [_relative(name, *pair, floor=0.0) for name, pair in pairs.items()]
    weights = max(row for row in found if row[1].partition(" ")[0] not in own)
    relative, array = weights if weights[0] > TOLERANCE else max(found)
    return Difference("checkpoint", relative, array, len(pairs))
