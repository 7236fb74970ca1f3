"""Figures of a few objects that can be counted by eye."""

import numpy as np
import pytest

from replicate import odapi

odapi.load()

from replicate.inspection import counting, matching
from replicate.inspection.stream import Example
from replicate.inspection.targets import AnchorTargets, HeatMapTargets, Level

CATEGORIES = {1: "disc", 2: "square", 7: "triangle"}


def _example(number, recorded, trained, original_hw=(100, 200), input_hw=(400, 400)):
    """An Example; objects are (category id, yxyx px, area, crowd) as recorded, (id, yxyx px) as
    trained."""
    height, width = original_hw
    scale = np.array([height, width, height, width], np.float32)
    boxes = np.zeros((1, 10, 4), np.float32)
    classes = np.zeros((1, 10, 7), np.float32)
    for row, (category, box) in enumerate(trained):
        boxes[0, row] = np.array(box) / np.tile(input_hw, 2)
        if category:
            classes[0, row, category - 1] = 1
    return Example(
        number=number,
        features={"image": np.full((1, *input_hw, 3), number - 0.5, np.float32)},
        labels={
            "groundtruth_boxes": boxes,
            "groundtruth_classes": classes,
            "num_groundtruth_boxes": np.array([len(trained)], np.int32),
        },
        decoded={
            "image": np.zeros((*original_hw, 3), np.uint8),
            "groundtruth_boxes": np.array([each[1] for each in recorded]).reshape(-1, 4) / scale,
            "groundtruth_classes": np.array([each[0] for each in recorded], np.int64),
            "groundtruth_area": np.array([each[2] for each in recorded], np.float32),
            "groundtruth_is_crowd": np.array([each[3] for each in recorded], bool),
        },
    )


@pytest.fixture
def tally():
    """Two discs (one a crowd), a square and an unknown; the second image loses its disc."""
    tally = counting.Tally()
    tally.add(
        _example(
            1,
            [
                (1, (0, 0, 30, 30), 900, False),
                (2, (0, 0, 50, 100), 4000, False),
                (-1, (0, 0, 9, 9), 81, False),
            ],
            [(1, (0, 0, 120, 60)), (0, (0, 0, 200, 200))],
        )
    )
    tally.add(_example(2, [(1, (0, 0, 100, 100), 9500, True)], []))
    return tally


def test_categories(tally):
    rows = tally.classes(CATEGORIES)
    columns = ("id", "objects", "crowd", "images", "as_trained", "share")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        (1, 2, 1, 2, 1, 0.5),
        (2, 1, 0, 1, 0, 0.25),
        (7, 0, 0, 0, 0, 0),
        (-1, 1, 0, 1, 0, 0.25),
    ]
    assert rows[-1]["name"] == "(not in the label map)"
    assert tally.objects() == {
        "recorded": 4,
        "crowd": 1,
        "not_in_label_map": 1,
        "trained": 2,
        "trained_without_class": 1,
    }
    assert tally.per_image() == {"recorded": [3, 1], "trained": [2, 0]}


def test_sizes(tally):
    """Recorded areas 900 and 81 are small, 4000 medium, 9500 large; trained 7200 and 40000."""
    sizes = tally.sizes()
    assert sizes["recorded"]["shares"] == {"small": 0.5, "medium": 0.25, "large": 0.25}
    assert sizes["trained"]["shares"] == {"small": 0, "medium": 0.5, "large": 0.5}
    edges = np.array(sizes["side_edges_px"])
    (bin_of_200,) = np.flatnonzero((edges[:-1] <= 200) & (edges[1:] > 200))
    assert sizes["trained"]["sides"][bin_of_200] == 1
    assert sizes["trained"]["median_aspect"] == pytest.approx(0.75)
    assert sum(sizes["recorded"]["aspects"]) == 4
    assert tally.images_hw() == [[100, 200], [100, 200]]


