"""Annotation files as tools write them: taken and told, mended on request, or refused by name."""

import csv
import json
import pathlib

import numpy as np
import pytest

import tfrecords
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


@pytest.fixture
def cases(shared):
    return shared / "cases" / "01-json-dirt"


def convert(path, images, tmp_path, **options):
    return tfrecords.convert(path, images, tmp_path / "set", 1, progress=False, **options)


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


MASKS_TAKEN = ["rle_compressed_str", "rle_in_list", "rle_uncompressed_noncrowd", "rle_counts_float"]
MASKS_REFUSED = {
    "poly_nan": "no number",
    "rle_empty_counts": "add up to 0 pixels, 120 x 160 are 19200",
    "poly_odd": "no three corners",
    "poly_norm": "fractions of the image",
    "poly_4num": "no three corners",
    "poly_flat": "no three corners",
    "poly_null": "neither polygons nor RLE",
    "poly_empty_inner": "no three corners",
    "rle_pyrepr": "neither polygons nor RLE",
    "rle_b_prefix": "no compressed RLE",
    "rle_size_swapped": "covers [160, 120], the image is [120, 160]",
}


@pytest.fixture
def mask_cases(shared):
    return shared / "cases" / "09-masks"


def test_every_mask_case_has_its_answer(mask_cases):
    assert {path.stem for path in mask_cases.glob("*.json")} == {
        *(*MASKS_TAKEN, *MASKS_REFUSED, "crowd_poly", "poly_degenerate"),
        *("KP_three", "KP_seventeen_of_three"),
    }


@pytest.mark.parametrize("case", [*MASKS_TAKEN, "crowd_poly"])
def test_masks_taken(mask_cases, tmp_path, case):
    path = mask_cases / f"{case}.json"
    summary = convert(path, mask_cases / "images", tmp_path, include_masks=True)
    (features,) = records(summary)
    png = features["image/object/mask"][1][0]
    rle = tfrecords.masks.rle_of_png(png)
    pixels = int(tfrecords.masks.coco_mask.area(rle))
    assert pixels == (2695 if case != "crowd_poly" else pytest.approx(2695 / 2, rel=0.05))


@pytest.mark.parametrize("case", MASKS_REFUSED)
def test_masks_refused(mask_cases, tmp_path, case):
    path = mask_cases / f"{case}.json"
    with pytest.raises(InputError) as caught:
        convert(path, mask_cases / "images", tmp_path, include_masks=True)
    assert "annotation 1 of image 1" in str(caught.value)
    assert MASKS_REFUSED[case] in str(caught.value)


SQUARE = [53, 18, 108, 18, 108, 67, 53, 67]
RUNS = [53 * 120 + 18, *[49, 71] * 54, 49, 120 - 67 + 52 * 120]  # of the same, column by column
MASK_SIBLINGS = {  # segmentation: pixels of the mask (0: none, in the ledger), or what is told
    "two halves": (
        [[53, 18, 80, 18, 80, 67, 53, 67], [80, 18, 108, 18, 108, 67, 80, 67]],
        2695,
    ),
    "closed": ([[*SQUARE, 53, 18]], 2695),
    "floats": ([[float(value) for value in SQUARE]], 2695),
    "beyond the edge": ([[53, 18, 300, 18, 300, 67, 53, 67]], (160 - 53) * 49),
    "outside": ([[-500, -500, -400, -500, -400, -400]], 0),
    "a line": ([[10, 10, 50, 10, 90, 10]], 0),
    "a point": ([[5, 5, 5, 5, 5, 5]], 0),
    "text in it": ([[str(value) for value in SQUARE]], "no number"),
    "infinite": ([[53, 18, float("inf"), 18, 108, 67]], "no number"),
    "a null in it": ([[53, 18, None, 18, 108, 67]], "no number"),
    "points": ([[[53, 18], [108, 18], [108, 67]]], "no three corners"),
    "points by name": ([[{"x": 53, "y": 18}]], "no three corners"),
    "one of them empty": ([SQUARE, []], "no three corners"),
    "far away": ([[0, 0, 1e12, 0, 1e12, 1e12]], "no pixel of any image"),
    "no polygon": ([], "has no polygon"),
    "text": ("53,18,108,18,108,67", "neither polygons nor RLE"),
    "true": (True, "neither polygons nor RLE"),
    "runs": ({"size": [120, 160], "counts": RUNS}, 2695),
    "runs as text": ({"size": [120, 160], "counts": list(map(str, RUNS))}, "are not whole numbers"),
    "a run below 0": ({"size": [120, 160], "counts": [19300, -100]}, "a negative count"),
    "runs too long": ({"size": [120, 160], "counts": [30000]}, "add up to 30000 pixels"),
    "of another size": ({"size": [60, 80], "counts": [4800]}, "covers [60, 80]"),
    "of three sizes": ({"size": [120, 160, 1], "counts": RUNS}, "size is not [height, width]"),
    "without a size": ({"counts": RUNS}, "size is not [height, width]"),
    "without runs": ({"size": [120, 160]}, "has no counts"),
    "background alone": ({"size": [120, 160], "counts": [19200]}, 0),
}


