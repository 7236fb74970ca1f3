"""The protocol block: read off what ran, and another hash whenever something else ran."""

import copy
import dataclasses
import hashlib
import json

import pytest

from replicate import score
from replicate.evaluate.suppression import KIT
from replicate.score import protocol

MADE = {"decoder": "tensorflow", "decoder_version": "2.20.0", "suppression": KIT, "batch_size": 8}


@pytest.fixture(scope="module")
def result(shared):
    folder = shared / "coco" / "fakebbox100"
    return score.score(
        folder / "instances_val2014_100.json",
        folder / "instances_val2014_fakebbox100_results.json",
    )


def test_it_is_what_cocos_code_says(result):
    """Against the documented parameters of COCO's own evaluation (cocodataset.org, cocoeval.py)."""
    block = protocol.of(result)
    assert block["iou_thresholds"] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert block["recall_thresholds"] == 101 and block["max_detections"] == [1, 10, 100]
    assert block["area_ranges_px2"] == {
        "all": [0, 1e10],
        "small": [0, 32**2],
        "medium": [32**2, 96**2],
        "large": [96**2, 1e10],
    }
    assert block["by_category"] is True and block["provenance"] == "parity_verified"
    assert block["images"]["count"] == 100 and block["inference"] is None
    assert set(block["evaluators"]) == {"hotcoco", "pycocotools"}
    content = {name: value for name, value in block.items() if name != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert block["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_keypoints_have_their_sigmas_and_twenty_detections(shared, tmp_path):
    person = {"id": 1, "name": "person", "keypoints": ["k"] * 17, "skeleton": []}
    image = {"id": 1, "height": 50, "width": 50, "file_name": "a.jpg"}
    points = [10.0, 10.0, 2] * 17
    truth = {
        "images": [image],
        "categories": [person],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 2000.0}
            | {"iscrowd": 0, "keypoints": points, "num_keypoints": 17}
        ],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    found = [{"image_id": 1, "category_id": 1, "score": 0.9, "keypoints": points}]
    block = protocol.of(score.score(path, found, iou_type="keypoints"))
    assert block["max_detections"] == [20]
    # COCO's constants for nose, eyes, ears, shoulders, …, ankles (keypoints-eval page).
    assert block["oks_sigmas"][:5] == [0.026, 0.025, 0.025, 0.035, 0.035]
    assert list(block["area_ranges_px2"]) == ["all", "medium", "large"]


def _leaves(value, path=()):
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, (*path, name))
    else:
        yield path


def test_a_change_of_anything_changes_the_hash(result):
    block = protocol.of(result, MADE)
    paths = [path for path in _leaves(block) if path != ("sha256",)]
    assert len(paths) > 20
    for path in paths:
        changed = copy.deepcopy(block)
        where = changed
        for name in path[:-1]:
            where = where[name]
        where[path[-1]] = "another"
        assert protocol.sealed(changed)["sha256"] != block["sha256"], path
        assert protocol.differences(block, changed) == [".".join(path)]


def test_what_runs_otherwise_has_another_hash(result, shared):
    """Each by doing it, not by writing it into the block."""
    folder = shared / "coco" / "fakebbox100"
    truth = folder / "instances_val2014_100.json"
    detections = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_bytes())
    base = protocol.of(result, MADE)
    cut = [each | {"score": round(max(each["score"], 0.3), 3)} for each in detections]
    others = {
        "evaluators": protocol.of(score.score(truth, detections, evaluator="hotcoco"), MADE),
        "images": protocol.of(score.score(truth, detections, num_images=50), MADE),
        "decoder": protocol.of(result, MADE | {"decoder": "pillow"}),
        "suppression": protocol.of(result, MADE | {"suppression": "api"}),
        "made": protocol.of(result),
        "cut": protocol.of(score.score(truth, [e for e in cut if e["score"] > 0.3]), MADE),
    }
    hashes = [base["sha256"], *(each["sha256"] for each in others.values())]
    assert len(set(hashes)) == len(hashes), others
    assert "evaluators.pycocotools" in protocol.differences(base, others["evaluators"])
    assert "images.image_ids_sha256" in protocol.differences(base, others["images"])
    assert protocol.differences(base, others["decoder"]) == ["inference.decoder"]


def test_other_thresholds_are_an_extension_by_hotcocos_word(shared):
    folder = shared / "coco" / "fakebbox100"
    result = score.score(
        folder / "instances_val2014_100.json",
        folder / "instances_val2014_fakebbox100_results.json",
        evaluator="hotcoco",
    )
    before = protocol.of(result)
    result.evaluations["hotcoco"].handle.params.iouThrs = [0.5]
    after = protocol.of(result)
    assert before["provenance"] == "parity_verified" and after["provenance"] == "extension"
    assert after["iou_thresholds"] == [0.5] and after["sha256"] != before["sha256"]


def test_speed_is_no_part_of_it(result):
    one, other = (protocol.of(result, MADE | {"batch_size": size}) for size in (1, 8))
    assert one == other


def test_it_stands_in_metrics_json(result):
    told = result.to_json(MADE)
    assert told["protocol"] == protocol.of(result, MADE) and told["inference"] == MADE
    alone = dataclasses.replace(result).to_json()
    assert alone["protocol"]["inference"] is None and "inference" not in alone
