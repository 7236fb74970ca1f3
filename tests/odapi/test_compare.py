"""Two runs held against each other: hand-worked cases."""

import numpy as np
import pytest

from replicate.odapi.parity import compare


def detections(classes, anchors, scores):
    names = ("detection_classes", "detection_anchor_indices", "detection_scores")
    return {
        f"detections/{name}": np.array([values], np.float32)
        for name, values in zip(names, (classes, anchors, scores), strict=True)
    }


REFERENCE = detections([1, 1, 2], [5, 6, 7], [0.9, 0.9, 0.1])


@pytest.mark.parametrize(
    "ours, relative",
    [
        (REFERENCE, 0.0),
        # Equal scores, in another order: the same detections.
        (detections([1, 1, 2], [6, 5, 7], [0.9, 0.9, 0.1]), 0.0),
        # A score that is 0.09 off, of 0.9.
        (detections([1, 1, 2], [5, 6, 7], [0.9, 0.9, 0.19]), 0.1),
        # A detection of another anchor: 8 for 7.
        (detections([1, 1, 2], [5, 6, 8], [0.9, 0.9, 0.1]), 1 / 7),
        # One more detection.
        (detections([1, 1, 2, 2], [5, 6, 7, 8], [0.9, 0.9, 0.1, 0.1]), np.inf),
    ],
    ids=["same", "tie", "score", "anchor", "shape"],
)
def test_detections(ours, relative):
    (row,) = compare.differences(ours, REFERENCE)
    assert row.relative == pytest.approx(relative, rel=1e-5)
    assert row.within == (relative == 0)


def test_a_difference_is_explained_by_the_natives_own_spread():
    native, kit, near, far = ({"losses/a": np.array([1.0 + d])} for d in (0, 0.03, 0.001, 0.02))
    assert not compare.differences(kit, native)[0].explained
    assert not compare.differences(kit, native, near)[0].explained
    assert compare.differences(kit, native, far)[0].explained


def test_a_gradient_that_cancels_to_rounding_is_not_compared():
    native = {"gradients/a": np.array([10.0]), "gradients/b": np.array([1e-9])}
    kit = {"gradients/a": np.array([10.0]), "gradients/b": np.array([3e-9])}
    assert compare.differences(kit, native)[0].relative == 0
    other = {"gradients/a": np.array([1.0]), "gradients/b": np.array([1e-2])}
    assert compare.differences({**other, "gradients/b": np.array([2e-2])}, other)[0].relative == 1


def test_an_array_that_only_one_run_has():
    with pytest.raises(ValueError, match="losses/b"):
        compare.differences(
            {"losses/a": np.ones(1), "losses/b": np.ones(1)}, {"losses/a": np.ones(1)}
        )


def test_restored_weights_that_differ_are_told_before_detections():
    results = {
        "detections/detection_scores": np.array([[0.5]]),
        "restored/detections/detection_scores": np.array([[0.6]]),
        "own/weights/0": np.ones(2),
        "restored/weights/0": np.ones(2),
    }
    assert compare.restored(results).array == "restored/detections/detection_scores"
    results["restored/weights/0"] = np.array([1.0, 1.01])
    assert compare.restored(results).array == "restored/weights/0"