@pytest.mark.parametrize("case", MASK_SIBLINGS)
def test_mask_siblings(mask_cases, tmp_path, case):
    segmentation, told = MASK_SIBLINGS[case]
    document = json.loads((mask_cases / "rle_in_list.json").read_text())
    document["annotations"][0]["segmentation"] = segmentation
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    if isinstance(told, str):
        with pytest.raises(InputError, match="annotation 1 of image 1") as caught:
            convert(path, mask_cases / "images", tmp_path, include_masks=True)
        assert told in str(caught.value)
        return
    summary = convert(path, mask_cases / "images", tmp_path, include_masks=True)
    masks = records(summary)[0]["image/object/mask"][1]
    dropped = [(entry["annotation_id"], entry["reason"]) for entry in ledger(summary)]
    assert dropped == ([] if told else [(1, "mask_empty")])
    if told:
        rle = tfrecords.masks.rle_of_png(masks[0])
        assert int(tfrecords.masks.coco_mask.area(rle)) == told


def test_there_are_as_many_mask_siblings(mask_cases):
    assert len(MASK_SIBLINGS) >= len(list(mask_cases.glob("*.json")))


def test_a_mask_without_pixels_is_in_the_ledger(mask_cases, tmp_path):
    path = mask_cases / "poly_degenerate.json"
    summary = convert(path, mask_cases / "images", tmp_path, include_masks=True)
    assert [(e["annotation_id"], e["reason"]) for e in ledger(summary)] == [(1, "mask_empty")]


@pytest.mark.parametrize("case", ["KP_three", "KP_seventeen_of_three"])
def test_another_skeleton_is_refused(mask_cases, tmp_path, case):
    path = mask_cases / f"{case}.json"
    with pytest.raises(InputError, match=r'category "red" has a skeleton .* 3 keypoints \(a, b, c'):
        convert(path, mask_cases / "images", tmp_path, keypoints_file=path)


def centres(box):
    x, y, width, height = box
    return [x + width / 2, y + height / 2, width, height]


def edit_boxes(change):
    def edit(document):
        for annotation in document["annotations"]:
            annotation["bbox"] = change(annotation["bbox"])

    return edit


def to_ids(name):
    return lambda document: [
        entry.update({field: name(entry[field])})
        for key, fields in (("images", ["id"]), ("annotations", ["id", "image_id"]))
        for entry in document[key]
        for field in fields
    ]


SIBLINGS = {  # change: (what the message says, the fixes that mend it)
    "centres": (edit_boxes(centres), "centres [x, y, width, height] in pixels", "centre_boxes"),
    "centres as fractions": (
        edit_boxes(lambda box: (np.array(centres(box)) / [160, 120, 160, 120]).tolist()),
        "centres [x, y, width, height] as fractions",
        "normalized_centre_boxes",
    ),
    "corners as fractions": (
        edit_boxes(lambda b: [b[0] / 160, b[1] / 120, (b[0] + b[2]) / 160, (b[1] + b[3]) / 120]),
        "corners [x1, y1, x2, y2] as fractions",
        "normalized_corner_boxes",
    ),
    "strings of floats": (
        edit_boxes(lambda box: [f"{value}.0" for value in box]),
        "'bbox' is [\"53.0\"",
        "numbers",
    ),
    "UUIDs": (to_ids(lambda id_: f"{id_:08x}-aaaa"), "'id' is \"00000001-aaaa\"", "ids"),
    "crowds that are null": (
        lambda d: [a.update(iscrowd=None) for a in d["annotations"]],
        "'iscrowd' is null",
        "crowds",
    ),
    "areas that are NaN": (
        lambda d: [a.update(area=float("nan")) for a in d["annotations"]],
        "12 of 12 annotations have no area",
        "areas",
    ),
    "a name of tabs": (
        lambda d: d["categories"][2].update(name="blue\t"),
        'category 3 is named "blue\\t"',
        "names",
    ),
    "an image listed twice": (
        lambda d: d["images"].insert(2, dict(d["images"][0])),
        "1 image id(s) occur more than once: 1. Annotations name their image by its id",
        "ids",
    ),
    "a category listed twice": (
        lambda d: d["categories"].append(dict(d["categories"][1])),
        "1 category id(s) occur more than once: 2. Annotations name their category by its id",
        "ids",
    ),
    "LVIS": (
        lambda d: [
            i.update(coco_url=f"http://x.org/train2017/{i.pop('file_name')}") for i in d["images"]
        ],
        "It is LVIS",
        "file_names",
    ),
}


