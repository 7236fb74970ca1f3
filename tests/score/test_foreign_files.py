"""Detections as tools write them: scored, scored with a word, or refused with what to do."""

import gzip
import json

import pytest

from replicate.errors import UserError
from replicate.run import read_json, write_json
from replicate.score import score

SCORED = {  # file: what a note says, "" for none
    "base": "",
    "extra_keys": "",
    "more_than_100": "",
    "image_id_float": "",
    "score_int": "all 24 detections have the same score (1)",
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


def all_of(**changes):
    """Each detection with changes; a value that is a function is of the detection."""
    return lambda d: [
        e | {key: value(e) if callable(value) else value for key, value in changes.items()}
        for e in d
    ]


def first_of(**changes):
    return lambda d: [d[0] | changes, *d[1:]]


def called(old, new):
    return lambda d: [{(new if key == old else key): v for key, v in e.items()} for e in d]


def corners(e):
    x, y, width, height = e["bbox"]
    return [x, y, x + width, y + height]


MORE_SIBLINGS = {  # what becomes of the good detections: what is told, or the AP's difference
    "no image": (first_of(image_id=None), "'image_id' is null"),
    "an image in a list": (first_of(image_id=[1]), "'image_id' is [1]"),
    "an image that is true": (first_of(image_id=True), "'image_id' is true"),
    "an image beyond 64 bits": (first_of(image_id=2**70), f"'image_id' is {2**70}"),
    "an image below 0": (first_of(image_id=-1), "--fix=unknown_images leaves them out"),
    "images moved up": (all_of(image_id=lambda e: e["image_id"] + 1), "--fix=unknown_images"),
    "no category": (first_of(category_id=None), "'category_id' is null"),
    "half a category": (first_of(category_id=1.5), "'category_id' is 1.5"),
    "categories as floats": (all_of(category_id=lambda e: float(e["category_id"])), 0),
    "categories by name": (all_of(category_id="red"), "'category_id' is \"red\""),
    "an unknown category": (first_of(category_id=99), "--fix=unknown_categories leaves them out"),
    "categories moved up": (all_of(category_id=lambda e: e["category_id"] + 1), "does not have: 4"),
    "a score in a list": (first_of(score=[0.5]), "'score' is [0.5]"),
    "a score that is NaN": (first_of(score=float("nan")), "--fix=not_finite leaves them out"),
    "scores in percent": (all_of(score=lambda e: 100 * e["score"]), 0),
    "scores by another name": (called("score", "confidence"), "detection 0 has no 'score'"),
    "no box": (first_of(bbox=None), "'bbox' is null"),
    "an empty box": (first_of(bbox=[]), "'bbox' is []"),
    "a box by names": (first_of(bbox={"x": 1}), "'bbox' is {\"x\": 1}"),
    "a box with commas": (first_of(bbox="1,2,3,4"), "'bbox' is \"1,2,3,4\""),
    "a box with true": (first_of(bbox=[True, 1, 2, 3]), "'bbox' is [true, 1, 2, 3]"),
    "a box with a null": (first_of(bbox=[1, None, 2, 3]), "'bbox' is [1, null, 2, 3]"),
    "a box drawn backwards": (first_of(bbox=[50, 50, -9, -9]), "--fix=negative_boxes"),
    "boxes by another name": (called("bbox", "box"), "detection 0 has no 'bbox'"),
    "boxes as fractions": (
        all_of(bbox=lambda e: [v / (160, 120)[k % 2] for k, v in enumerate(e["bbox"])]),
        "--fix=normalized_boxes converts them",
    ),
    "corners as fractions": (
        all_of(bbox=lambda e: [v / (160, 120)[k % 2] for k, v in enumerate(corners(e))]),
        "--fix=normalized_corner_boxes converts them",
    ),
    "corners, y first": (
        all_of(bbox=lambda e: [corners(e)[k] for k in (1, 0, 3, 2)]),
        "--fix=yxyx_boxes converts them",
    ),
    "a null among them": (lambda d: [*d, None], "detection 24 is null, expected an object"),
    "a list among them": (lambda d: [*d, [1, 2]], "detection 24 is [1, 2], expected an object"),
    "a list in a list": (lambda d: [d], "expected an object of image_id"),
    "nothing": (lambda d: None, "this is null"),
    "text": (lambda d: "detections", 'this is "detections"'),
    "the other way round": (lambda d: d[::-1], 0),
}


@pytest.mark.parametrize("case", MORE_SIBLINGS)
def test_more_siblings(cases, tmp_path, case):
    change, told = MORE_SIBLINGS[case]
    path = tmp_path / "d.json"
    path.write_text(json.dumps(change(whole(cases))))
    if told == 0:
        expected = score(cases / "gt.json", cases / "base.det.json")
        assert score(cases / "gt.json", path).metrics["AP"] == expected.metrics["AP"]
        return
    with pytest.raises(UserError) as caught:
        score(cases / "gt.json", path)
    assert told in str(caught.value) and "d.json" in str(caught.value)


def test_there_are_as_many_siblings():
    assert len(SIBLINGS) + len(MORE_SIBLINGS) >= len(SCORED) + len(REFUSED)


@pytest.mark.parametrize("case", SIBLINGS)
def test_siblings(cases, tmp_path, case):
    change, message = SIBLINGS[case]
    path = tmp_path / "d.json"
    path.write_text(json.dumps(change(whole(cases))))
    with pytest.raises(UserError) as caught:
        score(cases / "gt.json", path)
    assert message in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("which", ["annotations", "detections", "metrics"])
def test_a_byte_order_mark_is_passed_over_and_utf_16_refused(cases, tmp_path, which, packed):
    """Whichever file it is: the same figures, or the encoding and how to convert it."""
    expected = score(cases / "gt.json", cases / "base.det.json")
    given = {"annotations": cases / "gt.json", "detections": cases / "base.det.json"}
    given["metrics"] = tmp_path / "metrics.json"
    write_json(given["metrics"], expected.to_json())
    text = given[which].read_text(encoding="utf-8")
    given[which] = tmp_path / ("metrics.json.gz" if packed else "other.json")

    def read():
        if which == "metrics":
            return read_json(given[which])["metrics"]
        return score(given["annotations"], given["detections"]).metrics

    for encoding, found in (
        ("utf-8-sig", None),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-32", "UTF-32"),
    ):
        content = text.encode(encoding)
        given[which].write_bytes(gzip.compress(content) if packed else content)
        if found is None:
            assert read() == expected.metrics
            continue
        with pytest.raises(UserError, match=rf"encoded in {found}.*iconv -f {found} -t UTF-8"):
            read()


def test_a_file_that_is_nested_too_deeply_is_named(cases, tmp_path):
    path = tmp_path / "d.json"
    path.write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(UserError, match=r"d\.json: nested too deeply"):
        score(cases / "gt.json", path)
