"""Records for TF-Vision, held to its own decoders; and its own records, read here."""

import glob
import json
import os
import pathlib

import numpy as np
import pytest
from pycocotools.coco import COCO

import tfrecords
from tests.tfrecords.vision import run as vision
from tfrecords import example, framing, inverse, label_map, manifest, verification
from tfrecords.errors import InputError

LABEL = "image/object/class/label"


def features_of(summary):
    return [example.decode(record) for path in summary.shard_paths for record in framing.read(path)]


@pytest.fixture
def converted(dataset, tmp_path):
    """With class labels and masks, as `data/val`, and its label map."""
    tfrecords.write_label_map(dataset.annotations, tmp_path / "data" / "label_map.pbtxt")
    return tfrecords.convert(
        dataset.annotations,
        dataset.images,
        tmp_path / "data" / "val",
        2,
        include_masks=True,
        include_class_labels=True,
        progress=False,
    )


def expected(document):
    """{source_id: objects} by pycocotools, as the script gives them."""
    truth = COCO()
    truth.dataset = document
    truth.createIndex()
    found = {}
    for image in document["images"]:
        annotations = truth.loadAnns(truth.getAnnIds(image["id"]))
        size = np.array([image["height"], image["width"]] * 2)
        boxes = [
            np.array([y, x, y + h, x + w]) / size
            for x, y, w, h in (each["bbox"] for each in annotations)
        ]
        found[str(image["id"])] = {
            "classes": [each["category_id"] for each in annotations],
            "boxes_yxyx_norm": np.float32(boxes).tolist(),
            "crowd": [each["iscrowd"] for each in annotations],
            "areas": np.float32([each["area"] for each in annotations]).tolist(),
            "mask_px": [float(truth.annToMask(each).sum()) for each in annotations],
        }
    return found


def test_its_usual_pattern_gives_its_decoder_every_object(dataset, converted):
    """`val*` among manifest, ledger and label map; `val-*` alike. Classes 1 and 90, masks."""
    folder = os.path.dirname(converted.manifest_path)
    for pattern in ("val*", "val-*"):
        assert sorted(glob.glob(f"{folder}/{pattern}")) == converted.shard_paths
    assert json.loads(vision("decode", f"{folder}/val*")) == expected(dataset.document)


def test_its_label_map_decoder_reads_the_csv(dataset, tmp_path):
    """Records as the API's, without labels; a name with a comma in the CSV."""
    dataset.change(lambda d: d["categories"][1].update(name="brush, for teeth"))
    summary = tfrecords.convert(
        dataset.annotations, dataset.images, tmp_path / "val", 1, include_masks=True, progress=False
    )
    assert all(LABEL not in features for features in features_of(summary))
    tfrecords.write_label_map(dataset.annotations, tmp_path / "map.pbtxt")
    assert (tmp_path / "map.csv").read_text() == '1,person\n90,"brush, for teeth"\n'
    assert label_map.read(tmp_path / "map.csv") == label_map.read(tmp_path / "map.pbtxt")
    given = json.loads(vision("decode", f"{tmp_path}/val-*", tmp_path / "map.csv"))
    assert given == expected(dataset.document)


def test_labels_are_all_that_is_added(dataset, converted, tmp_path):
    plain = tfrecords.convert(
        dataset.annotations, dataset.images, tmp_path / "b", 2, include_masks=True, progress=False
    )
    for ours, labelled in zip(features_of(plain), features_of(converted), strict=True):
        labels = labelled.pop(LABEL)
        assert labelled == ours
        ids = {b"person": 1, b"tooth brush": 90}
        assert labels == ("int64_list", [ids[n] for n in ours["image/object/class/text"][1]])


def test_other_labels_need_another_output(dataset, converted):
    output = converted.shard_paths[0].partition("-0000")[0]
    with pytest.raises(InputError, match="include_class_labels True there, False now"):
        tfrecords.convert(
            dataset.annotations, dataset.images, output, 2, include_masks=True, progress=False
        )