def test_tensors(tally):
    rows = {row["name"]: row for row in tally.tensors(batch_size=64)}
    assert rows["image"] == {
        "part": "features",
        "name": "image",
        "dtype": "float32",
        "shapes": [[64, 400, 400, 3]],
        "min": 0.5,
        "max": 1.5,
    }
    assert rows["num_groundtruth_boxes"]["shapes"] == [[64]]


def test_records_without_areas_have_those_of_their_boxes():
    tally = counting.Tally()
    tally.add(_example(1, [(1, (0, 0, 50, 100), 0, False)], []))
    assert tally.sizes()["recorded"]["shares"]["medium"] == 1


def test_nothing_at_all():
    tally = counting.Tally()
    tally.add(_example(1, [], []))
    assert [row["share"] for row in tally.classes(CATEGORIES)] == [0, 0, 0]
    assert tally.sizes()["recorded"]["median_side_px"] is None


RULE = {"matched_threshold": 0.5, "unmatched_threshold": 0.4, "sampling": None}


def test_anchors_by_level_and_size():
    """Six anchors on two levels. A small object with a forced anchor, a large one without any."""
    found = matching.AnchorTally(RULE)
    found.add(
        AnchorTargets(
            levels=[Level((2, 2), 4, 0), Level((1, 2), 3, 1)],
            anchors_yxyx_px=np.zeros((6, 4)),
            level_of=np.array([0, 0, 0, 0, 1, 1]),
            match=np.array([[0, -1, -1, -2, 1, 1], [-1] * 6]),
            counted=np.array([[True, False, True, False, True, False], [True] * 6]),
            best_iou=[np.array([0.2, 0.8, 0.45]), np.zeros(0)],
            objects_yxyx_px=[
                np.array([[0, 0, 10, 10], [0, 0, 50, 50], [0, 0, 100, 100]]),
                np.zeros((0, 4)),
            ],
        )
    )
    content = found.content()
    first, second = content["levels"]
    assert first["matched"] == {"positive": 0.5, "negative": 3, "ignored": 0.5}
    assert first["in_loss"] == {"positive": 0.5, "negative": 2.5, "ignored": 0}
    assert second["matched"] == {"positive": 1, "negative": 1, "ignored": 0}
    assert second["in_loss"] == {"positive": 0.5, "negative": 1, "ignored": 0}
    assert (second["anchors"], second["outside"]) == (3, 1)
    assert content["per_image"]["matched"]["positive"] == [3, 0]
    assert content["by_size"] == {
        "all": {"objects": 3, "without_anchor": 2 / 3, "recalled": 2 / 3},
        "small": {"objects": 1, "without_anchor": 1, "recalled": 1},
        "medium": {"objects": 1, "without_anchor": 0, "recalled": 1},
        "large": {"objects": 1, "without_anchor": 1, "recalled": 0},
    }
    at = content["recall"]["iou"].index(0.45)
    assert content["recall"]["all"][at : at + 2] == [2 / 3, 1 / 3]
    assert content["recall"]["small"][at] == 0


def test_peaks_by_size():
    found = matching.HeatMapTally({"min_box_overlap_iou": 0.7})
    found.add(
        HeatMapTargets(
            stride=4,
            heat=np.zeros((1, 8, 8)),
            cells={"peak": np.array([2]), "gaussian": np.array([7]), "background": np.array([1])},
            peaks_yxc=[np.array([[1, 1, 0], [1, 1, 0], [1, 1, 3]])],
            radius=[np.array([0, 2, 2])],
            objects_yxyx_px=[np.array([[0, 0, 9, 9], [0, 0, 8, 8], [0, 0, 40, 40]])],
        )
    )
    content = found.content()
    assert content["radius_cells"] == [1, 0, 2]
    assert content["per_image"] == {"peak": [2], "gaussian": [7], "background": [1]}
    assert content["by_size"]["small"] == {"objects": 2, "recalled": 0.5}
    assert content["by_size"]["medium"] == {"objects": 1, "recalled": 1}
    assert content["by_size"]["large"] == {"objects": 0, "recalled": None}
