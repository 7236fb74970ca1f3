"""TIDE's split against a case by hand and against what tidecv gives for the same errors."""

import copy
import json

import numpy as np
import pytest

from replicate.score import analyse, score
from tests.score.conftest import CATEGORIES, make_detections, make_groundtruth


def _split(tmp_path, data, detections):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(data))
    result = score(path, detections)
    return analyse(result)["tide"], result.metrics


def _annotation(number, image, category, box, crowd=0):
    area = box[2] * box[3]
    return dict(id=number, image_id=image, category_id=category, bbox=box, area=area, iscrowd=crowd)


def test_crowds_by_hand(tmp_path):
    """A crowd is nothing to be found, and what lies in it is no error."""
    region = [0, 0, 100, 100]
    data = {
        "images": [{"id": i, "height": 200, "width": 200} for i in (1, 2, 3, 4)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            *(_annotation(i, i, 1, region, crowd=1) for i in (1, 2, 3)),
            _annotation(4, 4, 1, [10, 10, 50, 50]),
        ],
    }
    found = [
        (1, 1, [10, 10, 50, 50], 0.97),  # within the crowd: ignored
        (2, 1, [60, 60, 100, 100], 0.95),  # a sixth of it in the crowd: on background
        (3, 2, [10, 10, 50, 50], 0.93),  # in a crowd of another category: on background
        (4, 1, [10, 10, 50, 50], 0.90),  # right
    ]
    detections = [
        {"image_id": image, "category_id": category, "bbox": box, "score": value}
        for image, category, box, value in found
    ]
    tide, metrics = _split(tmp_path, data, detections)
    assert tide["counts"] == {"Cls": 0, "Loc": 0, "Both": 0, "Dupe": 0, "Bkg": 2, "Miss": 0}
    # One false positive of the cats above their only hit: precision 1/2 at every recall.
    assert tide["ap_base"] == metrics["AP50"] == pytest.approx(0.5)
    assert tide["delta_ap"]["Bkg"] == pytest.approx(0.5)


@pytest.fixture
def busy():
    """60 images with errors of every kind: (COCO dict with crowds, detections)."""
    rng = np.random.default_rng(0)
    data = make_groundtruth(60)
    detections = make_detections(data, jitter=0.25)
    for each in detections:
        if rng.random() < 0.2:
            each["category_id"] = int(rng.choice(list(CATEGORIES)))
    detections += [each | {"score": each["score"] * 0.9} for each in detections[::6]]
    crowded = copy.deepcopy(data)
    for each in crowded["annotations"]:
        each["iscrowd"] = int(rng.random() < 0.2)
    return crowded, detections


def test_crowds_against_tidecv(tmp_path, busy):
    """tidecv 1.0.1, given the groundtruth without crowds and the detections without those that
    pycocotools ignores at IoU 0.5 (47 of 560), in points:"""
    gains = {"Cls": 2.748, "Loc": 51.632, "Both": 1.496, "Dupe": 0.425, "Bkg": 0.882, "Miss": 1.36}
    counts = {"Cls": 10, "Loc": 148, "Both": 93, "Dupe": 20, "Bkg": 182, "Miss": 25}
    tide, metrics = _split(tmp_path, *busy)
    assert tide["counts"] == counts
    found = {name: 100 * tide["delta_ap"][name] for name in gains}
    assert found == pytest.approx(gains, abs=0.002)
    assert 100 * tide["ap_base"] == pytest.approx(9.1035, abs=1e-4)
    assert tide["ap_base"] == pytest.approx(metrics["AP50"], abs=1e-12)


def test_a_category_without_groundtruth(tmp_path, busy):
    """The base is COCO's AP50 there too; tidecv's is four fifths of it, the fifth category's 0
    being in its mean (7.288 for 9.110), and so are its gains."""
    data, detections = busy
    for each in data["annotations"]:
        each["iscrowd"] = 0
    data["annotations"] = [each for each in data["annotations"] if each["category_id"] != 11]
    tide, metrics = _split(tmp_path, data, detections)
    assert tide["counts"] == {
        "Cls": 14, "Loc": 153, "Both": 117, "Dupe": 21, "Bkg": 194, "Miss": 24
    }  # tidecv's too  # fmt: skip
    assert tide["ap_base"] == pytest.approx(metrics["AP50"], abs=1e-12)
    assert 100 * tide["ap_base"] * 4 / 5 == pytest.approx(7.2881, abs=1e-4)
    assert 100 * tide["delta_ap"]["Loc"] * 4 / 5 == pytest.approx(46.422, abs=0.002)