@pytest.mark.parametrize("case", SIBLINGS)
def test_siblings(cases, tmp_path, case):
    change, message, fix = SIBLINGS[case]
    document = json.loads((cases / "base.json").read_text())
    change(document)
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        convert(path, cases / "images", tmp_path)
    assert message in str(caught.value) and f"--fix={fix}" in str(caught.value)
    fixed = convert(path, cases / "images", tmp_path, fix=[fix])
    base = convert(cases / "base.json", cases / "images", tmp_path / "base")
    for got, want in zip(records(fixed), records(base), strict=True):
        for key in ("bbox/xmin", "bbox/ymin", "bbox/xmax", "bbox/ymax", "area"):
            name = f"image/object/{key}"
            np.testing.assert_allclose(got[name][1], want[name][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["images", "categories"])
def test_an_id_of_two_is_not_guessed(cases, tmp_path, name):
    """Two images, or categories, of one id: nothing tells to which an annotation belongs."""
    document = json.loads((cases / "base.json").read_text())
    document[name][1]["id"] = document[name][0]["id"]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    for fix in ([], ["ids"]):
        with pytest.raises(InputError, match="give each a number of its own"):
            convert(path, cases / "images", tmp_path, fix=fix)


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


def all_of(name, **changes):
    """Changes every entry of a list; a value that is a function is of the entry."""

    def edit(document):
        for entry in document[name]:
            entry.update({k: v(entry) if callable(v) else v for k, v in changes.items()})

    return edit


def first_of(listed, /, **changes):
    return lambda document: document[listed][0].update(changes)


def as_fractions_y_first(annotation):
    x, y, width, height = annotation["bbox"]
    return [y / 120, x / 160, (y + height) / 120, (x + width) / 160]


def renumbered(document, name, field, change):
    for entry in document[name]:
        entry["id"] = change(entry["id"])
    for annotation in document["annotations"]:
        annotation[field] = change(annotation[field])


WHOLE, REASON = "taken whole", "dropped: "
MORE_SIBLINGS = {  # change: (what it comes to, the fix that is offered)
    "ids of annotations as text": (all_of("annotations", id=lambda a: str(a["id"])), "numbers"),
    "ids of categories as text": (
        lambda d: renumbered(d, "categories", "category_id", str),
        "numbers",
    ),
    "ids of categories as floats": (
        lambda d: renumbered(d, "categories", "category_id", float),
        "numbers",
    ),
    "an image id that is true": (first_of("images", id=True), "numbers"),
    "an id that is null": (first_of("annotations", id=None), "'id' is null"),
    "an id with a fraction": (first_of("annotations", id=1.5), "'id' is 1.5"),
    "an id that is a list": (first_of("images", id=[1]), "'id' is [1]"),
    "an id beyond 64 bits": (first_of("annotations", id=2**70), f"'id' is {2**70}"),
    "a category without an id": (first_of("categories", id=None), "'id' is null"),
    "ids below 0": (lambda d: renumbered(d, "images", "image_id", lambda i: -i), WHOLE),
    "a category below 0": (
        lambda d: renumbered(d, "categories", "category_id", lambda i: -1 if i == 1 else i),
        "give it a number of its own above 0",
    ),
    "annotations with id 0": (
        lambda d: [a.update(id=0) for a in d["annotations"][:2]],
        "ids",
    ),
    "an unknown category": (first_of("annotations", category_id=9), "unknown category"),
    "an unknown image": (first_of("annotations", image_id=77), "(image 77): unknown image"),
    "an area of 0": (first_of("annotations", area=0), WHOLE),
    "an area below 0": (first_of("annotations", area=-5), "areas"),
    "an infinite area": (first_of("annotations", area=float("inf")), REASON + "area_not_finite"),
    "an area that is true": (first_of("annotations", area=True), "areas"),
    "an area in two lists": (first_of("annotations", area=[[1]]), "'area' is [[1]]"),
    "an area that is an object": (first_of("annotations", area={}), "areas"),
    "a box by names": (first_of("annotations", bbox={"x": 1, "w": 3}), "'bbox' is {\"x\": 1"),
    "a box of three": (first_of("annotations", bbox=[1, 2, 3]), "'bbox' is [1, 2, 3]"),
    "a box in a list": (first_of("annotations", bbox=[[1, 2, 3, 4]]), "'bbox' is [[1, 2, 3, 4]]"),
    "a box with a null": (first_of("annotations", bbox=[1, None, 3, 4]), REASON + "box_not_finite"),
    "a box with true": (first_of("annotations", bbox=[True, 1, 5, 5]), "'bbox' is [true, 1, 5, 5]"),
    "a box of no width": (first_of("annotations", bbox=[10, 10, 0, 10]), REASON + "box_empty"),
    "a box drawn backwards": (first_of("annotations", bbox=[30, 30, -9, -9]), REASON + "box_empty"),
    "a box far outside": (
        first_of("annotations", bbox=[500, 500, 9, 9]),
        REASON + "box_outside_image",
    ),
    "a box between semicolons": (first_of("annotations", bbox="53;18;55;49"), '"53;18;55;49"'),
    "corners, y first": (
        edit_boxes(lambda b: [b[1], b[0], b[1] + b[3], b[0] + b[2]]),
        "yxyx_boxes",
    ),
    "corners as fractions, y first": (
        all_of("annotations", bbox=as_fractions_y_first),
        "Which of them it is, you have to say",
    ),
    "a crowd of 2": (
        first_of("annotations", iscrowd=2),
        "neither 0 nor 1 in annotation(s) 1",
    ),
    "a crowd of yes": (first_of("annotations", iscrowd="yes"), "'iscrowd' is \"yes\""),
    "a crowd of 1.0": (first_of("annotations", iscrowd=1.0), "numbers"),
    "half a crowd": (first_of("annotations", iscrowd=0.5), "'iscrowd' is 0.5"),
    "a crowd in a list": (first_of("annotations", iscrowd=[0]), "'iscrowd' is [0]"),
    "a name that is null": (first_of("categories", name=None), "'name' is null"),
    "a name that is true": (first_of("categories", name=True), "'name' is true"),
    "a name that is a list": (first_of("categories", name=["red"]), "'name' is [\"red\"]"),
    "a name of two lines": (first_of("categories", name="re\nd"), WHOLE),
    "a name and a hard space": (first_of("categories", name="red\u00a0"), "names"),
    "a name and a space of no width": (first_of("categories", name="red\u200b"), "names"),
    "a name with a bell": (first_of("categories", name="re\u0007d"), "names"),
    "a name with quotes": (first_of("categories", name="r'e\"d"), WHOLE),
    "a name but for case": (first_of("categories", name="Green"), WHOLE),
    "no file name": (lambda d: [i.pop("file_name") for i in d["images"]], "field `file_name`"),
    "a file name that is a number": (first_of("images", file_name=1), "'file_name' is 1"),
    "a file name of nothing": (first_of("images", file_name=""), "image 1 has an empty file_name"),
    "a file name of another case": (first_of("images", file_name="0001.JPG"), "0001.JPG (image 1)"),
    "a file name without its end": (first_of("images", file_name="0001"), "images are missing"),
    "a file that is not there": (first_of("images", file_name="no.jpg"), "no.jpg (image 1)"),
    "a size of text": (all_of("images", width="160", height="120"), "numbers"),
    "a size of null": (first_of("images", width=None), "sizes"),
    "a size of 0": (first_of("images", width=0), "sizes"),
    "half a pixel": (first_of("images", width=160.5), "sizes"),
    "a size beyond any image": (first_of("images", width=10**12), "sizes"),
    "images that are null": (lambda d: d.update(images=None), "'images' is not a list, but null"),
    "annotations by id": (
        lambda d: d.update(annotations={str(a["id"]): a for a in d["annotations"]}),
        "jq '.annotations |= [.[]]'",
    ),
    "categories that are names": (
        lambda d: d.update(categories=["red", "green", "blue"]),
        'categories[0]: Expected `object`, got `str`; it is "red"',
    ),
    "images that are names": (
        lambda d: d.update(images=[i["file_name"] for i in d["images"]]),
        'images[0]: Expected `object`, got `str`; it is "0001.jpg"',
    ),
    "an annotation that is null": (
        lambda d: d["annotations"].append(None),
        "annotations[12]: Expected `object`, got `null`",
    ),
    "segmentations that are null": (all_of("annotations", segmentation=None), WHOLE),
    "info that is text": (lambda d: d.update(info="made by hand"), WHOLE),
    "licenses that are null": (lambda d: d.update(licenses=None), WHOLE),
    "attributes of a tool": (all_of("annotations", attributes={"occluded": False}), WHOLE),
}


@pytest.mark.parametrize("case", MORE_SIBLINGS)
def test_more_siblings(cases, tmp_path, case):
    """Taken whole, dropped into the ledger, refused by name, or mended as the message offers."""
    change, told = MORE_SIBLINGS[case]
    document = json.loads((cases / "base.json").read_text())
    change(document)
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    if told == WHOLE or told.startswith(REASON):
        summary = convert(path, cases / "images", tmp_path)
        dropped = {} if told == WHOLE else {told.removeprefix(REASON): 1}
        assert summary.manifest["counts"]["dropped"] == dropped
        assert summary.manifest["counts"]["annotations_written"] == 12 - len(dropped)
        return
    with pytest.raises(InputError) as caught:
        convert(path, cases / "images", tmp_path)
    if told not in mending.FIXES:
        assert told in str(caught.value)
        return
    assert f"--fix={told} " in str(caught.value)
    summary = convert(path, cases / "images", tmp_path, fix=[told])
    assert summary.manifest["counts"]["annotations_written"] == 12
    assert [e["detail"].startswith(f"--fix={told}: ") for e in ledger(summary)] == [True]


def test_there_are_as_many_siblings(cases):
    assert len(MORE_SIBLINGS) + len(SIBLINGS) >= len(TAKEN | DROPPED | REFUSED)


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


def outlined(cases, layout=None):
    """base.json with each box's rectangle as polygon; the boxes then changed by `layout`."""
    document = json.loads((cases / "base.json").read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
    for each in document["annotations"]:
        x, y, w, h = each["bbox"]
        each["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        if layout:
            each["bbox"] = layout(x, y, w, h, *sizes[each["image_id"]])
    return document


def test_boxes_in_percent_are_refused_by_their_polygons(cases, tmp_path):
    path = tmp_path / "in.json"
    document = outlined(
        cases, lambda x, y, w, h, W, H: [100 * x / W, 100 * y / H, 100 * w / W, 100 * h / H]
    )
    path.write_text(json.dumps(document))
    with pytest.raises(
        InputError, match=r"in\.json: the boxes are not where .* 12 of 12"
    ) as caught:
        convert(path, cases / "images", tmp_path, include_masks=True)
    assert "annotation 1: bbox" in str(caught.value) and "--fix=percent_boxes" in str(caught.value)
    mended, _ = mending.mended(path, ["percent_boxes"])
    for got, want in zip(mended["annotations"], outlined(cases)["annotations"], strict=True):
        np.testing.assert_allclose(got["bbox"], want["bbox"])
    # Without masks the areas lead to the polygons: of boxes whose sides are a third.
    small = outlined(cases, lambda x, y, w, h, *_: [x / 3, y / 3, w / 3, h / 3])
    for each, whole in zip(small["annotations"], outlined(cases)["annotations"], strict=True):
        each["area"] = whole["bbox"][2] * whole["bbox"][3]
    path.write_text(json.dumps(small))
    with pytest.raises(InputError, match="the boxes are not where .* in the same pixels"):
        convert(path, cases / "images", tmp_path)
    path.write_text(json.dumps(outlined(cases)))
    assert convert(path, cases / "images", tmp_path).manifest["counts"]["annotations_written"] == 12


@pytest.mark.parametrize("code", mending._BOX_LAYOUTS)
def test_a_layout_that_makes_right_boxes_wrong_is_refused(cases, tmp_path, code):
    path = tmp_path / "in.json"
    path.write_text(json.dumps(outlined(cases)))
    with pytest.raises(
        InputError, match=rf"--fix={code} would make it worse: 1[0-2] of 12 .* against 0"
    ):
        mending.mended(path, [code])


def test_without_polygons_the_image_tells_that_a_layout_is_wrong(cases):
    with pytest.raises(InputError, match="--fix=corner_boxes would make it worse"):
        mending.mended(cases / "base.json", ["corner_boxes"])


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
