"""No convention is read into detections by chance, and a real one is still seen."""

import json

import numpy as np
import pytest

from replicate.errors import UserError
from replicate.score import Groundtruth, conventions, score, text
from replicate.score.detections import Detections
from replicate.score.evidence import SHUFFLES, beyond_chance
from replicate.score.problem import DetectionsNote, DetectionsProblem

# Unevenly, as in real sets, so that a guess at the commonest is often right.
SHARES = np.array([0.6, 0.2, 0.2])


def made(images, rng, categories=3):
    """A COCO dict of `images` images with one to five objects of `categories` classes."""
    shares = np.resize(SHARES, categories) / np.resize(SHARES, categories).sum()
    annotations = []
    for image in range(1, images + 1):
        for _ in range(rng.integers(1, 6)):
            width, height = rng.uniform(20, 120, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.choice(categories, p=shares)) + 1,
                    "bbox": [rng.uniform(0, 300 - width), rng.uniform(0, 200 - height)]
                    + [width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": id, "height": 200, "width": 300, "file_name": f"{id}.png"}
            for id in range(1, images + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": id, "name": f"class {id}"} for id in range(1, categories + 1)],
    }


def found(truth, rng, ids):
    """Detections around every object (`ids` are their category ids), as many again at random."""
    results = []
    for each, id in zip(truth["annotations"], ids, strict=True):
        around = np.array(each["bbox"]) * rng.normal(1, 0.05, 4)
        for box, number in ((around, id), (rng.uniform(10, 150, 4), rng.choice(ids))):
            results.append(
                {
                    "image_id": each["image_id"],
                    "category_id": int(number),
                    "bbox": box.tolist(),
                    "score": float(rng.uniform()),
                }
            )
    return results


@pytest.fixture
def early(tmp_path):
    """A three-class model early in training: it finds objects and calls all of them class 2."""
    rng = np.random.default_rng(2)
    truth = made(80, rng)
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    return tmp_path / "instances.json", found(truth, rng, [2] * len(truth["annotations"]))


def test_one_class_for_everything_is_scored(early):
    """More of its boxes would be right one id lower, since class 1 is the commonest: by chance."""
    annotations_file, results = early
    result = score(annotations_file, results)
    assert result.repairs == []
    (note,) = result.notes
    assert note.startswith("the category ids could be one above COCO's")
    told = result.to_json()
    assert told["notes"] == [note] and f"! {note}" in text.of_scores([told])
    # Only who asks for it gets it, and it stands beside the score.
    asked = score(annotations_file, results, fix=["category_ids_minus_one"])
    assert asked.metrics["AP"] > result.metrics["AP"]
    (repair,) = asked.to_json()["repairs"]
    assert repair["changed"] == repair["of"] == len(results)
    assert "asked for; the boxes cannot tell" in text.of_scores([asked.to_json()])


def test_a_fix_that_the_boxes_contradict_changes_nothing(annotations_file, detections):
    expected = score(annotations_file, detections).metrics
    for code in ("category_ids_minus_one", "corner_boxes"):
        result = score(annotations_file, detections, fix=[code])
        assert result.metrics == expected and result.repairs == []
        (note,) = result.notes
        assert note.startswith(f"--fix={code} changed nothing: ")


# How a detector that has learned little (or nothing) names what it finds.
NAMING = {
    "one class": lambda truth, rng: np.full(len(truth), rng.integers(1, 4)),
    "two classes": lambda truth, rng: rng.integers(2, 4, len(truth)),
    "by frequency": lambda truth, rng: rng.choice(truth, len(truth)),
    "mostly the wrong way round": lambda truth, rng: np.where(
        rng.random(len(truth)) < 0.3, truth, rng.integers(1, 4, len(truth))
    ),
}


@pytest.mark.parametrize("naming", NAMING)
def test_no_numbering_is_seen_by_chance(naming, tmp_path):
    """60 detectors each; at an error rate of 1 in 10,000 none should be accused."""
    rng = np.random.default_rng(7)
    suspected = 0
    for number in range(60):
        truth = made(int(rng.integers(10, 60)), rng)
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(truth))
        true_ids = np.array([each["category_id"] for each in truth["annotations"]])
        results = found(truth, rng, NAMING[naming](true_ids, rng))
        said = conventions.category_numbering(
            Detections.of(results, "bbox"), Groundtruth.read(path)
        )
        assert not isinstance(said, DetectionsProblem), said
        suspected += isinstance(said, DetectionsNote)
    if naming == "one class":
        assert suspected > 10, "the case is the one that the check is for"


