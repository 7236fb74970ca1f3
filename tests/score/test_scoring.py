"""`score` against pycocotools called directly, recorded figures and cases worked by hand."""

import contextlib
import gzip
import io
import json

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from replicate.score import METRICS, EvaluatorsDisagree, analyse, score, scoring
from replicate.score.checks import CODES


def official(annotations_file, detections, iou_type, image_ids=None):
    """pycocotools' own figures, called as its demo does."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations_file))
        evaluation = COCOeval(truth, truth.loadRes(detections), iou_type)
        if image_ids:
            evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def figures(result):
    return [-1.0 if value is None else value for value in result.metrics.values()]


# AP on the first 100 images, as the author of these detections recorded it.
@pytest.mark.parametrize(
    "model, recorded",
    [("ssd_mobilenet_v3_small", 0.1780592828833289), ("ssd_mobilenet_v2", 0.14013979395466775)],
)
def test_recorded_ap_of_real_detections(shared, model, recorded):
    result = score(
        shared / "coco/val128/instances_val128.json",
        shared / f"coco/results/{model}.json",
        num_images=100,
        fix=["unknown_images"],
    )
    assert result.agree
    for evaluation in result.evaluations.values():
        assert evaluation.metrics["AP"] == pytest.approx(recorded, abs=1e-12)


@pytest.mark.parametrize(
    "iou_type, recorded",
    [
        ("bbox", ".505 .697 .573 .586 .519 .501 .387 .594 .595 .640 .566 .564"),
        ("segm", ".320 .562 .299 .387 .310 .327 .268 .415 .417 .469 .377 .381"),
    ],
)
def test_cocoapis_example(shared, iou_type, recorded):
    folder = shared / "coco/fakebbox100"
    annotations = folder / "instances_val2014_100.json"
    detections = folder / f"instances_val2014_fake{iou_type}100_results.json"
    result = score(annotations, detections, iou_type=iou_type)
    assert [round(value, 3) for value in figures(result)] == [float(v) for v in recorded.split()]
    expected = official(annotations, str(detections), iou_type)
    assert list(result.metrics) == list(METRICS[iou_type])
    for evaluation in result.evaluations.values():
        assert list(evaluation.metrics.values()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_on_made_detections(annotations_file, groundtruth, detections, seed):
    rng = np.random.default_rng(seed)
    chosen = [each for each in detections if rng.random() < 0.7]
    # A crowd, an image without objects left in the score.
    groundtruth["annotations"][seed]["iscrowd"] = 1
    groundtruth["annotations"][seed]["segmentation"] = {"size": [200, 300], "counts": [60000]}
    annotations_file.write_text(json.dumps(groundtruth))
    result = score(annotations_file, chosen)
    assert figures(result) == pytest.approx(official(annotations_file, chosen, "bbox"), abs=1e-12)


def test_worked_by_hand(tmp_path):
    """Two images, one category found at 0.9 and missed once, with one false alarm ranked between.

    Ranked: hit, false alarm, hit -> precision 1, 1/2, 2/3; recall 1/3, 1/3, 2/3. Interpolated
    over the 101 recall thresholds: 1 up to 1/3 (34 of them), 2/3 up to 2/3 (33), then 0.
    """
    box, other = [10, 10, 50, 50], [120, 120, 40, 40]
    annotations = [(1, 1, box), (2, 2, box), (3, 2, other)]
    path = tmp_path / "instances.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": i, "height": 200, "width": 200} for i in (1, 2)],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "never there"}],
                "annotations": [
                    {
                        "id": id,
                        "image_id": image,
                        "category_id": 1,
                        "bbox": where,
                        "area": where[2] * where[3],
                        "iscrowd": 0,
                    }
                    for id, image, where in annotations
                ],
            }
        )
    )
    result = score(
        path,
        [
            {"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9},
            {"image_id": 1, "category_id": 1, "bbox": other, "score": 0.8},
            {"image_id": 2, "category_id": 1, "bbox": other, "score": 0.7},
        ],
    )
    ap = (34 + 33 * 2 / 3) / 101
    assert result.metrics["AP"] == pytest.approx(ap, abs=1e-12)
    assert result.metrics["AP50"] == pytest.approx(ap, abs=1e-12)
    assert result.metrics["AR@100"] == pytest.approx(2 / 3, abs=1e-12)
    # All objects are medium: no figure for small and large, and none for an absent category.
    assert result.metrics["APs"] is None and result.metrics["APl"] is None
    cat, never = result.per_category
    assert (cat["name"], cat["groundtruth"], cat["detections"]) == ("cat", 3, 3)
    assert cat["AP"] == pytest.approx(ap, abs=1e-12)
    assert cat["APm"] == pytest.approx(ap, abs=1e-12) and cat["APs"] is None
    assert cat["AR"] == pytest.approx(2 / 3, abs=1e-12)
    assert never["AP"] is None and never["groundtruth"] == 0


def test_per_category_means_to_the_headline(annotations_file, detections):
    result = score(annotations_file, detections)
    for name in ("AP", "AP50", "AP75"):
        values = [each[name] for each in result.per_category if each[name] is not None]
        assert np.mean(values) == pytest.approx(result.metrics[name], abs=1e-12)


def test_area_of_a_mask_is_the_masks(annotations_file, groundtruth):
    """Detectors write box and mask into one record; pycocotools would take the box's area."""
    detections, bare = [], []
    for annotation in groundtruth["annotations"]:
        x, y, width, height = (int(v) for v in annotation["bbox"])
        mask = np.zeros((200, 300), np.uint8, order="F")
        mask[y : y + height, x : x + width // 3] = 1
        encoded = rle.encode(mask)
        annotation["segmentation"] = {
            "size": encoded["size"],
            "counts": encoded["counts"].decode(),
        }
        annotation["area"] = int(mask.sum())
        bare.append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "segmentation": annotation["segmentation"],
                "score": 0.5,
            }
        )
        detections.append(bare[-1] | {"bbox": [0, 0, 300, 200]})
    annotations_file.write_text(json.dumps(groundtruth))
    expected = official(annotations_file, bare, "segm")
    assert figures(score(annotations_file, detections, iou_type="segm")) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.fixture
