"""Two runs held against each other: hand-worked cases."""

import numpy as np
import pytest

from replicate.parity import compare

#: 9 and 10 overlap 6 by more than half, but each other by less; 11 overlaps none.
BOXES = {
    5: (0.1, 0.1, 0.4, 0.4),
    6: (0.5, 0.5, 0.9, 0.8),
    7: (0.2, 0.6, 0.4, 0.9),
    8: (0, 0, 1, 1),
    9: (0.4, 0.5, 0.85, 0.8),
    10: (0.6, 0.5, 1.0, 0.8),
    11: (0.9, 0.0, 1.0, 0.1),
}


def detections(classes, places, scores, folder="detections"):
    values = {
        "boxes": [BOXES[place] for place in places],
        "classes": classes,
        "scores": scores,
        "anchor_indices": places,
    }
    return {
        f"{folder}/detection_{name}": np.array([value], np.float32)
        for name, value in values.items()
    }


REFERENCE = detections([1, 1, 2], [5, 6, 7], [0.9, 0.9, 0.1])


@pytest.mark.parametrize(
    "ours, relative, ties",
    [
        (REFERENCE, 0, 0),
        # Equal scores, in another order: the same detections.
        (detections([1, 1, 2], [6, 5, 7], [0.9, 0.9, 0.1]), 0, 0),
        # A score that is 0.009 off, of 0.9.
        (detections([1, 1, 2], [5, 6, 7], [0.9, 0.9, 0.109]), 0.01, 0),
        # Another box with the score of the last: a tie at the cut.
        (detections([1, 1, 2], [5, 6, 8], [0.9, 0.9, 0.1]), 0, 1),
        # Another box with another score, and one that is not at the cut.
        (detections([1, 1, 2], [5, 6, 8], [0.9, 0.9, 0.11]), 0.6 / 0.9, 0),
        (detections([1, 1, 2], [5, 8, 7], [0.9, 0.9, 0.1]), 0.5 / 0.9, 0),
        # Another class.
        (detections([1, 2, 2], [5, 6, 7], [0.9, 0.9, 0.1]), 1 / 2, 0),
        # One more detection.
        (detections([1, 1, 2, 2], [5, 6, 7, 8], [0.9, 0.9, 0.1, 0.1]), np.inf, 0),
    ],
    ids=["same", "tie", "score", "cut", "other score", "not at the cut", "class", "shape"],
)
def test_detections(ours, relative, ties):
    (row,) = compare.differences(ours, REFERENCE)
    assert row.relative == pytest.approx(relative, rel=1e-5)
    assert row.within == (relative == 0)
    assert row.ties == ties


def test_the_same_detections_are_a_pair_even_where_torn_ones_are_nearer_in_sum():
    reference = detections([1, 1, 1], [5, 6, 6], [0.9, 0.4 + 1e-6, 0.2])
    ours = detections([1, 1, 1], [5, 6, 6], [0.9, 0.5, 0.4])
    assert 0.1 - 1e-6 + 0.2 < 1e-6 + 0.3  # (0.5, 0.4), (0.4, 0.2) against (0.4, 0.4), (0.5, 0.2)
    (row,) = compare.differences(ours, reference)
    assert row.relative == pytest.approx(0.3 / 0.9, rel=1e-5)


@pytest.mark.parametrize(
    "best_of_ours, explained", [(0.5, True), (0.5 + 3e-7, True), (0.51, False), (0.499, False)]
)
def test_a_tie_of_overlapping_boxes_and_what_follows_from_it(best_of_ours, explained):
    """One run takes 6, which suppresses 9 and 10. The other takes 9, so that 10 stays, and with
    it in the list 11 is no longer among the best four."""
    reference = detections([1, 1, 2, 1], [5, 6, 7, 11], [0.9, 0.5, 0.3, 0.1])
    ours = detections([1, 1, 2, 1], [5, 9, 7, 10], [0.9, best_of_ours, 0.3, 0.2])
    (row,) = compare.differences(ours, reference)
    assert (row.ties, row.relative) == (2, 0) if explained else (row.ties == 0 and not row.within)


@pytest.mark.parametrize(
    "below_best, label, explained",
    [(1e-6, 0, True), (1.1e-6, 0, True), (2e-6, 0, False), (1e-6, 1, False)],
)
def test_a_pixel_at_the_threshold_for_a_peak_and_what_follows_from_it(below_best, label, explained):
    """One run takes the pixel beside the peak at 6 for another peak, so that 7 is no longer
    among the best three; its class is 0."""
    probabilities = np.full([1, 4, 9, 2], 0.01)
    probabilities[0, 1, [1, 4, 5, 8], 0] = 0.9, 0.5, 0.5 - below_best, 0.3
    logits = np.log(probabilities / (1 - probabilities)).astype(np.float32)
    reference = detections([0, 0, 0], [5, 6, 7], [0.9, 0.5, 0.3])
    ours = detections([0, 0, label], [5, 6, 10], [0.9, 0.5, 0.5 - below_best])
    for run in (reference, ours):
        run["predictions/object_center/0"] = logits
    row = next(r for r in compare.differences(ours, reference) if r.group == "detections")
    assert (row.ties, row.relative) == (1, 0) if explained else (row.ties == 0 and not row.within)


@pytest.mark.parametrize(
    "own, in_float64, explained",
    [
        (None, 0, False),
        (0.02, None, False),
        (0.02, 0, True),
        (0.02, 1e-5, True),
        (0.02, 1e-3, False),
        (0.004, 0, True),
        (0.002, 0, False),
    ],
)
def test_a_difference_is_explained_by_the_natives_own_spread_and_float64(
    own, in_float64, explained
):
    native, kit = {"losses/a": np.array([1.0])}, {"losses/a": np.array([1.03])}
    control = own and {"losses/a": np.array([1 + own])}
    pair = None if in_float64 is None else ({"losses/a": np.array([1 + in_float64])}, native)
    (row,) = compare.differences(kit, native, control, pair)
    assert (row.within, row.explained) == (False, explained)
    assert row.float64 == (None if in_float64 is None else pytest.approx(in_float64))


def test_what_agrees_in_float32_alone_is_not_within():
    ones = {"losses/a": np.ones(1)}
    (row,) = compare.differences(ones, ones, ones, ({"losses/a": np.array([1.001])}, ones))
    assert row.relative == 0 and not row.within and not row.explained


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
    restored = detections([1, 1, 2], [5, 6, 7], [0.9, 0.9, 0.109], "restored/detections")
    results = {**REFERENCE, **restored, "restored/weights/0": np.array(0.0)}
    row = compare.restored(results)
    assert (row.array, row.arrays) == ("restored/detections/detection_scores", 5)
    assert row.relative == pytest.approx(0.01, rel=1e-5)
    results["restored/weights/0"] = np.array(0.002)
    assert compare.restored(results).array == "restored/weights/0"


def test_restored_detections_in_another_order_are_the_same():
    restored = detections([1, 1, 2], [6, 5, 8], [0.9, 0.9, 0.1], "restored/detections")
    row = compare.restored({**REFERENCE, **restored, "restored/weights/0": np.array(0.0)})
    assert (row.relative, row.ties) == (0, 1)
