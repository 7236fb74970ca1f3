"""Detections in another convention, or refering to nothing: named, and mended by the offer."""

import json
import re

import pytest

from replicate.errors import UserError
from replicate.score import score

IDS = [1, 2, 4, 7, 11]


def of_box(convert):
    def change(detection):
        detection["bbox"] = convert(*detection["bbox"])

    return change


def of_category(convert):
    def change(detection):
        detection["category_id"] = convert(detection["category_id"])

    return change


WHOLE = {
    "corner_boxes": of_box(lambda x, y, w, h: [x, y, x + w, y + h]),
    "yxyx_boxes": of_box(lambda x, y, w, h: [y, x, y + h, x + w]),
    "normalized_boxes": of_box(lambda x, y, w, h: [x / 300, y / 200, w / 300, h / 200]),
    "normalized_corner_boxes": of_box(
        lambda x, y, w, h: [x / 300, y / 200, (x + w) / 300, (y + h) / 200]
    ),
    "normalized_yxyx_boxes": of_box(
        lambda x, y, w, h: [y / 200, x / 300, (y + h) / 200, (x + w) / 300]
    ),
    "yxhw_boxes": of_box(lambda x, y, w, h: [y, x, h, w]),
    "normalized_yxhw_boxes": of_box(lambda x, y, w, h: [y / 200, x / 300, h / 200, w / 300]),
    "multiplied_yxhw_boxes": of_box(
        lambda x, y, w, h: [y / 200 * 300, x / 300 * 200, h / 200 * 300, w / 300 * 200]
    ),
    "multiplied_boxes": of_box(lambda x, y, w, h: [x * 300, y * 200, w * 300, h * 200]),
    "sizes_as_corner_boxes": of_box(lambda x, y, w, h: [x, y, w - x, h - y]),
    "centre_as_corner_boxes": of_box(
        lambda x, y, w, h: [x + w / 2, y + h / 2, w - (x + w / 2), h - (y + h / 2)]
    ),
    "sizes_as_centre_boxes": of_box(lambda x, y, w, h: [x - w / 2, y - h / 2, w, h]),
    "corners_as_centre_boxes": of_box(
        lambda x, y, w, h: [x - (x + w) / 2, y - (y + h) / 2, x + w, y + h]
    ),
    "contiguous_category_ids": of_category(lambda id: IDS.index(id) + 1),
    "contiguous_category_ids_from_zero": of_category(IDS.index),
    "category_ids_plus_one": of_category(lambda id: id - 1),
    "category_ids_minus_one": of_category(lambda id: id + 1),
}


@pytest.mark.parametrize("code", WHOLE)
def test_another_convention_is_named_and_mended(annotations_file, detections, code):
    expected = score(annotations_file, detections, evaluator="hotcoco").metrics["AP"]
    for each in detections:
        WHOLE[code](each)
    with pytest.raises(UserError, match=f"--fix={code} ") as caught:
        score(annotations_file, detections)
    assert str(caught.value).count("--fix=") == 1
    result = score(annotations_file, detections, evaluator="hotcoco", fix=[code])
    assert result.metrics["AP"] == pytest.approx(expected, abs=1e-6)
    assert [each["problem"] for each in result.repairs] == [code]


def test_two_layouts_that_explain_the_boxes_as_well(annotations_file, groundtruth, detections):
    """Of square images y first is the same in both scales: nothing tells, the user says."""
    for image in groundtruth["images"]:
        image["height"] = 300
    annotations_file.write_text(json.dumps(groundtruth))
    expected = score(annotations_file, detections, evaluator="hotcoco").metrics["AP"]
    for each in detections:
        WHOLE["yxhw_boxes"](each)
    with pytest.raises(UserError, match="say which it is: ") as caught:
        score(annotations_file, detections)
    offered = re.findall(r"--fix=(\w+)", str(caught.value))
    assert offered == ["yxhw_boxes", "multiplied_yxhw_boxes"]
    for code in offered:
        result = score(annotations_file, detections, evaluator="hotcoco", fix=[code])
        assert result.metrics["AP"] == pytest.approx(expected, abs=1e-6)
        assert [each["problem"] for each in result.repairs] == [code]


def test_many_negative_sizes_are_another_layout(annotations_file, detections):
    """Sizes taken for corners, of a detector that finds nothing: leaving them out is no repair."""
    for each in detections:
        each["bbox"] = [250, 150, 5 - 250, 5 - 150]
    with pytest.raises(UserError, match="so many are another layout rather than a slip") as caught:
        score(annotations_file, detections)
    assert "--fix=sizes_as_corner_boxes: " in str(caught.value)
    result = score(annotations_file, detections, fix=["sizes_as_corner_boxes"])
    assert [each["problem"] for each in result.repairs] == ["sizes_as_corner_boxes"]
    detections[0]["bbox"] = [250, 150, 5, 5]
    one = [*detections[:1] * 19, detections[1]]
    with pytest.raises(UserError, match="1 of 20 detections have a negative width") as caught:
        score(annotations_file, one)
    assert "another layout" not in str(caught.value)


