"""Annotation files as tools write them: taken and told, mended on request, or refused by name."""

import csv
import json
import pathlib

import numpy as np
import pytest

import tfrecords
from tests.tfrecords.foreign import convert
from tests.tfrecords.test_bad_input import ledger, records
from tfrecords import coco, mending
from tfrecords.errors import InputError

TAKEN = {  # file: what the ledger says of how it was read, "" for nothing
    **dict.fromkeys(
        [
            *("base", "ann0", "crlf", "empty_seg", "no_seg", "no_info_licenses_supercat"),
            *("unicode_names", "cat_noncontig", "one_px", "img0", "bom"),
        ],
        "",
    ),
    "roboflow_cat0_unused": "category 0 (",
    "dup_file_names": 'images 1, 2 have the same file_name "0001.jpg"',
    "no_iscrowd": "12 annotations have no iscrowd: taken as 0",
}
DROPPED = {
    "bbox_nan": "box_not_finite",
    "neg_subpixel": "box_negative_by_less_than_a_pixel",
    "beyond_subpixel": "box_outside_image_by_less_than_a_pixel",
}
REFUSED = {  # file: (what the message says, the fixes that make it whole)
    "area_null": ("12 of 12 annotations have no area", ["areas"]),
    "no_area": ("annotations[0], id 1", ["areas"]),
    "area_list": ("'area' is [2695]", ["numbers"]),
    "area_str": ("'area' is \"2695\"", ["numbers"]),
    "norm_bbox": ("as fractions", ["normalized_boxes"]),
    "xyxy_bbox": (
        "read so, no more than 33% lie inside their image (annotation 1 has [53.0, 18.0, 108.0, "
        "67.0]). All of them could be corners [x1, y1, x2, y2] in pixels",
        ["corner_boxes"],
    ),
    "str_bbox": ('\'bbox\' is ["53", "18", "55", "49"]', ["numbers"]),
    "str_joined_bbox": ("'bbox' is \"[53, 18, 55, 49]\"", ["numbers"]),
    "bbox_null": ("'bbox' is null", []),
    "bbox_empty": ("'bbox' is []", []),
    "bbox_five": ("'bbox' is [53, 18, 55, 49, 30.0]", []),
    "bbox_missing": ("annotations[0], id 1: Object missing required field `bbox`", []),
    "utf16": ("encoded in UTF-16", []),
    "cat0": ('category 0 ("red") is used', ["category_ids_plus_one"]),
    "cat_name_empty": ('category 1 has an empty name ("")', []),
    "cat_name_space": ('category 1 is named " red "', ["names"]),
    "dup_cat_names": ('categories 1, 2 are all named "red"', ["same_names"]),
    "cat_name_int": ("categories[0], id 1", ["names"]),
    "cat_name_missing": ("categories[0], id 1", []),
    "dup_ann_ids": ("occur more than once: 1", ["ids"]),
    "no_ann_id": ("annotations[0]: Object missing required field `id`", ["ids"]),
    "float_ids": ("'id' is 1.0", ["numbers"]),
    "wh_float": ("'width' is 160.0", ["numbers"]),
    "iscrowd_bool": ("'iscrowd' is false", ["numbers"]),
    "numeric_str_image_ids": ("'id' is \"1\"", ["numbers"]),
    "str_image_ids": ("'id' is \"img_1\"", ["ids"]),
    "str_category_ids": ("'category_id' is \"2\"", ["numbers"]),
    "iscrowd_str": ("'iscrowd' is \"0\"", ["numbers"]),
    "wh_minus1": ("image 2 (0002.jpg) is -1x-1 pixels", ["sizes"]),
    "wh_missing": ("images[0], id 1", ["sizes"]),
    "wh_swapped": ("160x120 pixels, annotated as 120x160", ["sizes"]),
    "via_native": ("VGG Image Annotator", []),
    "list_toplevel": ("jq '.[0]'", []),
    "images_dict": ("jq '.images |= [.[]]'", []),
    "no_annotations_key": ("it has no 'annotations'", []),
    "no_categories": ("it has no 'categories', the list of {id, name}", []),
    "trailing_comma": ("line 349, column 2", []),
    "abs_path": ("which leaves the image folder", ["file_names"]),
    "url_name": ("0001.jpg itself is there", ["file_names"]),
    "win_path": ("0001.jpg itself is there", ["file_names"]),
    "subdir_prefix": ("0001.jpg itself is there", ["file_names"]),
}


