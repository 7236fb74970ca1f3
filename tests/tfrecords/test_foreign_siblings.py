"""The kin of each foreign file: other fields, other conventions, the same answer."""

import json

import numpy as np
import pytest

from tests.tfrecords.foreign import (
    all_of,
    as_fractions_y_first,
    centres,
    convert,
    edit_boxes,
    first_of,
    renumbered,
    to_ids,
)
from tests.tfrecords.test_bad_input import ledger, records
from tests.tfrecords.test_foreign_files import DROPPED, REFUSED, TAKEN
from tfrecords import mending
from tfrecords.errors import InputError

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
