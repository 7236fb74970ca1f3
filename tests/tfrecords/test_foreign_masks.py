"""Masks and keypoints as other tools write them: taken, or refused with the place."""

import json

import pytest

import tfrecords
from tests.tfrecords.foreign import convert
from tests.tfrecords.test_bad_input import ledger, records
from tfrecords.errors import InputError

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
