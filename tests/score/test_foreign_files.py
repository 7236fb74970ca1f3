"""Detections as tools write them: scored, scored with a word, or refused with what to do."""

import json

import pytest

from replicate.errors import UserError
from replicate.score import score

SCORED = {  # file: what a note says, "" for none
    "base": "",
    "extra_keys": "",
    "more_than_100": "",
    "image_id_float": "",
    "score_int": "",
    "bbox_int": "",
    "bom": "",
    "empty": "",
    "zero_wh": "24 of 24 detections have a width or height of 0",
    "dup": "24 of 48 detections are there more than once",
    "score_neg": "24 of 24 detections have a score below 0",
}
REFUSED = {
    "cxcywh": "--fix=centre_boxes converts them",
    "xyxy": "--fix=corner_boxes converts them",
    "image_id_beyond": "--fix=unknown_images leaves them out",
    "cat0": "--fix=category_ids_plus_one renumbers them",
    "cat_str": "detection 0: 'category_id' is \"2\", expected a whole number",
    "image_id_str": "detection 0: 'image_id' is \"1\", expected a whole number",
    "score_str": "detection 0: 'score' is \"0.764\", expected a number",
    "score_bool": "detection 0: 'score' is true, expected a number",
    "nan": "position 0: image 1",
    "inf_box": "position 0: image 1",
    "score_null": "detection 0: 'score' is null",
    "score_missing": "detection 0 has no 'score'",
    "bbox_missing": "detection 0 has no 'bbox'",
    "bbox_five": "detection 0: 'bbox' is [53.4",
    "bbox_nested": "detection 0: 'bbox' is [[53.4",
    "seg_only": "--iou_type=segm scores what it has",
    "jsonl": "JSON Lines (an object a line)",
    "pyrepr": "what Python prints of a list",
    "dict_full": "a whole annotation file",
    "dict_annotations": "jq .annotations",
    "one_image_dict": "a single detection",
    "image_id_filename": "'image_id' is \"0001\"",
}


@pytest.fixture
def cases(shared):
    return shared / "cases" / "06-detections"


def test_every_case_has_its_answer(cases):
    assert {path.name.partition(".")[0] for path in cases.glob("*.det.json")} == set(
        SCORED | REFUSED
    )


@pytest.mark.parametrize("case", SCORED)
def test_scored(cases, case):
    result = score(cases / "gt.json", cases / f"{case}.det.json")
    assert result.agree
    if SCORED[case]:
        (note,) = result.notes
        assert note.startswith(SCORED[case])
    else:
        assert result.notes == []
    if case in ("extra_keys", "image_id_float", "bom", "score_neg"):
        same = score(cases / "gt.json", cases / "base.det.json")
        assert result.metrics == same.metrics and result.metrics["AP"] > 0.7


@pytest.mark.parametrize("case", REFUSED)
def test_refused(cases, case):
    with pytest.raises(UserError) as caught:
        score(cases / "gt.json", cases / f"{case}.det.json")
    assert REFUSED[case] in str(caught.value) and f"{case}.det.json" in str(caught.value)


@pytest.mark.parametrize(
    "case, fix",
    [("cxcywh", "centre_boxes"), ("xyxy", "corner_boxes"), ("cat0", "category_ids_plus_one")],
)
def test_the_offer_mends_it(cases, case, fix):
    mended = score(cases / "gt.json", cases / f"{case}.det.json", fix=[fix])
    whole = score(cases / "gt.json", cases / "base.det.json")
    assert mended.metrics["AP"] == pytest.approx(whole.metrics["AP"], abs=1e-9)


def whole(cases):
    return json.loads((cases / "base.det.json").read_text())


SIBLINGS = {  # what becomes of the good detections, and what is said of it
    "centres as fractions": (
        lambda d: [
            e | {"bbox": [(x + w / 2) / 160, (y + h / 2) / 120, w / 160, h / 120]}
            for e in d
            for x, y, w, h in [e["bbox"]]
        ],
        "--fix=normalized_centre_boxes converts them",
    ),
    "a box of strings": (
        lambda d: [e | {"bbox": [str(v) for v in e["bbox"]]} for e in d],
        "'bbox' is [\"53.40",
    ),
    "a category that is true": (
        lambda d: [e | {"category_id": True} for e in d],
        "'category_id' is true",
    ),
    "an id with a fraction": (lambda d: [e | {"image_id": 1.5} for e in d], "'image_id' is 1.5"),
    "under another key": (lambda d: {"results": d}, "holds one under 'results'"),
    "by image": (lambda d: {"1": [], "2": []}, 'an object of "1", "2"'),
    "a number": (lambda d: 7, "this is 7"),
    "a groundtruth": (
        lambda d: {"images": [], "annotations": [{"id": 1}], "categories": []},
        "give what the detector found",
    ),
}


@pytest.mark.parametrize("case", SIBLINGS)
def test_siblings(cases, tmp_path, case):
    change, message = SIBLINGS[case]
    path = tmp_path / "d.json"
    path.write_text(json.dumps(change(whole(cases))))
    with pytest.raises(UserError) as caught:
        score(cases / "gt.json", path)
    assert message in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_other_encodings_are_read(cases, tmp_path, encoding):
    path = tmp_path / "d.json"
    path.write_text(json.dumps(whole(cases)), encoding=encoding)
    expected = score(cases / "gt.json", cases / "base.det.json")
    assert score(cases / "gt.json", path).metrics == expected.metrics