def people(tmp_path):
    """30 people with 17 keypoints each in 10 images, and a detection near each."""
    rng = np.random.default_rng(3)
    annotations, detections = [], []
    for index in range(30):
        xy = rng.uniform([20, 20], [250, 180], (17, 2)).round(1)
        points = np.column_stack([xy, np.full(17, 2)])
        size = np.ptp(xy, axis=0)
        annotations.append(
            {
                "id": index + 1,
                "image_id": index // 3 + 1,
                "category_id": 1,
                "bbox": [*xy.min(axis=0).tolist(), *size.tolist()],
                "area": float(size.prod()) * 0.6,
                "iscrowd": 0,
                "keypoints": points.ravel().tolist(),
                "num_keypoints": 17,
            }
        )
        points[:, :2] += rng.normal(0, 4, (17, 2))
        detections.append(
            {
                "image_id": index // 3 + 1,
                "category_id": 1,
                "keypoints": points.ravel().tolist(),
                "score": float(rng.random()),
            }
        )
    path = tmp_path / "keypoints.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": i + 1, "height": 200, "width": 300} for i in range(10)],
                "annotations": annotations,
                "categories": [{"id": 1, "name": "person"}],
            }
        )
    )
    return path, detections


def test_keypoints(people):
    path, detections = people
    result = score(path, detections, iou_type="keypoints")
    expected = official(path, detections, "keypoints")
    assert 0.1 < expected[0] < 0.9
    assert figures(result) == pytest.approx(expected, abs=1e-12)


def test_analysis_of_keypoints(people):
    result = score(*people, iou_type="keypoints")
    analysis = analyse(result, samples=60)
    assert list(analysis["by_size"]) == ["medium", "large"]
    assert "tide" not in analysis
    assert set(analysis["intervals"]) <= set(result.metrics)
    assert np.mean(analysis["precision_recall"]["precision"]["0.50"]) == pytest.approx(
        result.metrics["AP50"]
    )


def test_no_detections_at_all(annotations_file):
    result = score(annotations_file, [])
    assert result.metrics["AP"] == 0 and result.metrics["AR@100"] == 0
    assert result.to_json()["detections"]["count"] == 0