def test_every_case_has_its_answer(cases):
    with open(cases.parent / "expected.csv", encoding="utf-8") as file:
        told = {row["file"] for row in csv.DictReader(file) if row["folder"] == cases.name}
    assert {name.removesuffix(".json") for name in told} == set(TAKEN | DROPPED | REFUSED)


@pytest.mark.parametrize("case", TAKEN)
def test_taken(cases, tmp_path, case):
    summary = convert(cases / f"{case}.json", cases / "images", tmp_path)
    counts = summary.manifest["counts"]
    assert (counts["images"], counts["annotations_written"]) == (4, 12)
    told = [entry for entry in ledger(summary) if entry["reason"] == "read_as"]
    assert [entry["detail"].startswith(TAKEN[case]) for entry in told] == [True] * bool(TAKEN[case])
    for entry in told:
        assert f"read         {entry['detail']}" in str(summary)
    if "cat0" in case:
        tfrecords.write_label_map(cases / f"{case}.json", tmp_path / "map.pbtxt")
        assert sorted(tfrecords.label_map.read(tmp_path / "map.pbtxt")) == [1, 2, 3]


@pytest.mark.parametrize("case", DROPPED)
def test_dropped(cases, tmp_path, case):
    summary = convert(cases / f"{case}.json", cases / "images", tmp_path)
    assert summary.manifest["counts"]["dropped"] == {DROPPED[case]: 1}
    assert [entry["reason"] for entry in ledger(summary)] == [DROPPED[case]]


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_mended_as_offered(cases, tmp_path, case):
    message, fixes = REFUSED[case]
    path = cases / f"{case}.json"
    with pytest.raises(InputError) as caught:
        convert(path, cases / "images", tmp_path)
    assert message in str(caught.value)
    assert path.name in str(caught.value) or "0001.jpg" in str(caught.value)
    assert not list(tmp_path.glob("*.tfrecord")) + list(tmp_path.glob("*manifest*"))
    for fix in fixes:
        assert f"--fix={fix}" in str(caught.value)
    if not fixes:
        return
    summary = convert(path, cases / "images", tmp_path, fix=fixes)
    assert summary.manifest["counts"]["annotations_written"] == 12
    told = [entry["detail"] for entry in ledger(summary) if entry["reason"] == "read_as"]
    assert told[0].startswith(f"--fix={fixes[0]}: ") and "became" in told[0]
    base = convert(cases / "base.json", cases / "images", tmp_path / "base")
    for got, want in zip(records(summary), records(base), strict=True):
        for key in ("bbox/xmin", "bbox/ymax", "bbox/xmax", "area", "is_crowd"):
            name = f"image/object/{key}"
            np.testing.assert_allclose(got[name][1], want[name][1], rtol=1e-6)
        assert got["image/filename"] == want["image/filename"]
    # the mended file is one that everybody reads
    mended = summary.manifest["source"]["annotations_file"]
    assert mended.endswith("annotations-set.json")
    assert coco.load(mended).num_annotations == 12
    again = convert(path, cases / "images", tmp_path, fix=fixes)
    assert again.reused


def test_sizes_that_cannot_be_taken_are_told(cases, tmp_path):
    """Boxes of an image of twice the size: the offer does not come back as the way on."""
    document = json.loads((cases / "base.json").read_text())
    document["images"][0].update(width=320, height=240)
    for annotation in document["annotations"]:
        if annotation["image_id"] == 1:
            annotation["bbox"] = [2 * value for value in annotation["bbox"]]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    _, account = mending.mended(path, ["sizes"], cases / "images")
    assert account == ["--fix=sizes: 0 changed (1 left, by boxes that do not fit)"]
    with pytest.raises(InputError, match="put that in its place, or scale the boxes") as caught:
        convert(path, cases / "images", tmp_path, fix=["sizes"])
    assert str(caught.value).count("--fix=sizes") == 1


