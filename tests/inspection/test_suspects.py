"""Annotations that detections contradict: planted errors are the candidates, and no others."""

from replicate.inspection import suspects
from replicate.run import read_json, write_json
from tests.report import making


def test_planted_errors_are_found(tmp_path):
    truth, image_dir = making.groundtruth(tmp_path / "data", images=12)
    content = read_json(truth)
    plain = [each for each in content["annotations"] if not each["iscrowd"]]
    found = [
        {"image_id": each["image_id"], "category_id": each["category_id"], "bbox": each["bbox"],
         "score": 0.95 - 0.001 * number}
        for number, each in enumerate(plain)
    ]  # fmt: skip
    missing, renamed = plain[0], plain[1]
    content["annotations"] = [each for each in content["annotations"] if each != missing]
    renamed["category_id"] = renamed["category_id"] % 3 + 1
    write_json(tmp_path / "truth.json", content)
    write_json(tmp_path / "found.json", found)
    told, pictures = suspects.of(tmp_path / "truth.json", tmp_path / "found.json", image_dir)
    assert {each["type"] for each in told["candidates"]} == set(suspects.TYPES)
    first, second = told["candidates"]
    assert first["box_xywh_px"] == [round(value, 1) for value in missing["bbox"]]
    assert first["annotated"] is None and first["score"] == 0.95
    assert second["annotated_box_xywh_px"] == [round(value, 1) for value in renamed["bbox"]]
    assert second["annotated"] != second["detected"]
    assert set(pictures) == {str(each["image_id"]) for each in told["candidates"]}
    assert told["health"]["errors"] == []
    (few,) = told["health"]["warnings"]
    assert "fewer than 10" in few and "{" not in few


def test_findings_of_the_health_check_are_sentences():
    """As hotcoco 1.3.0 gives them."""
    few = {"code": "low_instance_category", "message": "2 categories are rare.",
           "affected_ids": [2, 1], "layer": "Distribution"}  # fmt: skip
    assert suspects.sentence_of(few, {1: "disc"}) == "2 categories are rare: disc, 2"
    orphans = {"code": "orphan_image_id", "message": "No such image.",
               "affected_ids": list(range(1014, 0, -1))}  # fmt: skip
    first = ", ".join(map(str, range(1, 13)))
    assert suspects.sentence_of(orphans, {}) == f"No such image: ids {first} and 1,002 more"
    assert suspects.sentence_of({"code": "empty", "message": "Empty."}, {}) == "Empty"