@pytest.mark.parametrize("code", ["contiguous_category_ids", "contiguous_category_ids_from_zero"])
def test_ids_alone_are_no_proof(annotations_file, detections, code):
    """A detector that finds nothing: some ids are impossible, which numbering is meant is not told.

    The one that would fit is named for who knows it to be so, and done by request alone.
    """
    for each in detections:
        each["bbox"] = [0, 0, 5, 5]
        WHOLE[code](each)
    with pytest.raises(UserError, match="have a category id that") as caught:
        score(annotations_file, detections)
    assert re.search(rf"if you know the ids to be .*: --fix={code} ", str(caught.value))
    result = score(annotations_file, detections, evaluator="hotcoco", fix=[code])
    assert {each["id"] for each in result.per_category if each["detections"]} == set(IDS)
    (repair,) = result.repairs
    assert "asked for; the boxes cannot tell" in repair["message"]
    renumbered = sum(IDS[IDS.index(id)] != IDS.index(id) for id in IDS)
    assert repair["changed"] >= renumbered and repair["of"] == len(detections)


def test_all_problems_in_one_message(annotations_file, detections):
    for each in detections:
        WHOLE["corner_boxes"](each)
        WHOLE["contiguous_category_ids"](each)
    detections.append(dict(detections[0], image_id=5))
    with pytest.raises(UserError) as caught:
        score(annotations_file, detections)
    offered = re.findall(r"--fix=(\w+)", str(caught.value))
    assert offered == ["unknown_images", "corner_boxes", "contiguous_category_ids"]
    assert score(annotations_file, detections, fix=offered).metrics["AP"] > 0.4


def nan_score(detection):
    detection["score"] = float("nan")


SINGLE = {
    "not_finite": (nan_score, "1 of 160 detections have a score or box that is no finite number"),
    "unknown_images": (
        lambda detection: detection.update(image_id=7),
        "image 7, category",
    ),
    "unknown_categories": (
        lambda detection: detection.update(category_id=3),
        "have a category id that .* does not have: 3",
    ),
    "negative_boxes": (
        lambda detection: detection.update(bbox=[50, 50, -5, 10]),
        "negative width",
    ),
}


@pytest.mark.parametrize("code", SINGLE)
@pytest.mark.parametrize("from_file", [False, True])
def test_one_wrong_detection(annotations_file, detections, tmp_path, code, from_file):
    change, message = SINGLE[code]
    rest = [dict(each) for each in detections if each is not detections[3]]
    change(detections[3])
    given = detections
    if from_file:
        given = tmp_path / "detections.json"
        given.write_text(json.dumps(detections))
    with pytest.raises(UserError, match=message) as caught:
        score(annotations_file, given)
    assert f"--fix={code} leaves them out" in str(caught.value)
    assert "position 3" in str(caught.value)
    mended = score(annotations_file, given, fix=[code])
    assert mended.metrics == score(annotations_file, rest).metrics


def test_masks_of_another_size(annotations_file):
    detection = {
        "image_id": 100,
        "category_id": 1,
        "segmentation": {"size": [300, 200], "counts": "PPYo1"},
        "score": 0.5,
    }
    with pytest.raises(UserError, match="detection 0 is 300×200 .* image 100 is 200×300"):
        score(annotations_file, [detection], iou_type="segm")


def to_contiguous(detection, ids):
    detection["category_id"] = ids.index(detection["category_id"]) + 1


def to_zero_based(detection, ids):
    detection["category_id"] -= 1


def to_corners(detection, ids):
    x, y, width, height = detection["bbox"]
    detection["bbox"] = [x, y, x + width, y + height]


def to_y_first(detection, ids):
    x, y, width, height = detection["bbox"]
    detection["bbox"] = [y, x, height, width]


@pytest.mark.parametrize(
    "change, code",
    [
        (to_contiguous, "contiguous_category_ids"),
        (to_zero_based, "category_ids_plus_one"),
        (to_corners, "corner_boxes"),
        (to_y_first, "yxhw_boxes"),
    ],
)
def test_cocos_own_categories_and_real_detections(shared, change, code):
    """80 contiguous ids against COCO's 90, and the others, on detections of a real model."""
    annotations = shared / "coco/val128/instances_val128.json"
    truth = json.loads(annotations.read_text())
    images = {each["id"] for each in truth["images"]}
    ids = sorted(each["id"] for each in truth["categories"])
    results = json.loads((shared / "coco/results/ssd_mobilenet_v2.json").read_text())
    results = [each for each in results if each["image_id"] in images]
    expected = score(annotations, results, evaluator="hotcoco").metrics["AP"]
    for each in results:
        change(each, ids)
    with pytest.raises(UserError, match=f"--fix={code} "):
        score(annotations, results)
    mended = score(annotations, results, evaluator="hotcoco", fix=[code])
    assert mended.metrics["AP"] == pytest.approx(expected, abs=1e-9)


