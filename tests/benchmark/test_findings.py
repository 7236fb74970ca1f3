"""Planted mistakes of convention in real detections on real images: each is named."""

import json

import numpy as np
import pytest

from replicate import benchmark
from replicate.benchmarking import Dataset, findings
from replicate.errors import UserError


@pytest.fixture(scope="module")
def real(shared):
    """(Dataset of 100 real images without their pixels, detections recorded elsewhere)."""
    dataset = Dataset(shared / "coco/val128/instances_val128.json", None, num_images=100)
    results = json.loads((shared / "coco/results/ssd_mobilenet_v3_small.json").read_text())
    known = set(sorted(dataset.groundtruth.image_hw)[:100])
    return dataset, [result for result in results if result["image_id"] in known]


def _run(real, tmp_path, planted):
    dataset, results = real
    of_file = sorted(dataset.groundtruth.categories)
    changed = [planted(dict(result), dataset.groundtruth.image_hw, of_file) for result in results]
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([result for result in changed if result]))
    return benchmark(str(path), dataset, evaluator="hotcoco", cache_dir=None)


def _boxes(change):
    def planted(result, image_hw, _):
        box = np.array(result["bbox"])
        return result | {"bbox": change(box, *image_hw[result["image_id"]]).tolist()}

    return planted


def _contiguous(result, _, of_file):
    return result | {"category_id": of_file.index(result["category_id"]) + 1}


REFUSED = {
    "corners against sizes": (
        _boxes(lambda box, h, w: np.array([*box[:2], *(box[:2] + box[2:])])),
        "corners .x1, y1, x2, y2. in pixels",
    ),
    "normalised boxes": (
        _boxes(lambda box, h, w: box / [w, h, w, h]),
        "width, height. as fractions|no pixels",
    ),
    "corners y first taken for x first": (
        _boxes(lambda box, h, w: box[[1, 0, 3, 2]]),
        "y, x, height, width. in pixels.*--fix=yxhw_boxes",
    ),
    "fractions y first taken for x first": (
        _boxes(lambda box, h, w: (box / [w, h, w, h])[[1, 0, 3, 2]] * [w, h, w, h]),
        "y, x, height, width., of fractions.*--fix=multiplied_yxhw_boxes",
    ),
    "sizes taken for corners": (
        _boxes(lambda box, h, w: np.array([*box[:2], *(box[2:] - box[:2])])),
        "of sizes that were taken for corners.*--fix=sizes_as_corner_boxes",
    ),
    "pixels taken for fractions": (
        _boxes(lambda box, h, w: box * [w, h, w, h]),
        "multiplied by the image's size as fractions are",
    ),
    "contiguous against COCO's ids": (_contiguous, "without COCO's gaps"),
    "missing rescale, stretched": (
        _boxes(lambda box, h, w: box * np.array([320 / w, 320 / h] * 2)),
        "missing rescale: .* 320 × 320, the image stretched",
    ),
    "missing rescale, letterbox": (
        _boxes(
            lambda box, h, w: (
                box * 640 / max(h, w)
                + [(640 - w * 640 / max(h, w)) / 2, (640 - h * 640 / max(h, w)) / 2, 0, 0]
            )
        ),
        "missing rescale: .* 640 × 640, the image in the middle with its aspect",
    ),
    "missing rescale, by the shorter side": (
        _boxes(lambda box, h, w: box * min(800 / min(h, w), 1333 / max(h, w))),
        "missing rescale: .* whose shorter side is 800, the longer at most 1333",
    ),
    "missing rescale, padded": (
        _boxes(lambda box, h, w: box * 320 / max(h, w)),
        "missing rescale: .* 320 × 320, the image with its aspect",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_named(mistake, real, tmp_path):
    planted, says = REFUSED[mistake]
    with pytest.raises(UserError, match=f"(?s){says}"):
        _run(real, tmp_path, planted)


def test_detections_as_they_should_be(real, tmp_path):
    """The recorded AP, and nothing is found in it but what is so."""
    record = _run(real, tmp_path, lambda result, *_: result)
    assert record.metrics["bbox"]["AP"] == pytest.approx(0.1780592828833289, abs=1e-12)
    # Their author cut them at 0.5.
    assert [sentence for sentence in record.findings if "scores end at 0.5" in sentence]


@pytest.mark.parametrize(("cut", "says"), [(0.25, "Ultralytics"), (0.5, "Transformers")])
def test_a_default_threshold_is_named(cut, says, real, tmp_path):
    record = _run(
        real, tmp_path, lambda result, *_: result | {"score": cut + 1.2 * (result["score"] - 0.5)}
    )
    assert any(says in sentence for sentence in record.findings), (record.findings, cut)
    assert any(says in line for line in record.text().splitlines())
    assert record.to_json()["findings"] == list(record.findings)


def test_one_class_a_query_is_named():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 300, (8, 30, 4)).round(2)

    def results(classes):
        return [
            {"image_id": image, "category_id": category, "bbox": box.tolist(), "score": 0.5}
            for image, of_image in enumerate(boxes)
            for box in of_image
            for category in rng.choice([1, 2, 3], classes, replace=False).tolist()
        ]

    assert "argmax" in findings.one_class_a_box(results(1))
    assert findings.one_class_a_box(results(2)) is None
    # Too little to tell: few images, or one category.
    few = [result for result in results(1) if result["image_id"] < 3]
    assert findings.one_class_a_box(few) is None
    assert findings.one_class_a_box([r | {"category_id": 1} for r in results(1)]) is None