def test_conversions_of_before_are_read_under_their_names(dataset, tmp_path):
    """Manifest and ledger as they were named, without the setting that there was not."""
    output = str(tmp_path / "val")
    dataset.change(lambda d: d["annotations"][3].update(bbox=[1, 1, 0, 5]))
    summary = tfrecords.convert(dataset.annotations, dataset.images, output, 2, progress=False)
    held = manifest.read(output)
    del held["settings"]["include_class_labels"]
    manifest.write(output, held)
    os.replace(summary.manifest_path, f"{output}-manifest.json")
    os.replace(summary.ledger_path, f"{output}-dropped.jsonl")
    assert manifest.in_folder(tmp_path) == {"val": pathlib.Path(f"{output}-manifest.json")}
    assert verification.verify(output, full=True, progress=False) == []
    again = tfrecords.convert(dataset.annotations, dataset.images, output, 2, progress=False)
    assert again.reused and again.ledger_path == f"{output}-dropped.jsonl"


@pytest.fixture
def theirs(dataset, tmp_path):
    """TF-Vision's own records of the data, the JSON's image 100 without any object."""
    vision("convert", dataset.annotations, dataset.images, tmp_path / "train", 2)
    return tmp_path / "train"


def test_its_records_back_to_coco(dataset, theirs):
    paths = inverse.shard_paths(theirs)
    names = {each["id"]: each["name"] for each in dataset.document["categories"]}
    read = inverse.to_coco(paths, names, progress=False)
    assert read["images"] == dataset.document["images"]
    ours = COCO()
    ours.dataset = read
    ours.createIndex()
    for annotation, original in zip(
        read["annotations"], dataset.document["annotations"], strict=True
    ):
        for key in ("image_id", "category_id", "iscrowd"):
            assert annotation[key] == original[key]
        np.testing.assert_allclose(annotation["bbox"], original["bbox"], atol=1e-4)
        np.testing.assert_allclose(annotation["area"], original["area"], rtol=1e-6)
    masks = {key: value["mask_px"] for key, value in expected(dataset.document).items()}
    assert masks == {
        str(image["id"]): [
            float(ours.annToMask(each).sum()) for each in ours.loadAnns(ours.getAnnIds(image["id"]))
        ]
        for image in read["images"]
    }


def test_labels_that_the_label_map_has_otherwise_are_told(theirs):
    with pytest.raises(InputError, match="'tooth brush' has class label 90, the label map has 80"):
        inverse.to_coco(
            inverse.shard_paths(theirs), {1: "person", 80: "tooth brush"}, progress=False
        )


def test_its_records_are_verified_against_the_json(dataset, theirs):
    def check():
        return verification.verify(
            str(theirs), annotations_file=dataset.annotations, progress=False
        )

    assert check() == []
    first, second = dataset.document["annotations"][:2]
    dataset.change(lambda d: d["annotations"][0].update(area=3.25))
    dataset.change(lambda d: d["annotations"][1].update(category_id=90))
    other, area = (
        f"train-00000-of-00002.tfrecord: record 1, image {second['image_id']}",
        f"train-00001-of-00002.tfrecord: record 0, image {first['image_id']}",
    )
    box = [round(float(value), 2) for value in second["bbox"]]
    assert check() == [
        f"{other}: object 0 (category 1, bbox {box}) is none of the JSON's",
        f"{other}: annotations [{second['id']}] are not in it",
        f"{area}: annotation {first['id']}: area differs from the JSON's",
    ]
    pathlib.Path(f"{theirs}-00001-of-00002.tfrecord").unlink()
    assert [problem for problem in check() if not problem.startswith(other)] == [
        "shard 1 of 2 is missing",
        "3 image(s) of the JSON are in no record: 107, 121, 135",
    ]


def test_what_its_converter_leaves_out_is_named(dataset, tmp_path):
    """A box that ends right of the image; its converter says nothing of which it was."""
    dataset.change(lambda d: d["annotations"][2].update(bbox=[30, 4, 10.5, 5]))
    left_out = dataset.document["annotations"][2]
    vision("convert", dataset.annotations, dataset.images, tmp_path / "train", 1)
    (problem,) = verification.verify(
        str(tmp_path / "train"), annotations_file=dataset.annotations, progress=False
    )
    assert problem.endswith(
        f"image {left_out['image_id']}: annotations [{left_out['id']}] are not in it"
    )