def test_what_nothing_tells_is_not_guessed(cases, tmp_path):
    """Of corners as fractions that lie near the origin the geometry does not tell all apart."""
    document = json.loads((cases / "base.json").read_text())
    for annotation in document["annotations"]:
        annotation["bbox"] = [0.1, 0.1, 0.3, 0.3]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="Which of them it is, you have to say") as caught:
        convert(path, cases / "images", tmp_path)
    for code in ("normalized_boxes", "normalized_corner_boxes"):
        assert f"--fix={code}: " in str(caught.value)


def test_the_same_base_name_in_two_folders(cases, tmp_path):
    images = tmp_path / "images"
    for folder in ("a", "b"):
        (images / folder).mkdir(parents=True)
        for path in (cases / "images").iterdir():
            (images / folder / path.name).write_bytes(path.read_bytes())
    document = json.loads((cases / "base.json").read_text())
    for image in document["images"]:
        image["file_name"] = "/data/b/" + image["file_name"]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    fixed, _ = mending.mended(path, ["file_names"], images)
    assert [i["file_name"] for i in fixed["images"]] == [f"b/000{n}.jpg" for n in (1, 2, 3, 4)]
    for image in document["images"]:
        image["file_name"] = image["file_name"].replace("/b/", "/")
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"several 0001\.jpg in .*: a/0001\.jpg, b/0001\.jpg"):
        mending.mended(path, ["file_names"], images)


def test_two_names_of_one_base_name_are_two_images(cases, tmp_path):
    images = tmp_path / "images"
    document = json.loads((cases / "base.json").read_text())
    for index, image in enumerate(document["images"]):
        folder = images / f"camera{index}"
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes((cases / "images" / image["file_name"]).read_bytes())
        image["file_name"] = f"camera{index}/1.jpg"
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    summary = convert(path, images, tmp_path)
    names = [features["image/filename"][1][0].decode() for features in records(summary)]
    assert names == [f"camera{n}/1.jpg" for n in range(4)] and not ledger(summary)


@pytest.mark.parametrize(
    "document, message",
    [
        ([{"id": 1, "annotations": [], "data": {"image": "a"}}], "Label Studio"),
        ({"shapes": [], "imagePath": "a.jpg", "version": "5"}, "labelme's file of one image"),
        ({"size": {}, "objects": [], "tags": []}, "Supervisely's file of one image"),
        ({"_via_img_metadata": {}, "_via_settings": {}}, "VGG Image Annotator"),
        ([{"image_id": 1, "score": 0.5}], "these are detections"),
    ],
)
def test_files_of_other_tools_are_named(tmp_path, document, message):
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        coco.load(path)
    assert message in str(caught.value)


def test_areas_are_coco_s(shared, tmp_path):
    """Computed from the polygons, they are the official ones."""
    official = json.loads(
        (shared / "coco/tiny/annotations/instances_val2017.json").read_text(encoding="utf-8")
    )
    expected = {a["id"]: a["area"] for a in official["annotations"] if not a["iscrowd"]}
    for annotation in official["annotations"]:
        del annotation["area"]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(official))
    fixed, _ = mending.mended(path, ["areas"])
    got = {a["id"]: a["area"] for a in fixed["annotations"]}
    for id_, area in expected.items():
        assert got[id_] == pytest.approx(area, rel=1e-3)


WAYS_ON = {  # what an entry has: (list, field, value, the way on)
    "a number as a name": ("categories", "name", 7, "--fix=names"),
    "half an id": ("annotations", "id", 1.5, "--fix=ids"),
    "a box by names": (
        "annotations",
        "bbox",
        {"x": 1, "y": 2, "width": 3, "height": 4},
        "jq '.annotations[].bbox |= [.x, .y, .width, .height]'",
    ),
    "a category's name": ("annotations", "category_id", "red", ".annotations[].category_id |= $"),
    "no category": ("annotations", "category_id", None, "select(.category_id == null)"),
}


@pytest.mark.parametrize("case", WAYS_ON)
def test_the_way_on_is_said(cases, tmp_path, case):
    entries, field, value, way_on = WAYS_ON[case]
    document = json.loads((cases / "base.json").read_text())
    document[entries][0][field] = value
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        convert(path, cases / "images", tmp_path)
    assert f"{entries}[0]" in str(caught.value) and way_on in str(caught.value)
    if "--fix=" in way_on:
        summary = convert(path, cases / "images", tmp_path, fix=[way_on.removeprefix("--fix=")])
        assert summary.manifest["counts"]["annotations_written"] == 12


