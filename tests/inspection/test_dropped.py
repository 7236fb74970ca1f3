"""Boxes that conversion dropped, from a real conversion's ledger."""

import json
import pathlib

import pytest

from replicate import config
from replicate.inspection import dropped
from tests.report import making
from tfrecords import conversion

MODEL = "ssd_mobilenet_v2_320x320_coco17_tpu-8"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """(config that reads the records, annotation file, image folder); two boxes were bad."""
    folder = tmp_path_factory.mktemp("converted")
    annotations, images = making.groundtruth(folder, images=6)
    document = json.loads(pathlib.Path(annotations).read_text())
    document["annotations"][0]["bbox"] = [10, 12, 0, 30]
    document["annotations"][-1]["bbox"] = [300, 12, 30, 30]
    pathlib.Path(annotations).write_text(json.dumps(document))
    conversion.convert(annotations, images, str(folder / "records" / "train"), 1)
    message = config.render(
        MODEL, train_records=str(folder / "records" / "train-?????-of-?????.tfrecord")
    )
    return message, document, annotations, images


def test_the_ledger_of_a_conversion(converted):
    message, document, annotations, _ = converted
    told, pictures, why = dropped.of_records(message)
    assert why == "" and told["annotations_file"] == annotations
    assert told["reasons"] == {"box_empty": 1, "box_outside_image": 1}
    ids = [document["annotations"][0]["image_id"], document["annotations"][-1]["image_id"]]
    assert [each["image_id"] for each in told["drawn"]] == ids
    assert told["drawn"][0]["boxes"][0]["box_xywh_px"] == [10, 12, 0, 30]
    assert told["drawn"][1]["boxes"][0]["reason"] == "box_outside_image"
    assert set(pictures) == set(map(str, ids))


def test_annotations_that_are_gone_are_counted_not_drawn(converted, tmp_path):
    message, _, annotations, _ = converted
    kept = pathlib.Path(annotations)
    kept.rename(tmp_path / "away.json")
    try:
        told, pictures, why = dropped.of_records(message)
    finally:
        (tmp_path / "away.json").rename(kept)
    assert told["reasons"] == {"box_empty": 1, "box_outside_image": 1}
    assert told["drawn"] == [] and pictures == {} and "not there" in why


def test_rare_reasons_are_drawn_too(tmp_path):
    annotations, images = making.groundtruth(tmp_path, images=16)
    document = json.loads(pathlib.Path(annotations).read_text())
    first = {each["image_id"]: each["id"] for each in reversed(document["annotations"])}
    ledger = [
        {"image_id": image, "annotation_id": row, "reason": "box_empty"}
        for image, row in first.items()
    ]
    ledger[-1]["reason"] = "mask_empty"
    ledger.append({"image_id": 1, "annotation_id": None, "reason": "no_annotations"})
    told, _ = dropped.of(ledger, annotations, images)
    assert len(ledger) > dropped.MOST + 1 and len(told["drawn"]) == dropped.MOST
    drawn = {box["reason"] for each in told["drawn"] for box in each["boxes"]}
    assert drawn == {"box_empty", "mask_empty"}


def test_records_without_a_conversion(tmp_path):
    message = config.render(MODEL, train_records=str(tmp_path / "x-?????-of-?????.tfrecord"))
    assert dropped.of_records(message) == (
        {}, {}, "no manifest of a conversion lies beside the records"
    )  # fmt: skip