def test_a_shift_of_many_classes_is_seen_without_an_impossible_id(tmp_path):
    """Twelve classes, ids one too high, the last class never found: nothing but agreement tells."""
    rng = np.random.default_rng(5)
    truth = made(80, rng, categories=12)
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    truth["annotations"] = [each for each in truth["annotations"] if each["category_id"] < 12]
    results = found(truth, rng, [each["category_id"] + 1 for each in truth["annotations"]])
    with pytest.raises(UserError, match=f"in none of {SHUFFLES:,} shuffles") as caught:
        score(tmp_path / "instances.json", results)
    assert "--fix=category_ids_minus_one renumbers them" in str(caught.value)


@pytest.mark.parametrize("shape", ["large", "small", "everywhere"])
def test_no_layout_is_seen_by_chance(shape, tmp_path):
    """Boxes of an untrained detector: as large as the image and beyond it, tiny, or anything."""
    rng = np.random.default_rng(11)
    sizes = {"large": (150, 320), "small": (4, 30), "everywhere": (4, 320)}[shape]
    for number in range(15):
        truth = made(40, rng)
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(truth))
        results = [
            {
                "image_id": each["id"],
                "category_id": 1,
                "bbox": [*rng.uniform(0, 150, 2), *rng.uniform(*sizes, 2)],
                "score": float(rng.uniform()),
            }
            for each in truth["images"]
            for _ in range(20)
        ]
        said = conventions.box_layout(Detections.of(results, "bbox"), Groundtruth.read(path))
        assert not isinstance(said, DetectionsProblem), said


def test_fractions_whose_order_nothing_tells(tmp_path):
    """Certainly no pixels, and no box on an object: the user says which order it is."""
    rng = np.random.default_rng(3)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(made(20, rng)))
    results = [
        {"image_id": 1 + i % 20, "category_id": 1, "bbox": [0.9, 0.9, 0.91, 0.92], "score": 0.5}
        for i in range(40)
    ]
    with pytest.raises(UserError, match="Too few lie on objects to tell their order") as caught:
        score(path, results)
    for code in ("normalized_boxes", "normalized_corner_boxes", "normalized_yxyx_boxes"):
        assert f"--fix={code}: " in str(caught.value)
        assert score(path, results, fix=[code]).repairs[0]["problem"] == code


def test_chance_by_shuffling():
    """Perfect agreement of ten kinds passes; of one kind, or of none, it does not."""
    kinds = np.arange(30) % 10
    assert beyond_chance((kinds[:, None] == kinds).astype(float)) == (True, 3.0)
    assert beyond_chance(np.ones((30, 30))) == (False, 30.0)
    assert beyond_chance((kinds[:, None] == np.roll(kinds, 1)).astype(float))[0] is False
    assert beyond_chance(np.empty((0, 0)))[0] is False


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda each: each["score"] >= 0.5, "cut at a score of about 0.5"),
        (lambda each: each["image_id"] > 110, "11 of 20 images have no detections; their 44 obj"),
        (lambda each: True, "capped at 8 an image: many images have exactly as many"),
        (lambda each: not 0.2 < each["score"] < 0.4, None),
    ],
)
def test_what_stands_beside_a_score(annotations_file, detections, change, remark):
    result = score(annotations_file, [each for each in detections if change(each)])
    said = text.remarks(result.to_json())
    assert any(remark in each for each in said) if remark else said == []


@pytest.mark.parametrize("side", [192, 640])
def test_boxes_in_the_pixels_of_the_input_are_named(tmp_path, side):
    """Stretched to a square; no layout of COCO's numbers explains them, and none is offered."""
    rng = np.random.default_rng(5)
    truth = made(60, rng)
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    right = found(truth, rng, [each["category_id"] for each in truth["annotations"]])
    scaled = [each | {"bbox": stretched(each["bbox"], side)} for each in right]
    with pytest.raises(UserError, match=f"pixels of an input of {side} × {side}, the image str"):
        score(tmp_path / "instances.json", scaled)
    # Half of the boxes on objects are needed: without those at random.
    percent = [each | {"bbox": stretched(each["bbox"], 100)} for each in right[::2]]
    with pytest.raises(UserError, match="in percent .*\n  --fix=percent_boxes converts them"):
        score(tmp_path / "instances.json", percent)
    mended = score(tmp_path / "instances.json", percent, fix=["percent_boxes"])
    assert mended.metrics == pytest.approx(score(tmp_path / "instances.json", right[::2]).metrics)


def stretched(box, side):
    """An xywh box of the 300 × 200 images in pixels of a square."""
    return (np.array(box) / [300, 200, 300, 200] * side).tolist()


@pytest.mark.filterwarnings("error")
def test_no_detections_are_scored_without_warnings(annotations_file):
    assert score(annotations_file, []).metrics["AP"] == 0