def test_good_detections_are_not_accused(shared):
    """Real detections and an untrained detector's: no convention is read into them."""
    annotations = shared / "coco/val128/instances_val128.json"
    for model in ("ssd_mobilenet_v3_small", "ssd_mobilenet_v2", "ssd_mobilenet_v2_fpnlite_640x640"):
        results = json.loads((shared / f"coco/results/{model}.json").read_text())
        ids = {each["id"] for each in json.loads(annotations.read_text())["images"]}
        mine = [each for each in results if each["image_id"] in ids]
        assert score(annotations, mine, evaluator="hotcoco").repairs == []


def test_untrained_detector_is_not_accused(annotations_file, groundtruth):
    grid = [
        {"image_id": image["id"], "category_id": id, "bbox": box, "score": 0.01}
        for image in groundtruth["images"]
        for id in IDS
        for box in ([0, 0, 150, 100], [150, 0, 150, 100], [0, 100, 150, 100], [100, 50, 100, 100])
    ]
    assert score(annotations_file, grid, evaluator="hotcoco").repairs == []


@pytest.mark.parametrize(
    "content, message",
    [
        ("[{", "not JSON"),
        ('{"images": []}', "JSON list of detections, this is an object"),
        ('[{"category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "detection 0 has no 'image_id'"),
        ('[{"image_id": 100, "category_id": 1, "score": 1}]', "no 'bbox', which a score of bbox"),
        (
            '[{"image_id": 100, "category_id": 1, "bbox": [1, 2, 3], "score": 1}]',
            "'bbox' is .1, 2, 3., expected four numbers",
        ),
        (
            '[{"image_id": "a.jpg", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]',
            "'image_id' is \"a.jpg\", expected a whole number",
        ),
        (
            '[{"image_id": 100, "category_id": 1, "bbox": [1, 2, 3, 4], "score": null}]',
            "'score' is null, expected a number; every detection needs",
        ),
        (
            '[{"image_id": "100", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]',
            r"'image_id' is \"100\", .*; jq 'map\(.image_id \|= tonumber\)'",
        ),
        (
            '[{"image_id": 100, "category_id": "dog", "bbox": [1, 2, 3, 4], "score": 1}]',
            r"'category_id' is \"dog\", .*of\[0\].categories \| map\({key: .name, value: .id}\)",
        ),
        (
            '[{"image_id": 100, "category_id": 1, "bbox": [1, 2, 3, 4], "score": "0.5"}]',
            r"'score' is \"0.5\", expected a number; jq 'map\(.score \|= tonumber\)'",
        ),
        (
            '[{"image_id": 1, "category_id": 1, "bbox": {"x": 1, "y": 2, "w": 3, "h": 4}, '
            '"score": 1}]',
            r"jq 'map\(.bbox \|= \[.x, .y, .w, .h\]\)'",
        ),
    ],
)
def test_files_that_are_no_results(annotations_file, tmp_path, content, message):
    path = tmp_path / "detections.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        score(annotations_file, path)
    assert str(caught.value).startswith(str(path))


def without(key):
    return lambda data: data.pop(key)


@pytest.mark.parametrize(
    "damage, message",
    [
        (without("annotations"), "it has no 'annotations' .*image_info"),
        (without("categories"), "it has no 'categories'"),
        (
            lambda data: data["annotations"][2].pop("area"),
            r"annotations\[2\], id 3: Object missing required field `area`",
        ),
        (
            lambda data: data["annotations"][2].update(id=1),
            r"1 annotation id\(s\) occur more than once: 1\. ",
        ),
        (lambda data: data["annotations"][2].update(image_id=1), "annotation 3 has image 1, which"),
        (lambda data: data["annotations"][2].update(category_id=3), "annotation 3 has category 3"),
        (lambda data: data["annotations"][2].update(id=0), "annotation 0 has no id.*--fix=ids"),
        (lambda data: data["images"].clear(), "'images' is empty"),
        (lambda data: data["annotations"][2].pop("iscrowd"), r"\[2\], id 3: .* field `iscrowd`"),
        (lambda data: data["annotations"][2].update(area=None), "annotation 3 has a box or area"),
        (
            lambda data: data["annotations"][2]["bbox"].__setitem__(0, None),
            "annotation 3 has a box",
        ),
        (lambda data: data.update(info=float("nan")), "has NaN or Infinity"),
    ],
)
def test_files_that_are_no_groundtruth(annotations_file, groundtruth, detections, damage, message):
    damage(groundtruth)
    annotations_file.write_text(json.dumps(groundtruth))
    with pytest.raises(UserError, match=message):
        score(annotations_file, detections)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"iou_type": "box"}, "iou_type 'box'; there are: bbox, segm, keypoints"),
        ({"evaluator": "coco"}, "evaluator 'coco'; there are: hotcoco, pycocotools, both"),
        ({"fix": ["boxes"]}, "no 'boxes'; there are: not_finite"),
        ({"image_ids": [1]}, "no image 1 to score"),
    ],
)
def test_wrong_arguments(annotations_file, detections, arguments, message):
    with pytest.raises(UserError, match=message):
        score(annotations_file, detections, **arguments)