def test_an_unknown_fix_is_refused(cases, tmp_path):
    with pytest.raises(InputError, match="--fix: no 'boxes'; there are: numbers, ids"):
        mending.write(cases / "base.json", tmp_path / "out.json", ["boxes"])


def test_mending_changes_nothing_that_is_right(cases, tmp_path):
    keep = [code for code in mending.FIXES if "boxes" not in code and "plus" not in code]
    fixed, account = mending.mended(cases / "base.json", keep, cases / "images")
    assert fixed == json.loads((cases / "base.json").read_text())
    assert all(": 0 changed" in sentence for sentence in account) and len(account) == len(keep)


def test_no_file_outside_the_folder(cases, tmp_path):
    (tmp_path / "secret.jpg").write_bytes((cases / "images" / "0001.jpg").read_bytes())
    document = json.loads((cases / "base.json").read_text())
    document["images"][0]["file_name"] = "../secret.jpg"
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    images = pathlib.Path(cases / "images")
    with pytest.raises(InputError, match="leaves the image folder"):
        convert(path, images, tmp_path, fix=["file_names"])


def test_names_in_other_letters_are_found(drawn_names, tmp_path):
    """A camera's a.JPG for a.jpg: offered, and mended by what is offered."""
    annotations, images = drawn_names
    with pytest.raises(InputError, match=r"A1\.JPG is there: --fix=file_names"):
        tfrecords.convert(annotations, images, tmp_path / "a", 1, progress=False)
    document, said = mending.mended(annotations, ["file_names"], images)
    assert document["images"][0]["file_name"] == "A1.JPG" and len(said) == 1


@pytest.fixture
def drawn_names(tmp_path):
    """(annotation file, folder) of an image whose name is in other letters there."""
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (320, 240)).save(tmp_path / "images" / "A1.JPG")
    file = tmp_path / "a.json"
    file.write_text(json.dumps(_of_boxes([[10, 20, 30, 40]])))
    return file, tmp_path / "images"


def _of_boxes(boxes, **more):
    """A document of one image of 320 x 240."""
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 9.0, "bbox": box} | more
        for n, box in enumerate(boxes, 1)
    ]
    image = {"id": 1, "file_name": "a1.jpg", "width": 320, "height": 240}
    categories = [{"id": 1, "name": "cat"}]
    return {"images": [image], "categories": categories, "annotations": annotations}


@pytest.mark.parametrize(
    ("boxes", "told"),
    [
        ([[4 * n, 3 * n, 18, 22] for n in range(20)], True),
        ([[4 * n, 3 * n, 18, 22] for n in range(19)], False),  # too few to tell
        ([[4 * n, 3 * n, 18, 62] for n in range(20)], False),  # beyond 100
        ([[n, n, 10, 10] for n in range(20)], False),  # small objects in a corner
    ],
)
def test_boxes_that_could_be_percents_are_told(tmp_path, boxes, told):
    """They are read as pixels: geometry alone does not tell."""
    (tmp_path / "a.json").write_text(json.dumps(_of_boxes(boxes)))
    said = coco.load(tmp_path / "a.json").readings
    assert any("--fix=percent_boxes" in each for each in said) == told


@pytest.mark.parametrize(
    ("segmentation", "told"),
    [("[[1, 2, 9, 2, 9, 9]]", "it is a text"), ([1, 2, 9, 2, 9, 9], "one flat list of numbers")],
)
def test_a_segmentation_that_is_none_names_the_file(drawn_names, tmp_path, segmentation, told):
    annotations, images = drawn_names
    document = _of_boxes([[10, 20, 30, 40]], segmentation=segmentation)
    document["images"][0]["file_name"] = "A1.JPG"
    annotations.write_text(json.dumps(document))
    with pytest.raises(InputError) as raised:
        tfrecords.convert(
            annotations, images, tmp_path / "a", 1, include_masks=True, progress=False
        )
    assert str(raised.value).startswith(f"{annotations}: annotation 1 of image 1: ")
    assert told in str(raised.value)
