"""The analyses against hand-worked cases and independent sums."""

import json
import pathlib

import numpy as np
import pytest

from replicate.errors import UserError
from replicate.score import analyse, compare, draw, score
from replicate.score.text import of_analysis, remarks
from tests.score.conftest import make_detections

BOX, FAR = [10, 10, 50, 50], [140, 140, 50, 50]


@pytest.fixture
def errors_by_hand(tmp_path):
    """One object an image, and one detection of it that goes wrong in its own way."""
    path = tmp_path / "errors.json"
    images = range(1, 7)
    path.write_text(
        json.dumps(
            {
                "images": [{"id": i, "height": 200, "width": 200} for i in images],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
                "annotations": [
                    {
                        "id": i,
                        "image_id": i,
                        "category_id": 1,
                        "bbox": BOX,
                        "area": 2500,
                        "iscrowd": 0,
                    }
                    for i in images
                ],
            }
        )
    )
    made = [
        (1, 1, BOX, 0.95),  # right
        (2, 2, BOX, 0.85),  # wrong category
        (3, 1, [30, 10, 50, 50], 0.75),  # IoU 30/70: localization
        (4, 1, BOX, 0.65),  # right, and
        (4, 1, [12, 10, 50, 50], 0.55),  # found twice
        (5, 1, FAR, 0.45),  # background
        # image 6 is missed
    ]
    return path, [
        {"image_id": image, "category_id": category, "bbox": box, "score": value}
        for image, category, box, value in made
    ]


def test_errors_by_hand(errors_by_hand):
    analysis = analyse(score(*errors_by_hand))
    counts = analysis["tide"]["counts"]
    assert counts == {"Cls": 1, "Loc": 1, "Both": 0, "Dupe": 1, "Bkg": 1, "Miss": 2}
    assert analysis["confusion"]["most_confused"] == [
        {"groundtruth": "cat", "called": "dog", "count": 1}
    ]
    # Rows groundtruth cat, dog, background: two hits, one called dog, three not found; of the
    # detections the badly located, the second one and the one on background have no object.
    assert analysis["confusion"]["matrix"] == [[2, 1, 3], [0, 0, 0], [3, 0, 0]]
    assert analysis["by_size"]["medium"]["groundtruth"] == 6
    assert analysis["by_size"]["small"] == {"groundtruth": 0, "AP": None, "AR": None}


def test_scores_that_are_no_probabilities(errors_by_hand, tmp_path):
    """In per cent, or logits: AP, errors and confusions need their order alone."""
    path, detections = errors_by_hand
    expected = score(path, detections)
    for change, side in ((lambda s: 100 * s, "above 1"), (lambda s: s - 0.8, "below 0")):
        result = score(path, [d | {"score": change(d["score"])} for d in detections])
        assert result.metrics == expected.metrics
        analysis, whole = analyse(result), analyse(expected)
        assert {"f1", "calibration"}.isdisjoint(analysis)
        assert analysis["tide"] == whole["tide"] and analysis["confusion"] == whole["confusion"]
        names = {pathlib.Path(file).stem for file in draw(result, tmp_path / side)}
        assert names == {"precision_recall", "errors", "confusions"}
        (note,) = [each for each in remarks(result.to_json()) if "score" in each]
        assert f"have a score {side}; AP goes by the order alone" in note
        assert "F1" not in of_analysis(analysis) and "(TIDE)" in of_analysis(analysis)


def test_f1_over_confidence_by_hand(errors_by_hand):
    f1 = analyse(score(*errors_by_hand))["f1"]
    at = dict(
        zip(f1["threshold"], zip(f1["f1"], f1["precision"], f1["recall"], strict=True), strict=True)
    )
    # From 0.9: one right of one, six objects. From 0.6: two right of four.
    assert at[0.9] == pytest.approx((2 * 1 / (1 + 6), 1 / 1, 1 / 6))
    assert at[0.6] == pytest.approx((2 * 2 / (4 + 6), 2 / 4, 2 / 6))
    assert at[0.0] == pytest.approx((2 * 2 / (6 + 6), 2 / 6, 2 / 6))
    assert at[1.0] == (0, 0, 0)
    # 0.4 for scores from 0.56 to 0.65: the first of the grid.
    assert f1["best_threshold"] == 0.56


def test_calibration_by_hand(errors_by_hand):
    calibration = analyse(score(*errors_by_hand))["calibration"]
    bins = {round(each["bin_lower"], 1): each for each in calibration["bins"]}
    assert (bins[0.9]["avg_confidence"], bins[0.9]["avg_accuracy"]) == (0.95, 1)
    assert (bins[0.8]["avg_confidence"], bins[0.8]["avg_accuracy"]) == (0.85, 0)
    # Each detection is alone in its bin: the mean distance of its score from right or wrong.
    assert calibration["ece"] == pytest.approx((0.05 + 0.85 + 0.75 + 0.35 + 0.55 + 0.45) / 6)


def test_curves_mean_to_ap(annotations_file, detections):
    result = score(annotations_file, detections)
    curves = analyse(result)["precision_recall"]
    assert len(curves["recall"]) == 101 and len(curves["precision"]) == 10
    assert np.mean(curves["precision"]["0.50"]) == pytest.approx(result.metrics["AP50"])
    means = [np.mean(each) for each in curves["precision"].values()]
    assert np.mean(means) == pytest.approx(result.metrics["AP"])


def test_subset_of_images(annotations_file, groundtruth, detections, tmp_path):
    """The analysis of five images of twenty is that of a file with those five alone."""
    keep = {100, 101, 102, 103, 104}
    small = tmp_path / "small.json"
    groundtruth["images"] = [each for each in groundtruth["images"] if each["id"] in keep]
    groundtruth["annotations"] = [
        each for each in groundtruth["annotations"] if each["image_id"] in keep
    ]
    small.write_text(json.dumps(groundtruth))
    mine = [each for each in detections if each["image_id"] in keep]
    expected = analyse(score(small, mine))
    found = analyse(score(annotations_file, detections, num_images=5))
    for name in expected:
        assert found[name] == expected[name], name


def test_paired_comparison(annotations_file, groundtruth, detections):
    sharper = make_detections(groundtruth, jitter=0.01)
    result, baseline = score(annotations_file, sharper), score(annotations_file, detections)
    found = compare(result, baseline, samples=200)
    difference = result.metrics["AP"] - baseline.metrics["AP"]
    assert difference > 0.05
    assert found["differences"]["AP"] == pytest.approx(difference)
    interval = found["intervals"]["AP"]
    assert 0 < interval["low"] < difference < interval["high"]
    assert list(found["differences"]) == [
        name for name, value in result.metrics.items() if value is not None
    ]
    assert np.mean([each["difference"] for each in found["per_category"]]) == pytest.approx(
        difference
    )


def test_comparison_needs_the_same_images(annotations_file, detections):
    all_images = score(annotations_file, detections)
    some = score(annotations_file, detections, num_images=5)
    with pytest.raises(UserError, match="20 images, bbox.*5 images, bbox"):
        compare(all_images, some)


def test_analysis_needs_hotcoco(annotations_file, detections):
    with pytest.raises(UserError, match="score with evaluator 'hotcoco' or 'both'"):
        analyse(score(annotations_file, detections, evaluator="pycocotools"))


def test_drawings(annotations_file, detections, tmp_path):
    from PIL import Image

    paths = draw(score(annotations_file, detections), tmp_path / "plots")
    assert len(paths) == 4
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            # More than a page in one colour.
            assert len(picture.convert("L").getcolors(256)) > 20