def test_images_without_objects(annotations_file, groundtruth, detections):
    groundtruth["annotations"] = []
    annotations_file.write_text(json.dumps(groundtruth))
    result = score(annotations_file, detections)
    assert set(result.metrics.values()) == {None}
    assert result.agree and result.to_json()["annotations"]["annotations"] == 0


@pytest.mark.parametrize("seed", range(12))
def test_evaluators_agree_on_corner_cases(tmp_path, seed):
    """Ties of scores, crowds, empty boxes, areas at the limits, more than 100 detections."""
    rng = np.random.default_rng(seed)
    images = [{"id": i + 1, "height": 300, "width": 300} for i in range(4)]
    annotations, detections = [], []
    for image in images:
        for _ in range(rng.integers(0, 8)):
            x, y, width, height = (int(v) for v in rng.integers(1, 200, 4))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": int(rng.integers(1, 4)),
                    "bbox": [x, y, width, height],
                    "area": float(rng.choice([width * height, 1024, 9216])),
                    "iscrowd": int(rng.random() < 0.2),
                }
            )
        for _ in range(rng.choice([0, 5, 130])):
            box = [float(v) for v in rng.integers(0, 100, 4)]
            if annotations and rng.random() < 0.6:
                near = annotations[rng.integers(len(annotations))]["bbox"]
                box = [float(max(0, v)) for v in near + rng.integers(-3, 4, 4)]
            detections.append(
                {
                    "image_id": image["id"],
                    "category_id": int(rng.integers(1, 4)),
                    "bbox": box,
                    "score": float(rng.choice([0.1, 0.5, 0.9, rng.random()])),
                }
            )
    path = tmp_path / "corner.json"
    categories = [{"id": id, "name": str(id)} for id in (1, 2, 3)]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    result = score(path, detections, fix=CODES)
    if detections:
        assert result.repairs or figures(result) == pytest.approx(
            official(path, detections, "bbox"), abs=1e-12
        )
    assert result.agree


def test_subset_of_images(annotations_file, detections):
    first = [100, 101, 102, 103, 104]
    expected = official(annotations_file, detections, "bbox", first)
    for subset in ({"image_ids": first}, {"num_images": 5}):
        result = score(annotations_file, detections, **subset)
        assert figures(result) == pytest.approx(expected, abs=1e-12)
        assert result.to_json()["annotations"]["annotations"] == 20
        assert sum(each["groundtruth"] for each in result.per_category) == 20


def test_compressed_files_and_lists_score_alike(annotations_file, detections, tmp_path):
    plain, packed = tmp_path / "detections.json", tmp_path / "detections.json.gz"
    plain.write_text(json.dumps(detections))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    truth = tmp_path / "instances.json.gz"
    truth.write_bytes(gzip.compress(annotations_file.read_bytes()))
    from_list = score(annotations_file, detections)
    for annotations, given in ((annotations_file, plain), (truth, packed), (truth, plain)):
        result = score(annotations, given)
        assert result.metrics == from_list.metrics
        identity = result.to_json()["annotations"]
        assert identity["sha256"] == from_list.to_json()["annotations"]["sha256"]


def test_disagreement_is_loud(annotations_file, detections, monkeypatch):
    honest = scoring.evaluate

    def off(name, *arguments):
        evaluation = honest(name, *arguments)
        if name == "hotcoco":
            evaluation.metrics["AP75"] += 1e-9
        return evaluation

    monkeypatch.setattr(scoring, "evaluate", off)
    with pytest.raises(EvaluatorsDisagree, match="disagree on AP75:") as caught:
        score(annotations_file, detections)
    assert caught.value.result.to_json()["agree"] is False


def test_one_evaluator_alone(annotations_file, detections):
    both = score(annotations_file, detections)
    for name in ("hotcoco", "pycocotools"):
        result = score(annotations_file, detections, evaluator=name)
        assert result.agree is None and list(result.evaluations) == [name]
        assert list(result.metrics.values()) == pytest.approx(
            list(both.metrics.values()), abs=1e-12
        )


def test_stdout_is_left_alone(annotations_file, detections, capfd):
    score(annotations_file, detections)
    assert capfd.readouterr() == ("", "")


def test_json_is_json(annotations_file, detections):
    value = score(annotations_file, detections).to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["annotations"]["images"] == 20 and value["annotations"]["annotations"] == 80
    assert value["agree"] is True
